/* Attention  out = softmax(scale q k^T + bias) v  without the full score matrix: keys go by in
 * tiles, with a running maximum and sum per query (Milakov and Gimelshein 2018; Dao et al. 2022,
 * "FlashAttention", algorithm 1).
 *
 * All of it is computed transposed, with queries along the vectors:
 *     S^T (keys, queries) = K Q^T        softmax down the columns, no sums across a vector
 *     O^T (d, queries)   += V^T S^T      S^T is already the packed right operand
 * so that any head_dim d fills the register tile. A task is one head of one item and a block of
 * queries; a tile of keys is packed once for the block's panels of queries.
 *
 * A task is a sequence of visits, each of one panel of queries to one tile of keys. A visit has
 * three parts, each of which needs the one before: scores, softmax, values. Where a unit of its own
 * multiplies, it would wait for the softmax and the softmax for it: there the visits overlap. In
 * turn n the scores of visit n, the softmax of visit n - 1 and the values of visit n - 2 are
 * computed side by side (struct attention_turn), in buffers that go round.
 *
 * B batch   Tq queries   Tk keys   h heads   d head_dim */
#include "kernels/kernels.h"
#include "kernels/op_log.h"
#include "kernels/threads.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    QUERY_BLOCK = 256,
    QUERY_BLOCK_OF_TILES = 2048, /* where packing takes longer than multiplying */
    KEY_TILE = 256,
    KEY_TILE_OF_PIECES = 128, /* which are three times as many lanes for half as many numbers */
    KEY_TILE_NEAR = 96,       /* of a small head: what a visit touches stays in the first cache */
    HEAD_SMALL = 64,
    LAG_MAX = 1,
    TILES = 2 * LAG_MAX + 1 /* of keys: those of the visits in progress */
};

struct task {
    const struct kernels *kernels;
    const struct products *format; /* of both products */
    const struct attention_shape *s;
    float *out;
    const float *q, *k, *v;
    size_t query_block; /* queries of a task */
    size_t key_tile;    /* keys of a tile */
    size_t head_chunk;  /* channels per step of S^T */
    size_t lag;         /* turns from a part of a visit to the next: 0, or 1 where visits overlap */
};

/* What one thread needs; n: the kernel's columns (queries of a panel). Of buffers that go round the
 * task has as many as its visits in progress need. */
struct scratch {
    float *columns; /* (d, n) scaled queries of a panel, before they are narrowed */
    float *q;       /* (panels, lanes of d, n) and packed */
    float *k[TILES]; /* (steps, key_tile, LEFT_STRIDE) keys, in steps of head_chunk channels */
    float *v[TILES]; /* (d, LEFT_STRIDE) values, packed */
    float *scores[LAG_MAX + 1];  /* (key_tile, n) */
    float *p[LAG_MAX + 1];       /* (lanes of key_tile, n) their softmax, packed */
    float *rescale[LAG_MAX + 1]; /* (n) what the sums so far are multiplied by */
    float *added;     /* (d, n) what a tile of keys adds to O */
    float *o;         /* (panels, d, n) */
    float *max;       /* (panels, n) running maximum, */
    float *sum;       /* (panels, n) sum */
    const float **at; /* (key_tile) where keys lie */
};

/* Queries [first, last) of head a of item b. */
struct block {
    size_t b, a, first, last, panels;
};

/* The visit of a panel of queries, the first of which is `query`, to keys [first, first + keys). */
struct visit {
    size_t panel, query, first, keys;
    size_t packed, buffer; /* which of k and v, which of scores, p and rescale are its own */
};

static struct visit visit_of(const struct task *t, const struct block *block, size_t index) {
    const size_t tile = index / block->panels;
    struct visit v = {.panel = index % block->panels,
                      .first = tile * t->key_tile,
                      .packed = tile % (2 * t->lag + 1),
                      .buffer = index % (t->lag + 1)};
    v.query = block->first + v.panel * t->kernels->columns;
    v.keys = min(t->key_tile, t->s->keys - v.first);
    return v;
}

/* Rows that a tile of the format may write, or read, for so many. */
static size_t whole_rows(const struct task *t, size_t rows) {
    return round_up(rows, t->format->lane_step);
}

/* ---- packing --------------------------------------------------------------------------------- */

/* The block's queries to panels, times scale; missing queries of the last panel are zeros. */
static void pack_queries(const struct task *t, struct scratch *s, const struct block *block) {
    const size_t n = t->kernels->columns, d = t->s->head_dim, D = t->s->heads * d;
    float *panel = s->q;
    for (size_t j = 0; j < n; j++)
        s->rescale[0][j] = t->s->scale;
    for (size_t i = block->first; i < block->last; i += n, panel += lanes_of(t->format, d) * n) {
        const size_t count = min(n, block->last - i);
        float *columns = t->format->right_columns ? s->columns : panel;
        if (count < n)
            memset(columns, 0, d * n * sizeof *columns);
        t->kernels->transpose(columns, n, NULL,
                              t->q + (block->b * t->s->queries + i) * D + block->a * d, D, count,
                              d);
        t->kernels->scale_columns(columns, s->rescale[0], d);
        if (t->format->right_columns)
            t->format->right_columns(panel, columns, d);
    }
}

/* The visit's keys and values. */
static void pack_keys(const struct task *t, struct scratch *s, const struct block *block,
                      struct visit v) {
    const size_t d = t->s->head_dim, D = t->s->heads * d;
    const size_t offset = (block->b * t->s->keys + v.first) * D + block->a * d;
    for (size_t i = 0; i < v.keys; i++)
        s->at[i] = t->k + offset + i * D;
    float *to = s->k[v.packed];
    for (size_t c = 0; c < d; c += t->head_chunk, to += t->key_tile * LEFT_STRIDE)
        t->format->left_rows(to, s->at, v.keys, 1, c, min(t->head_chunk, d - c));
    t->format->left_columns(s->v[v.packed], LEFT_STRIDE, t->v + offset, D, v.keys, d);
}

/* ---- the parts of a visit -------------------------------------------------------------------- */

/* scores (keys, n) = K Q^T, in one step of channels. */
static struct turn_product scores_of(const struct task *t, const struct scratch *s,
                                     const struct visit *v) {
    const size_t K = lanes_of(t->format, t->s->head_dim);
    return (struct turn_product){.c = s->scores[v->buffer],
                                 .a = s->k[v->packed],
                                 .b = s->q + v->panel * K * t->kernels->columns,
                                 .rows = v->keys,
                                 .K = K};
}

static struct turn_softmax softmax_of(const struct task *t, const struct scratch *s,
                                      const struct visit *v) {
    const size_t n = t->kernels->columns;
    return (struct turn_softmax){.p = s->p[v->buffer],
                                 .s = s->scores[v->buffer],
                                 .keys = v->keys,
                                 .max = s->max + v->panel * n,
                                 .sum = s->sum + v->panel * n,
                                 .rescale = s->rescale[v->buffer]};
}

static float *sums_of(const struct task *t, const struct scratch *s, const struct visit *v) {
    return s->o + v->panel * whole_rows(t, t->s->head_dim) * t->kernels->columns;
}

/* O (d, n) = V^T P of the first tile of keys; of others what they add to it. */
static struct turn_product values_of(const struct task *t, const struct scratch *s,
                                     const struct visit *v) {
    return (struct turn_product){.c = v->first > 0 ? s->added : sums_of(t, s, v),
                                 .a = s->v[v->packed],
                                 .b = s->p[v->buffer],
                                 .rows = t->s->head_dim,
                                 .K = lanes_of(t->format, v->keys)};
}

/* c = a b by register tiles, in steps of `chunk` lanes, whose left operands lie `next` apart. */
static void multiply_part(const struct task *t, const struct turn_product *p, size_t chunk,
                          size_t next) {
    const struct products *format = t->format;
    const size_t n = t->kernels->columns;
    const float *a = p->a;
    for (size_t k = 0; k < p->K; k += chunk, a += next)
        for (size_t i = 0; i < p->rows; i += format->rows)
            format->tile[min(format->rows, p->rows - i)](p->c + i * n, n, a + i * LEFT_STRIDE,
                                                         p->b + k * n, min(chunk, p->K - k), k > 0);
}

/* Adds the biases to a visit's scores. */
static void add_biases(const struct task *t, const struct scratch *s, const struct block *block,
                       const struct visit *v) {
    const struct attention_shape *shape = t->s;
    const size_t n = t->kernels->columns, count = min(n, block->last - v->query);
    const size_t last = v->first + v->keys;
    if (!shape->bias && !shape->key_bias && (!shape->causal || last <= v->query + 1))
        return;
    for (size_t k = v->first; k < last; k++) {
        float *row = s->scores[v->buffer] + (k - v->first) * n;
        for (size_t i = 0; shape->bias && i < count; i++)
            row[i] += shape->bias[(block->a * shape->queries + v->query + i) * shape->keys + k];
        for (size_t i = 0; shape->key_bias && i < count; i++)
            row[i] += shape->key_bias[block->b * shape->keys + k];
        for (size_t i = 0; shape->causal && i < count && v->query + i < k; i++)
            row[i] = -INFINITY;
    }
}

/* O = O rescale + what the visit's tile adds. */
static void add_values(const struct task *t, const struct scratch *s, const struct visit *v) {
    if (v->first > 0)
        t->kernels->scale_and_add(sums_of(t, s, v), s->rescale[v->buffer], s->added,
                                  t->s->head_dim);
}

/* ---- one task -------------------------------------------------------------------------------- */

/* All of visit n. */
static void make_visit(const struct task *t, const struct scratch *s, const struct block *block,
                       size_t n) {
    const struct visit v = visit_of(t, block, n);
    const struct turn_product scores = scores_of(t, s, &v), values = values_of(t, s, &v);
    const struct turn_softmax softmax = softmax_of(t, s, &v);
    multiply_part(t, &scores, lanes_of(t->format, t->head_chunk), t->key_tile * LEFT_STRIDE);
    add_biases(t, s, block, &v);
    t->format->softmax_tile(&softmax);
    multiply_part(t, &values, values.K, 0);
    add_values(t, s, &v);
}

/* The scores of visit n, the softmax of the one before, the values of the one before that; there
 * are `visits`. */
static void take_turn(const struct task *t, const struct scratch *s, const struct block *block,
                      size_t n, size_t visits) {
    struct attention_turn turn = {0};
    struct visit v[3] = {{0}};
    for (size_t part = 0; part < 3; part++)
        if (n >= part && n - part < visits)
            v[part] = visit_of(t, block, n - part);
    if (n < visits)
        turn.scores = scores_of(t, s, &v[0]);
    if (n >= 1 && n - 1 < visits)
        turn.softmax = softmax_of(t, s, &v[1]);
    if (n >= 2)
        turn.values = values_of(t, s, &v[2]);
    t->format->attend(&turn);
    if (n < visits)
        add_biases(t, s, block, &v[0]);
    if (n >= 2)
        add_values(t, s, &v[2]);
}

/* out = O / sum, transposed back to rows of queries. */
static void store(const struct task *t, const struct scratch *s, const struct block *block) {
    const struct kernels *kn = t->kernels;
    const size_t n = kn->columns, d = t->s->head_dim, D = t->s->heads * d;
    for (size_t panel = 0; panel < block->panels; panel++) {
        const size_t i = block->first + panel * n;
        float *o = s->o + panel * whole_rows(t, d) * n;
        for (size_t j = 0; j < n; j++)
            s->rescale[0][j] = 1.0f / s->sum[panel * n + j];
        kn->scale_columns(o, s->rescale[0], d);
        kn->transpose(t->out + (block->b * t->s->queries + i) * D + block->a * d, D, NULL, o, n, d,
                      min(n, block->last - i));
    }
}

static void run_task(const void *of, void *scratch, size_t index) {
    const struct task *t = of;
    struct scratch *s = scratch;
    const size_t n = t->kernels->columns, blocks = ceil_div(t->s->queries, t->query_block);
    const size_t head = index / blocks, first = index % blocks * t->query_block;
    struct block block = {head / t->s->heads, head % t->s->heads, first,
                          min(first + t->query_block, t->s->queries), 0};
    block.panels = ceil_div(block.last - first, n);
    pack_queries(t, s, &block);
    for (size_t i = 0; i < block.panels * n; i++) {
        s->max[i] = -FLT_MAX; /* not -inf: a tile may be masked as a whole */
        s->sum[i] = 0.0f;
    }
    const size_t keys = t->s->causal ? min(t->s->keys, block.last) : t->s->keys;
    const size_t visits = ceil_div(keys, t->key_tile) * block.panels;
    for (size_t i = 0; i < visits + 2 * t->lag; i++) {
        if (i < visits && i % block.panels == 0)
            pack_keys(t, s, &block, visit_of(t, &block, i));
        if (t->lag)
            take_turn(t, s, &block, i, visits);
        else
            make_visit(t, s, &block, i);
    }
    store(t, s, &block);
}

static size_t count_tasks(const struct attention_shape *s, size_t query_block) {
    return s->batch * s->heads * ceil_div(s->queries, query_block);
}

/* Keys are packed once for each block of queries: larger blocks where products are faster, as long
 * as a block's O stays in the second cache and no thread waits. */
static size_t query_block(const struct attention_shape *s, const struct products *format,
                          size_t threads) {
    const size_t most = format->speed > 2.0    ? QUERY_BLOCK_OF_TILES
                        : format->speed == 2.0 ? 2 * QUERY_BLOCK
                                               : QUERY_BLOCK;
    size_t block = QUERY_BLOCK;
    while (s->head_dim <= 160 && block < most && count_tasks(s, 2 * block) >= 2 * threads)
        block *= 2;
    return min(block, s->queries);
}

/* Where products are fast, it counts where their operands lie. */
static size_t key_tile(const struct attention_shape *s, const struct products *format) {
    const bool near = format->speed > 4.0 && s->head_dim <= HEAD_SMALL;
    const size_t most = format->pieces > 1 ? KEY_TILE_OF_PIECES : near ? KEY_TILE_NEAR : KEY_TILE;
    return ceil_div(s->keys, ceil_div(s->keys, most));
}

/* Even steps of up to `depth` lanes, none of them empty. */
static size_t head_chunk(size_t d, const struct products *format) {
    const size_t steps = ceil_div(lanes_of(format, d), format->depth);
    return round_up(ceil_div(d, steps), format->lane_step * format->per_lane);
}

static void take_scratch(dl_context *cx, const void *of, void *scratch) {
    const struct task *t = of;
    struct scratch *s = scratch;
    size_t n = t->kernels->columns, d = t->s->head_dim;
    const size_t panels = ceil_div(t->query_block, n), K = lanes_of(t->format, t->key_tile);
    s->columns = t->format->right_columns ? floats(cx, d * n) : NULL;
    s->q = floats(cx, panels * lanes_of(t->format, d) * n);
    for (size_t i = 0; i <= 2 * t->lag; i++) {
        s->k[i] = floats(cx, whole_rows(t, ceil_div(d, t->head_chunk) * t->key_tile) * LEFT_STRIDE);
        s->v[i] = floats(cx, whole_rows(t, d) * LEFT_STRIDE);
    }
    for (size_t i = 0; i <= t->lag; i++) {
        s->scores[i] = floats(cx, whole_rows(t, t->key_tile) * n);
        s->p[i] = t->lag || t->format->pieces > 1 ? floats(cx, K * n) : s->scores[i];
        s->rescale[i] = floats(cx, n);
    }
    s->added = floats(cx, whole_rows(t, d) * n);
    s->o = floats(cx, panels * whole_rows(t, d) * n);
    s->max = floats(cx, panels * n);
    s->sum = floats(cx, panels * n);
    s->at = arena_bytes(cx, t->key_tile * sizeof *s->at);
}

void op_attention(dl_context *cx, float *out, const float *q, const float *k, const float *v,
                  const struct attention_shape *s) {
    double work =
        2.0 * (double)(s->batch * s->heads * s->head_dim) * (double)s->queries * (double)s->keys;
    struct task t = {cx->kernels, matrix_products_of(cx), s, out, q, k, v, 0, 0, 0, 0};
    t.query_block = query_block(s, t.format, (size_t)threads_for(cx, work));
    /* even tiles and chunks, by numbers of keys and channels alone: the order of sums is fixed */
    t.lag = t.format->attend && lanes_of(t.format, s->head_dim) <= BLOCK_K ? 1 : 0;
    t.key_tile = key_tile(s, t.format);
    t.head_chunk = t.lag ? s->head_dim : head_chunk(s->head_dim, t.format);
    op_note(cx, &(struct op_call){.kind = OP_ATTENTION, .attention = *s});
    run_tasks(
        cx, &(struct task_loop){.job = &t,
                                .enter = t.format->enter,
                                .leave = t.format->leave,
                                .tasks = count_tasks(s, t.query_block),
                                .work = work,
                                .scratch_size = sizeof(struct scratch),
                                .take = take_scratch,
                                .run = run_task});
}
