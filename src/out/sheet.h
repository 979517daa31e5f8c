/* The contact sheet: one labelled picture of a whole lens, rows seeds, columns layers, the prompt
 * on top. */
#ifndef DLENS_OUT_SHEET_H
#define DLENS_OUT_SHEET_H

#include "out/image.h"

struct sheet_cell {
    const uint8_t *rgb; /* (height,width,3) or NULL: not made, drawn as a light placeholder */
    int width, height;
};

struct sheet {
    const char *title;    /* the prompt, UTF-8; wrapped to two lines, then cut with an ellipsis */
    const char *subtitle; /* a grey line under it (model, sampler, ...); NULL: none */
    size_t rows, columns; /* at least 1 each */
    const char *const *row_labels;    /* (rows) such as "seed 0"; NULL: none */
    const char *const *column_labels; /* (columns) such as "4"; NULL: none */
    const char *column_caption;       /* above the column labels, "layer"; NULL: none */
    const struct sheet_cell *cells;   /* (rows,columns) */
};

enum { SHEET_CELL_MAX = 256, SHEET_CELL_MIN = 128 }; /* longer side of a thumbnail, usually */

/* Draws the sheet. Every picture is fitted into a cell of the same size: larger ones are averaged
 * down to SHEET_CELL_MAX, smaller ones enlarged to SHEET_CELL_MIN; cells shrink further where the
 * sheet would pass about 24 megapixels. The caller frees *out. DL_USAGE for an empty sheet. */
int sheet_make(dl_context *cx, const struct sheet *s, struct image *out);

/* About the pixels of a sheet of so many pictures of this size, its labels included. */
double sheet_pixels(size_t rows, size_t columns, int width, int height);

#endif
