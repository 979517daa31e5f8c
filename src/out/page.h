/* What the report pages share: head, header and foot, style and scripts. A page is complete in
 * itself; its content security policy forbids every connection. Styles and scripts are files of
 * this folder (page.css, lens.js, frame.js), which the build makes into lines, ended by NULL. */
#ifndef DLENS_OUT_PAGE_H
#define DLENS_OUT_PAGE_H

#include "out/buffer.h"

extern const char *const page_css[]; /* of all pages */
extern const char *const lens_js[];  /* of a lens' report */
extern const char *const frame_js[]; /* of all pages: light or dark, copying */

/* Everything up to the header's own controls, which the caller appends (or none), then page_main,
 * which opens <main>. The title is escaped and cut to a window's width. more_style may be NULL. */
void page_begin(struct buffer *b, const char *version, const char *title,
                const char *const *more_style);
void page_main(struct buffer *b);

/* Closes <main>; `script` may be NULL. */
void page_end(struct buffer *b, const char *version, const char *const *script);

/* Lines, and escaped text between two fixed pieces. */
void page_lines(struct buffer *b, const char *const *lines);
void page_text(struct buffer *b, const char *before, const char *text, const char *after);

#endif
