/* The probabilities of attention, for looking at: op_attention (attention.c) never has them whole.
 *
 *     p[b,a,i,:] = softmax_j(scale q[b,i,a] . k[b,j,a] + biases)
 *
 * One head's keys are laid out with the keys innermost, so that the inner loop runs over keys and
 * the compiler may widen it without changing the order of a sum.
 *
 * B batch   Tq queries   Tk keys   h heads of d channels */
#include "base/size.h"
#include "kernels/ops.h"
#include "kernels/threads.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { QUERY_BLOCK = 64 };

struct task {
    const struct attention_shape *s;
    float *p;
    const float *q, *k;
    size_t kept, blocks; /* blocks of queries */
};

/* What one thread needs. */
struct scratch {
    float *keys; /* (d,Tk) */
    float *row;  /* (Tk) */
};

/* keys (d,Tk) = scale k of head a */
static void pack_keys(const struct task *t, float *keys, size_t b, size_t a) {
    const size_t d = t->s->head_dim, Tk = t->s->keys, D = t->s->heads * d;
    for (size_t j = 0; j < Tk; j++) {
        const float *k = t->k + (b * Tk + j) * D + a * d;
        for (size_t c = 0; c < d; c++)
            keys[c * Tk + j] = t->s->scale * k[c];
    }
}

/* row (Tk) = scores of query i */
static void score(const struct task *t, float *row, const float *keys, size_t b, size_t a,
                  size_t i) {
    const struct attention_shape *s = t->s;
    const size_t d = s->head_dim, Tk = s->keys;
    const float *q = t->q + (b * s->queries + i) * s->heads * d + a * d;
    for (size_t j = 0; j < Tk; j++)
        row[j] = 0;
    for (size_t c = 0; c < d; c++)
        for (size_t j = 0; j < Tk; j++)
            row[j] += q[c] * keys[c * Tk + j];
    for (size_t j = 0; s->bias && j < Tk; j++)
        row[j] += s->bias[(a * s->queries + i) * Tk + j];
    for (size_t j = 0; s->key_bias && j < Tk; j++)
        row[j] += s->key_bias[b * Tk + j];
    for (size_t j = i + 1; s->causal && j < Tk; j++)
        row[j] = -INFINITY;
}

static void softmax(float *row, size_t n) {
    float max = -FLT_MAX, sum = 0;
    for (size_t j = 0; j < n; j++)
        max = row[j] > max ? row[j] : max;
    for (size_t j = 0; j < n; j++) {
        row[j] = expf(row[j] - max);
        sum += row[j];
    }
    for (size_t j = 0; j < n; j++)
        row[j] /= sum;
}

/* All heads of one block of queries, one after another. */
static void run_task(const void *of, void *own, size_t index) {
    const struct task *t = of;
    const struct scratch *room = own;
    const struct attention_shape *s = t->s;
    const size_t b = index / t->blocks, first = index % t->blocks * QUERY_BLOCK;
    const size_t last = min(first + QUERY_BLOCK, s->queries);
    for (size_t a = 0; a < s->heads; a++) {
        pack_keys(t, room->keys, b, a);
        for (size_t i = first; i < last; i++) {
            float *p = t->p + ((b * s->heads + a) * s->queries + i) * t->kept;
            score(t, room->row, room->keys, b, a, i);
            softmax(room->row, s->keys);
            memcpy(p, room->row, t->kept * sizeof *p);
        }
    }
}

static void take_scratch(dl_context *cx, const void *of, void *scratch) {
    const struct attention_shape *s = ((const struct task *)of)->s;
    struct scratch *room = scratch;
    room->keys = floats(cx, s->head_dim * s->keys);
    room->row = floats(cx, s->keys);
}

void op_attention_map(dl_context *cx, float *p, const float *q, const float *k,
                      const struct attention_shape *s, size_t kept) {
    const size_t blocks = ceil_div(s->queries, QUERY_BLOCK);
    const struct task t = {s, p, q, k, kept, blocks};
    run_tasks(cx, &(struct task_loop){.job = &t,
                                      .tasks = s->batch * blocks,
                                      .work = (double)(s->batch * s->heads * s->head_dim) *
                                              (double)s->queries * (double)s->keys,
                                      .scratch_size = sizeof(struct scratch),
                                      .take = take_scratch,
                                      .run = run_task});
}
