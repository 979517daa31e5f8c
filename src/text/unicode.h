/* Unicode as the tokenizers need it: validity, character classes, canonical composition. The
 * tables are utf8proc's; a character that is newer than they are counts as unassigned. */
#ifndef DLENS_TEXT_UNICODE_H
#define DLENS_TEXT_UNICODE_H

#include "base/context.h"
#include "out/buffer.h"

/* Bytes at the start of text that are valid UTF-8 without NUL: length if all are. */
size_t utf8_valid(const char *text, size_t length);

/* DL_USAGE, naming the byte, unless text is valid UTF-8 without NUL. */
int utf8_check(dl_context *cx, const char *text, size_t length);

/* The code point at text, valid UTF-8 with `length` > 0 bytes left; *size: its bytes. */
int32_t utf8_at(const char *text, size_t length, size_t *size);

/* Appends bytes as UTF-8: what is not valid becomes U+FFFD. */
void utf8_repair(struct buffer *out, const char *bytes, size_t length);

/* Appends a code point as UTF-8. */
void utf8_put(struct buffer *out, int32_t code_point);

bool is_space(int32_t code_point);  /* property White_Space, \s of a regular expression */
bool is_letter(int32_t code_point); /* category L*, \p{L} */
bool is_number(int32_t code_point); /* category N*, \p{N} */
bool is_word(int32_t code_point);   /* letters, marks, digits, connectors: \w */

/* Appends the lower case of one character regardless of its neighbours (no final sigma), as Rust's
 * char::to_lowercase: one code point, but for U+0130, which gives i and U+0307. */
void put_lower(struct buffer *out, int32_t code_point);

/* Normalization form C (Unicode Standard Annex 15) of valid UTF-8, by the tables of Unicode 9 as
 * the reference has them: *out is (count) code points, freed by the caller. Time is linear, also
 * for endless runs of combining marks. */
int normalize_nfc(dl_context *cx, const char *text, size_t length, int32_t **out, size_t *count);

#endif
