/* The contact sheet. Layout, from the top left:
 *
 *     margin | title (one or two lines)
 *            | subtitle
 *            | caption   label   label   label        one per column
 *            | label     [cell]  [cell]  [cell]       one row per seed
 *
 * All sizes follow from the side of a cell, so that a large sheet has large lettering. */
#include "out/sheet.h"

#include "out/font.h"

#include <math.h>
#include <string.h>

enum { SHEET_PIXELS = 24000000, CELL_LEAST = 16, TITLE_LINES = 2, TEXT_MAX = 512 };

static const uint8_t ink[3] = {28, 28, 32}, faint[3] = {112, 112, 120};
static const uint8_t hairline[3] = {222, 222, 226}, empty[3] = {243, 243, 245};

static const char ellipsis[] = "\xE2\x80\xA6";

struct layout {
    int cell_width, cell_height, gap, margin;
    int left, top; /* of the first cell */
    int width, height;
    struct lettering title, label; /* title bold, labels plain */
    int title_lines, title_height, label_height;
};

static int rounded(double x) {
    return (int)lround(x);
}

/* The first `length` bytes of a text, or as many as fit with an ellipsis behind them. */
static void cut_text(char out[TEXT_MAX], const struct lettering *l, const char *text,
                     double width) {
    size_t length = strlen(text), fits = font_fit(l, text, width);
    size_t room = TEXT_MAX - sizeof ellipsis;
    if (fits == length && length <= room) {
        memcpy(out, text, length + 1);
        return;
    }
    fits = font_fit(l, text, width - font_width(l, ellipsis, sizeof ellipsis));
    fits = fits < room ? fits : room;
    while (fits > 0 && ((unsigned char)text[fits] & 0xC0) == 0x80)
        fits--; /* not inside a character */
    while (fits > 0 && text[fits - 1] == ' ')
        fits--;
    memcpy(out, text, fits);
    memcpy(out + fits, ellipsis, sizeof ellipsis);
}

/* Bytes of the first line of a text wrapped at spaces; a word that fills the line is broken. */
static size_t line_length(const struct lettering *l, const char *text, double width) {
    size_t fits = font_fit(l, text, width), at = fits;
    if (!text[fits])
        return fits;
    while (at > 0 && text[at] != ' ')
        at--;
    return at > 0 ? at : fits;
}

/* ---- layout ------------------------------------------------------------------------------- */

/* The shape of a cell: that of the first picture there is, square without any. */
static void cell_shape(const struct sheet *s, int *width, int *height) {
    *width = *height = SHEET_CELL_MIN;
    for (size_t i = 0; i < s->rows * s->columns; i++)
        if (s->cells[i].rgb) {
            *width = s->cells[i].width;
            *height = s->cells[i].height;
            return;
        }
}

/* The longer side of a cell: the picture's own between the limits, less where the sheet would get
 * too large. */
static int cell_side(const struct sheet *s, int width, int height) {
    int longer = width > height ? width : height;
    double side = fmin(fmax(longer, SHEET_CELL_MIN), SHEET_CELL_MAX);
    double pixels = side * side * (double)s->rows * (double)s->columns;
    pixels *= (double)(width < height ? width : height) / longer;
    side *= fmin(1.0, sqrt(SHEET_PIXELS / pixels));
    side = fmin(side, (double)(IMAGE_SIDE_MAX - 2048) /
                          (double)(s->rows > s->columns ? s->rows : s->columns) / 1.1);
    return side < CELL_LEAST ? CELL_LEAST : rounded(side);
}

static double widest(const struct lettering *l, const char *const *labels, size_t count) {
    double width = 0.0;
    for (size_t i = 0; labels && i < count; i++)
        width = fmax(width, font_width(l, labels[i], strlen(labels[i])));
    return width;
}

static void set_lettering(struct layout *o, int side) {
    double size = fmin(fmax(6.0 + side * 0.085, 13.0), 28.0);
    o->label.size = size;
    o->label.weight = 1.0;
    memcpy(o->label.colour, faint, sizeof faint);
    o->title.size = size * 1.5;
    o->title.weight = 1.35;
    memcpy(o->title.colour, ink, sizeof ink);
    o->label_height = rounded(size * 1.6);
    o->title_height = rounded(size * 2.1);
}

static int lay_out(dl_context *cx, const struct sheet *s, struct layout *o) {
    int shape_width, shape_height;
    if (!s->rows || !s->columns || s->rows > IMAGE_SIDE_MAX || s->columns > IMAGE_SIDE_MAX)
        return fail(cx, DL_USAGE, "sheet of %zu rows and %zu columns: 1 to %d of each are drawn",
                    s->rows, s->columns, IMAGE_SIDE_MAX);
    cell_shape(s, &shape_width, &shape_height);
    int side = cell_side(s, shape_width, shape_height);
    image_fit(shape_width, shape_height, side, side, &o->cell_width, &o->cell_height);
    set_lettering(o, side);
    o->gap = side / 24 + 2;
    o->margin = rounded(o->label.size * 1.8);
    double caption = s->column_caption
                         ? font_width(&o->label, s->column_caption, strlen(s->column_caption))
                         : 0.0;
    double labels =
        fmin(fmax(widest(&o->label, s->row_labels, s->rows), caption), 16.0 * o->label.size);
    o->left = o->margin + (labels > 0.0 ? rounded(labels + o->label.size * 0.9) : 0);
    o->width = o->left + (int)s->columns * (o->cell_width + o->gap) - o->gap + o->margin;
    int least = rounded(o->title.size * 17.0); /* room for a title over a single picture */
    o->width = o->width < least ? least : o->width;
    double room = o->width - 2.0 * o->margin;
    size_t first = line_length(&o->title, s->title, room);
    o->title_lines = !s->title[0] ? 0 : s->title[first] ? TITLE_LINES : 1;
    o->top = o->margin + o->title_lines * o->title_height + (s->subtitle ? o->label_height : 0) +
             (s->column_labels ? o->label_height + rounded(o->label.size * 0.6) : 0);
    o->height = o->top + (int)s->rows * (o->cell_height + o->gap) - o->gap + o->margin;
    return DL_OK;
}

double sheet_pixels(size_t rows, size_t columns, int width, int height) {
    const struct sheet s = {.rows = rows, .columns = columns};
    struct layout o;
    const int side = cell_side(&s, width, height);
    image_fit(width, height, side, side, &o.cell_width, &o.cell_height);
    set_lettering(&o, side);
    const double gap = side / 24 + 2, around = 2 * o.title_height + 4 * o.label_height;
    const double across = (double)columns * (o.cell_width + gap) + around;
    return fmax(across, o.title.size * 17.0) * ((double)rows * (o.cell_height + gap) + around);
}

/* ---- drawing ------------------------------------------------------------------------------ */

static void fill_box(struct image *image, int x, int y, int width, int height,
                     const uint8_t colour[3]) {
    for (int j = y; j < y + height; j++)
        for (int i = x; i < x + width; i++)
            memcpy(image->rgb + 3 * ((size_t)j * (size_t)image->width + (size_t)i), colour, 3);
}

static void draw_cut(struct image *out, const struct lettering *l, double x, double y,
                     const char *text, double width) {
    char line[TEXT_MAX];
    cut_text(line, l, text, width);
    font_draw(out, l, x, y, line, strlen(line));
}

static void draw_heading(struct image *out, const struct sheet *s, const struct layout *o) {
    double room = o->width - 2.0 * o->margin, y = o->margin + o->title.size * 0.8;
    const char *text = s->title;
    for (int line = 0; line < o->title_lines; line++, y += o->title_height) {
        if (line + 1 < o->title_lines) {
            size_t length = line_length(&o->title, text, room);
            font_draw(out, &o->title, o->margin, y, text, length);
            text += length + strspn(text + length, " ");
        } else {
            draw_cut(out, &o->title, o->margin, y, text, room);
        }
    }
    if (s->subtitle)
        draw_cut(out, &o->label, o->margin,
                 o->margin + o->title_lines * o->title_height + o->label.size * 0.7, s->subtitle,
                 room);
}

static void draw_labels(struct image *out, const struct sheet *s, const struct layout *o) {
    double y = o->top - o->label.size * 0.7, room = o->left - o->margin;
    if (s->column_caption)
        draw_cut(out, &o->label, o->margin, y, s->column_caption, room);
    for (size_t i = 0; s->column_labels && i < s->columns; i++) {
        char text[TEXT_MAX];
        cut_text(text, &o->label, s->column_labels[i], o->cell_width);
        double width = font_width(&o->label, text, strlen(text));
        double x = o->left + (double)i * (o->cell_width + o->gap) + (o->cell_width - width) / 2.0;
        font_draw(out, &o->label, x, y, text, strlen(text));
    }
    for (size_t i = 0; s->row_labels && i < s->rows; i++) {
        double middle = o->top + (double)i * (o->cell_height + o->gap) + o->cell_height / 2.0;
        draw_cut(out, &o->label, o->margin, middle + o->label.size * 0.28, s->row_labels[i],
                 room - o->label.size * 0.5);
    }
}

/* The picture, fitted into its cell, in a hairline frame: many pictures are white at the border. */
static int draw_cell(dl_context *cx, struct image *out, const struct layout *o, int x, int y,
                     const struct sheet_cell *cell) {
    struct image fitted;
    int width, height;
    if (!cell->rgb) {
        fill_box(out, x, y, o->cell_width, o->cell_height, empty);
        return DL_OK;
    }
    if (cell->width < 1 || cell->height < 1)
        return fail(cx, DL_USAGE, "sheet: a picture of %dx%d pixels", cell->width, cell->height);
    image_fit(cell->width, cell->height, o->cell_width, o->cell_height, &width, &height);
    DL_TRY(image_resize(cx, cell->rgb, cell->width, cell->height, width, height, &fitted));
    x += (o->cell_width - width) / 2;
    y += (o->cell_height - height) / 2;
    fill_box(out, x - 1, y - 1, width + 2, height + 2, hairline);
    for (int row = 0; row < height; row++)
        memcpy(out->rgb + 3 * ((size_t)(y + row) * (size_t)out->width + (size_t)x),
               fitted.rgb + 3 * (size_t)row * (size_t)width, 3 * (size_t)width);
    image_free(&fitted);
    return DL_OK;
}

int sheet_make(dl_context *cx, const struct sheet *s, struct image *out) {
    struct layout o;
    int status = DL_OK;
    memset(out, 0, sizeof *out);
    DL_TRY(lay_out(cx, s, &o));
    DL_TRY(image_make(cx, o.width, o.height, out));
    draw_heading(out, s, &o);
    draw_labels(out, s, &o);
    for (size_t i = 0; !status && i < s->rows * s->columns; i++) {
        int x = o.left + (int)(i % s->columns) * (o.cell_width + o.gap);
        int y = o.top + (int)(i / s->columns) * (o.cell_height + o.gap);
        status = draw_cell(cx, out, &o, x, y, &s->cells[i]);
    }
    if (status)
        image_free(out);
    return status;
}
