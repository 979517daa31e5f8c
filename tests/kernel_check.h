/* For tests of kernels: numbers, comparisons, loops over the kernel tables that this machine runs,
 * and what products, convolutions and attention are, in double. */
#ifndef DLENS_TESTS_KERNEL_CHECK_H
#define DLENS_TESTS_KERNEL_CHECK_H

#include "kernels/kernels.h" /* before cmocka.h, whose `fail` is a macro */

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[] = {"ref", "avx2", "avx512", "amx", "neon"};
static dl_context cx;

/* Runs `call` in plan mode, reserves what was planned, runs it. */
#define PLANNED(call)                                                                              \
    do {                                                                                           \
        arena_plan(&cx);                                                                           \
        call;                                                                                      \
        assert_int_equal(arena_reserve(&cx, "test"), DL_OK);                                       \
        call;                                                                                      \
        assert_int_equal(cx.arena.used, 0);                                                        \
        arena_free(&cx);                                                                           \
    } while (0)

/* for every table of this machine: { ... } */
#define EACH_TABLE                                                                                 \
    for (size_t table = 0; table < sizeof names / sizeof *names; table++)                          \
        if ((cx.matrices = products_of_matrices(names[table]),                                     \
             cx.kernels = kernels_choose(names[table])) != NULL)

/* ---- numbers --------------------------------------------------------------------------------- */

static uint32_t random_state = 1;

static inline float uniform(void) { /* in [-1, 1) */
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) * 0x1p-23f - 1.0f;
}

static inline float *numbers(size_t n) {
    float *x = malloc((n ? n : 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform();
    return x;
}

static inline double *doubles(size_t n) {
    double *x = calloc(n ? n : 1, sizeof *x);
    assert_non_null(x);
    return x;
}

/* The largest difference, as a share of the largest expected value, is at most `tolerance`. */
static inline void check(const char *what, const float *actual, const double *expected, size_t n,
                         double tolerance) {
    double top = 0.0, worst = 0.0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, fabs(expected[i]));
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)actual[i] - expected[i]);
        if (!(difference <= worst)) {
            worst = difference;
            at = i;
        }
    }
    if (!(worst <= tolerance * top))
        fail_msg("%s, %s: element %zu of %zu is %.9g, expected %.9g (largest %g)", what,
                 cx.kernels->name, at, n, (double)actual[at], expected[at], top);
}

static inline void check_bits(const char *what, const float *actual, const float *expected,
                              size_t n) {
    if (memcmp(actual, expected, n * sizeof *actual) != 0)
        fail_msg("%s, %s: other bits", what, cx.kernels->name);
}

static inline double activated(double x, enum activation act) {
    switch (act) {
    case ACT_SILU:
        return x / (1.0 + exp(-x));
    case ACT_GELU:
        return 0.5 * x * erfc(-x / sqrt(2.0));
    case ACT_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case ACT_QUICK_GELU:
        return x / (1.0 + exp(-1.702 * x));
    case ACT_RELU:
        return x > 0.0 ? x : 0.0;
    case ACT_NONE:
        break;
    }
    return x;
}

static const enum activation activations[] = {ACT_NONE,      ACT_SILU,       ACT_GELU,
                                              ACT_GELU_TANH, ACT_QUICK_GELU, ACT_RELU};

/* ---- definitions ----------------------------------------------------------------------------- */

static inline double finished(double x, const struct epilogue *ep, size_t m, size_t n, size_t N) {
    if (!ep)
        return x;
    x = activated(x + (ep->bias ? (double)ep->bias[n] : 0.0), ep->act);
    x *= ep->factor ? (double)ep->factor[m * N + n] : 1.0;
    return x + (ep->residual ? (double)ep->residual[m * N + n] : 0.0);
}

/* As op_conv2d; a linear layer is a 1x1 convolution of an M x 1 picture. */
static inline void define_conv(double *y, const float *x, const float *w, size_t N, size_t K,
                               size_t k, const struct conv_shape *s, const struct epilogue *ep) {
    size_t H = s->up_H ? s->up_H : s->H, W = s->up_W ? s->up_W : s->W;
    size_t pads = s->pad_before + s->pad_after, m = 0;
    for (size_t b = 0; b < s->B; b++)
        for (size_t i = 0; i * s->stride + k <= H + pads; i++)
            for (size_t j = 0; j * s->stride + k <= W + pads; j++, m++)
                for (size_t n = 0; n < N; n++) {
                    double sum = 0.0;
                    for (size_t p = 0; p < k; p++)
                        for (size_t q = 0; q < k; q++) {
                            size_t h = i * s->stride + p - s->pad_before;
                            size_t v = j * s->stride + q - s->pad_before;
                            if (h >= H || v >= W) /* also below 0, which wraps */
                                continue;
                            const float *in =
                                x + ((b * s->H + h * s->H / H) * s->W + v * s->W / W) * K;
                            for (size_t c = 0; c < K; c++)
                                sum += (double)in[c] * (double)w[((n * K + c) * k + p) * k + q];
                        }
                    y[m * N + n] = finished(sum, ep, m, n, N);
                }
}

static inline double score(const float *q, const float *k, const struct attention_shape *s,
                           size_t b, size_t a, size_t i, size_t j) {
    double sum = 0.0;
    size_t d = s->head_dim, D = s->heads * d;
    if (s->causal && j > i)
        return -INFINITY;
    for (size_t c = 0; c < d; c++)
        sum += (double)q[(b * s->queries + i) * D + a * d + c] *
               (double)k[(b * s->keys + j) * D + a * d + c];
    sum *= (double)s->scale;
    sum += s->bias ? (double)s->bias[(a * s->queries + i) * s->keys + j] : 0.0;
    return sum + (s->key_bias ? (double)s->key_bias[b * s->keys + j] : 0.0);
}

static inline void define_attention(double *y, const float *q, const float *k, const float *v,
                                    const struct attention_shape *s) {
    size_t d = s->head_dim, D = s->heads * d;
    double *p = doubles(s->keys);
    for (size_t b = 0; b < s->batch; b++)
        for (size_t a = 0; a < s->heads; a++)
            for (size_t i = 0; i < s->queries; i++) {
                double max = -INFINITY, sum = 0.0;
                for (size_t j = 0; j < s->keys; j++)
                    max = fmax(max, p[j] = score(q, k, s, b, a, i, j));
                for (size_t j = 0; j < s->keys; j++)
                    sum += p[j] = exp(p[j] - max);
                for (size_t c = 0; c < d; c++) {
                    double out = 0.0;
                    for (size_t j = 0; j < s->keys; j++)
                        out += p[j] / sum * (double)v[(b * s->keys + j) * D + a * d + c];
                    y[(b * s->queries + i) * D + a * d + c] = out;
                }
            }
    free(p);
}

#endif
