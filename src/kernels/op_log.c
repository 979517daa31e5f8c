/* Shapes of operations, noted and timed; see op_log.h. */
#include "kernels/op_log.h"

#include "base/clock.h"
#include "kernels/kernels.h"
#include "kernels/threads.h"

#include <stdlib.h>

/* ---- noting ---------------------------------------------------------------------------------- */

static bool same_conv(const struct conv_shape *a, const struct conv_shape *b) {
    return a->B == b->B && a->H == b->H && a->W == b->W && a->stride == b->stride &&
           a->pad_before == b->pad_before && a->pad_after == b->pad_after && a->up_H == b->up_H &&
           a->up_W == b->up_W && a->first == b->first && a->rows == b->rows;
}

static bool same_attention(const struct attention_shape *a, const struct attention_shape *b) {
    return a->batch == b->batch && a->heads == b->heads && a->queries == b->queries &&
           a->keys == b->keys && a->head_dim == b->head_dim && a->causal == b->causal;
}

static bool same_call(const struct op_call *a, const struct op_call *b) {
    if (a->kind != b->kind)
        return false;
    if (a->kind == OP_ATTENTION)
        return same_attention(&a->attention, &b->attention);
    return a->M == b->M && a->N == b->N && a->K == b->K && a->side == b->side &&
           a->dtype == b->dtype && (a->kind == OP_LINEAR || same_conv(&a->conv, &b->conv));
}

void op_note(dl_context *cx, const struct op_call *call) {
    struct op_log *log = cx->op_log;
    if (!log || !planning(cx))
        return;
    for (size_t i = 0; i < log->count; i++)
        if (same_call(&log->calls[i], call)) {
            log->calls[i].times += cx->arena.rounds;
            return;
        }
    if (log->count == log->capacity) {
        size_t capacity = log->capacity ? 2 * log->capacity : 64;
        struct op_call *calls = realloc(log->calls, capacity * sizeof *calls);
        log->cut = log->cut || !calls;
        if (!calls)
            return;
        log->calls = calls;
        log->capacity = capacity;
    }
    log->calls[log->count] = *call;
    log->calls[log->count].attention.bias = log->calls[log->count].attention.key_bias = NULL;
    log->calls[log->count++].times = cx->arena.rounds;
}

/* ---- timing ---------------------------------------------------------------------------------- */

/* What a call reads and writes: y (results), x (activations), w (weights; keys and values). */
struct operands {
    size_t y_size, x_size, w_size;
    float *y, *x, *w;
};

static void measure_operands(const struct op_call *call, struct operands *o) {
    const struct conv_shape *c = &call->conv;
    const struct attention_shape *a = &call->attention;
    size_t width = a->heads * a->head_dim, pads = c->pad_before + c->pad_after;
    size_t H = c->up_H ? c->up_H : c->H, W = c->up_W ? c->up_W : c->W;
    switch (call->kind) {
    case OP_LINEAR:
        o->y_size = call->M * call->N;
        o->x_size = call->M * call->K;
        o->w_size = call->N * call->K;
        break;
    case OP_CONV:
        o->y_size = c->B * ((H + pads - call->side) / c->stride + 1) *
                    ((W + pads - call->side) / c->stride + 1) * call->N;
        o->x_size = c->B * c->H * c->W * call->K;
        o->w_size = call->N * call->K * call->side * call->side;
        break;
    case OP_ATTENTION:
        o->y_size = o->x_size = a->batch * a->queries * width;
        o->w_size = a->batch * a->keys * width;
        break;
    }
}

static void fill(float *x, size_t n) {
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u; /* Knuth's linear congruential numbers */
        x[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
}

static void run(dl_context *cx, const struct op_call *call, const struct operands *o) {
    struct tensor w = {"weights", call->dtype, 2, {call->N, call->K, call->side, call->side},
                       o->w,      o->w}; /* any scales: the integers are zeros */
    switch (call->kind) {
    case OP_LINEAR:
        op_linear(cx, o->y, o->x, &w, call->M, NULL);
        break;
    case OP_CONV:
        w.ndim = 4;
        op_conv2d(cx, o->y, o->x, &w, &call->conv, NULL);
        break;
    case OP_ATTENTION:
        op_attention(cx, o->y, o->x, o->w, o->w, &call->attention);
        break;
    }
}

static int repeat(dl_context *cx, const struct op_call *call, const struct operands *o,
                  double seconds, double *best, double *work) {
    arena_plan(cx);
    run(cx, call, o);
    *work = cx->arena.work;
    DL_TRY(arena_reserve(cx, "timing"));
    run(cx, call, o); /* into the caches */
    *best = 0.0;
    for (double begin = clock_seconds(), t = begin; t - begin < seconds;) {
        double start = clock_seconds();
        run(cx, call, o);
        t = clock_seconds();
        *best = *best == 0.0 || t - start < *best ? t - start : *best;
    }
    return DL_OK;
}

int op_time(dl_context *cx, const struct op_call *call, double seconds, double *best,
            double *work) {
    struct operands o = {0};
    struct op_log *log = cx->op_log;
    void *y = NULL, *x = NULL, *w = NULL;
    measure_operands(call, &o);
    int status = allocate(cx, "timing", o.y_size, sizeof(float), &y);
    if (status == DL_OK)
        status = allocate(cx, "timing", o.x_size, sizeof(float), &x);
    if (status == DL_OK)
        status = allocate(cx, "timing", o.w_size, sizeof(float), &w);
    o.y = y, o.x = x, o.w = w;
    if (status == DL_OK) {
        fill(o.x, o.x_size);
        if (call->kind == OP_ATTENTION || call->dtype == DTYPE_F32)
            fill(o.w, o.w_size); /* zeros in other types: time does not depend on values */
        cx->op_log = NULL;
        status = repeat(cx, call, &o, seconds, best, work);
        cx->op_log = log;
    }
    free(y);
    free(x);
    free(w);
    return status;
}

double op_peak(const dl_context *cx) {
    double best = 0.0;
    for (int trial = 0; trial < 8; trial++) {
        double work = 0.0, start = clock_seconds();
#pragma omp parallel num_threads(cx->threads) reduction(+ : work)
        {
            float out[TILE_COLUMNS_MAX];
            work += products_of(cx)->multiply_adds(out, 1000000);
        }
        double rate = work / (clock_seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}
