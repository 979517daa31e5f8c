/* Plots as SVG. See svg.h. Lengths are units of the view box, of which 14 are the height of a
 * text. */
#include "out/svg.h"

#include "out/looks.h"
#include "out/number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 330, LEFT = 62, RIGHT = 16, TOP = 62, BOTTOM = 52, LABELS_MAX = 16 };

/* clang-format off */
/* Of a plot by itself: svg.css in light colours. */
static const char *const alone_style[] = {
    "<style>text{font:14px sans-serif;fill:#444}.rule{stroke:#ddd;fill:none}.zero{stroke:#888;fill:none}",
    ".curve{fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}.band{stroke:none;opacity:.16}",
    ".c0{stroke:#b8480f}.c1{stroke:#0072b2}.c2{stroke:#00805c}.c3{stroke:#b0568c}.c4{stroke:#a87800}",
    ".c5{stroke:#3d94c9}.c6{stroke:#6f4f9c}.c7{stroke:#777}.f0{fill:#b8480f}.f1{fill:#0072b2}.f2{fill:#00805c}",
    ".f3{fill:#b0568c}.f4{fill:#a87800}.f5{fill:#3d94c9}.f6{fill:#6f4f9c}.f7{fill:#777}</style>\n",
    NULL,
};
/* clang-format on */

/* Curves differ in dashes, too: in print, and for the colour blind. */
static const char *const dashes[SVG_COLOURS] = {"",    "9 5",  "2 5", "12 5 2 5",
                                                "5 5", "15 6", "2 8", "8 3"};

static void put_svg(struct buffer *b, const char *title, const char *class, double width,
                    double height, bool alone) {
    buffer_format(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"%s\" viewBox=\"0 0 ",
                  class);
    put_fixed(b, width, 0);
    buffer_text(b, " ");
    put_fixed(b, height, 0);
    buffer_text(b, "\"");
    if (alone) {
        buffer_text(b, " width=\"");
        put_fixed(b, width, 0);
        buffer_text(b, "\" height=\"");
        put_fixed(b, height, 0);
        buffer_text(b, "\"");
    }
    buffer_text(b, " role=\"img\" aria-label=\"");
    buffer_html(b, title);
    buffer_text(b, "\">\n");
    for (size_t i = 0; alone && alone_style[i]; i++)
        buffer_text(b, alone_style[i]);
}

/* A text at (x,y), anchored start, middle or end. */
static void open_text(struct buffer *b, double x, double y, const char *anchor) {
    buffer_text(b, "<text x=\"");
    put_fixed(b, x, 1);
    buffer_text(b, "\" y=\"");
    put_fixed(b, y, 1);
    buffer_format(b, "\" text-anchor=\"%s\">", anchor);
}

static void put_label(struct buffer *b, double x, double y, const char *anchor, const char *text) {
    open_text(b, x, y, anchor);
    buffer_html(b, text);
    buffer_text(b, "</text>\n");
}

static void put_rule(struct buffer *b, double y, double width, const char *class) {
    buffer_format(b, "<path class=\"%s\" d=\"M%d ", class, LEFT);
    put_fixed(b, y, 1);
    buffer_text(b, "H");
    put_fixed(b, width - RIGHT, 1);
    buffer_text(b, "\"/>\n");
}

static void put_legend(struct buffer *b, double x, double y, size_t index, const char *name,
                       bool filled) {
    if (filled)
        buffer_format(b, "<rect class=\"f%zu\" width=\"14\" height=\"10\" x=\"",
                      index % SVG_COLOURS);
    else
        buffer_format(b, "<path class=\"curve c%zu\" stroke-dasharray=\"%s\" d=\"M",
                      index % SVG_COLOURS, dashes[index % SVG_COLOURS]);
    put_fixed(b, x, 0);
    buffer_text(b, filled ? "\" y=\"" : " ");
    put_fixed(b, filled ? y - 10 : y - 5, 0);
    buffer_text(b, filled ? "\"/>" : "h24\"/>");
    put_label(b, x + (filled ? 20 : 30), y, "start", name);
}

/* Legends stand in rows of up to three above the plot. */
static int legend_rows(size_t names) {
    return names > 1 ? (int)((names + 2) / 3) : 0;
}

static void put_legends(struct buffer *b, const char *const *names, size_t count, bool filled) {
    for (size_t i = 0; count > 1 && i < count; i++)
        put_legend(b, LEFT + (double)(i % 3) * 192, 16 + (double)(i / 3) * 20, i, names[i], filled);
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The frame of a plot with lines. */
struct frame {
    const struct svg_lines *plot;
    double top, height;
};

static double at_x(const struct frame *f, double x) {
    const struct svg_lines *p = f->plot;
    return LEFT + (x - p->x_low) / (p->x_high - p->x_low) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct frame *f, double y) {
    const struct svg_lines *p = f->plot;
    return f->top + (p->y_high - y) / (p->y_high - p->y_low) * (f->height - f->top - BOTTOM);
}

static void put_point(struct buffer *b, const struct frame *f, char how, double x, double y) {
    buffer_bytes(b, &how, 1);
    put_fixed(b, at_x(f, x), 1);
    buffer_text(b, " ");
    put_fixed(b, at_y(f, y), 1);
}

/* The band of the points from `first` to before `end`, all of which have one. */
static void put_band_part(struct buffer *b, const struct frame *f, const struct svg_curve *c,
                          size_t first, size_t end) {
    for (size_t i = first; i < end; i++)
        put_point(b, f, i == first ? 'M' : 'L', c->x[i], c->high[i]);
    for (size_t i = end; i-- > first;)
        put_point(b, f, 'L', c->x[i], c->low[i]);
    buffer_text(b, "Z");
}

static void put_band(struct buffer *b, const struct frame *f, const struct svg_curve *c,
                     size_t colour) {
    if (!c->low || !c->high)
        return;
    buffer_format(b, "<path class=\"band f%zu\" d=\"", colour % SVG_COLOURS);
    for (size_t i = 0, first = 0; i <= c->count; i++) {
        if (i < c->count && !isnan(c->low[i]) && !isnan(c->high[i]))
            continue;
        if (i > first)
            put_band_part(b, f, c, first, i);
        first = i + 1;
    }
    buffer_text(b, "\"/>\n");
}

static void put_curve(struct buffer *b, const struct frame *f, const struct svg_curve *c,
                      size_t colour) {
    bool down = false;
    buffer_format(b, "<path class=\"curve c%zu\" stroke-dasharray=\"%s\" d=\"",
                  colour % SVG_COLOURS, dashes[colour % SVG_COLOURS]);
    for (size_t i = 0; i < c->count; i++) {
        if (!isnan(c->y[i]))
            put_point(b, f, down ? 'L' : 'M', c->x[i], c->y[i]);
        down = !isnan(c->y[i]);
    }
    buffer_text(b, "\"/>\n");
    for (size_t i = 0; i < c->count; i++) {
        if (isnan(c->y[i]))
            continue;
        buffer_format(b, "<circle class=\"f%zu\" r=\"3.5\" cx=\"", colour % SVG_COLOURS);
        put_fixed(b, at_x(f, c->x[i]), 1);
        buffer_text(b, "\" cy=\"");
        put_fixed(b, at_y(f, c->y[i]), 1);
        buffer_text(b, "\"/>");
    }
    buffer_text(b, "\n");
}

static void put_y_axis(struct buffer *b, const struct frame *f) {
    const struct svg_lines *p = f->plot;
    for (int i = 0; i <= 4; i++) {
        const double value = p->y_low + (p->y_high - p->y_low) * i / 4;
        put_rule(b, at_y(f, value), WIDTH, fabs(value) < 1e-9 ? "zero" : "rule");
        open_text(b, LEFT - 10, at_y(f, value) + 5, "end");
        put_fixed(b, value, 2);
        buffer_text(b, "</text>\n");
    }
    put_label(b, 0, f->top - 12 - (p->relative ? 22 : 0), "start", p->y_label);
}

static void put_x_axis(struct buffer *b, const struct frame *f) {
    const struct svg_lines *p = f->plot;
    const size_t step = (p->tick_count + LABELS_MAX - 1) / LABELS_MAX;
    for (size_t i = 0; i < p->tick_count; i += step) {
        open_text(b, at_x(f, p->ticks[i]), f->height - BOTTOM + 20, "middle");
        put_fixed(b, p->ticks[i], 0);
        buffer_text(b, "</text>\n");
    }
    /* The upper axis begins behind 0, where the labels of the left one end. */
    for (int i = p->ticks ? 1 : 0; i <= 4 && (p->relative || !p->ticks); i++) {
        const double share = i / 4.0, x = p->ticks ? share * p->x_high : share;
        if (x < p->x_low - 1e-9 || x > p->x_high + 1e-9)
            continue;
        open_text(b, at_x(f, x), p->ticks ? f->top - 10 : f->height - BOTTOM + 20, "middle");
        put_fixed(b, share, 2);
        buffer_text(b, "</text>\n");
    }
    put_label(b, WIDTH - RIGHT, f->height - 8, "end", p->x_label);
    if (p->relative && p->ticks)
        put_label(b, WIDTH - RIGHT, f->top - 34, "end", "relative layer");
}

void svg_lines(struct buffer *b, const struct svg_lines *plot, bool alone) {
    const char *names[64];
    const size_t count = plot->curve_count < 64 ? plot->curve_count : 64;
    const double extra = legend_rows(count) * 20;
    const double shorter = plot->relative ? 0 : 22; /* without the axis above */
    const struct frame f = {plot, TOP + extra - shorter, HEIGHT + extra - shorter};
    put_svg(b, plot->title, "chart plain", WIDTH, f.height, alone);
    for (size_t i = 0; i < count; i++)
        names[i] = plot->curves[i].name ? plot->curves[i].name : "";
    put_legends(b, names, count, false);
    put_y_axis(b, &f);
    put_x_axis(b, &f);
    for (size_t i = 0; i < count; i++)
        put_band(b, &f, &plot->curves[i], i);
    for (size_t i = 0; i < count; i++)
        put_curve(b, &f, &plot->curves[i], i);
    buffer_text(b, "</svg>\n");
}

/* ---- bars ------------------------------------------------------------------------------------ */

/* A whole number not below `value` that four divides where it is larger than 4. */
static double bars_top(double value) {
    double top = 4;
    while (top < value)
        top *= top * 1.5 < value || fmod(top, 8) != 0 ? 2 : 1.5;
    return top;
}

static void put_bar(struct buffer *b, double x, double y, double width, double height,
                    size_t colour) {
    const double numbers[4] = {x, y, width, height};
    static const char *const keys[4] = {" x=\"", " y=\"", " width=\"", " height=\""};
    buffer_format(b, "<rect class=\"f%zu\"", colour % SVG_COLOURS);
    for (int i = 0; i < 4; i++) {
        buffer_text(b, keys[i]);
        put_fixed(b, numbers[i], 1);
        buffer_text(b, "\"");
    }
    buffer_text(b, "/>");
}

void svg_bars(struct buffer *b, const struct svg_bars *p, bool alone) {
    double largest = 0;
    for (size_t i = 0; i < p->count * p->series; i++)
        largest = fmax(largest, p->values[i]);
    const double top = bars_top(largest), extra = legend_rows(p->series) * 20;
    const double above = 40 + extra, height = 270 + extra, room = height - above - BOTTOM;
    const double slot = (double)(WIDTH - LEFT - RIGHT) / (double)(p->count ? p->count : 1);
    const double width = slot * 0.76 / (double)(p->series ? p->series : 1);
    const size_t step = (p->count + LABELS_MAX) / (LABELS_MAX + 1);
    put_svg(b, p->title, "chart plain", WIDTH, height, alone);
    put_legends(b, p->names, p->names ? p->series : 0, true);
    put_label(b, 0, above - 14, "start", p->y_label);
    for (int i = 0; i <= 4; i++) {
        put_rule(b, above + room * (4 - i) / 4, WIDTH, i ? "rule" : "zero");
        open_text(b, LEFT - 10, above + room * (4 - i) / 4 + 5, "end");
        put_fixed(b, top * i / 4, 0);
        buffer_text(b, "</text>\n");
    }
    for (size_t i = 0; i < p->count; i++) {
        const double x = LEFT + slot * (double)i;
        for (size_t s = 0; s < p->series; s++) {
            const double tall = p->values[s * p->count + i] / top * room;
            put_bar(b, x + slot * 0.12 + width * (double)s, above + room - tall, width, tall, s);
        }
        if (i % step == 0 || i + 1 == p->count)
            put_label(b, x + slot / 2, height - BOTTOM + 20, "middle", p->labels[i]);
    }
    put_label(b, WIDTH - RIGHT, height - 8, "end", p->x_label);
    buffer_text(b, "</svg>\n");
}

/* ---- heat map -------------------------------------------------------------------------------- */

enum { HEAT_LABELS = 190, HEAT_LETTERS = 26, HEAT_ROW = 18, HEAT_TOP = 54 };

/* A text of at most `letters` letters. */
static void put_short(struct buffer *b, const char *text, size_t letters) {
    struct buffer cut = {0};
    const char *end = text;
    for (size_t i = 0; i < letters && *end; i++)
        utf8_next(&end);
    buffer_bytes(&cut, text, (size_t)(end - text));
    buffer_html(b, cut.data ? cut.data : "");
    buffer_text(b, *end ? "\xE2\x80\xA6" : "");
    buffer_free(&cut);
}

static void put_heat_key(struct buffer *b) {
    for (int i = 0; i <= 20; i++) {
        uint8_t rgb[3];
        look_colour(i / 20.0, rgb);
        buffer_format(b,
                      "<rect x=\"%d\" y=\"4\" width=\"6.5\" height=\"12\" fill=\"#%02x%02x%02x\"/>",
                      HEAT_LABELS + 20 + 6 * i, rgb[0], rgb[1], rgb[2]);
    }
    put_label(b, HEAT_LABELS + 12, 15, "end", "0");
    put_label(b, HEAT_LABELS + 156, 15, "start", "1");
}

static void put_heat_row(struct buffer *b, const struct svg_heat *p, size_t row, double width) {
    const double y = HEAT_TOP + HEAT_ROW * (double)row;
    open_text(b, HEAT_LABELS - 8, y + 14, "end");
    put_short(b, p->row_labels[row], HEAT_LETTERS);
    buffer_text(b, "</text>\n");
    for (size_t c = 0; c < p->columns; c++) {
        const double value = p->values[row * p->columns + c];
        uint8_t rgb[3];
        look_colour(value, rgb);
        buffer_text(b, "<rect x=\"");
        put_fixed(b, HEAT_LABELS + width * (double)c, 1);
        buffer_text(b, "\" y=\"");
        put_fixed(b, y, 0);
        buffer_text(b, "\" width=\"");
        put_fixed(b, width - 1, 1);
        buffer_format(b, "\" height=\"%d\" fill=\"#%02x%02x%02x\"><title>", HEAT_ROW - 1, rgb[0],
                      rgb[1], rgb[2]);
        buffer_html(b, p->row_labels[row]);
        buffer_text(b, ", ");
        buffer_html(b, p->column_labels[c]);
        buffer_text(b, ": ");
        put_fixed(b, value, 2);
        buffer_text(b, "</title></rect>\n");
    }
}

void svg_heat(struct buffer *b, const struct svg_heat *p, bool alone) {
    const double width = (double)(WIDTH - HEAT_LABELS) / (double)(p->columns ? p->columns : 1);
    const size_t step = (p->columns + LABELS_MAX - 1) / LABELS_MAX;
    put_svg(b, p->title, "chart heat", WIDTH, HEAT_TOP + HEAT_ROW * (double)p->rows + 4, alone);
    put_heat_key(b);
    put_label(b, HEAT_LABELS - 8, HEAT_TOP - 10, "end", p->x_label);
    for (size_t c = 0; c < p->columns; c += step)
        put_label(b, HEAT_LABELS + width * ((double)c + 0.5), HEAT_TOP - 10, "middle",
                  p->column_labels[c]);
    for (size_t row = 0; row < p->rows; row++)
        put_heat_row(b, p, row, width);
    buffer_text(b, "</svg>\n");
}
