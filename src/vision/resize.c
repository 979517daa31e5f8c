/* Resizing as Pillow does it (Resample.c, Geometry.c), to the same bytes.
 *
 * A side of n pixels that becomes m has the scale s = n / m and, for pixel i of the result, the
 * centre c = (i + 1/2) s. Each result is a weighted sum of the pixels under the filter, which is
 * made wider where the picture shrinks (antialiasing):
 *
 *     y[i] = sum_j w_j x[j],   w_j = f((j - c + 1/2) / max(s, 1)) / sum of these
 *
 * over the j whose centres are within the filter's support. The weights are fixed-point numbers
 * with 22 bits behind the point, and the result of each of the two passes is rounded to 8 bits, so
 * their order counts: that is what makes the bytes the same. Nearest neighbour has its own way.
 *
 * Filters: box, triangle (bilinear), Hamming, Keys' cubic with a = -1/2, Lanczos with 3 lobes.
 * Source: Pillow 13, src/libImaging; Keys 1981; Duchon 1979 (Lanczos). Before Pillow 13 the order
 * of the passes was another, and the bytes of some sizes a few steps away. */
#include "vision/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

enum { FIXED_BITS = 32 - 8 - 2 };

/* ---- filters ------------------------------------------------------------------------------- */

static double box(double x) {
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double hamming(double x) {
    x = fabs(x);
    if (x == 0.0)
        return 1.0;
    if (x >= 1.0)
        return 0.0;
    x *= pi;
    return sin(x) / x * ((double)0.54f + (double)0.46f * cos(x)); /* constants in f32 there */
}

static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

static double sinc(double x) {
    return x == 0.0 ? 1.0 : sin(x * pi) / (x * pi);
}

static double lanczos(double x) {
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

struct filter {
    double (*at)(double x);
    double support; /* f is 0 beyond */
};

static const struct filter filters[] = {
    [RESAMPLE_LANCZOS] = {lanczos, 3.0}, [RESAMPLE_BILINEAR] = {triangle, 1.0},
    [RESAMPLE_BICUBIC] = {cubic, 2.0},   [RESAMPLE_BOX] = {box, 0.5},
    [RESAMPLE_HAMMING] = {hamming, 1.0},
};

/* ---- one side ------------------------------------------------------------------------------ */

/* A side: from n pixels to m, of which `count` from `first` on are wanted. */
struct side {
    size_t n, m, first, count;
};

/* Result i, counted from the first wanted, is the sum over k < length[i] of
 * weight[i * room + k] x[begin[i] + k]. */
struct weights {
    size_t room, *begin, *length;
    int32_t *weight;
};

static void weights_free(struct weights *w) {
    free(w->begin);
    free(w->length);
    free(w->weight);
}

/* Rounded half away from 0. */
static int32_t fixed_point(double x) {
    const double scaled = x * (1 << FIXED_BITS);
    return (int32_t)(x < 0 ? scaled - 0.5 : scaled + 0.5);
}

/* Not rounded but cut, as C does, and at 0. */
static size_t cut(double x) {
    return x > 0 ? (size_t)x : 0;
}

/* The weights of result i, through `scratch` (room). */
static void fill_weights(struct weights *w, const struct side *s, const struct filter *f, size_t i,
                         double *scratch) {
    const double scale = (double)s->n / (double)s->m, wide = scale > 1.0 ? scale : 1.0;
    const double centre = ((double)(s->first + i) + 0.5) * scale, support = f->support * wide;
    const size_t begin = cut(centre - support + 0.5), limit = cut(centre + support + 0.5);
    const size_t end = limit < s->n ? limit : s->n;
    const double narrow = 1.0 / wide;
    double sum = 0.0;
    w->begin[i] = begin;
    w->length[i] = end - begin;
    for (size_t k = 0; k < end - begin; k++) {
        scratch[k] = f->at(((double)(k + begin) - centre + 0.5) * narrow);
        sum += scratch[k];
    }
    for (size_t k = 0; k < end - begin; k++)
        w->weight[i * w->room + k] = fixed_point(sum != 0.0 ? scratch[k] / sum : scratch[k]);
}

static int make_weights(dl_context *cx, const struct side *s, const struct filter *f,
                        struct weights *w) {
    const double scale = (double)s->n / (double)s->m;
    double *scratch = NULL;
    *w = (struct weights){.room = (size_t)ceil(f->support * (scale > 1.0 ? scale : 1.0)) * 2 + 1};
    int status = allocate(cx, "filter", s->count, sizeof *w->begin, (void **)&w->begin);
    if (status == DL_OK)
        status = allocate(cx, "filter", s->count, sizeof *w->length, (void **)&w->length);
    if (status == DL_OK)
        status = allocate(cx, "filter", s->count * w->room, sizeof *w->weight, (void **)&w->weight);
    if (status == DL_OK)
        status = allocate(cx, "filter", w->room, sizeof *scratch, (void **)&scratch);
    for (size_t i = 0; i < s->count && status == DL_OK; i++)
        fill_weights(w, s, f, i, scratch);
    free(scratch);
    return status;
}

/* A fixed-point sum, half a bit of the last place in it, as a byte. */
static uint8_t to_byte(int32_t sum) {
    const int32_t value = sum < 0 ? 0 : sum >> FIXED_BITS;
    return (uint8_t)(value > 255 ? 255 : value);
}

/* Makes `begin` count from the first pixel that is needed; returns it and how many there are. */
static size_t count_from_first(struct weights *w, size_t count, size_t *needed) {
    const size_t first = w->begin[0];
    *needed = w->begin[count - 1] + w->length[count - 1] - first;
    for (size_t i = 0; i < count; i++)
        w->begin[i] -= first;
    return first;
}

/* ---- both sides ---------------------------------------------------------------------------- */

/* out (rows, count, 3) from x, rows of `stride` bytes. */
static void resize_columns(const struct weights *w, size_t count, const uint8_t *x, size_t stride,
                           size_t rows, uint8_t *out) {
    for (size_t y = 0; y < rows; y++, x += stride)
        for (size_t i = 0; i < count; i++) {
            const int32_t *weight = w->weight + i * w->room;
            const uint8_t *pixel = x + w->begin[i] * 3;
            int32_t red = 1 << (FIXED_BITS - 1), green = red, blue = red;
            for (size_t k = 0; k < w->length[i]; k++, pixel += 3) {
                red += weight[k] * pixel[0];
                green += weight[k] * pixel[1];
                blue += weight[k] * pixel[2];
            }
            *out++ = to_byte(red);
            *out++ = to_byte(green);
            *out++ = to_byte(blue);
        }
}

/* out (count, bytes) from x, rows of `stride` bytes; sum (bytes) is scratch. */
static void resize_rows(const struct weights *w, size_t count, const uint8_t *x, size_t stride,
                        size_t bytes, int32_t *sum, uint8_t *out) {
    for (size_t i = 0; i < count; i++) {
        for (size_t b = 0; b < bytes; b++)
            sum[b] = 1 << (FIXED_BITS - 1);
        for (size_t k = 0; k < w->length[i]; k++) {
            const uint8_t *row = x + (w->begin[i] + k) * stride;
            const int32_t weight = w->weight[i * w->room + k];
            for (size_t b = 0; b < bytes; b++)
                sum[b] += weight * row[b];
        }
        for (size_t b = 0; b < bytes; b++)
            *out++ = to_byte(sum[b]);
    }
}

/* Pillow's choice: the rows first where they lose more than twice as many as the columns. */
static bool rows_first(const struct side *columns, const struct side *rows) {
    return rows->m < rows->n && rows->n - rows->m + 2 * columns->m > 2 * columns->n;
}

/* out (rows->count, columns->count, 3) by the two passes, with the weights of both. */
static int two_passes(dl_context *cx, const struct image *image, const struct side *columns,
                      struct weights *wx, const struct side *rows, struct weights *wy,
                      uint8_t *out) {
    size_t width, height; /* of what is needed of the picture */
    const size_t left = count_from_first(wx, columns->count, &width);
    const size_t top = count_from_first(wy, rows->count, &height);
    const uint8_t *x = image->rgb + (top * columns->n + left) * 3;
    const bool across = !rows_first(columns, rows);
    const size_t stride = columns->n * 3, bytes = (across ? columns->count : width) * 3;
    uint8_t *between = NULL; /* (height, columns->count, 3) or (rows->count, width, 3) */
    int32_t *sum = NULL;
    int status = allocate(cx, "picture", across ? height : rows->count, bytes, (void **)&between);
    if (status == DL_OK)
        status = allocate(cx, "picture", bytes, sizeof *sum, (void **)&sum);
    if (status == DL_OK && across) {
        resize_columns(wx, columns->count, x, stride, height, between);
        resize_rows(wy, rows->count, between, bytes, bytes, sum, out);
    } else if (status == DL_OK) {
        resize_rows(wy, rows->count, x, stride, bytes, sum, between);
        resize_columns(wx, columns->count, between, bytes, rows->count, out);
    }
    free(between);
    free(sum);
    return status;
}

/* A side that keeps its length passes through: its weights are a one among zeros. */
static int resize_both(dl_context *cx, const struct image *image, const struct side *columns,
                       const struct side *rows, const struct filter *f, uint8_t *out) {
    struct weights wx, wy = {0};
    int status = make_weights(cx, columns, f, &wx);
    if (status == DL_OK)
        status = make_weights(cx, rows, f, &wy);
    if (status == DL_OK)
        status = two_passes(cx, image, columns, &wx, rows, &wy, out);
    weights_free(&wx);
    weights_free(&wy);
    return status;
}

/* ---- nearest neighbour --------------------------------------------------------------------- */

/* place (count): the pixel under the centre of each wanted result, by adding up the scale as Pillow
 * does, errors of rounding and all. */
static void nearest_places(const struct side *s, size_t *place) {
    const double scale = (double)s->n / (double)s->m;
    double at = 0.0 + scale * 0.5;
    for (size_t i = 0; i < s->first + s->count; i++, at += scale)
        if (i >= s->first)
            place[i - s->first] = cut(at) < s->n ? cut(at) : s->n - 1;
}

static int resize_nearest(dl_context *cx, const struct image *image, const struct side *columns,
                          const struct side *rows, uint8_t *out) {
    size_t *x, *y;
    DL_TRY(allocate(cx, "picture", columns->count + rows->count, sizeof *x, (void **)&x));
    y = x + columns->count;
    nearest_places(columns, x);
    nearest_places(rows, y);
    for (size_t i = 0; i < rows->count; i++)
        for (size_t j = 0; j < columns->count; j++, out += 3)
            memcpy(out, image->rgb + (y[i] * columns->n + x[j]) * 3, 3);
    free(x);
    return DL_OK;
}

int resize_part(dl_context *cx, const struct image *image, size_t new_width, size_t new_height,
                enum resample resample, const struct part *part, uint8_t *out) {
    const struct side columns = {(size_t)image->width, new_width, part->left, part->width};
    const struct side rows = {(size_t)image->height, new_height, part->top, part->height};
    if (resample == RESAMPLE_NEAREST)
        return resize_nearest(cx, image, &columns, &rows, out);
    return resize_both(cx, image, &columns, &rows, &filters[resample], out);
}
