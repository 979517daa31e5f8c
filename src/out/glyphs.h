/* The shapes of the letters; see glyphs.c. */
#ifndef DLENS_OUT_GLYPHS_H
#define DLENS_OUT_GLYPHS_H

#include <stdint.h>

struct glyph {
    uint32_t code;      /* Unicode */
    double width;       /* of its strokes' centre lines, from x = 0 */
    const char *path;   /* strokes; NULL: a blank */
    const char *accent; /* strokes around x = 0, to be centred above the letter; NULL: none */
    double lift;        /* of the accent: capitals are taller */
};

/* In units: heights of x and of capitals; the lowest and highest strokes of ordinary letters; the
 * space between two letters; width of a stroke. */
#define GLYPH_X       20.0
#define GLYPH_CAPITAL 28.0
#define GLYPH_DESCENT 8.0
#define GLYPH_ASCENT  30.0
#define GLYPH_SPACING 7.5
#define GLYPH_STROKE  3.0

/* The glyph of a character; the box for one that has none. */
struct glyph glyph_of(uint32_t code);

#endif
