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
 * B batch   C channels in   N channels out   H, W sides of the output */
#include "kernels/conv3x3.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/threads.h"

enum {
    TAPS = 9,
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
    size_t unit;             /* lines that are whole tiles together */
    size_t copies, width;    /* of a plane's pixels; pixels of a line there */
};

/* What one thread needs. */
struct scratch {
    const float **at; /* (padded lines, W + 2) where the block's pixels lie */
    float *x;         /* (planes of a part, copies, padded lines, width, lanes) and packed */
    float *w;         /* (planes of a part, TAPS, lanes, columns) a panel's weights, packed;
                         with `keeps` of all panels, part by part */
    size_t kept;      /* 1 + the column of tasks whose weights these are; 0: of none */
    float *wide;      /* (columns, channels, TAPS) widened, where they are not f32 */
    float *window;    /* (TAPS, channels, columns) and transposed */
    float *sum;       /* (panels, lines, W, columns), or if there is but one part of one tile */
};

/* One task: lines [first, last) of all pictures, columns [column, end). */
struct block {
    size_t first, last, column, end;
    struct windows_layout layout; /* of its pixels */
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

/* ---- the grid -------------------------------------------------------------------------------- */

/* Floats of the packed weights of a panel. */
static size_t panel_size(const struct job *job) {
    return job->planes * TAPS * job->format->lane_step * job->kernels->columns;
}

/* Padded lines under those of a block, at most: two more for each picture that it meets. */
static size_t padded_lines(const struct conv3x3 *p, size_t lines) {
    return lines + 2 * (lines / p->out_H + 2);
}

/* The cheapest grid: rounds of tasks, each products, pixels and weights. */
static struct grid choose_grid(const struct job *job, size_t threads) {
    const struct conv3x3 *p = job->p;
    const size_t units = p->B * p->out_H / job->unit;
    const size_t panels = ceil_div(p->N, job->kernels->columns);
    const size_t most = BLOCK_AREA / min(PART, job->planes) / (p->out_W * job->unit);
    const size_t fewest = ceil_div(units, most ? most : 1);
    struct grid best = {0};
    double least = 0.0;
    for (size_t cb = 1; cb <= min(panels, 2 * threads); cb++)
        for (size_t lb = fewest; lb <= min(units, fewest + 2 * threads); lb++) {
            struct grid g = {lb, cb, ceil_div(units, lb) * job->unit, ceil_div(panels, cb), false};
            g.keeps = lb * cb > threads && g.panels * panel_size(job) <= KEPT_WEIGHTS;
            const double rounds = (double)ceil_div(lb * cb, threads);
            const double m = (double)(g.lines * p->out_W);
            const double n = (double)(g.panels * job->kernels->columns);
            const double cost =
                rounds * (TAPS * m * n / job->format->speed +
                          PIXEL_COST * (double)((g.lines + 2) * p->out_W)) +
                (g.keeps ? (double)ceil_div(cb, threads) : rounds) * WEIGHT_COST * TAPS * n;
            if (least > 0.0 && cost >= least)
                continue;
            least = cost;
            best = g;
        }
    return best;
}

/* ---- packing --------------------------------------------------------------------------------- */

/* Which of the block's padded lines is the uppermost under the windows of line g of them all. */
static size_t padded_line(const struct conv3x3 *p, size_t g, size_t first) {
    return g - first + 2 * (g / p->out_H - first / p->out_H);
}

/* Where the pixels of the block's padded lines lie; the number of lines. */
static size_t locate_pixels(const struct conv3x3 *p, const float **at, size_t first, size_t last) {
    size_t lines = 0;
    for (size_t g = first; g < last; g++)
        for (size_t i = g == first || g % p->out_H == 0 ? 0 : 2; i < 3; i++, lines++)
            for (size_t j = 0; j < p->out_W + 2; j++)
                *at++ = p->pixel(p->source, g / p->out_H, g % p->out_H + i, j);
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
    const struct conv3x3 *p = job->p;
    for (size_t q = 0; q < job->copies; q++) {
        const float **at = s->at + q;
        float *to = s->x + q * k->layout.next;
        for (size_t g = k->first; g < k->last; g++)
            for (size_t i = g == k->first || g % p->out_H == 0 ? 0 : 2; i < 3; i++) {
                pack_line(job, to, k->layout.plane, at, g / p->out_H, first, last);
                to += k->layout.line;
                at += p->out_W + 2;
            }
    }
}

/* Packs the weights of planes [first, last) and of the panel of column j. */
static void pack_weights(const struct job *job, const struct scratch *s, float *to, size_t j,
                         size_t first, size_t last) {
    const struct conv3x3 *p = job->p;
    const struct tensor *w = p->weight;
    const size_t columns = job->kernels->columns, count = min(columns, p->N - j);
    const size_t row = p->C * TAPS;
    for (size_t plane = first; plane < last; plane++) {
        const size_t c = plane * job->channels, n = min(job->channels, p->C - c);
        const float *rows = s->wide;
        float *const panel = to;
        to += TAPS * job->format->lane_step * columns;
        if (w->dtype == DTYPE_BF16 && n % 2 == 0) {
            job->format->right_windows(panel, (const uint16_t *)w->data + j * row + c * TAPS, row,
                                       count, n);
            continue;
        }
        if (s->wide)
            widen_rows(job->kernels, s->wide, w, j, count, row, c * TAPS, n * TAPS);
        else
            rows = (const float *)w->data + j * row + c * TAPS;
        pack_window(job->kernels, job->format, panel, s->window, rows, s->wide ? n * TAPS : row,
                    count, n, TAPS);
    }
}

/* ---- one block ------------------------------------------------------------------------------- */

/* What becomes of the sums of 16-pixel tiles [t, t + parts) and the panel of column j. */
static void finish(const struct job *job, const struct block *k, const float *sum, size_t t,
                   size_t parts, size_t j) {
    static const struct epilogue none;
    const struct conv3x3 *p = job->p;
    const struct epilogue *ep = p->ep ? p->ep : &none;
    const size_t half = job->format->lane_step, columns = job->kernels->columns;
    const size_t at = (k->first * p->out_W + t * half) * p->N + j;
    job->kernels->finish(p->y + at, p->N, sum, columns, ep->bias ? ep->bias + j : NULL,
                         ep->factor ? ep->factor + at : NULL,
                         ep->residual ? ep->residual + at : NULL, parts * half,
                         min(columns, p->N - j), ep->act);
}

/* Asks the memory for the lines of y that these sums go to: a store that misses would hold up the
 * loads of the next tiles. */
static void ask_for_outputs(const struct job *job, const struct block *k, size_t t, size_t parts,
                            size_t j) {
    const struct conv3x3 *p = job->p;
    const size_t half = job->format->lane_step, count = min(job->kernels->columns, p->N - j);
    const float *y = p->y + (k->first * p->out_W + t * half) * p->N + j;
    for (size_t i = 0; i < parts * half; i++, y += p->N)
        for (size_t n = 0; n < count; n += LINE)
            __builtin_prefetch(y + n, 1, 2);
}

/* Adds the products of planes [first, last) to the sums of the panel of column j. */
static void multiply_panel(const struct job *job, const struct scratch *s, const struct block *k,
                           const float *w, size_t j, size_t first, size_t last) {
    const struct conv3x3 *p = job->p;
    const size_t half = job->format->lane_step, columns = job->kernels->columns;
    const size_t tiles = (k->last - k->first) * p->out_W / half;
    const bool waits = job->planes > PART; /* sums, for the next part */
    for (size_t t = 0; t < tiles; t += WINDOW_PARTS) {
        const size_t parts = min(WINDOW_PARTS, tiles - t);
        const float *at[WINDOW_PARTS];
        float *sum = s->sum + (waits ? (j - k->column) * tiles * half + t * half * columns : 0);
        for (size_t i = 0; i < parts; i++) {
            const size_t m = (t + i) * half; /* output pixel of the block */
            at[i] = s->x + padded_line(p, k->first + m / p->out_W, k->first) * k->layout.line +
                    m % p->out_W * half;
        }
        if (last == job->planes)
            ask_for_outputs(job, k, t, parts, j);
        job->format->window_tile[parts](sum, at, &k->layout, last - first, w, first > 0);
        if (last == job->planes)
            finish(job, k, sum, t, parts, j);
    }
}

static void run_block(const void *of, void *scratch, size_t index) {
    const struct job *job = of;
    struct scratch *s = scratch;
    const struct conv3x3 *p = job->p;
    const struct grid *g = &job->grid;
    const size_t columns = job->kernels->columns, panels = ceil_div(p->N, columns);
    const size_t row = index % g->line_blocks, column = index / g->line_blocks;
    const size_t units = p->B * p->out_H / job->unit, lanes = job->format->lane_step;
    struct block k = {.first = row * units / g->line_blocks * job->unit,
                      .last = (row + 1) * units / g->line_blocks * job->unit,
                      .column = column * panels / g->column_blocks * columns,
                      .end = (column + 1) * panels / g->column_blocks * columns};
    float *w = s->w;
    k.end = min(k.end, p->N);
    k.layout.line = job->width * lanes;
    const size_t copy = locate_pixels(p, s->at, k.first, k.last) * k.layout.line;
    k.layout.next = job->copies > 1 ? copy : lanes;
    k.layout.plane = job->copies * copy;
    for (size_t first = 0; first < job->planes; first += PART) {
        const size_t last = min(first + PART, job->planes);
        pack_pixels(job, s, &k, first, last);
        for (size_t j = k.column; j < k.end; j += columns) {
            if (s->kept != column + 1)
                pack_weights(job, s, w, j, first, last);
            multiply_panel(job, s, &k, w, j, first, last);
            if (g->keeps)
                w += (last - first) * TAPS * job->format->lane_step * columns;
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
    const size_t lines = padded_lines(p, g->lines);
    const size_t part = min(PART, job->planes);
    s->at = arena_bytes(cx, lines * (p->out_W + 2) * sizeof *s->at);
    s->x = floats(cx, part * job->copies * lines * job->width * lanes);
    s->w = floats(cx, g->keeps ? g->panels * panel_size(job) : part * TAPS * lanes * columns);
    s->kept = 0;
    s->wide = weights_in_place(p->weight) ? NULL : floats(cx, columns * job->channels * TAPS);
    s->window = floats(cx, TAPS * job->channels * columns);
    s->sum = floats(cx, job->planes > PART ? g->lines * p->out_W * g->panels * columns
                                           : WINDOW_PARTS * lanes * columns);
}

void convolve_lines(dl_context *cx, const struct conv3x3 *p) {
    const double work = (double)(p->B * p->out_H * p->out_W) * (double)p->N * (double)(p->C * TAPS);
    struct job job = {.p = p, .kernels = cx->kernels, .format = products_of(cx)};
    job.channels = job.format->lane_step * job.format->per_lane;
    job.planes = ceil_div(p->C, job.channels);
    job.unit = lines_of_tiles(job.format->lane_step, p->out_W);
    job.copies = job.unit > 1 ? 3 : 1;
    job.width = job.unit > 1 ? p->out_W : p->out_W + 2;
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
