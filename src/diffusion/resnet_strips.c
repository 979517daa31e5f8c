/* A residual block in strips; formulas and shape letters in resnet_strips.h.
 *
 * All strips begin at multiples of one height, that of whole tiles of any convolution (CONV_STRIP),
 * and a 3x3 convolution needs a row more above and below. So a strip of h is made when the strip of
 * u below it is there, and a strip of y when the strip of h below it is:
 *
 *     u  ... k-1 [last row]   k   k+1          h  ... k-2 [last row]   k-1   k          y  ... k-1
 *
 * Each is kept in a window of rows that slides down the picture. Strips of x and y themselves are
 * computed where they lie if that is f32, else in rows beside. */
#include "diffusion/resnet_strips.h"

#include "base/size.h"
#include "nn/held.h"

#include <string.h>

/* Pixels that make a strip worth the packing of weights for it. */
enum { STRIP_PIXELS = 4096 };

/* Rows [first, first + count) of a picture, `width` floats each. */
struct window {
    float *data;
    size_t width, first, count;
};

/* Where u comes from. */
struct source {
    const float *x;          /* (H,W,C), held */
    const struct conv2d *up; /* NULL: u is x */
    size_t H, W;             /* sides of x */
};

struct strips {
    const struct resnet *w;
    struct source source;
    size_t H, W, height; /* height: rows of a strip */
    float *y;            /* (H,W,N), held */
    float *rows;         /* of x or y in f32; NULL where they are held so */
    float *a1, *b1;      /* (K) norm1 as a factor and a term */
    float *a2, *b2;      /* (N) norm2 */
    struct window u;     /* of act(norm1(u)) */
    struct window h;     /* of act(norm2(h)), or h */
};

static size_t strip_height(size_t H, size_t W) {
    const size_t strips = (STRIP_PIXELS + CONV_STRIP * W - 1) / (CONV_STRIP * W);
    return min(strips * CONV_STRIP, H);
}

/* ---- windows --------------------------------------------------------------------------------- */

/* Room for two strips and the row above them. */
static struct window new_window(dl_context *cx, const struct strips *s, size_t C) {
    const size_t rows = min(2 * s->height + 1, s->H);
    return (struct window){.data = floats(cx, rows * s->W * C), .width = s->W * C};
}

/* Forgets the rows above `keep` and takes rows up to `end` in; returns the place of the new ones.
 */
static float *slide(dl_context *cx, struct window *v, size_t keep, size_t end) {
    if (keep > v->first) {
        const size_t gone = min(keep - v->first, v->count);
        if (!planning(cx))
            memmove(v->data, v->data + gone * v->width,
                    (v->count - gone) * v->width * sizeof *v->data);
        v->first += gone;
        v->count -= gone;
    }
    float *fresh = v->data + v->count * v->width;
    v->count = end - v->first;
    return fresh;
}

/* ---- one strip ------------------------------------------------------------------------------- */

/* The rows of x that rows [first, end) of its enlargement, convolved, are made from. */
static void rows_below(const struct strips *s, size_t first, size_t end, size_t *low,
                       size_t *high) {
    *low = (first > 0 ? first - 1 : 0) * s->source.H / s->H;
    *high = min(end, s->H - 1) * s->source.H / s->H + 1;
}

/* Rows [first, end) of u. */
static void make_u(dl_context *cx, const struct strips *s, float *u, size_t first, size_t end) {
    const struct source *from = &s->source;
    if (!from->up) {
        const size_t row = s->W * s->w->K;
        held_get(cx, u, from->x, first * row, (end - first) * row);
        return;
    }
    const size_t row = from->W * from->up->weight.shape[1];
    size_t low = 0, high = 0;
    if (s->rows) {
        rows_below(s, first, end, &low, &high);
        held_get(cx, s->rows, from->x, low * row, (high - low) * row);
    }
    const struct conv_shape shape = {.B = 1,
                                     .H = from->H,
                                     .W = from->W,
                                     .stride = 1,
                                     .pad_before = 1,
                                     .pad_after = 1,
                                     .up_H = s->H,
                                     .up_W = s->W,
                                     .first = first,
                                     .rows = end - first,
                                     .x_first = low};
    op_conv2d(cx, u, s->rows ? s->rows : from->x, &from->up->weight, &shape,
              &(struct epilogue){.bias = from->up->bias});
}

/* y (end - first rows) = rows [first, end) of the convolution of x (H,W), whose rows begin with
 * x_first. */
static void convolve(dl_context *cx, float *y, const float *x, const struct conv2d *w, size_t H,
                     size_t W, size_t first, size_t end, size_t x_first, const float *residual) {
    const struct conv_shape shape = {.B = 1,
                                     .H = H,
                                     .W = W,
                                     .stride = 1,
                                     .pad_before = 1,
                                     .pad_after = 1,
                                     .first = first,
                                     .rows = end - first,
                                     .x_first = x_first};
    op_conv2d(cx, y, x, &w->weight, &shape,
              &(struct epilogue){.bias = w->bias, .residual = residual});
}

/* y, from number `at` on, = shortcut(u) of a strip. */
static void begin_y(dl_context *cx, const struct strips *s, const float *u, size_t at,
                    size_t pixels) {
    const size_t N = s->w->N;
    if (s->w->K == N) {
        if (s->source.up) /* else it is there */
            held_put(cx, s->y, at, u, pixels * N);
    } else if (s->rows) {
        linear(cx, s->rows, u, &s->w->shortcut, pixels);
        held_put(cx, s->y, at, s->rows, pixels * N);
    } else {
        linear(cx, s->y + at, u, &s->w->shortcut, pixels);
    }
}

/* The next strip of act(norm1(u)); in the last pass the shortcut of u goes to y. */
static void next_u(dl_context *cx, struct strips *s, size_t first, bool shortcut) {
    const size_t end = min(first + s->height, s->H), pixels = (end - first) * s->W;
    const enum activation act = s->w->style->act;
    float *u = slide(cx, &s->u, first > s->height ? first - s->height - 1 : 0, end);
    make_u(cx, s, u, first, end);
    if (shortcut)
        begin_y(cx, s, u, first * s->W * s->w->N, pixels);
    op_affine(cx, u, u, s->a1, s->b1, pixels, s->w->K, act);
}

/* The next strip of h, after the strip of u below it; norm2 is put in where it is known. */
static float *next_h(dl_context *cx, struct strips *s, size_t first, bool last_pass) {
    const size_t end = min(first + s->height, s->H);
    if (first == 0)
        next_u(cx, s, 0, last_pass);
    if (end < s->H)
        next_u(cx, s, end, last_pass);
    float *h = slide(cx, &s->h, first > s->height ? first - s->height - 1 : 0, end);
    convolve(cx, h, s->u.data, &s->w->conv1, s->H, s->W, first, end, s->u.first, NULL);
    if (last_pass)
        op_affine(cx, h, h, s->a2, s->b2, (end - first) * s->W, s->w->N, s->w->style->act);
    return h;
}

/* y += conv2(h) in the strip that begins with row `first`. */
static void finish(dl_context *cx, struct strips *s, size_t first) {
    const size_t end = min(first + s->height, s->H), row = s->W * s->w->N;
    float *y = s->rows ? s->rows : s->y + first * row;
    if (s->rows)
        held_get(cx, y, s->y, first * row, (end - first) * row);
    convolve(cx, y, s->h.data, &s->w->conv2, s->H, s->W, first, end, s->h.first, y);
    if (s->rows)
        held_put(cx, s->y, first * row, y, (end - first) * row);
}

/* ---- passes ---------------------------------------------------------------------------------- */

/* a1, b1 from the sums of u. */
static void first_pass(dl_context *cx, struct strips *s) {
    const struct resnet *w = s->w;
    const size_t mark = arena_mark(cx);
    struct group_sums sums;
    op_group_sums_begin(cx, &sums, w->K);
    for (size_t first = 0; first < s->H; first += s->height) {
        const size_t end = min(first + s->height, s->H);
        make_u(cx, s, s->u.data, first, end);
        op_group_sums_add(cx, &sums, s->u.data, (end - first) * s->W, w->K);
    }
    op_group_factors(cx, s->a1, s->b1, &sums, w->norm1.weight, w->norm1.bias, w->K,
                     w->style->groups, w->style->eps);
    arena_release(cx, mark);
}

/* a2, b2 from the sums of h. */
static void second_pass(dl_context *cx, struct strips *s) {
    const struct resnet *w = s->w;
    const size_t mark = arena_mark(cx);
    struct group_sums sums;
    op_group_sums_begin(cx, &sums, w->N);
    for (size_t first = 0; first < s->H; first += s->height) {
        const float *h = next_h(cx, s, first, false);
        op_group_sums_add(cx, &sums, h, (min(first + s->height, s->H) - first) * s->W, w->N);
    }
    op_group_factors(cx, s->a2, s->b2, &sums, w->norm2.weight, w->norm2.bias, w->N,
                     w->style->groups, w->style->eps);
    arena_release(cx, mark);
}

static void last_pass(dl_context *cx, struct strips *s) {
    s->u.first = s->u.count = s->h.first = s->h.count = 0;
    for (size_t first = 0; first < s->H; first += s->height) {
        next_h(cx, s, first, true);
        if (first > 0)
            finish(cx, s, first - s->height);
    }
    finish(cx, s, (s->H - 1) / s->height * s->height);
}

/* The most numbers that a strip takes of x below an enlargement, or of y. */
static size_t most_rows(const struct strips *s) {
    size_t most = s->height * s->W * s->w->N;
    for (size_t first = 0; s->source.up && first < s->H; first += s->height) {
        size_t low, high;
        rows_below(s, first, min(first + s->height, s->H), &low, &high);
        const size_t n = (high - low) * s->source.W * s->source.up->weight.shape[1];
        most = n > most ? n : most;
    }
    return most;
}

static void run(dl_context *cx, struct strips *s) {
    const size_t mark = arena_mark(cx), K = s->w->K, N = s->w->N;
    s->a1 = floats(cx, K);
    s->b1 = floats(cx, K);
    s->a2 = floats(cx, N);
    s->b2 = floats(cx, N);
    s->u = new_window(cx, s, K);
    s->h = new_window(cx, s, N);
    s->rows = cx->hold_f16 ? floats(cx, most_rows(s)) : NULL;
    first_pass(cx, s);
    second_pass(cx, s);
    last_pass(cx, s);
    arena_release(cx, mark);
}

void resnet_strips(dl_context *cx, float *x, const struct resnet *w, size_t H, size_t W) {
    struct strips s = {.w = w,
                       .source = {.x = x, .H = H, .W = W},
                       .H = H,
                       .W = W,
                       .height = strip_height(H, W),
                       .y = x};
    run(cx, &s);
}

/* How far x has to lie behind the beginning of y, in floats, so that rows of y written never reach
 * rows of x still to be read. A strip of y is begun when that of u is made, from x; the next one
 * needs x from the row above its first. */
static size_t distance(const struct strips *s, size_t x_row) {
    const size_t y_row = s->W * s->w->N;
    size_t most = 0;
    for (size_t end = s->height; end < s->H; end += s->height) {
        const size_t read = (end - 1) * s->source.H / s->H * x_row, written = end * y_row;
        if (written > read && written - read > most)
            most = written - read;
    }
    return most;
}

float *resnet_strips_enlarge(dl_context *cx, const float *x, const struct conv2d *up,
                             const struct resnet *w, size_t mark, size_t H, size_t W, size_t H2,
                             size_t W2) {
    const size_t x_row = W * up->weight.shape[1], x_size = H * x_row, y_size = H2 * W2 * w->N;
    struct strips s = {.w = w,
                       .source = {.up = up, .H = H, .W = W},
                       .H = H2,
                       .W = W2,
                       .height = strip_height(H2, W2)};
    const size_t at = held_floats(cx, distance(&s, x_row)), below = held_floats(cx, x_size);
    const size_t whole = held_floats(cx, y_size);
    s.y = floats_spread(cx, mark, x, below, at + below > whole ? at + below : whole, at);
    s.source.x = s.y + at;
    run(cx, &s);
    return floats_settle(cx, mark, s.y, whole);
}

void conv_strips(dl_context *cx, float *y, const float *x, const struct norm *norm,
                 const struct conv2d *conv, const struct resnet_style *style, size_t H, size_t W) {
    const size_t mark = arena_mark(cx), C = conv->weight.shape[1], N = conv->weight.shape[0];
    const size_t height = strip_height(H, W), row = W * C;
    float *a = floats(cx, C), *b = floats(cx, C);
    float *rows = floats(cx, min(height + 2, H) * row);
    struct group_sums sums;

    op_group_sums_begin(cx, &sums, C);
    for (size_t first = 0; first < H; first += height) {
        const size_t end = min(first + height, H);
        held_get(cx, rows, x, first * row, (end - first) * row);
        op_group_sums_add(cx, &sums, rows, (end - first) * W, C);
    }
    op_group_factors(cx, a, b, &sums, norm->weight, norm->bias, C, style->groups, style->eps);
    for (size_t first = 0; first < H; first += height) {
        const size_t end = min(first + height, H);
        const size_t low = first > 0 ? first - 1 : 0, high = min(end + 1, H);
        held_get(cx, rows, x, low * row, (high - low) * row);
        op_affine(cx, rows, rows, a, b, (high - low) * W, C, style->act);
        convolve(cx, y + first * W * N, rows, conv, H, W, first, end, low, NULL);
    }
    arena_release(cx, mark);
}
