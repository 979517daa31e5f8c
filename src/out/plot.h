/* A small line plot as inline SVG: the distance of every layer's picture from the last layer's. */
#ifndef DLENS_OUT_PLOT_H
#define DLENS_OUT_PLOT_H

#include "out/buffer.h"

enum { PLOT_WIDTH = 640, PLOT_HEIGHT = 260 };

struct plot {
    const int *x;    /* (count) layers, rising */
    const double *y; /* (lines,count) not negative; NAN where there is none */
    size_t count, lines;
    const char *x_label, *y_label;
    double top; /* the axis ends here: plot_top of the largest value */
};

/* The next round number not below `value`. */
double plot_top(double value);

/* Where a point lies, in units of the SVG's view box (0 0 PLOT_WIDTH PLOT_HEIGHT). */
int plot_x(const struct plot *p, size_t i);
int plot_y(const struct plot *p, double y);

/* Appends the <svg>: lines of class "line" with data-line, a mean of class "mean" where there are
 * several, axes, and a marker (class "now": a line and a dot) for a script to move. Colours are the
 * style sheet's. */
void plot_svg(struct buffer *b, const struct plot *p);

#endif
