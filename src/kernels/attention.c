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
 * B batch   Tq queries   Tk keys   h heads   d head_dim */
#include "kernels/kernels.h"
#include "kernels/op_log.h"
#include "kernels/threads.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    QUERY_BLOCK = 256,
    KEY_TILE = 256,
    KEY_TILE_OF_PIECES = 128 /* which are three times as many lanes for half as many numbers */
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
};

/* What one thread needs; n: the kernel's columns (queries of a panel). */
struct scratch {
    float *columns;   /* (d, n) scaled queries of a panel, before they are narrowed */
    float *q;         /* (panels, lanes of d, n) and packed */
    float *k;         /* (steps, key_tile, LEFT_STRIDE) keys in steps of head_chunk channels */
    float *v;         /* (d, LEFT_STRIDE) values, packed */
    float *scores;    /* (key_tile, n) */
    float *p;         /* (lanes of key_tile, n) their softmax, packed */
    float *o;         /* (panels, d, n) */
    float *max;       /* (panels, n) running maximum, */
    float *sum;       /* (panels, n) sum */
    float *rescale;   /* (n) and what the earlier ones are multiplied by */
    const float **at; /* (key_tile) where keys lie */
};

/* ---- packing --------------------------------------------------------------------------------- */

/* Queries [first, last) of head a of item b to panels, times scale; missing queries of the last
 * panel are zeros. */
static void pack_queries(const struct task *t, struct scratch *s, size_t b, size_t a, size_t first,
                         size_t last) {
    const size_t n = t->kernels->columns, d = t->s->head_dim, D = t->s->heads * d;
    float *panel = s->q;
    for (size_t j = 0; j < n; j++)
        s->rescale[j] = t->s->scale;
    for (size_t i = first; i < last; i += n, panel += lanes_of(t->format, d) * n) {
        const size_t count = min(n, last - i);
        float *columns = t->format->right_columns ? s->columns : panel;
        if (count < n)
            memset(columns, 0, d * n * sizeof *columns);
        t->kernels->transpose(columns, n, NULL, t->q + (b * t->s->queries + i) * D + a * d, D,
                              count, d);
        t->kernels->scale_columns(columns, s->rescale, d);
        if (t->format->right_columns)
            t->format->right_columns(panel, columns, d);
    }
}

static void pack_keys(const struct task *t, struct scratch *s, size_t b, size_t a, size_t first,
                      size_t count) {
    size_t d = t->s->head_dim, D = t->s->heads * d, offset = (b * t->s->keys + first) * D + a * d;
    for (size_t i = 0; i < count; i++)
        s->at[i] = t->k + offset + i * D;
    float *to = s->k;
    for (size_t c = 0; c < d; c += t->head_chunk, to += t->key_tile * LEFT_STRIDE)
        t->format->left_rows(to, s->at, count, 1, c, min(t->head_chunk, d - c));
    t->format->left_columns(s->v, LEFT_STRIDE, t->v + offset, D, count, d);
}

/* ---- one tile of keys ------------------------------------------------------------------------ */

/* scores (keys, n) = K Q^T of one panel of queries. */
static void score(const struct task *t, struct scratch *s, const float *q, size_t keys) {
    const struct products *format = t->format;
    size_t n = t->kernels->columns, d = t->s->head_dim;
    const float *k = s->k;
    for (size_t c = 0; c < d; c += t->head_chunk, k += t->key_tile * LEFT_STRIDE) {
        const size_t K = lanes_of(format, min(t->head_chunk, d - c));
        for (size_t i = 0; i < keys; i += format->rows)
            format->tile[min(format->rows, keys - i)](s->scores + i * n, n, k + i * LEFT_STRIDE,
                                                      q + lanes_of(format, c) * n, K, c > 0);
    }
}

/* Adds the biases to the scores of keys [first, first + keys) and queries [query, last). */
static void add_biases(const struct task *t, struct scratch *s, size_t b, size_t a, size_t query,
                       size_t last, size_t first, size_t keys) {
    const struct attention_shape *shape = t->s;
    size_t n = t->kernels->columns, count = min(n, last - query);
    for (size_t k = first; k < first + keys; k++) {
        float *row = s->scores + (k - first) * n;
        for (size_t i = 0; shape->bias && i < count; i++)
            row[i] += shape->bias[(a * shape->queries + query + i) * shape->keys + k];
        for (size_t i = 0; shape->key_bias && i < count; i++)
            row[i] += shape->key_bias[b * shape->keys + k];
        for (size_t i = 0; shape->causal && i < count && query + i < k; i++)
            row[i] = -INFINITY;
    }
}

/* Takes keys [first, first + keys) into the panel of queries [query, last). */
static void attend(const struct task *t, struct scratch *s, size_t b, size_t a, size_t query,
                   size_t last, size_t panel, size_t first, size_t keys) {
    const struct products *format = t->format;
    size_t n = t->kernels->columns, d = t->s->head_dim;
    float *o = s->o + panel * d * n;
    score(t, s, s->q + panel * lanes_of(format, d) * n, keys);
    if (t->s->bias || t->s->key_bias || (t->s->causal && first + keys > query + 1))
        add_biases(t, s, b, a, query, last, first, keys);
    format->softmax_tile(s->p, s->scores, keys, s->max + panel * n, s->sum + panel * n, s->rescale);
    if (first > 0)
        t->kernels->scale_columns(o, s->rescale, d);
    for (size_t i = 0; i < d; i += format->rows)
        format->tile[min(format->rows, d - i)](o + i * n, n, s->v + i * LEFT_STRIDE, s->p,
                                               lanes_of(format, keys), first > 0);
}

/* ---- one task -------------------------------------------------------------------------------- */

/* out = O / sum, transposed back to rows of queries. */
static void store(const struct task *t, struct scratch *s, size_t b, size_t a, size_t first,
                  size_t last) {
    const struct kernels *kn = t->kernels;
    size_t n = kn->columns, d = t->s->head_dim, D = t->s->heads * d;
    for (size_t i = first, panel = 0; i < last; i += n, panel++) {
        for (size_t j = 0; j < n; j++)
            s->rescale[j] = 1.0f / s->sum[panel * n + j];
        float *o = s->o + panel * d * n, *out = t->out + (b * t->s->queries + i) * D + a * d;
        kn->scale_columns(o, s->rescale, d);
        kn->transpose(out, D, NULL, o, n, d, min(n, last - i));
    }
}

static void run_task(const void *of, void *scratch, size_t index) {
    const struct task *t = of;
    struct scratch *s = scratch;
    size_t n = t->kernels->columns, blocks = ceil_div(t->s->queries, t->query_block);
    size_t first = index % blocks * t->query_block, head = index / blocks;
    size_t last = min(first + t->query_block, t->s->queries), panels = ceil_div(last - first, n);
    size_t a = head % t->s->heads, b = head / t->s->heads;
    pack_queries(t, s, b, a, first, last);
    for (size_t i = 0; i < panels * n; i++) {
        s->max[i] = -FLT_MAX; /* not -inf: a tile may be masked as a whole */
        s->sum[i] = 0.0f;
    }
    for (size_t k = 0; k < t->s->keys; k += t->key_tile) {
        size_t keys = min(t->key_tile, t->s->keys - k);
        if (t->s->causal && k >= last)
            break;
        pack_keys(t, s, b, a, k, keys);
        for (size_t panel = 0; panel < panels; panel++)
            attend(t, s, b, a, first + panel * n, last, panel, k, keys);
    }
    store(t, s, b, a, first, last);
}

static size_t count_tasks(const struct attention_shape *s, size_t query_block) {
    return s->batch * s->heads * ceil_div(s->queries, query_block);
}

/* Keys are packed once for each block of queries: larger blocks where the products take half the
 * time or less, as long as a block's O stays in the second cache and no thread waits. */
static size_t query_block(const struct attention_shape *s, const struct products *format,
                          size_t threads) {
    size_t block = QUERY_BLOCK;
    for (double speed = 2.0; s->head_dim <= 160 && speed <= format->speed; speed *= 2.0)
        if (count_tasks(s, 2 * block) >= 2 * threads)
            block *= 2;
    return min(block, s->queries);
}

static size_t key_tile(size_t keys, const struct products *format) {
    return ceil_div(keys, ceil_div(keys, format->pieces > 1 ? KEY_TILE_OF_PIECES : KEY_TILE));
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
    size_t panels = ceil_div(t->query_block, n), rows = t->format->lane_step;
    s->columns = t->format->right_columns ? floats(cx, d * n) : NULL;
    s->q = floats(cx, panels * lanes_of(t->format, d) * n);
    s->k = floats(cx, round_up(ceil_div(d, t->head_chunk) * t->key_tile, rows) * LEFT_STRIDE);
    s->v = floats(cx, round_up(d, rows) * LEFT_STRIDE);
    s->scores = floats(cx, round_up(t->key_tile, rows) * n);
    s->p = t->format->pieces > 1 ? floats(cx, lanes_of(t->format, t->key_tile) * n) : s->scores;
    s->o = floats(cx, panels * d * n);
    s->max = floats(cx, panels * n);
    s->sum = floats(cx, panels * n);
    s->rescale = floats(cx, n);
    s->at = arena_bytes(cx, t->key_tile * sizeof *s->at);
}

void op_attention(dl_context *cx, float *out, const float *q, const float *k, const float *v,
                  const struct attention_shape *s) {
    double work =
        2.0 * (double)(s->batch * s->heads * s->head_dim) * (double)s->queries * (double)s->keys;
    struct task t = {cx->kernels, matrix_products_of(cx), s, out, q, k, v, 0, 0, 0};
    t.query_block = query_block(s, t.format, (size_t)threads_for(cx, work));
    /* even tiles and chunks, by numbers of keys and channels alone: the order of sums is fixed */
    t.key_tile = key_tile(s->keys, t.format);
    t.head_chunk = head_chunk(s->head_dim, t.format);
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
