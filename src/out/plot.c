/* A line plot as SVG. Coordinates are whole numbers: the view box is large enough, and whole
 * numbers are written the same in every locale. See plot.h. */
#include "out/plot.h"

#include <math.h>

enum { LEFT = 46, RIGHT = 14, TOP = 26, BOTTOM = 52, X_LABELS_MAX = 14 };

double plot_top(double value) {
    static const double rounds[] = {1, 2, 5, 10, 20, 40, 60, 80, 100, 120, 160, 200, 260};
    size_t i = 0;
    while (i + 1 < sizeof rounds / sizeof *rounds && rounds[i] < value)
        i++;
    return rounds[i];
}

int plot_x(const struct plot *p, size_t i) {
    double span = p->x[p->count - 1] - p->x[0];
    double share = span > 0.0 ? (p->x[i] - p->x[0]) / span : 0.5;
    return LEFT + (int)lround(share * (PLOT_WIDTH - LEFT - RIGHT));
}

int plot_y(const struct plot *p, double y) {
    return PLOT_HEIGHT - BOTTOM - (int)lround(y / p->top * (PLOT_HEIGHT - TOP - BOTTOM));
}

/* A path through the values that are there; a missing one breaks it. */
static void put_path(struct buffer *b, const struct plot *p, const double *y) {
    bool down = false;
    for (size_t i = 0; i < p->count; i++) {
        if (isnan(y[i])) {
            down = false;
            continue;
        }
        buffer_format(b, "%s%d %d", down ? "L" : "M", plot_x(p, i), plot_y(p, y[i]));
        down = true;
    }
}

static void put_mean(struct buffer *b, const struct plot *p) {
    bool down = false;
    buffer_format(b,
                  "<text x=\"%d\" y=\"14\" text-anchor=\"end\" class=\"legend\">dotted: mean of "
                  "the seeds</text>",
                  PLOT_WIDTH - RIGHT);
    buffer_text(b, "<path class=\"mean\" d=\"");
    for (size_t i = 0; i < p->count; i++) {
        double sum = 0.0;
        int n = 0;
        for (size_t line = 0; line < p->lines; line++) {
            double y = p->y[line * p->count + i];
            sum += isnan(y) ? 0.0 : y;
            n += !isnan(y);
        }
        if (n)
            buffer_format(b, "%s%d %d", down ? "L" : "M", plot_x(p, i), plot_y(p, sum / n));
        down = n > 0;
    }
    buffer_text(b, "\"/>");
}

static void put_axes(struct buffer *b, const struct plot *p) {
    for (int i = 0; i <= 2; i++) {
        int y = plot_y(p, p->top * i / 2.0), tenths = (int)lround(p->top * i * 5.0);
        buffer_format(b, "<path class=\"rule\" d=\"M%d %dH%d\"/>", LEFT, y, PLOT_WIDTH - RIGHT);
        buffer_format(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%d", LEFT - 10, y + 5,
                      tenths / 10);
        if (tenths % 10)
            buffer_format(b, ".%d", tenths % 10);
        buffer_text(b, "</text>");
    }
    size_t step = (p->count + X_LABELS_MAX - 1) / X_LABELS_MAX;
    for (size_t i = 0; i < p->count; i += step)
        buffer_format(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%d</text>", plot_x(p, i),
                      PLOT_HEIGHT - BOTTOM + 20, p->x[i]);
    buffer_format(b, "<text x=\"%d\" y=\"14\">", LEFT);
    buffer_html(b, p->y_label);
    buffer_format(b, "</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">", PLOT_WIDTH - RIGHT,
                  PLOT_HEIGHT - 4);
    buffer_html(b, p->x_label);
    buffer_text(b, "</text>");
}

void plot_svg(struct buffer *b, const struct plot *p) {
    buffer_format(b, "<svg class=\"plot\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
                  PLOT_WIDTH, PLOT_HEIGHT);
    buffer_html(b, p->y_label);
    buffer_text(b, "\">");
    put_axes(b, p);
    for (size_t line = 0; line < p->lines; line++) {
        buffer_format(b, "<path class=\"line\" data-line=\"%zu\" d=\"", line);
        put_path(b, p, p->y + line * p->count);
        buffer_text(b, "\"/>");
    }
    if (p->lines > 1)
        put_mean(b, p);
    buffer_format(b,
                  "<g class=\"now\"><path d=\"M0 %dV%d\"/><circle cx=\"0\" cy=\"0\" r=\"6\"/></g>"
                  "</svg>",
                  TOP, PLOT_HEIGHT - BOTTOM);
}
