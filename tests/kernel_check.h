/* For tests of kernels: numbers, comparisons, activations in double, and loops over the kernel
 * tables that this machine runs. */
#ifndef DLENS_TESTS_KERNEL_CHECK_H
#define DLENS_TESTS_KERNEL_CHECK_H

#include "kernels/kernels.h" /* before cmocka.h, whose `fail` is a macro */

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[] = {"ref", "avx2", "avx512", "neon"};
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
        if ((cx.kernels = kernels_choose(names[table])) != NULL)

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

#endif
