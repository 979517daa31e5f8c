/* Lettering for pictures: a stroke font made for this program, drawn anti-aliased at any size. It
 * covers ASCII, Latin-1 and a few typographic marks; every other character is drawn as a box. */
#ifndef DLENS_OUT_FONT_H
#define DLENS_OUT_FONT_H

#include "out/image.h"

struct lettering {
    double size;       /* height of a line's letters from descender to ascender, in pixels */
    double weight;     /* stroke width relative to regular: 1; bold about 1.6 */
    uint8_t colour[3]; /* its colour, RGB */
};

/* Width of the first `length` bytes of UTF-8 text (stops at a NUL) in pixels. Line breaks and tabs
 * count as spaces. */
double font_width(const struct lettering *l, const char *text, size_t length);

/* How many bytes of text fit into `width` pixels, cut between characters. */
size_t font_fit(const struct lettering *l, const char *text, double width);

/* Draws the first `length` bytes from x on the baseline y (pixels from the top left), clipped to
 * the picture. */
void font_draw(struct image *image, const struct lettering *l, double x, double y, const char *text,
               size_t length);

#endif
