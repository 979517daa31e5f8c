/* 3x3 convolution by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016,
 * arXiv 1509.09308): a tile of 4x4 outputs takes 36 multiplications per channel pair, not 144.
 *
 *     Y = A^T [ (G g G^T) . (B^T d B) ] A        g (3,3) weights, d (6,6) inputs, Y (4,4) outputs
 *
 * The products of one of the 36 positions, over channels, are a matrix product of its own:
 *
 *     V_p (tiles,C) = (B^T d B)_p     U_p (C,N) = (G g G^T)_p     M_p (tiles,N) = V_p U_p
 *
 * The matrices evaluate polynomials at the points 0, +-a, +-b and infinity (Toom and Cook). The
 * usual points 1 and 2 multiply the rounding error of f32 by 4; a = 1/sqrt(2), b = sqrt(2) by 1.7
 * (both against plain sums; bench/README.md):
 *
 *     B^T = |1   0  -5/2   0    1  0|  G = |   1     0    0 |  A^T = |1   1    1     1    1   0|
 *           |0 -2a   -2    a    1  0|      |-2/3 -2a/3 -1/3|        |0   a   -a     b   -b   0|
 *           |0  2a   -2   -a    1  0|      |-2/3  2a/3 -1/3|        |0  1/2  1/2    2    2   0|
 *           |0 -b/2 -1/2   b    1  0|      | 1/6  b/6   1/3|        |0  a/2 -a/2   2b  -2b   1|
 *           |0  b/2 -1/2  -b    1  0|      | 1/6 -b/6   1/3|
 *           |0   1    0  -5/2   0  1|      |   0     0    1 |
 *
 * Each thread computes blocks of tiles and columns from beginning to end. Of a block the inputs are
 * transformed once; the weights panel by panel of the register tile's columns, from the file's
 * order and type, as they are needed: held for all columns they would be four times the weights.
 * Where the channels are many, the block goes through them in groups of steps: V then holds one
 * group, and M all columns, so that a block has enough tiles to share its weights and still fits
 * the cache.
 * Nothing depends on the block's size but the time: every element's sum runs over the channels in
 * steps that depend on C alone.
 *
 * B batch   C channels in   N channels out   tiles of 4x4 outputs, those at the rim cut off */
#include "kernels/conv3x3.h"

#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/threads.h"

#include <string.h>

enum {
    SIDE = 4,          /* of a tile of outputs */
    WINDOW = SIDE + 2, /* of the inputs that it sees */
    TAPS = 9,
    LINE = 64 / sizeof(float),
    STEP = LEFT_STRIDE / 3, /* largest number of lanes of channels per step */
    BLOCK_TILES = 112,      /* largest block: tiles, */
    BLOCK_AREA = 40 * 1024  /* and tiles x (lanes of V + columns of M held): 5.6 MB */
};

/* Times in units of a multiply-add: per tile and channel in, tile and channel out, pair of channels
 * (bench/README.md); HOLD, estimated: per tile, column and group, 36 sums that wait. */
static const double INPUT_COST = 150, OUTPUT_COST = 180, WEIGHT_COST = 160, PACK_COST = 55,
                    HOLD_COST = 360;

/* The 36 positions of V, U and M lie an odd number of cache lines apart: the transforms touch all
 * of them at once, and even distances would meet in few sets of the first cache. */
struct grid {
    size_t down, across, tiles;          /* tiles of an item, of all */
    size_t tile_blocks, column_blocks;   /* the grid of tasks */
    size_t block;                        /* tiles of the largest */
    size_t step, steps;                  /* channels of a step, number of steps */
    size_t group, groups;                /* steps whose V is held at once, number of groups */
    size_t held;                         /* panels whose M is held: a block's, 1 if groups is 1 */
    size_t lanes;                        /* of a step */
    size_t slots;                        /* rows of V hold as many steps of channels */
    size_t V_stride, U_stride, M_stride; /* floats from one slot row, or position, to the next */
};

/* What all tasks have in common. */
struct job {
    const struct conv3x3 *p;
    const struct kernels *kernels;
    const struct products *format; /* of V and U */
    struct grid grid;
};

/* What one thread needs. */
struct scratch {
    float *V;    /* (steps x WINOGRAD_POSITIONS / slots; block tiles, LEFT_STRIDE), see slot */
    float *raw;  /* (step, TAPS, columns) weights of a step and panel, transposed */
    float *wide; /* (columns, step, TAPS) and widened, where the file has another type */
    float *U;    /* (WINOGRAD_POSITIONS, lanes, columns) */
    float *M;    /* (panels held, WINOGRAD_POSITIONS, block tiles, columns) */
};

/* One task: tiles [first, first + tiles) of all, columns [column, last). */
struct block {
    size_t first, tiles, column, last;
};

/* The least odd number of cache lines for n floats, in floats. */
static size_t odd_lines(size_t n) {
    return (ceil_div(n, LINE) | 1) * LINE;
}

bool winograd_pays(const struct products *format, size_t out_H, size_t out_W, size_t N, size_t C) {
    if (!format->winograd_input)
        return false;
    double tiles = (double)(ceil_div(out_H, SIDE) * ceil_div(out_W, SIDE));
    double pixels = (double)(out_H * out_W), n = (double)N, c = (double)C;
    double packed = tiles > BLOCK_TILES ? tiles / BLOCK_TILES : 1.0;
    double product = 1.0 / format->speed; /* time of a multiply-add */
    double direct = product * TAPS * pixels * n * c + PACK_COST * n * c;
    double less = product * WINOGRAD_POSITIONS * tiles * n * c + INPUT_COST * tiles * c +
                  OUTPUT_COST * tiles * n + WEIGHT_COST * packed * n * c;
    return less < direct;
}

/* The cost of a grid: rounds of tasks of t tiles and n columns. */
static double grid_cost(const struct products *format, double rounds, double t, double n, double c,
                        size_t groups) {
    const double product = 1.0 / format->speed;
    const double held = groups > 1 ? HOLD_COST * (double)groups * t * n : 0.0;
    return rounds * (product * WINOGRAD_POSITIONS * t * n * c + INPUT_COST * t * c +
                     OUTPUT_COST * t * n + WEIGHT_COST * n * c + held);
}

/* The cheapest cut into tiles for these column blocks and groups of steps, if below *cost. */
static void try_tiles(const struct conv3x3 *p, const struct kernels *kn,
                      const struct products *format, size_t threads, size_t column_blocks,
                      size_t group, struct grid *g, double *cost) {
    const size_t panels = ceil_div(ceil_div(p->N, kn->columns), column_blocks);
    const size_t n = panels * kn->columns, groups = ceil_div(g->steps, group);
    const size_t area = group * g->lanes + (groups > 1 ? n : 0);
    const size_t most = min(BLOCK_TILES, BLOCK_AREA / area + 1);
    const size_t fewest = ceil_div(g->tiles, most);
    for (size_t tb = fewest; tb <= min(g->tiles, fewest + 2 * threads); tb++) {
        const double rounds = (double)ceil_div(tb * column_blocks, threads);
        const double t = (double)ceil_div(g->tiles, tb);
        const double c = grid_cost(format, rounds, t, (double)n, (double)p->C, groups);
        if (*cost > 0.0 && c >= *cost)
            continue;
        *cost = c;
        g->tile_blocks = tb;
        g->column_blocks = column_blocks;
        g->group = group;
        g->groups = groups;
        g->held = groups > 1 ? panels : 1;
    }
}

/* The cheapest grid of tasks. */
static struct grid choose_grid(const struct conv3x3 *p, const struct kernels *kn,
                               const struct products *format, size_t threads) {
    struct grid g = {.down = ceil_div(p->out_H, SIDE), .across = ceil_div(p->out_W, SIDE)};
    double cost = 0.0;
    g.tiles = p->B * g.down * g.across;
    g.steps = ceil_div(p->C, STEP * format->per_lane);
    g.step = ceil_div(ceil_div(p->C, g.steps), LINE) * LINE;
    g.lanes = lanes_of(format, g.step);
    g.slots = LEFT_STRIDE / g.lanes;
    for (size_t cb = 1; cb <= min(ceil_div(p->N, kn->columns), 4 * threads); cb++)
        for (size_t group = 1; group <= g.steps; group++)
            try_tiles(p, kn, format, threads, cb, group, &g, &cost);
    g.block = ceil_div(g.tiles, g.tile_blocks);
    g.V_stride = odd_lines(g.block * LEFT_STRIDE);
    g.U_stride = odd_lines(g.lanes * kn->columns);
    g.M_stride = odd_lines(g.block * kn->columns);
    return g;
}

/* ---- transforms ------------------------------------------------------------------------------ */

/* Where the rows (tiles, LEFT_STRIDE apart) of one position and step of channels lie in V: as many
 * of them side by side as fit, for the register tile wants all rows the same distance apart. */
static size_t slot(const struct grid *g, size_t step, size_t position) {
    size_t index = step * WINOGRAD_POSITIONS + position;
    return index / g->slots * g->V_stride + index % g->slots * g->lanes;
}

/* V of the block's tiles and the group of steps that begins with `first`. */
static void transform_inputs(const struct job *job, float *V, const struct block *k, size_t first) {
    const struct conv3x3 *p = job->p;
    const struct grid *g = &job->grid;
    for (size_t t = 0; t < k->tiles; t++) {
        size_t tile = k->first + t, b = tile / (g->down * g->across);
        size_t i = tile / g->across % g->down * SIDE, j = tile % g->across * SIDE;
        const float *at[WINOGRAD_POSITIONS];
        float *to[WINOGRAD_POSITIONS];
        for (size_t q = 0; q < WINOGRAD_POSITIONS; q++) {
            size_t row = i + q / WINDOW, column = j + q % WINDOW;
            bool seen = row < p->out_H + 2 && column < p->out_W + 2;
            at[q] = seen ? p->pixel(p->source, b, row, column) : NULL;
        }
        for (size_t step = first; step < min(first + g->group, g->steps); step++) {
            const size_t c = step * g->step;
            for (size_t q = 0; q < WINOGRAD_POSITIONS; q++)
                to[q] = V + slot(g, step - first, q) + t * LEFT_STRIDE;
            job->format->winograd_input(to, at, c, min(g->step, p->C - c));
        }
    }
}

/* U of channels [c, c + n) and the panel of column j. */
static void transform_weights(const struct job *job, const struct scratch *s, size_t j, size_t c,
                              size_t n) {
    const struct conv3x3 *p = job->p;
    const struct kernels *kn = job->kernels;
    const struct tensor *w = p->weight;
    size_t count = min(kn->columns, p->N - j), row = p->C * TAPS, from = j * row + c * TAPS;
    if (count < kn->columns)
        memset(s->raw, 0, n * TAPS * kn->columns * sizeof *s->raw);
    if (s->wide) {
        widen_rows(kn, s->wide, w, j, count, row, c * TAPS, n * TAPS);
        kn->transpose(s->raw, kn->columns, NULL, s->wide, n * TAPS, count, n * TAPS);
    } else {
        kn->transpose(s->raw, kn->columns, NULL, (const float *)w->data + from, row, count,
                      n * TAPS);
    }
    job->format->winograd_weights(s->U, job->grid.U_stride, s->raw, n);
}

/* y of the block's tiles and the panel of column j from their M. */
static void transform_outputs(const struct job *job, const float *M, const struct block *k,
                              size_t j) {
    const struct conv3x3 *p = job->p;
    const struct kernels *kn = job->kernels;
    const struct grid *g = &job->grid;
    float Y[SIDE * SIDE * TILE_COLUMNS_MAX];
    for (size_t t = 0; t < k->tiles; t++) {
        size_t tile = k->first + t, b = tile / (g->down * g->across);
        size_t i = tile / g->across % g->down * SIDE, x = tile % g->across * SIDE;
        kn->winograd_output(Y, M + t * kn->columns, g->M_stride);
        for (size_t r = 0; r < SIDE && i + r < p->out_H; r++) {
            size_t at = ((b * p->out_H + i + r) * p->out_W + x) * p->N + j;
            finish_part(kn, p->y, p->N, at, j, Y + r * SIDE * kn->columns, kn->columns, p->ep,
                        min(SIDE, p->out_W - x), min(kn->columns, p->N - j));
        }
    }
}

/* ---- one block ------------------------------------------------------------------------------- */

/* M_p (tiles, columns) += V_p U_p for all positions and the n channels of a step. */
static void multiply_positions(const struct job *job, const struct scratch *s, float *sums,
                               size_t tiles, size_t step, size_t n) {
    const struct grid *g = &job->grid;
    const size_t columns = job->kernels->columns, K = lanes_of(job->format, n);
    size_t rows = ceil_div(tiles, ceil_div(tiles, job->format->rows)); /* even register tiles */
    for (size_t q = 0; q < WINOGRAD_POSITIONS; q++) {
        const float *V = s->V + slot(g, step % g->group, q), *U = s->U + q * g->U_stride;
        float *M = sums + q * g->M_stride;
        for (size_t t = 0; t < tiles; t += rows)
            job->format->tile[min(rows, tiles - t)](M + t * columns, columns, V + t * LEFT_STRIDE,
                                                    U, K, step > 0);
    }
}

static void run_block(const void *of, void *scratch, size_t index) {
    const struct job *job = of;
    const struct scratch *s = scratch;
    const struct conv3x3 *p = job->p;
    const struct grid *g = &job->grid;
    const size_t columns = job->kernels->columns, panels = ceil_div(p->N, columns);
    size_t row = index % g->tile_blocks, column = index / g->tile_blocks;
    struct block k = {.first = row * g->tiles / g->tile_blocks,
                      .column = column * panels / g->column_blocks * columns,
                      .last = (column + 1) * panels / g->column_blocks * columns};
    k.tiles = (row + 1) * g->tiles / g->tile_blocks - k.first;
    k.last = min(k.last, p->N);
    for (size_t first = 0; first < g->steps; first += g->group) {
        const size_t last = min(first + g->group, g->steps);
        transform_inputs(job, s->V, &k, first);
        for (size_t j = k.column; j < k.last; j += columns) {
            const size_t panel = g->groups > 1 ? (j - k.column) / columns : 0;
            float *M = s->M + panel * WINOGRAD_POSITIONS * g->M_stride;
            for (size_t step = first; step < last; step++) {
                const size_t c = step * g->step, n = min(g->step, p->C - c);
                transform_weights(job, s, j, c, n);
                multiply_positions(job, s, M, k.tiles, step, n);
            }
            if (last == g->steps)
                transform_outputs(job, M, &k, j);
        }
    }
}

/* ---- whole ----------------------------------------------------------------------------------- */

static void take_scratch(dl_context *cx, const void *of, void *scratch) {
    const struct job *job = of;
    struct scratch *s = scratch;
    const struct conv3x3 *p = job->p;
    const struct grid *g = &job->grid;
    size_t columns = cx->kernels->columns, weights = g->step * columns;
    s->V = floats(cx, ceil_div(g->group * WINOGRAD_POSITIONS, g->slots) * g->V_stride);
    s->raw = floats(cx, weights * TAPS);
    s->wide = weights_in_place(p->weight) ? NULL : floats(cx, weights * TAPS);
    s->U = floats(cx, WINOGRAD_POSITIONS * g->U_stride);
    s->M = floats(cx, g->held * WINOGRAD_POSITIONS * g->M_stride);
}

void winograd(dl_context *cx, const struct conv3x3 *p) {
    double tiles = (double)(p->B * ceil_div(p->out_H, SIDE) * ceil_div(p->out_W, SIDE));
    double work = WINOGRAD_POSITIONS * tiles * (double)p->N * (double)p->C;
    struct job job = {.p = p, .kernels = cx->kernels, .format = products_of(cx)};
    job.grid = choose_grid(p, job.kernels, job.format, (size_t)threads_for(cx, work));
    run_tasks(cx, &(struct task_loop){.job = &job,
                                      .tasks = job.grid.tile_blocks * job.grid.column_blocks,
                                      .work = work,
                                      .scratch_size = sizeof(struct scratch),
                                      .take = take_scratch,
                                      .run = run_block});
}
