/* A caption while it is cleaned: code points, and the replacing of what matches.
 *
 * A matcher says how many characters from place i on match, as the regular expression above it
 * does: leftmost, as long as its quantifiers are greedy. Letters of those expressions have Python's
 * meaning: \w letters, numbers and _ (no marks), \d decimal digits of any script, \s white space.
 */
#ifndef DLENS_TEXT_CAPTION_TEXT_H
#define DLENS_TEXT_CAPTION_TEXT_H

#include "base/context.h"

struct caption_text {
    int32_t *c, *other; /* (capacity) each: the text, and where the next one is made */
    size_t count, capacity;
};

enum { NO_MATCH = 0 };

typedef size_t (*caption_matcher)(const int32_t *c, size_t count, size_t i);

/* Every match becomes `replacement` (ASCII). No text grows by it: a replacement is no longer than
 * the shortest match. */
void caption_replace(struct caption_text *t, caption_matcher match, const char *replacement);

/* Every character that `is` accepts becomes `with`, or goes where that is 0. */
void caption_map(struct caption_text *t, bool (*is)(int32_t c), int32_t with);

/* Appends to what is made; caption_turn makes it the text. */
void caption_put(struct caption_text *t, size_t *made, int32_t c);
void caption_turn(struct caption_text *t, size_t made);

bool caption_is_word(int32_t c);  /* \w */
bool caption_is_digit(int32_t c); /* \d */
bool caption_is_space(int32_t c); /* \s, str.strip() */
bool caption_is_ascii_letter(int32_t c);

/* \b before c[i] (i may be count). */
bool caption_boundary(const int32_t *c, size_t count, size_t i);

/* Whether the ASCII word stands at c[i]; its length, or 0. */
size_t caption_word(const int32_t *c, size_t count, size_t i, const char *word);

/* The end of the run of characters that `is` accepts, from i on. */
size_t caption_run(const int32_t *c, size_t count, size_t i, bool (*is)(int32_t c));

/* Takes white space off both ends. */
void caption_strip(struct caption_text *t);

/* Decodes %XX and + of a URL, as urllib.parse.unquote_plus. */
int caption_unquote(dl_context *cx, struct caption_text *t);

/* The text of an HTML fragment: tags, comments, scripts go, character references are decoded. */
void caption_strip_html(struct caption_text *t);

/* Decodes character references as html.unescape does. */
void caption_unescape(struct caption_text *t);

#endif
