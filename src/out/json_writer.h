/* JSON (RFC 8259) into a buffer, whose failure is sticky: a text that came to its end lacks
 * nothing. Objects and arrays are written as text around these:
 *
 *     buffer_text(b, "{\"n\":");  write_json_number(b, 3.0);
 *     buffer_text(b, ",\"name\":");  write_json_string(b, name);  buffer_text(b, "}");
 */
#ifndef DLENS_OUT_JSON_WRITER_H
#define DLENS_OUT_JSON_WRITER_H

#include "out/buffer.h"

/* The fewest digits, 15 to 17, that give the same number back; null where it is not finite. */
void write_json_number(struct buffer *b, double value);

/* In quotes; invalid UTF-8 becomes U+FFFD. */
void write_json_string(struct buffer *b, const char *text);

/* A further member of an object: ,"key":value and ,"key":[first,second]. */
void write_json_member(struct buffer *b, const char *key, double value);
void write_json_pair(struct buffer *b, const char *key, double first, double second);

#endif
