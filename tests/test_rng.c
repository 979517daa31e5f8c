/* base/rng: equal to torch.randn to the last bit, but for draws below 16, where f64 functions of
 * libm are rounded to f32 and may differ in the last place. The expected values come from torch
 * 2.13 on a processor with AVX2 (tests/data/README.md). */
#include "base/rng.h"
#include "scratch.h"
#include "store/store.h"

#include <math.h>

static struct store *open_expected(struct scratch *s) {
    struct store *store;
    if (store_open_file(&s->cx, "tests/data/expected/randn.safetensors", &store) != DL_OK)
        fail_msg("%s", s->cx.message);
    return store;
}

/* |a - b| in units of the last place of f32. */
static int64_t ulps(float a, float b) {
    int32_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    int64_t i = x < 0 ? INT32_MIN - (int64_t)x : x, k = y < 0 ? INT32_MIN - (int64_t)y : y;
    return i > k ? i - k : k - i;
}

static void check(const char *name, const float *actual, const float *expected, size_t count,
                  int64_t allowed) {
    for (size_t i = 0; i < count; i++) {
        if (ulps(actual[i], expected[i]) > allowed)
            fail_msg("%s[%zu]: %.9g, torch has %.9g", name, i, (double)actual[i],
                     (double)expected[i]);
    }
}

static void single_draws(void **state) {
    static struct rng rng;
    static float actual[16384];
    struct scratch *s = *state;
    struct store *store = open_expected(s);
    int checked = 0;
    for (size_t i = 0; i < store_count(store); i++) {
        const struct tensor *t = store_at(store, i);
        unsigned long long seed;
        size_t count, of = tensor_count(t);
        char part[8] = "";
        if (sscanf(t->name, "seed.%llu.count.%zu.%7s", &seed, &count, part) < 2)
            continue;
        assert_in_range(count, 1, 16384);
        rng_seed(&rng, seed);
        rng_normal(&rng, actual, count);
        check(t->name, strcmp(part, "last") == 0 ? actual + count - of : actual, t->data, of,
              count < 16 ? 1 : 0);
        checked++;
    }
    store_close(store);
    assert_true(checked >= 60);
}

/* Draws follow each other in one generator; the spare of a small draw outlives a large one. */
static void sequences(void **state) {
    static struct rng rng;
    struct scratch *s = *state;
    struct store *store = open_expected(s);
    const struct tensor *counts = store_find(store, "sequence.counts");
    int checked = 0;
    assert_non_null(counts);
    for (size_t i = 0; i < store_count(store); i++) {
        const struct tensor *t = store_at(store, i);
        unsigned long long seed;
        float actual[256];
        size_t at = 0;
        if (!strstr(t->name, ".sequence") || sscanf(t->name, "seed.%llu", &seed) != 1)
            continue;
        rng_seed(&rng, seed);
        for (size_t k = 0; k < tensor_count(counts); k++) {
            size_t count = (size_t)((const int64_t *)counts->data)[k];
            assert_true(at + count <= 256);
            rng_normal(&rng, actual + at, count);
            check(t->name, actual + at, (const float *)t->data + at, count, count < 16 ? 1 : 0);
            at += count;
        }
        assert_int_equal(at, tensor_count(t));
        checked++;
    }
    assert_int_equal(checked, 6);
    const struct tensor *t = store_find(store, "seed.7.after.1000.count.48");
    float actual[1000];
    assert_non_null(t);
    rng_seed(&rng, 7);
    rng_normal(&rng, actual, 1000);
    rng_normal(&rng, actual, 48);
    check(t->name, actual, t->data, 48, 0);
    store_close(store);
}

/* Only the low 32 bits of a seed count. */
static void seeds_wrap(void **state) {
    static struct rng rng;
    float a[20], b[20];
    (void)state;
    rng_seed(&rng, 5);
    rng_normal(&rng, a, 20);
    rng_seed(&rng, 5 + ((uint64_t)1 << 32));
    rng_normal(&rng, b, 20);
    assert_memory_equal(a, b, sizeof a);
}

/* Mean, variance and kurtosis of a million values within four standard errors. */
static void moments(void **state) {
    enum { COUNT = 1000000 };
    static struct rng rng;
    static float values[COUNT];
    double m1 = 0, m2 = 0, m4 = 0;
    (void)state;
    rng_seed(&rng, 1);
    rng_normal(&rng, values, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        double square = (double)values[i] * values[i];
        m1 += values[i] / (double)COUNT;
        m2 += square / COUNT;
        m4 += square * square / COUNT;
    }
    assert_true(fabs(m1) < 4e-3);
    assert_true(fabs(m2 - 1) < 4 * 1.4143e-3);
    assert_true(fabs(m4 - 3) < 4 * 9.8e-3);
}

int main(void) {
    static struct scratch s;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(single_draws, &s),
        cmocka_unit_test_prestate(sequences, &s),
        cmocka_unit_test(seeds_wrap),
        cmocka_unit_test(moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
