/* Plots that a paper can use, as SVG: lines with bands, bars, a table of colours. Each is written
 * for a page, whose style sheet gives the colours (svg_css), or alone, with a style of its own.
 * Texts are escaped; numbers do not depend on the locale. */
#ifndef DLENS_OUT_SVG_H
#define DLENS_OUT_SVG_H

#include "out/buffer.h"

enum { SVG_COLOURS = 8 }; /* then they begin again */

/* The style that plots inside a page need, made from svg.css; lines, ended by NULL. */
extern const char *const svg_css[];

/* A curve with a band around it. Its first point may be at any x. */
struct svg_curve {
    const char *name;                 /* in the legend; NULL: not there */
    size_t count;                     /* of points */
    const double *x, *y, *low, *high; /* (count), x rising; y NAN: none; low, high NULL: no band */
};

struct svg_lines {
    const char *title; /* for who cannot see it */
    const char *x_label, *y_label;
    const struct svg_curve *curves;
    size_t curve_count;
    double x_low, x_high; /* the axes; x_low < x_high */
    double y_low, y_high;
    const double
        *ticks; /* (tick_count) along x, written as whole numbers; NULL: shares of 0 to 1 */
    size_t tick_count;
    bool relative; /* also an axis above, of shares of x_high: the relative layer */
};

/* Bars side by side, a group for each label. */
struct svg_bars {
    const char *title, *x_label, *y_label;
    const char *const *labels; /* (count) */
    const double *values;      /* (series,count), not negative, whole */
    size_t count, series;
    const char *const *names; /* (series); NULL where series is 1 */
};

/* values (rows,columns) from 0 to 1 as colours (look_colour), NAN grey. */
struct svg_heat {
    const char *title, *x_label;
    const char *const *row_labels, *const *column_labels;
    const double *values;
    size_t rows, columns;
};

void svg_lines(struct buffer *b, const struct svg_lines *plot, bool alone);
void svg_bars(struct buffer *b, const struct svg_bars *plot, bool alone);
void svg_heat(struct buffer *b, const struct svg_heat *plot, bool alone);

#endif
