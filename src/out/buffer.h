/* A growing text: what the writers of this folder (HTML, CSV, SVG, terminal pictures) write into.
 *
 *     struct buffer b = {0};
 *     buffer_text(&b, "<p>"); buffer_html(&b, prompt); buffer_text(&b, "</p>");
 *     status = buffer_check(cx, &b, "report");  ... b.data, b.length ...
 *     buffer_free(&b);
 *
 * Failure is sticky: when memory runs out, later calls do nothing, and buffer_check says so once.
 */
#ifndef DLENS_OUT_BUFFER_H
#define DLENS_OUT_BUFFER_H

#include "base/context.h"

struct buffer {
    char *data; /* NUL-terminated; NULL while empty */
    size_t length, capacity;
    bool failed;
};

void buffer_free(struct buffer *b);
int buffer_check(dl_context *cx, const struct buffer *b, const char *what); /* DL_FAILED or DL_OK */

void buffer_bytes(struct buffer *b, const void *data, size_t size);
void buffer_text(struct buffer *b, const char *text);
void buffer_format(struct buffer *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* Valid UTF-8: invalid bytes become U+FFFD, control characters other than \n and \t are left out.
 */
void buffer_utf8(struct buffer *b, const char *text);

/* The same, with & < > " ' as character references: safe as HTML text and in quoted attributes. */
void buffer_html(struct buffer *b, const char *text);

/* A path as a relative URL: every byte but unreserved characters and / as %XX. */
void buffer_url(struct buffer *b, const char *path);

void buffer_base64(struct buffer *b, const void *data, size_t size);

/* The next code point of *text (UTF-8), which moves on; U+FFFD for an invalid byte, 0 at the end
 * (*text then stays). */
uint32_t utf8_next(const char **text);

#endif
