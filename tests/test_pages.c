/* Giving file pages back: what a store's tensors hold does not change, and memory goes down. */
#include "reference.h"

enum { ROWS = 1 << 12, COLUMNS = 1 << 10 }; /* 16 MB */

/* Resident memory of this process in bytes. */
static size_t resident(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long total, pages = 0;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &total, &pages), 2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static float sum_of(const struct tensor *t) {
    const float *values = t->data;
    float sum = 0;
    for (size_t i = 0; i < tensor_count(t); i++)
        sum += values[i];
    return sum;
}

static void dropped_pages_are_read_again(void **state) {
    struct scratch s;
    struct store *store;
    float *values = calloc((size_t)ROWS * COLUMNS, sizeof *values);
    (void)state;
    scratch_begin(&s);
    for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++)
        values[i] = (float)(i % 7) - 2;
    const struct tensor written[] = {
        {"large", DTYPE_F32, 2, {ROWS, COLUMNS}, values, NULL},
        {"small", DTYPE_F32, 1, {3}, values, NULL},
    };
    char path[SCRATCH_PATH_MAX];
    snprintf(path, sizeof path, "%s/w.safetensors", s.dir);
    assert_int_equal(store_write(&s.cx, path, written, 2, NULL), DL_OK);
    free(values);
    assert_int_equal(store_open_file(&s.cx, path, &store), DL_OK);
    const struct tensor *large = store_find(store, "large"), *small = store_find(store, "small");
    store_fetch_tensor(store, large);
    const float sum = sum_of(large);
    const size_t full = resident();
    store_drop_tensor(store, large);
    store_drop_tensor(store, small);
    assert_true(resident() + (12 << 20) < full);
    assert_true(sum_of(large) == sum);
    assert_true(((const float *)small->data)[2] == 0);
    /* a tensor that is not the store's is left alone */
    float own[1024];
    const struct tensor foreign = {"own", DTYPE_F32, 1, {1024}, own, NULL};
    memset(own, 1, sizeof own);
    store_drop_tensor(store, &foreign);
    for (size_t i = 0; i < sizeof own; i++)
        assert_int_equal(((unsigned char *)own)[i], 1);
    store_close(store);
    scratch_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(dropped_pages_are_read_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
