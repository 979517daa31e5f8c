/* 3x3 convolution of stride 1 where the processor multiplies whole matrices (AMX), by lines of
 * pixels as they lie:
 *
 *     y[m, n] = epilogue( sum_{c,p,q} x[at(m) + p line + q, c] w[n, c, p, q] )
 *
 * Under any tap, the inputs of neighbouring outputs are neighbouring pixels: a matrix whose rows
 * lie one pixel apart, which is all that a tile of the left operand asks for. So the pixels of a
 * block, padding and all, are packed once, not once under each tap, and no row of windows is
 * gathered. They lie in planes of as many channels as a tile is deep:
 *
 *     X (planes, lines + 2, W + 2, 32 channels)          where 16 outputs stand in one line
 *     X (planes, 3, lines + 2, W, 32 channels)           where they go on in the next one: copy q
 *                                                        holds pixels [q, q + W) of each line
 *
 * What multiplies so fast waits for its operands (bench/README.md). A tile's sums therefore stay in
 * registers for hundreds of channels; the weights of a panel of columns, in the second cache, meet
 * all rows of the block before the next panel is packed; the nine taps of a plane find its pixels
 * in the first cache.
 *
 * A norm before the convolution goes in as pixels are packed: what it gives is never written.
 *
 * A tile is 16 neighbouring outputs of one picture, so a picture's lines must fall into groups of
 * whole tiles. Each output's sum runs over the channels in an order that depends on C alone, that
 * of gemm.c: the results are equal, bit for bit, but for a norm.
 *
 * Of an input that was enlarged twice, to the nearest, several taps see the same pixel. So the
 * small picture is convolved four times, with the sums of the weights that meet, for the outputs in
 * even and odd lines and columns (phases a, b), four taps instead of nine:
 *
 *     y[2i + a, 2j + b] = sum_{c,p,q in 0,1} x[i + a - 1 + p, j + b - 1 + q, c] w_ab[n, c, p, q]
 *     w_ab[p, q] = sum of w[p', q'] over p' in R(a, p), q' in R(b, q)
 *     R(0, 0) = {0}   R(0, 1) = {1, 2}   R(1, 0) = {0, 1}   R(1, 1) = {2}
 *
 * B batch   C channels in   N channels out   H, W sides of the output, or of the small picture */
#include "kernels/conv3x3.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/threads.h"

#include <string.h>

enum {
    TAPS = 9,
    PHASES = 4,         /* of an enlargement, */
    FEW_TAPS = 4,       /* taps of each */
    PART = 10,          /* planes that a block takes at a time: 800 KB of pixels, 184 of weights */
    BLOCK_AREA = 10240, /* pixels of a block times these planes, unless a line has more */
    LINE_PIXELS = 64,   /* packed at a time */
    LINE = 64 / sizeof(float)
};

/* Times in units of a multiply-add of f32 (bench/README.md): packing a weight, packing a number of
 * a pixel. */
static const double WEIGHT_COST = 12.0, PIXEL_COST = 4.0;

struct grid {
    size_t line_blocks, column_blocks; /* the grid of tasks */
    size_t lines, panels;              /* of the largest */
    bool keeps;                        /* packed weights, for the next lines below */
};

/* What all tasks have in common. */
struct job {
    const struct conv3x3 *p;
    const struct kernels *kernels;
    const struct products *format;
    struct grid grid;
    size_t channels, planes; /* of a plane, their number */
    size_t part;             /* planes that a block takes at a time */
    size_t H, W;             /* of y, or of the small picture */
    size_t phases, taps;     /* taps of each */
    size_t unit;             /* lines that are whole tiles together */
    size_t copies, width;    /* of a plane's pixels; pixels of a line there */
};

/* What one thread needs. */
struct scratch {
    const float **at; /* (padded lines, W + 2) where the block's pixels lie */
    float *x;         /* (planes of a part, copies, padded lines, width, lanes) and packed */
    float *w;         /* (phases, planes of a part, taps, lanes, columns) a panel's weights, packed;
                         with `keeps` of all panels, part by part */
    size_t kept;      /* 1 + the column of tasks whose weights these are; 0: of none */
    float *wide;      /* (columns, channels, TAPS) widened, where they are not f32 */
    float *window;    /* (TAPS, channels, columns) and transposed */
    float *tap;       /* (channels, columns) sums of them for a tap of a phase */
    float *sum;       /* (panels, phases, lines, W, columns), or if there is but one part of one
                         tile */
};

/* One task: lines [first, last) of all pictures, columns [column, end). */
struct block {
    size_t first, last, column, end;
    size_t plane, line, next; /* lanes from plane to plane, down a line, to the next pixel */
};

/* Lines of W pixels that are whole tiles together. */
static size_t lines_of_tiles(size_t tile, size_t W) {
    size_t lines = 1;
    while (lines * W % tile)
        lines++;
    return lines;
}

bool lines_fit(const struct products *format, size_t out_H, size_t out_W) {
    return format->window_tile && out_H % lines_of_tiles(format->lane_step, out_W) == 0;
}

bool lines_fit_twice(const struct products *format, size_t W) {
    return format->window_tile && W % format->lane_step == 0;
}

/* ---- the grid -------------------------------------------------------------------------------- */

/* Floats of the packed weights of a panel. */
static size_t panel_size(const struct job *job) {
    return job->planes * job->phases * job->taps * job->format->lane_step * job->kernels->columns;
}

/* Padded lines under those of a block, at most: two more for each picture that it meets. */
static size_t padded_lines(const struct job *job, size_t lines) {
    return lines + 2 * (lines / job->H + 2);
}

/* The cheapest grid: rounds of tasks, each products, pixels and weights. */
static struct grid choose_grid(const struct job *job, size_t threads) {
    const struct conv3x3 *p = job->p;
    const size_t units = p->B * job->H / job->unit, taps = job->phases * job->taps;
    const size_t panels = ceil_div(p->N, job->kernels->columns);
    const size_t most = BLOCK_AREA / min(job->part, job->planes) / (job->W * job->unit);
    const size_t fewest = ceil_div(units, most ? most : 1);
    struct grid best = {0};
    double least = 0.0;
    for (size_t cb = 1; cb <= min(panels, 2 * threads); cb++)
        for (size_t lb = fewest; lb <= min(units, fewest + 2 * threads); lb++) {
            struct grid g = {lb, cb, ceil_div(units, lb) * job->unit, ceil_div(panels, cb), false};
            g.keeps = lb * cb > threads && g.panels * panel_size(job) <= KEPT_WEIGHTS;
            const double rounds = (double)ceil_div(lb * cb, threads);
            const double m = (double)(g.lines * job->W);
            const double n = (double)(g.panels * job->kernels->columns);
            const double cost =
                rounds * ((double)taps * m * n / job->format->speed +
                          PIXEL_COST * (double)((g.lines + 2) * job->W)) +
                (g.keeps ? (double)ceil_div(cb, threads) : rounds) * WEIGHT_COST * (double)taps * n;
            if (least > 0.0 && cost >= least)
                continue;
            least = cost;
            best = g;
        }
    return best;
}

/* ---- packing --------------------------------------------------------------------------------- */

/* Which of the block's padded lines is the uppermost under the windows of line g of them all. */
static size_t padded_line(const struct job *job, size_t g, size_t first) {
    return g - first + 2 * (g / job->H - first / job->H);
}

/* Where the pixel in line i, column j of the padded picture lies; one of a small picture under the
 * second of those that it becomes, which padding of one moves to an even place. */
static const float *pixel_at(const struct conv3x3 *p, size_t b, size_t i, size_t j) {
    return p->twice ? p->pixel(p->source, b, 2 * i, 2 * j) : p->pixel(p->source, b, i, j);
}

/* Where the pixels of the block's padded lines lie; the number of lines. */
static size_t locate_pixels(const struct job *job, const float **at, size_t first, size_t last) {
    size_t lines = 0;
    for (size_t g = first; g < last; g++)
        for (size_t i = g == first || g % job->H == 0 ? 0 : 2; i < 3; i++, lines++)
            for (size_t j = 0; j < job->W + 2; j++)
                *at++ = pixel_at(job->p, g / job->H, g % job->H + i, j);
    return lines;
}

/* Packs pixels of a padded line, the first at *at, in planes [first, last); `item`: the picture
 * that they are of. */
static void pack_line(const struct job *job, float *to, size_t plane, const float *const *at,
                      size_t item, size_t first, size_t last) {
    const struct conv3x3 *p = job->p;
    const size_t c = first * job->channels, n = min(last * job->channels, p->C) - c;
    const float *x[LINE_PIXELS];
    for (size_t j = 0; j < job->width; j += LINE_PIXELS) {
        const size_t count = min(LINE_PIXELS, job->width - j);
        for (size_t i = 0; i < count; i++)
            x[i] = at[j + i] ? at[j + i] + c : NULL;
        job->format->planes(to + j * job->format->lane_step, plane, x, count, n,
                            p->norm ? p->norm->a + item * p->C + c : NULL,
                            p->norm ? p->norm->b + item * p->C + c : NULL,
                            p->norm && p->norm->act == ACT_SILU);
    }
}

/* Packs the block's pixels in planes [first, last). */
static void pack_pixels(const struct job *job, const struct scratch *s, const struct block *k,
                        size_t first, size_t last) {
    for (size_t q = 0; q < job->copies; q++) {
        const float **at = s->at + q;
        float *to = s->x + q * k->next;
        for (size_t g = k->first; g < k->last; g++)
            for (size_t i = g == k->first || g % job->H == 0 ? 0 : 2; i < 3; i++) {
                pack_line(job, to, k->plane, at, g / job->H, first, last);
                to += k->line;
                at += job->W + 2;
            }
    }
}

/* The weights of n channels from c on and of the panel of column j, widened where they are not f32;
 * `ld` is how far rows lie apart. */
static const float *wide_rows(const struct job *job, const struct scratch *s, size_t j, size_t c,
                              size_t n, size_t *ld) {
    const struct tensor *w = job->p->weight;
    const size_t row = job->p->C * TAPS;
    *ld = s->wide ? n * TAPS : row;
    if (!s->wide)
        return (const float *)w->data + j * row + c * TAPS;
    widen_rows(job->kernels, s->wide, w, j, min(job->kernels->columns, job->p->N - j), row,
               c * TAPS, n * TAPS);
    return s->wide;
}

/* The nine taps of a plane. */
static void pack_plane(const struct job *job, const struct scratch *s, float *to, size_t j,
                       size_t c, size_t n) {
    const struct tensor *w = job->p->weight;
    const size_t count = min(job->kernels->columns, job->p->N - j), row = job->p->C * TAPS;
    if (w->dtype == DTYPE_BF16 && n % 2 == 0) {
        job->format->right_windows(to, (const uint16_t *)w->data + j * row + c * TAPS, row, count,
                                   n);
        return;
    }
    size_t ld;
    const float *rows = wide_rows(job, s, j, c, n, &ld);
    pack_window(job->kernels, job->format, to, s->window, rows, ld, count, n, TAPS);
}

/* The four taps of a plane in each of four phases, `phase` apart. */
static void pack_phases(const struct job *job, const struct scratch *s, float *to, size_t phase,
                        size_t j, size_t c, size_t n) {
    static const size_t from[2][2] = {{0, 1}, {0, 2}}, until[2][2] = {{1, 3}, {2, 3}}; /* R */
    const size_t columns = job->kernels->columns, count = min(columns, job->p->N - j);
    size_t ld;
    const float *rows = wide_rows(job, s, j, c, n, &ld);
    transpose_window(job->kernels, s->window, rows, ld, count, n, TAPS);
    for (size_t i = 0; i < PHASES * FEW_TAPS; i++) {
        const size_t a = i / 8, b = i / 4 % 2, p = i / 2 % 2, q = i % 2;
        memset(s->tap, 0, n * columns * sizeof *s->tap);
        for (size_t h = from[a][p]; h < until[a][p]; h++)
            for (size_t v = from[b][q]; v < until[b][q]; v++) {
                const float *tap = s->window + (3 * h + v) * n * columns;
                for (size_t e = 0; e < n * columns; e++)
                    s->tap[e] += tap[e];
            }
        job->format->right_columns(
            to + i / FEW_TAPS * phase + i % FEW_TAPS * job->format->lane_step * columns, s->tap, n);
    }
}

/* Packs the weights of planes [first, last) and of the panel of column j. */
static void pack_weights(const struct job *job, const struct scratch *s, float *to, size_t j,
                         size_t first, size_t last) {
    const size_t size = job->taps * job->format->lane_step * job->kernels->columns;
    for (size_t plane = first; plane < last; plane++, to += size) {
        const size_t c = plane * job->channels, n = min(job->channels, job->p->C - c);
        if (job->p->twice)
            pack_phases(job, s, to, (last - first) * size, j, c, n);
        else
            pack_plane(job, s, to, j, c, n);
    }
}

/* ---- one block ------------------------------------------------------------------------------- */

/* Where y has the first of 16 neighbouring outputs; m: the first of their pixels in the block. */
static size_t output_at(const struct job *job, const struct block *k, size_t phase, size_t m) {
    const struct conv3x3 *p = job->p;
    const size_t pixel = k->first * job->W + m;
    if (!p->twice)
        return pixel * p->N;
    const size_t line = 2 * (pixel / job->W) + phase / 2, column = 2 * (pixel % job->W) + phase % 2;
    return (line * p->out_W + column) * p->N;
}

/* What becomes of the sums of 16 outputs that lie at `at` and of the panel of column j. */
static void finish(const struct job *job, const float *sum, size_t at, size_t j) {
    const struct conv3x3 *p = job->p;
    const size_t columns = job->kernels->columns, next = p->twice ? 2 * p->N : p->N;
    finish_part(job->kernels, p->y, next, at + j, j, sum, columns, p->ep, job->format->lane_step,
                min(columns, p->N - j));
}

/* Asks the memory for the lines of y that these sums go to: a store that misses would hold up the
 * loads of the next tiles. */
static void ask_for_outputs(const struct job *job, size_t at, size_t j) {
    const struct conv3x3 *p = job->p;
    const size_t count = min(job->kernels->columns, p->N - j), next = p->twice ? 2 * p->N : p->N;
    const float *y = p->y + at + j;
    for (size_t i = 0; i < job->format->lane_step; i++, y += next)
        for (size_t n = 0; n < count; n += LINE)
            __builtin_prefetch(y + n, 1, 2);
}

/* Where the pixels under the taps of a phase lie. */
static struct windows_layout layout_of(const struct job *job, const struct block *k, size_t phase) {
    struct windows_layout layout = {.plane = k->plane, .taps = job->taps};
    for (size_t tap = 0; tap < job->taps; tap++)
        layout.tap[tap] = job->p->twice
                              ? (phase / 2 + tap / 2) * k->line + (phase % 2 + tap % 2) * k->next
                              : tap / 3 * k->line + tap % 3 * k->next;
    return layout;
}

/* Adds the products of planes [first, last) to the sums of a phase and of the panel of column j. */
static void multiply_panel(const struct job *job, const struct scratch *s, const struct block *k,
                           const float *w, size_t phase, size_t j, size_t first, size_t last) {
    const size_t half = job->format->lane_step, columns = job->kernels->columns;
    const size_t tiles = (k->last - k->first) * job->W / half;
    const bool waits = job->planes > job->part, ends = last == job->planes; /* sums */
    const struct windows_layout layout = layout_of(job, k, phase);
    const size_t before = ((j - k->column) / columns * job->phases + phase) * tiles;
    for (size_t t = 0; t < tiles; t += WINDOW_PARTS) {
        const size_t parts = min(WINDOW_PARTS, tiles - t);
        const float *x[WINDOW_PARTS];
        size_t at[WINDOW_PARTS];
        float *sum = s->sum + (waits ? (before + t) * half * columns : 0);
        for (size_t i = 0; i < parts; i++) {
            const size_t m = (t + i) * half; /* pixel of the block */
            x[i] = s->x + padded_line(job, k->first + m / job->W, k->first) * k->line +
                   m % job->W * half;
            at[i] = output_at(job, k, phase, m);
            if (ends)
                ask_for_outputs(job, at[i], j);
        }
        job->format->window_tile[parts](sum, x, &layout, last - first, w, first > 0);
        for (size_t i = 0; ends && i < parts; i++)
            finish(job, sum + i * half * columns, at[i], j);
    }
}

static void run_block(const void *of, void *scratch, size_t index) {
    const struct job *job = of;
    struct scratch *s = scratch;
    const struct conv3x3 *p = job->p;
    const struct grid *g = &job->grid;
    const size_t columns = job->kernels->columns, panels = ceil_div(p->N, columns);
    const size_t row = index % g->line_blocks, column = index / g->line_blocks;
    const size_t units = p->B * job->H / job->unit, lanes = job->format->lane_step;
    struct block k = {.first = row * units / g->line_blocks * job->unit,
                      .last = (row + 1) * units / g->line_blocks * job->unit,
                      .column = column * panels / g->column_blocks * columns,
                      .end = (column + 1) * panels / g->column_blocks * columns};
    float *w = s->w;
    k.end = min(k.end, p->N);
    k.line = job->width * lanes;
    const size_t copy = locate_pixels(job, s->at, k.first, k.last) * k.line;
    k.next = job->copies > 1 ? copy : lanes;
    k.plane = job->copies * copy;
    for (size_t first = 0; first < job->planes; first += job->part) {
        const size_t last = min(first + job->part, job->planes);
        const size_t size = (last - first) * job->taps * lanes * columns; /* of a phase's weights */
        pack_pixels(job, s, &k, first, last);
        for (size_t j = k.column; j < k.end; j += columns) {
            if (s->kept != column + 1)
                pack_weights(job, s, w, j, first, last);
            for (size_t phase = 0; phase < job->phases; phase++)
                multiply_panel(job, s, &k, w + phase * size, phase, j, first, last);
            if (g->keeps)
                w += job->phases * size;
        }
    }
    s->kept = g->keeps ? column + 1 : 0;
}

/* ---- whole ----------------------------------------------------------------------------------- */

static void take_scratch(dl_context *cx, const void *of, void *scratch) {
    const struct job *job = of;
    struct scratch *s = scratch;
    const struct conv3x3 *p = job->p;
    const struct grid *g = &job->grid;
    const size_t columns = job->kernels->columns, lanes = job->format->lane_step;
    const size_t lines = padded_lines(job, g->lines), part = min(job->part, job->planes);
    s->at = arena_bytes(cx, lines * (job->W + 2) * sizeof *s->at);
    s->x = floats(cx, part * job->copies * lines * job->width * lanes);
    s->w = floats(cx, g->keeps ? g->panels * panel_size(job)
                               : part * job->phases * job->taps * lanes * columns);
    s->kept = 0;
    s->wide = weights_in_place(p->weight) ? NULL : floats(cx, columns * job->channels * TAPS);
    s->window = floats(cx, TAPS * job->channels * columns);
    s->tap = p->twice ? floats(cx, job->channels * columns) : NULL;
    s->sum =
        floats(cx, job->planes > job->part ? job->phases * g->lines * job->W * g->panels * columns
                                           : WINDOW_PARTS * lanes * columns);
}

void convolve_lines(dl_context *cx, const struct conv3x3 *p) {
    struct job job = {.p = p,
                      .kernels = cx->kernels,
                      .format = products_of(cx),
                      .part = PART,
                      .H = p->out_H,
                      .W = p->out_W,
                      .phases = 1,
                      .taps = TAPS};
    if (p->twice) {
        job.part = PHASES * PART; /* of a fourth of the pixels */
        job.H = p->out_H / 2;
        job.W = p->out_W / 2;
        job.phases = PHASES;
        job.taps = FEW_TAPS;
    }
    job.channels = job.format->lane_step * job.format->per_lane;
    job.planes = ceil_div(p->C, job.channels);
    job.unit = lines_of_tiles(job.format->lane_step, job.W);
    job.copies = job.unit > 1 ? 3 : 1;
    job.width = job.unit > 1 ? job.W : job.W + 2;
    const double work =
        (double)(p->B * job.H * job.W) * (double)p->N * (double)(p->C * job.phases * job.taps);
    job.grid = choose_grid(&job, (size_t)threads_for(cx, work));
    run_tasks(cx, &(struct task_loop){.job = &job,
                                      .enter = job.format->enter,
                                      .leave = job.format->leave,
                                      .tasks = job.grid.line_blocks * job.grid.column_blocks,
                                      .work = work,
                                      .scratch_size = sizeof(struct scratch),
                                      .take = take_scratch,
                                      .run = run_block});
}
