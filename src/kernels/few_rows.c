/* The matrix product  y (M,N) = epilogue(x (M,K) w^T)  where M is small: a text's tokens.
 *
 * gemm.c makes the weights its right operand, whose columns are vectors: it has to transpose them,
 * and with some dozens of rows that takes half as long as the product itself. Here the rows of x
 * are the vectors instead,
 *
 *     y^T (N,M) = w (N,K) x^T (K,M),
 *
 * and the weights are read as they lie in the file, row by row, each once, the next ones asked for
 * in time. x is transposed, once for each thread, to panels (K, columns), which stay in the second
 * cache:
 *   - a few rows of w, a step over K after the other, meet a panel of x in registers;
 *   - the sums of BLOCK rows, (BLOCK, columns), are transposed and go through the epilogue.
 *
 * The steps are gemm.c's and a product is the same whichever of its factors comes first, so the
 * results are gemm.c's to the bit: also here a row's result depends on nothing beside it.
 *
 * M rows   N outputs   C channels = K */
#include "kernels/gemm.h"

#include "kernels/threads.h"

#include <string.h>

enum {
    BLOCK = 32, /* rows of w between two epilogues, at most */
    TASKS = 4,  /* for each thread, as neighbours may hold up one of them */
    LINE = 64   /* bytes */
};

/* What one thread needs. */
struct scratch {
    bool packed;   /* right holds x */
    float *right;  /* for each step and panel: (lanes of the step, columns) */
    float *left;   /* (few, lanes of a step) weights that cannot be read where they lie */
    float *sum;    /* for each panel (BLOCK, columns) */
    float *turned; /* (columns, BLOCK) a panel's sums, transposed */
};

/* What all tasks have in common. */
struct job {
    const struct product *p;
    const struct kernels *kernels;
    const struct products *format;
    size_t chunk;   /* channels of a step */
    size_t columns; /* of a panel of x, the last one may have fewer, */
    size_t all;     /* and of all */
    size_t block;   /* rows of w between two epilogues */
    size_t blocks, tasks;
};

/* Columns of the panel of x that begins with row m. */
static size_t panel_columns(const struct job *job, size_t m) {
    return min(job->columns, job->all - m);
}

/* ---- packing --------------------------------------------------------------------------------- */

/* Zeros in the columns of a panel from the vector on that column `count` is in. */
static void clear_last(const struct job *job, float *panel, size_t columns, size_t lanes,
                       size_t count) {
    const size_t first = count / job->format->vector * job->format->vector;
    for (size_t i = 0; i < lanes; i++)
        memset(panel + i * columns + first, 0, (columns - first) * sizeof *panel);
}

/* x to panels, those of a step one behind the other. */
static void pack_rows(const struct job *job, float *right) {
    const struct product *p = job->p;
    for (size_t c = 0, n; c < p->C; c += n) {
        n = min(job->chunk, p->C - c);
        const size_t K = lanes_of(job->format, n);
        for (size_t m = 0, columns; m < p->M; m += columns, right += K * columns) {
            columns = panel_columns(job, m);
            const size_t count = min(columns, p->M - m);
            if (count < columns)
                clear_last(job, right, columns, K, count);
            job->format->right_rows(right, columns, p->rows + m * p->C + c, p->C, count, n);
        }
    }
}

/* Whether weights are numbers of the format as they lie. */
static bool lie_ready(const struct products *format, const struct product *p) {
    return format->per_lane == 1 ? weights_in_place(p->weight) : holds_lanes(format, p, p->C);
}

/* Channels [c, c + n) of rows [j, j + count) of the weights, and how many lanes their rows lie
 * apart: where they are in the file, if they are ready and no row is missing that would be read. */
static const float *left_operand(const struct job *job, const struct scratch *s, size_t j,
                                 size_t count, size_t c, size_t n, size_t *ld) {
    const struct product *p = job->p;
    const size_t per_lane = job->format->per_lane, lanes = p->C / per_lane;
    *ld = lanes_of(job->format, n);
    if (!lie_ready(job->format, p)) {
        widen_rows(job->kernels, s->left, p->weight, j, count, p->C, c, n);
        return s->left;
    }
    const float *w = (const float *)p->weight->data + j * lanes + c / per_lane;
    if (count == job->format->few) {
        *ld = lanes;
        return w;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(s->left + i * *ld, w + i * lanes, *ld * sizeof *w);
    return s->left;
}

/* Asks the memory for part i of `parts` of channels [c, c + n) of rows [j, j + count), which are to
 * be copied next. */
static void fetch(const struct job *job, size_t j, size_t count, size_t c, size_t n, size_t i,
                  size_t parts) {
    const struct tensor *w = job->p->weight;
    const size_t size = dtype_size(w->dtype), row = job->p->C * size, width = n * size;
    const char *from = (const char *)w->data + j * row + c * size;
    for (size_t r = i * count / parts; r < (i + 1) * count / parts; r++)
        for (size_t k = 0; k < width; k += LINE)
            __builtin_prefetch(from + r * row + k, 0, 2);
}

/* ---- one block ------------------------------------------------------------------------------- */

/* Rows [at, at + count) of all panels' sums = rows [j, j + count) of the weights times x; behind
 * them come `next` others. */
static void multiply_rows(const struct job *job, const struct scratch *s, size_t at, size_t j,
                          size_t count, size_t next) {
    const struct product *p = job->p;
    const size_t panels = ceil_div(job->all, job->columns);
    const float *right = s->right;
    for (size_t c = 0, n; c < p->C; c += n) {
        size_t ld;
        n = min(job->chunk, p->C - c);
        const size_t K = lanes_of(job->format, n);
        const float *left = left_operand(job, s, j, count, c, n, &ld);
        const bool last = c + n == p->C, copied = left == s->left;
        for (size_t m = 0, columns, i = 0; m < job->all; m += columns, i++, right += K * columns) {
            const float *ahead = !copied && i == 0 && next >= count ? left + count * ld : NULL;
            columns = panel_columns(job, m);
            if (copied && !last)
                fetch(job, j, count, c + n, min(job->chunk, p->C - c - n), i, panels);
            else if (copied)
                fetch(job, j + count, min(count, next), 0, min(job->chunk, p->C), i, panels);
            float *sum = s->sum + BLOCK * m + at * columns;
            job->format->few_tile[columns / job->format->vector](sum, left, ld, right, K, c > 0,
                                                                 ahead);
        }
    }
}

/* Outputs [j, j + count) of all rows; behind them come `next` others. */
static void multiply_block(const struct job *job, const struct scratch *s, size_t j, size_t count,
                           size_t next) {
    const struct product *p = job->p;
    const size_t few = job->format->few;
    for (size_t i = 0, n; i < count; i += n) {
        n = min(few, count - i);
        multiply_rows(job, s, i, j + i, n, count - i - n + next);
    }
    for (size_t m = 0, columns; m < p->M; m += columns) {
        columns = panel_columns(job, m);
        const size_t rows = min(columns, p->M - m);
        job->kernels->transpose(s->turned, BLOCK, NULL, s->sum + BLOCK * m, columns, count, rows);
        finish_part(job->kernels, p->y, p->N, m * p->N + j, j, s->turned, BLOCK, p->ep, rows,
                    count);
    }
}

static void multiply_blocks(const void *of, void *scratch, size_t index) {
    const struct job *job = of;
    struct scratch *s = scratch;
    const size_t last = min((index + 1) * job->blocks / job->tasks * job->block, job->p->N);
    if (!s->packed)
        pack_rows(job, s->right);
    s->packed = true;
    for (size_t j = index * job->blocks / job->tasks * job->block, count; j < last; j += count) {
        count = min(job->block, last - j);
        multiply_block(job, s, j, count, last - j - count);
    }
}

/* ---- whole ----------------------------------------------------------------------------------- */

static void take_scratch(dl_context *cx, const void *of, void *scratch) {
    const struct job *job = of;
    struct scratch *s = scratch;
    const struct product *p = job->p;
    s->packed = false;
    s->right = floats(cx, lanes_of(job->format, p->C) * job->all); /* steps are whole lane_steps */
    s->left = floats(cx, job->format->few * lanes_of(job->format, job->chunk));
    s->sum = floats(cx, BLOCK * job->all);
    s->turned = floats(cx, job->columns * BLOCK);
}

/* Fewer rows fill too little of a vector, and what is too large for the second cache comes from
 * beyond it for each few rows of w. Weights that would have to be narrowed are as fast in gemm.c's
 * panels, and a sum of pieces would be rounded in another order (bench/README.md, "Texts"). */
bool is_few_rows(const struct product *p, const struct products *format) {
    enum { LEAST = 9, MOST = 160, SECOND_CACHE = 1 << 20 };
    return p->rows && p->M >= LEAST && p->M <= MOST && format->few &&
           round_up(p->M, format->vector) * lanes_of(format, p->C) <=
               SECOND_CACHE / sizeof *p->rows &&
           (format->per_lane == 1 || lie_ready(format, p));
}

void multiply_few_rows(dl_context *cx, const struct product *p, const struct products *format) {
    struct job job = {.p = p, .kernels = cx->kernels, .format = format};
    const double work = (double)p->M * (double)p->N * (double)p->C;
    const size_t vectors = ceil_div(p->M, format->vector);
    job.chunk = step_channels(p->C, 1, format);
    job.columns = ceil_div(vectors, ceil_div(vectors, format->vectors)) * format->vector;
    job.all = vectors * format->vector;
    job.block = BLOCK / format->few * format->few;
    job.blocks = ceil_div(p->N, job.block);
    job.tasks = min(job.blocks, TASKS * (size_t)threads_for(cx, work));
    run_tasks(cx, &(struct task_loop){.job = &job,
                                      .enter = format->enter,
                                      .leave = format->leave,
                                      .tasks = job.tasks,
                                      .work = work,
                                      .scratch_size = sizeof(struct scratch),
                                      .take = take_scratch,
                                      .run = multiply_blocks});
}
