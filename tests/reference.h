/* For tests against reference data: a context with kernels, tensors of tests/data, comparing. */
#ifndef DLENS_TESTS_REFERENCE_H
#define DLENS_TESTS_REFERENCE_H

#include "scratch.h"
#include "store/store.h"

#include <math.h>

static inline dl_context *reference_context(void) {
    dl_context *cx;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    return cx;
}

/* tests/data/expected/NAME.safetensors, closed by the caller. */
static inline struct store *reference_open(dl_context *cx, const char *name) {
    char path[256];
    struct store *store;
    snprintf(path, sizeof path, "tests/data/expected/%s.safetensors", name);
    if (store_open_file(cx, path, &store) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return store;
}

/* Links a file of tests/data into the scratch folder under this name. */
static inline void reference_link(struct scratch *s, const char *path, const char *name) {
    char here[SCRATCH_PATH_MAX / 2], target[SCRATCH_PATH_MAX];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(target, sizeof target, "%s/%s", here, path);
    assert_int_equal(symlink(target, scratch_path(s, name)), 0);
}

/* A tensor PREFIX + NAME that must be there, in f32. */
static inline const struct tensor *reference_tensor(const struct store *store, const char *prefix,
                                                    const char *name) {
    char full[256];
    const struct tensor *t;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    t = store_find(store, full);
    if (!t || t->dtype != DTYPE_F32)
        fail_msg("%s: no f32 tensor %s", store_path(store), full);
    return t;
}

/* Fails unless every difference is within tolerance times the largest expected value. */
static inline void assert_close(const char *what, const float *actual, const float *expected,
                                size_t count, double tolerance) {
    double largest = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)actual[i] - expected[i]);
        largest = fmax(largest, fabs(expected[i]));
        worst = difference > worst || isnan(difference) ? difference : worst;
    }
    if (getenv("DLENS_TEST_VERBOSE"))
        printf("%s: %.2g of the largest value\n", what, worst / largest);
    if (!(worst <= tolerance * largest))
        fail_msg("%s: differs by %g of the largest value", what, worst / largest);
}

#endif
