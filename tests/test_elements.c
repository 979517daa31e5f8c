/* Norms, activations, sums and moves with every kernel table that this machine runs, against plain
 * loops in double precision: odd sizes. Calls that need scratch are planned and then made in an
 * arena of exactly the planned size. Results must not depend on the number of threads, nor an
 * item's result on the batch it is in: to the bit. */
#include "kernel_check.h"

/* ---- norms ----------------------------------------------------------------------------------- */

static void norm_rows(void **state) {
    (void)state;
    static const size_t widths[] = {1, 5, 16, 33, 320, 771};
    enum { M = 70 };
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        size_t C = widths[i];
        float *x = numbers(M * C), *w = numbers(C), *b = numbers(C);
        float *y = malloc(M * C * sizeof *y);
        double *layer = doubles(M * C), *rms = doubles(M * C);
        for (size_t m = 0; m < M; m++) {
            double mean = 0.0, squares = 0.0, var = 0.0;
            for (size_t c = 0; c < C; c++) {
                x[m * C + c] += (float)(m % 5) * 3.0f;
                mean += (double)x[m * C + c] / (double)C;
                squares += (double)x[m * C + c] * (double)x[m * C + c] / (double)C;
            }
            for (size_t c = 0; c < C; c++)
                var += pow((double)x[m * C + c] - mean, 2.0) / (double)C;
            for (size_t c = 0; c < C; c++) {
                double value = (double)x[m * C + c], factor = (double)w[c];
                layer[m * C + c] = (value - mean) / sqrt(var + 1e-5) * factor + (double)b[c];
                rms[m * C + c] = value / sqrt(squares + 1e-6) * factor;
            }
        }
        EACH_TABLE {
            for (cx.threads = 1; cx.threads <= 3; cx.threads++) {
                PLANNED(op_layer_norm(&cx, y, x, w, b, M, C, 1e-5f));
                check("layer norm", y, layer, M * C, 3e-6);
                memcpy(y, x, M * C * sizeof *y);
                op_layer_norm(&cx, y, y, w, b, M, C, 1e-5f);
                check("layer norm in place", y, layer, M * C, 3e-6);
                PLANNED(op_rms_norm(&cx, y, x, w, M, C, 1e-6f));
                check("RMS norm", y, rms, M * C, 1e-6);
            }
        }
        free(x), free(w), free(b), free(y), free(layer), free(rms);
    }
}

static void group_norm_case(size_t B, size_t P, size_t C, size_t groups, bool scaled,
                            enum activation act) {
    size_t n = B * P * C, G = C / groups;
    float *x = numbers(n), *w = numbers(C), *b = numbers(C), *scale = numbers(B * C);
    float *shift = numbers(B * C), *y = malloc(n * sizeof *y), *first = malloc(n * sizeof *first);
    double *expected = doubles(n);
    for (size_t i = 0; i < n; i++)
        x[i] += (float)(i % C) * 0.5f; /* channels of unlike means */
    for (size_t i = 0; i < B * groups; i++) {
        const float *from = x + i / groups * P * C + i % groups * G;
        double mean = 0.0, var = 0.0, count = (double)(P * G);
        for (size_t p = 0; p < P * G; p++)
            mean += (double)from[p / G * C + p % G] / count;
        for (size_t p = 0; p < P * G; p++)
            var += pow((double)from[p / G * C + p % G] - mean, 2.0) / count;
        for (size_t p = 0; p < P * G; p++) {
            size_t c = i % groups * G + p % G, item = i / groups;
            double value = ((double)from[p / G * C + p % G] - mean) / sqrt(var + 1e-5);
            value = value * (double)w[c] + (double)b[c];
            if (scaled)
                value = value * (1.0 + (double)scale[item * C + c]) + (double)shift[item * C + c];
            expected[(item * P + p / G) * C + c] = activated(value, act);
        }
    }
    const float *s = scaled ? scale : NULL, *t = scaled ? shift : NULL;
    EACH_TABLE {
        for (cx.threads = 1; cx.threads <= 3; cx.threads++) {
            PLANNED(op_group_norm(&cx, y, x, w, b, s, t, B, P, C, groups, 1e-5f, act));
            check("group norm", y, expected, n, 3e-6);
            if (cx.threads == 1)
                memcpy(first, y, n * sizeof *y);
            check_bits("group norm", y, first, n);
        }
        for (size_t i = 0; i < B; i++) {
            size_t item = i * P * C;
            PLANNED(op_group_norm(&cx, y, x + item, w, b, s ? s + i * C : NULL,
                                  t ? t + i * C : NULL, 1, P, C, groups, 1e-5f, act));
            check_bits("group norm of one item", y, first + item, P * C);
        }
    }
    free(x), free(w), free(b), free(scale), free(shift), free(y), free(first), free(expected);
}

static void group_norms(void **state) {
    (void)state;
    group_norm_case(2, 35, 40, 4, false, ACT_NONE);
    group_norm_case(1, 3, 6, 3, true,
                    ACT_SILU); /* two values alone may lie ill: x - mean cancels */
    group_norm_case(2, 1100, 33, 11, true, ACT_SILU);
    group_norm_case(3, 9, 64, 32, false, ACT_GELU);
}

/* ---- elements -------------------------------------------------------------------------------- */

static void activations_are_accurate(void **state) {
    (void)state;
    enum { N = 6007 };
    float *x = numbers(N), *y = malloc(N * sizeof *y);
    for (size_t i = 0; i < N; i++)
        x[i] = i < 6000 ? ((float)i - 3000.0f) * 0.01f : x[i] * 1e30f;
    EACH_TABLE {
        cx.threads = 2;
        for (size_t a = 0; a < sizeof activations / sizeof *activations; a++) {
            PLANNED(op_activate(&cx, y, x, N, activations[a]));
            for (size_t i = 0; i < N; i++) {
                double expected = activated((double)x[i], activations[a]);
                double limit = 3e-7 * fabs((double)x[i]);
                if (!(fabs((double)y[i] - expected) <= limit))
                    fail_msg("activation %d of %.9g, %s: %.9g, expected %.9g", activations[a],
                             (double)x[i], cx.kernels->name, (double)y[i], expected);
            }
        }
    }
    free(x), free(y);
}

static void elements_and_moves(void **state) {
    (void)state;
    enum { B = 2, P = 711, C = 37, N = B * P * C };
    float *x = numbers(N), *z = numbers(N), *y = malloc(N * sizeof *y), *back = numbers(N);
    double *expected = doubles(N);
    EACH_TABLE {
        for (cx.threads = 1; cx.threads <= 3; cx.threads++) {
            memcpy(y, x, N * sizeof *y);
            op_add(&cx, y, z, N);
            op_scale(&cx, y, 0.5f, N);
            op_add_channels(&cx, y, z, B, P, C);
            for (size_t i = 0; i < N; i++)
                expected[i] =
                    ((double)x[i] + (double)z[i]) / 2.0 + (double)z[i / (P * C) * C + i % C];
            check("sums", y, expected, N, 1e-6);

            op_to_channels_first(&cx, y, x, B, C, P);
            for (size_t i = 0; i < N; i++)
                expected[(i / (P * C) * C + i % C) * P + i / C % P] = (double)x[i];
            check("channels first", y, expected, N, 0.0);
            op_to_channels_last(&cx, back, y, B, C, P);
            check_bits("channels last", back, x, N);

            op_concat(&cx, y, x, 5, z, DTYPE_F32, C - 5, P);
            for (size_t i = 0; i < P * C; i++)
                expected[i] = i % C < 5 ? (double)x[i / C * 5 + i % C]
                                        : (double)z[i / C * (C - 5) + i % C - 5];
            check("concatenation", y, expected, P * C, 0.0);
        }
    }
    free(x), free(z), free(y), free(back), free(expected);
}

/* Inputs that are not numbers come out as such: a broken model is seen, not hidden. */
static void nan_passes_through(void **state) {
    (void)state;
    EACH_TABLE {
        float x[19], y[19];
        cx.threads = 1;
        for (size_t a = 0; a < sizeof activations / sizeof *activations; a++) {
            for (size_t i = 0; i < 19; i++)
                x[i] = i % 5 ? NAN : 1.0f;
            op_activate(&cx, y, x, 19, activations[a]);
            for (size_t i = 0; i < 19; i++)
                    assert_int_equal(isnan(y[i]) != 0, i % 5 != 0);
        }
    }
}

/* Numbers that f16 holds and those half way between them and near that; larger ones saturate. */
static void narrowing(void **state) {
    (void)state;
    enum { N = 3 * 65536, NOT_ALIGNED = 5 };
    float *x = malloc(N * sizeof *x);
    uint16_t *y = malloc(N * sizeof *y);
    for (size_t i = 0; i < N / 3; i++) {
        const float low = f16_to_f32((uint16_t)i), high = f16_to_f32((uint16_t)(i + 1));
        x[3 * i] = low;
        x[3 * i + 1] = 0.5f * (low + high);
        x[3 * i + 2] = nextafterf(x[3 * i + 1], low);
    }
    EACH_TABLE {
        cx.threads = 2;
        op_narrow(&cx, y, x, N - NOT_ALIGNED);
        for (size_t i = 0; i < N - NOT_ALIGNED; i++) {
            const float most = fmaxf(fminf(x[i], 65504.0f), -65504.0f);
            if (isnan(x[i]))
                assert_true(isnan(f16_to_f32(y[i])));
            else if (x[i] != 0.0f) /* zeros may lose their sign */
                assert_int_equal(y[i], f32_to_f16(most));
        }
        float *copy = malloc(N * sizeof *copy);
        memcpy(copy, x, N * sizeof *copy);
        assert_memory_equal(op_narrow_in_place(&cx, copy, N - NOT_ALIGNED), y,
                            (N - NOT_ALIGNED) * sizeof *y);
        free(copy);
    }
    free(x), free(y);
}

/* Every f16 and bf16 that is a number, infinity included. */
static void widening(void **state) {
    (void)state;
    enum { N = 65536 };
    uint16_t *half = malloc(N * sizeof *half);
    float *y = malloc(N * sizeof *y);
    for (size_t i = 0; i < N; i++)
        half[i] = (uint16_t)i;
    EACH_TABLE {
        cx.threads = 1;
        for (size_t skip = 0; skip < 2; skip++) { /* unaligned as well */
            op_widen(&cx, y, half + skip, DTYPE_F16, N - skip);
            for (size_t i = skip; i < N; i++) {
                size_t exponent = i >> 10 & 31, fraction = i & 1023;
                double value = exponent ? ldexp(1024.0 + (double)fraction, (int)exponent - 25)
                                        : ldexp((double)fraction, -24);
                value = exponent == 31 ? INFINITY : value;
                value = i >> 15 ? -value : value;
                if (exponent == 31 && fraction)
                    assert_true(isnan(y[i - skip]));
                else if ((double)y[i - skip] != value)
                    fail_msg("f16 %zx, %s: %g, expected %g", i, cx.kernels->name,
                             (double)y[i - skip], value);
            }
            op_widen(&cx, y, half + skip, DTYPE_BF16, N - skip);
            for (size_t i = skip; i < N; i++) {
                uint32_t bits;
                memcpy(&bits, &y[i - skip], sizeof bits);
                if (!isnan(y[i - skip]))
                    assert_int_equal(bits, i << 16);
            }
        }
        float row[3];
        struct tensor table_of_rows = {
            .dtype = DTYPE_BF16, .ndim = 2, .shape = {N / 3, 3}, .data = half};
        op_embedding_row(&cx, row, &table_of_rows, 5000);
        uint32_t bits;
        memcpy(&bits, &row[2], sizeof bits);
        assert_int_equal(bits, 15002u << 16);
    }
    free(half), free(y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_rows),
        cmocka_unit_test(group_norms),
        cmocka_unit_test(activations_are_accurate),
        cmocka_unit_test(nan_passes_through),
        cmocka_unit_test(elements_and_moves),
        cmocka_unit_test(widening),
        cmocka_unit_test(narrowing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
