/* The matrix product  y (M,N) = epilogue(x (M,K) w^T),  w (N,K), blocked and packed after Goto and
 * van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).
 *
 * y is cut into blocks of rows and columns, each the work of one thread from beginning to end. For
 * each block the inner dimension goes by in steps of up to BLOCK_K lanes:
 *   - the weights of the step are packed: widened to f32 and transposed to panels (K, columns),
 *     which stay in the second cache;
 *   - the rows of x are gathered, a few register tiles' worth at a time, into the first cache;
 *   - the register-tile kernel meets every row panel with every weight panel and adds into a sum.
 * After the last step the sum, still hot, goes through the epilogue into y. Where products are so
 * fast that packing counts, a thread keeps the packed weights for its next block of rows.
 *
 * The steps over K depend on K alone and each element's sum runs over k in the same order in every
 * register tile, so a row's result depends on neither M, the batch, nor the number of threads.
 *
 * A 3x3 window's step is a chunk of channels with all 9 taps, because the weights (N,C,3,3) of such
 * a chunk are contiguous; packing reorders them from (channel, tap) to (tap, channel), as the rows
 * of x are gathered.
 *
 * M rows   N outputs   C channels   taps of the window (1 or 9)   K = taps C */
#include "kernels/gemm.h"

#include "kernels/kernels.h"
#include "kernels/op_log.h"
#include "kernels/threads.h"

#include <string.h>

enum {
    BLOCK_ROWS = 1024,       /* largest block of y: rows, */
    BLOCK_COLUMNS = 448,     /* columns: with BLOCK_K, weights for a second cache of 1 MB, */
    BLOCK_AREA = 192 * 1024, /* and both together: the sum stays near */
    LINE = 64 / sizeof(float)
};

struct blocking {
    size_t row_blocks, column_blocks; /* the grid over y */
    size_t rows, columns;             /* largest block of it; columns whole panels */
    size_t chunk;                     /* channels per step */
    bool keeps;                       /* packed weights of all steps, for blocks below each other */
};

/* One step of a block: channels [c, c + n) of rows [m, m + rows) meet those of the weights of
 * columns [first, last). */
struct step {
    size_t m, rows, first, last, c, n;
};

/* What one thread needs; all floats but `at`. */
struct scratch {
    const float **at; /* (rows, taps) where the block's rows lie */
    float *left;      /* (group * tile rows, LEFT_STRIDE) gathered rows of x */
    float *right;     /* (columns / tile columns, lanes of the step, tile columns) packed weights,
                         with `keeps` of all steps, one behind the other */
    size_t kept;      /* 1 + the column of blocks whose weights these are; 0: of none */
    float *wide;      /* (tile columns, K of the step) weights widened, where they are not f32 */
    float *window;    /* (taps, channels, tile columns) a window's, before they are narrowed */
    float *sum;       /* (rows, columns), or if there is but one step those of a register tile */
};

/* What all blocks have in common. */
struct job {
    const struct product *p;
    const struct kernels *kernels;
    const struct products *format; /* of the operands */
    struct blocking grid;
};

/* ---- the grid -------------------------------------------------------------------------------- */

/* Packing a weight of a column, in units of a multiply-add of f32 (bench/README.md). */
static const double PACK_COST = 12.0;

/* Time of a grid in units of one column vector times one K: rounds of blocks, each the product
 * plus gathering its rows plus packing its columns (weights measured, see bench/README.md). */
static double grid_cost(size_t row_blocks, size_t column_blocks, size_t rows, size_t columns,
                        double speed, size_t threads) {
    double rounds = (double)ceil_div(row_blocks * column_blocks, threads);
    double m = (double)rows, n = (double)columns;
    return rounds * (m * n / speed + 4.0 * m + PACK_COST * n);
}

size_t step_channels(size_t C, size_t taps, const struct products *format) {
    const size_t most = format->per_lane * format->depth / (taps * format->pieces);
    const size_t whole = round_up(LINE, format->lane_step * format->per_lane);
    if (taps == 1)
        return round_up(ceil_div(C, ceil_div(C, most)), whole);
    return most > LINE ? most / LINE * LINE : most;
}

/* Floats of the packed weights of one step of a block. */
static size_t packed_size(const struct product *p, const struct products *format,
                          const struct blocking *g) {
    return p->taps * lanes_of(format, min(g->chunk, p->C)) * g->columns;
}

/* Whether a thread's next block needs the same weights, packing them again would take more than a
 * twentieth of its time, and those of all steps are not too many. */
static bool keeps_weights(const struct product *p, const struct products *format,
                          const struct blocking *g, size_t threads) {
    return g->row_blocks > threads && PACK_COST * format->speed > 0.05 * (double)g->rows &&
           ceil_div(p->C, g->chunk) * packed_size(p, format, g) <= KEPT_WEIGHTS;
}

/* The cheapest grid of blocks that are small enough. */
static struct blocking choose_blocking(const struct product *p, const struct kernels *kn,
                                       const struct products *format, size_t threads) {
    const size_t chunk = step_channels(p->C, p->taps, format);
    struct blocking best = {0};
    double best_cost = 0.0;
    size_t panels = ceil_div(p->N, kn->columns), least = ceil_div(p->N, BLOCK_COLUMNS);
    for (size_t cb = least; cb <= min(panels, least + 4 * threads); cb++) {
        size_t columns = ceil_div(panels, cb) * kn->columns;
        size_t fewest = ceil_div(p->M, min(BLOCK_ROWS, ceil_div(BLOCK_AREA, columns)));
        for (size_t rb = fewest; rb <= min(p->M, fewest + 4 * threads / cb); rb++) {
            size_t rows = ceil_div(p->M, rb);
            double cost = grid_cost(rb, cb, rows, columns, format->speed, threads);
            if (best.rows == 0 || cost < best_cost) {
                best = (struct blocking){rb, cb, rows, columns, chunk, false};
                best_cost = cost;
            }
        }
    }
    best.keeps = keeps_weights(p, format, &best, threads);
    return best;
}

/* ---- packing --------------------------------------------------------------------------------- */

bool holds_lanes(const struct products *format, const struct product *p, size_t n) {
    return p->weight->dtype == DTYPE_BF16 && format->per_lane == 2 && p->taps == 1 &&
           p->C % 2 == 0 && n == 2 * lanes_of(format, n) &&
           (uintptr_t)p->weight->data % sizeof(float) == 0;
}

void transpose_window(const struct kernels *kn, float *out, const float *w, size_t ld, size_t count,
                      size_t n, size_t taps) {
    const size_t K = n * taps, columns = kn->columns;
    size_t order[2 * BLOCK_K];
    for (size_t c = 0, i = 0; c < n; c++)
        for (size_t tap = 0; tap < taps; tap++)
            order[i++] = tap * n + c;
    if (count < columns)
        memset(out, 0, K * columns * sizeof *out);
    kn->transpose(out, columns, order, w, ld, count, K);
}

void pack_window(const struct kernels *kn, const struct products *format, float *panel,
                 float *window, const float *w, size_t ld, size_t count, size_t n, size_t taps) {
    const size_t columns = kn->columns;
    if (!format->right_columns) {
        transpose_window(kn, panel, w, ld, count, n, taps);
        return;
    }
    transpose_window(kn, window, w, ld, count, n, taps);
    for (size_t tap = 0; tap < taps; tap++)
        format->right_columns(panel + tap * lanes_of(format, n) * columns,
                              window + tap * n * columns, n);
}

/* The weights of a step and of columns [j, j + count) to one panel. */
static void pack_panel(const struct job *job, const struct scratch *s, float *panel,
                       const struct step *t, size_t j, size_t count) {
    const struct product *p = job->p;
    const struct kernels *kn = job->kernels;
    const struct tensor *w = p->weight;
    const size_t K = t->n * p->taps, stride = p->C * p->taps, from = j * stride + t->c * p->taps;
    const float *rows = s->wide;
    size_t ld = K;
    if (holds_lanes(job->format, p, t->n)) {
        kn->transpose(panel, kn->columns, NULL, (const float *)w->data + from / 2, stride / 2,
                      count, K / 2);
        return;
    }
    if (weights_in_place(w)) {
        rows = (const float *)w->data + from;
        ld = stride;
    } else
        widen_rows(kn, s->wide, w, j, count, stride, t->c * p->taps, K);
    if (p->taps == 1)
        job->format->right_rows(panel, kn->columns, rows, ld, count, K);
    else
        pack_window(kn, job->format, panel, s->window, rows, ld, count, t->n, p->taps);
}

/* Packs the weights of a step to panels. */
static void pack_right(const struct job *job, const struct scratch *s, float *right,
                       const struct step *t) {
    const size_t columns = job->kernels->columns;
    const size_t size = job->p->taps * lanes_of(job->format, t->n) * columns;
    float *panel = right;
    for (size_t j = t->first; j < t->last; j += columns, panel += size) {
        const size_t count = min(columns, t->last - j);
        if (count < columns)
            memset(panel, 0, size * sizeof *panel);
        pack_panel(job, s, panel, t, j, count);
    }
}

/* ---- one block ------------------------------------------------------------------------------- */

/* Asks the memory for channels [c, c + n) of the block's rows [row, last), which come next. Of a
 * window the right column will do: the others are those of the pixels before. For a matrix, whose
 * rows lie one behind the other, asking takes longer than it saves where products are fast. */
static void fetch_rows(const struct job *job, const struct scratch *s, size_t row, size_t last,
                       size_t c, size_t n) {
    const size_t taps = job->p->taps, side = taps > 1 ? 3 : 1;
    if (taps == 1 && job->format->speed > 4.0)
        return;
    for (size_t i = row * taps + side - 1; i < last * taps; i += side)
        for (size_t k = 0; s->at[i] && k < n; k += LINE)
            __builtin_prefetch(s->at[i] + c + k, 0, 2);
}

/* The register tiles of `count` rows from row i of the block with the panel of column j; after the
 * last step the epilogue follows. */
static void multiply_tile(const struct job *job, const struct scratch *s, const struct step *t,
                          size_t i, size_t count, size_t j, const float *left, const float *right) {
    const struct product *p = job->p;
    const struct kernels *kn = job->kernels;
    size_t K = p->taps * lanes_of(job->format, t->n);
    const bool once = t->n == p->C; /* sums do not wait for another step */
    const size_t ldc = once ? kn->columns : round_up(t->last - t->first, kn->columns);
    float *sum = once ? s->sum : s->sum + i * ldc + (j - t->first);
    job->format->tile[count](sum, ldc, left, right + (j - t->first) * K, K, t->c > 0);
    if (t->c + t->n < p->C)
        return;
    finish_part(kn, p->y, p->N, (t->m + i) * p->N + j, j, sum, ldc, p->ep, count,
                min(kn->columns, t->last - j));
}

static void multiply_step(const struct job *job, const struct scratch *s, const float *right,
                          const struct step *t) {
    const struct product *p = job->p;
    const size_t height = job->format->rows, group = job->format->group * height;
    const size_t columns = job->kernels->columns, panels = ceil_div(t->last - t->first, columns);
    for (size_t g = 0; g < t->rows; g += group) {
        size_t end = min(g + group, t->rows), ahead = min(end + group, t->rows) - end;
        job->format->left_rows(s->left, s->at + g * p->taps, end - g, p->taps, t->c, t->n);
        for (size_t panel = 0; panel < panels; panel++) {
            fetch_rows(job, s, end + panel * ahead / panels, end + (panel + 1) * ahead / panels,
                       t->c, t->n);
            for (size_t i = g; i < end; i += height)
                multiply_tile(job, s, t, i, min(height, end - i), t->first + panel * columns,
                              s->left + (i - g) * LEFT_STRIDE, right);
        }
    }
}

/* Where the block's rows lie. */
static void locate_rows(const struct product *p, size_t first, size_t rows, const float **at) {
    if (p->locate)
        p->locate(p->source, first, rows, at);
    for (size_t i = 0; !p->locate && i < rows; i++)
        at[i] = p->rows + (first + i) * p->C;
}

static void multiply_block(const void *of, void *scratch, size_t index) {
    const struct job *job = of;
    struct scratch *s = scratch;
    const struct product *p = job->p;
    const struct blocking *g = &job->grid;
    const size_t columns = job->kernels->columns, panels = ceil_div(p->N, columns);
    size_t row = index % g->row_blocks, column = index / g->row_blocks;
    float *right = s->right;
    struct step t = {.m = row * p->M / g->row_blocks,
                     .first = column * panels / g->column_blocks * columns,
                     .last = (column + 1) * panels / g->column_blocks * columns};
    t.rows = (row + 1) * p->M / g->row_blocks - t.m;
    t.last = min(t.last, p->N);
    locate_rows(p, t.m, t.rows, s->at);
    for (; t.c < p->C; t.c += g->chunk) {
        t.n = min(g->chunk, p->C - t.c);
        if (s->kept != column + 1)
            pack_right(job, s, right, &t);
        multiply_step(job, s, right, &t);
        if (g->keeps)
            right += p->taps * lanes_of(job->format, t.n) * g->columns;
    }
    s->kept = g->keeps ? column + 1 : 0;
}

/* ---- whole ----------------------------------------------------------------------------------- */

static void take_scratch(dl_context *cx, const void *of, void *scratch) {
    const struct job *job = of;
    struct scratch *s = scratch;
    const struct product *p = job->p;
    const struct blocking *g = &job->grid;
    const size_t columns = job->kernels->columns, n = min(g->chunk, p->C);
    const bool window = p->taps > 1 && job->format->right_columns;
    s->at = arena_bytes(cx, g->rows * p->taps * sizeof *s->at);
    s->left = floats(cx, job->format->group * job->format->rows * LEFT_STRIDE);
    s->right =
        floats(cx, (g->keeps ? ceil_div(p->C, g->chunk) : 1) * packed_size(p, job->format, g));
    s->kept = 0;
    s->wide = weights_in_place(p->weight) ? NULL : floats(cx, n * p->taps * columns);
    s->window = window ? floats(cx, n * p->taps * columns) : NULL;
    s->sum = floats(cx, n == p->C ? job->format->rows * columns : g->rows * g->columns);
}

void multiply(dl_context *cx, const struct product *p) {
    if (p->M == 0 || p->N == 0)
        return;
    double work = (double)p->M * (double)p->N * (double)(p->C * p->taps);
    struct job job = {.p = p, .kernels = cx->kernels};
    job.format = p->taps == 1 ? matrix_products_of(cx) : products_of(cx);
    if (is_few_rows(p, job.format)) {
        multiply_few_rows(cx, p, job.format);
        return;
    }
    job.grid = choose_blocking(p, cx->kernels, job.format, (size_t)threads_for(cx, work));
    run_tasks(cx, &(struct task_loop){.job = &job,
                                      .enter = job.format->enter,
                                      .leave = job.format->leave,
                                      .tasks = job.grid.row_blocks * job.grid.column_blocks,
                                      .work = work,
                                      .scratch_size = sizeof(struct scratch),
                                      .take = take_scratch,
                                      .run = multiply_block});
}

void op_linear(dl_context *cx, float *y, const float *x, const struct tensor *w, size_t M,
               const struct epilogue *ep) {
    op_note(cx, &(struct op_call){.kind = OP_LINEAR,
                                  .M = M,
                                  .N = w->shape[0],
                                  .K = w->shape[1],
                                  .side = 1,
                                  .dtype = w->dtype});
    pages_use(cx, w);
    multiply(cx, &(struct product){.y = y,
                                   .M = M,
                                   .N = w->shape[0],
                                   .C = w->shape[1],
                                   .taps = 1,
                                   .weight = w,
                                   .ep = ep,
                                   .rows = x});
    pages_done(cx, w);
}
