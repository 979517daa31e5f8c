/* Pictures in strips: convolution and group norm of a part at a time give the whole's bits, with
 * every kernel table that this machine runs. */
#include "kernel_check.h"

/* Each strip from a buffer that holds no row more than it needs; in f32 and, where there are any, in
 * products of bf16. */
static void conv_strips(const struct conv_shape *whole, size_t N, size_t K) {
    const size_t H = whole->up_H ? whole->up_H : whole->H, W = whole->up_W ? whole->up_W : whole->W;
    float *x = numbers(whole->H * whole->W * K), *values = numbers(N * K * 9), *bias = numbers(N);
    float *residual = numbers(H * W * N), *y = numbers(H * W * N), *part = numbers(H * W * N);
    const struct tensor w = {"w", DTYPE_F32, 4, {N, K, 3, 3}, values, NULL};
    struct epilogue ep = {.bias = bias, .residual = residual, .act = ACT_SILU};
    EACH_TABLE for (int fast = 0; fast < 2; fast++) {
        if (!(cx.fast = fast ? products_bf16(names[table]) : NULL) && fast)
            continue;
        for (cx.threads = 1; cx.threads <= 3; cx.threads += 2) {
            PLANNED(op_conv2d(&cx, y, x, &w, whole, &ep));
            for (size_t first = 0; first < H; first += CONV_STRIP) {
                struct conv_shape s = *whole;
                struct epilogue strip = ep;
                const size_t top = first ? first - 1 : 0;
                s.first = first;
                s.rows = H - first < CONV_STRIP ? H - first : CONV_STRIP;
                const size_t bottom = first + s.rows < H ? first + s.rows : H - 1;
                s.x_first = top * s.H / H;
                const size_t held = bottom * s.H / H + 1 - s.x_first;
                float *rows = malloc(held * s.W * K * sizeof *rows);
                memcpy(rows, x + s.x_first * s.W * K, held * s.W * K * sizeof *rows);
                strip.residual = residual + first * W * N;
                PLANNED(op_conv2d(&cx, part + first * W * N, rows, &w, &s, &strip));
                free(rows);
            }
            check_bits("strips of a convolution", part, y, H * W * N);
        }
    }
    free(x);
    free(values);
    free(bias);
    free(residual);
    free(y);
    free(part);
}

static void convolution_in_strips(void **state) {
    struct conv_shape s = {.B = 1, .H = 30, .W = 7, .stride = 1, .pad_before = 1, .pad_after = 1};
    (void)state;
    conv_strips(&s, 40, 33);
    s.W = 32; /* many channels: the algorithm with fewer multiplications */
    conv_strips(&s, 96, 128);
    s.up_H = 2 * s.H;
    s.up_W = 2 * s.W;
    conv_strips(&s, 33, 64);
}

static void group_norm_in_strips(void **state) {
    enum { P = 1700, C = 40, GROUPS = 4 };
    const size_t pieces[] = {1, 100, 512, 511, 3, 573}; /* P in all */
    float *x = numbers((size_t)P * C), *weight = numbers(C), *bias = numbers(C);
    float *whole = numbers((size_t)P * C), *y = numbers((size_t)P * C), *a = numbers(C),
          *b = numbers(C);
    (void)state;
    EACH_TABLE {
        struct group_sums sums;
        size_t at = 0;
        cx.threads = 2;
        PLANNED(op_group_norm(&cx, whole, x, weight, bias, NULL, NULL, 1, P, C, GROUPS, 1e-5f,
                              ACT_SILU));
        arena_plan(&cx);
        op_group_sums_begin(&cx, &sums, C);
        assert_int_equal(arena_reserve(&cx, "test"), DL_OK);
        cx.arena.used = 0;
        op_group_sums_begin(&cx, &sums, C);
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; at += pieces[i++])
            op_group_sums_add(&cx, &sums, x + at * C, pieces[i], C);
        assert_int_equal(at, P);
        op_group_factors(&cx, a, b, &sums, weight, bias, C, GROUPS, 1e-5f);
        op_affine(&cx, y, x, a, b, P, C, ACT_SILU);
        arena_free(&cx);
        check_bits("group norm in pieces", y, whole, (size_t)P * C);
    }
    free(x);
    free(weight);
    free(bias);
    free(whole);
    free(y);
    free(a);
    free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution_in_strips),
        cmocka_unit_test(group_norm_in_strips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
