/* Drawing letters: a glyph's strokes become line segments, and a pixel's coverage follows from its
 * distance d to the nearest of them,
 *     coverage = clamp(r - d + 1/2, 0, 1),   r half the stroke's width,
 * which gives round ends and joints and smooth edges at every size. */
#include "out/font.h"

#include "out/buffer.h"
#include "out/glyphs.h"

#include <math.h>
#include <string.h>

enum { SEGMENTS_MAX = 512, DEGREES_PER_SEGMENT = 8 };

static const double pi = 3.14159265358979323846;
static const double dot_radius = 1.3; /* of a dot, relative to a stroke */

struct segment {
    double x0, y0, x1, y1, r;
};

/* Runs a path: the pen, and where units of the glyph lie in the picture. */
struct pen {
    struct segment segments[SEGMENTS_MAX]; /* in pixels, y down */
    size_t count;
    double origin_x, origin_y, scale, radius; /* of this path */
    bool down;
    double x, y;
};

static void pen_segment(struct pen *p, double x0, double y0, double x1, double y1, double r) {
    if (p->count == SEGMENTS_MAX)
        return;
    struct segment *s = &p->segments[p->count++];
    s->x0 = p->origin_x + x0 * p->scale;
    s->y0 = p->origin_y - y0 * p->scale;
    s->x1 = p->origin_x + x1 * p->scale;
    s->y1 = p->origin_y - y1 * p->scale;
    s->r = r;
}

static void pen_to(struct pen *p, double x, double y) {
    if (p->down)
        pen_segment(p, p->x, p->y, x, y, p->radius);
    p->x = x;
    p->y = y;
    p->down = true;
}

/* cx cy rx ry from to, angles in degrees. */
static void pen_arc(struct pen *p, const double *a) {
    int pieces = (int)ceil(fabs(a[5] - a[4]) / DEGREES_PER_SEGMENT);
    for (int i = 0; i <= pieces; i++) {
        double angle = (a[4] + (a[5] - a[4]) * i / pieces) * pi / 180.0;
        pen_to(p, a[0] + a[2] * cos(angle), a[1] + a[3] * sin(angle));
    }
}

/* A decimal number, whatever the locale's decimal point; *text moves behind it. */
static double read_number(const char **text) {
    const char *s = *text + strspn(*text, " ");
    double sign = *s == '-' ? -1.0 : 1.0, value = 0.0, place = 1.0;
    s += *s == '-';
    for (; *s >= '0' && *s <= '9'; s++)
        value = value * 10.0 + (*s - '0');
    for (s += *s == '.'; *s >= '0' && *s <= '9'; s++)
        value += (*s - '0') * (place /= 10.0);
    *text = s;
    return sign * value;
}

/* Reads up to `max` numbers that follow; returns how many. */
static int read_numbers(const char **text, double *out, int max) {
    int count = 0;
    while (count < max) {
        const char *s = *text + strspn(*text, " ");
        if (*s != '-' && (*s < '0' || *s > '9'))
            break;
        out[count++] = read_number(text);
    }
    return count;
}

/* Draws a path at (x,y) units, `scale` times as large. Depth 0 may call for other glyphs (G). */
static void run_path(struct pen *p, const char *path, double x, double y, double scale, int depth) {
    double outer_x = p->origin_x, outer_y = p->origin_y, outer_scale = p->scale;
    double a[6];
    p->origin_x += x * p->scale;
    p->origin_y -= y * p->scale;
    p->scale *= scale;
    p->down = false;
    while (path && *path) {
        char command = *path++;
        if (command == '|')
            p->down = false;
        else if (command == 'L')
            while (read_numbers(&path, a, 2) == 2)
                pen_to(p, a[0], a[1]);
        else if (command == 'A' && read_numbers(&path, a, 6) == 6)
            pen_arc(p, a);
        else if (command == 'D' && read_numbers(&path, a, 2) == 2)
            pen_segment(p, a[0], a[1], a[0], a[1], p->radius * dot_radius);
        else if (command == 'G' && depth == 0) {
            uint32_t code = (uint32_t)(unsigned char)path[1];
            path += 2;
            if (read_numbers(&path, a, 3) == 3)
                run_path(p, glyph_of(code).path, a[0], a[1], a[2], 1);
            p->down = false;
        }
    }
    p->origin_x = outer_x;
    p->origin_y = outer_y;
    p->scale = outer_scale;
}

/* ---- raster ------------------------------------------------------------------------------- */

/* Distance of (x,y) to the segment less its radius. */
static double distance(const struct segment *s, double x, double y) {
    double dx = s->x1 - s->x0, dy = s->y1 - s->y0, length = dx * dx + dy * dy;
    double t = length > 0.0 ? ((x - s->x0) * dx + (y - s->y0) * dy) / length : 0.0;
    t = t < 0.0 ? 0.0 : t > 1.0 ? 1.0 : t;
    return hypot(x - s->x0 - t * dx, y - s->y0 - t * dy) - s->r;
}

static void blend(uint8_t *rgb, const uint8_t *colour, double coverage) {
    for (int c = 0; c < 3; c++)
        rgb[c] = (uint8_t)lround(rgb[c] + (colour[c] - rgb[c]) * coverage);
}

static int clip(double x, int limit) {
    return x < 0.0 ? 0 : x > limit ? limit : (int)x;
}

/* Fills the strokes that the pen has left. */
static void fill(struct image *image, const struct pen *p, const uint8_t *colour) {
    double left = 1e9, right = -1e9, top = 1e9, bottom = -1e9;
    for (size_t i = 0; i < p->count; i++) {
        const struct segment *s = &p->segments[i];
        left = fmin(left, fmin(s->x0, s->x1) - s->r - 1.0);
        right = fmax(right, fmax(s->x0, s->x1) + s->r + 2.0);
        top = fmin(top, fmin(s->y0, s->y1) - s->r - 1.0);
        bottom = fmax(bottom, fmax(s->y0, s->y1) + s->r + 2.0);
    }
    for (int y = clip(top, image->height); y < clip(bottom, image->height); y++)
        for (int x = clip(left, image->width); x < clip(right, image->width); x++) {
            double d = 1.0;
            for (size_t i = 0; i < p->count && d > -0.5; i++)
                d = fmin(d, distance(&p->segments[i], x + 0.5, y + 0.5));
            if (d < 0.5)
                blend(image->rgb + 3 * ((size_t)y * (size_t)image->width + (size_t)x), colour,
                      fmin(0.5 - d, 1.0));
        }
}

/* ---- text --------------------------------------------------------------------------------- */

static double scale_of(const struct lettering *l) {
    return l->size / (GLYPH_ASCENT + GLYPH_DESCENT);
}

/* The next character's glyph, with line breaks as blanks; false at the end of the text. */
static bool next_glyph(const char **text, const char *end, struct glyph *g) {
    uint32_t code = *text < end ? utf8_next(text) : 0;
    if (!code)
        return false;
    *g = glyph_of(code == '\n' || code == '\t' || code == '\r' ? ' ' : code);
    return true;
}

static double advance(const struct glyph *g) {
    return g->width + GLYPH_SPACING;
}

double font_width(const struct lettering *l, const char *text, size_t length) {
    const char *end = text + length;
    struct glyph g;
    double width = 0.0;
    while (next_glyph(&text, end, &g))
        width += advance(&g);
    return width * scale_of(l);
}

size_t font_fit(const struct lettering *l, const char *text, double width) {
    const char *at = text, *fits = text, *end = text + strlen(text);
    struct glyph g;
    double used = 0.0;
    while (next_glyph(&at, end, &g)) {
        used += advance(&g) * scale_of(l);
        if (used > width)
            break;
        fits = at;
    }
    return (size_t)(fits - text);
}

void font_draw(struct image *image, const struct lettering *l, double x, double y, const char *text,
               size_t length) {
    const char *end = text + length;
    double scale = scale_of(l);
    struct glyph g;
    while (x < image->width && next_glyph(&text, end, &g)) {
        struct pen pen;
        pen.count = 0;
        pen.origin_x = x + GLYPH_SPACING / 2.0 * scale;
        pen.origin_y = y;
        pen.scale = scale;
        pen.radius = GLYPH_STROKE / 2.0 * scale * l->weight;
        run_path(&pen, g.path, 0.0, 0.0, 1.0, 0);
        run_path(&pen, g.accent, g.width / 2.0, g.lift, 1.0, 0);
        fill(image, &pen, l->colour);
        x += advance(&g) * scale;
    }
}
