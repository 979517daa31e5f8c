/* Pictures as terminal output: Kitty's graphics protocol, iTerm2's inline images, sixel, or half
 * blocks in 24-bit colour. Text only: nothing is printed here. */
#ifndef DLENS_OUT_TERM_H
#define DLENS_OUT_TERM_H

#include "out/buffer.h"

enum term_graphics { TERM_BLOCKS, TERM_KITTY, TERM_ITERM, TERM_SIXEL };

/* What the terminal can show, by its environment: lookup returns a variable's value or NULL
 * (getenv's rule). Inside tmux and screen, and where nothing is known, TERM_BLOCKS. */
typedef const char *(*term_lookup)(void *user, const char *name);
enum term_graphics term_detect(term_lookup lookup, void *user);

/* Appends a picture at most `columns` character cells wide (at least 1), followed by a newline. A
 * cell counts as 8x16 pixels, or as 1x2 for half blocks; larger pictures are shrunk to fit, smaller
 * ones are enlarged at most twice (half blocks: not at all). */
int term_picture(dl_context *cx, struct buffer *out, enum term_graphics graphics,
                 const uint8_t *rgb, int width, int height, int columns);

#endif
