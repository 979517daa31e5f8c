/* What tests of stats/ share: numpy's and scipy's results (tests/data/stats, made by
 * tools/reference/annotations.py), and tables of scores from text. */
#ifndef DLENS_TESTS_STATS_SUPPORT_H
#define DLENS_TESTS_STATS_SUPPORT_H

#include "reference.h"
#include "stats/table.h"

/* Of all tests of a file. */
static dl_context *cx;
static cJSON *cases;

static inline int stats_setup(void **state) {
    (void)state;
    cx = reference_context();
    cases = reference_json("tests/data/stats/cases.json");
    return 0;
}

static inline int stats_teardown(void **state) {
    (void)state;
    cJSON_Delete(cases);
    dl_context_free(cx);
    return 0;
}

/* A number; NaN for null. */
static inline double number(const cJSON *item) {
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static inline double get(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_non_null(item);
    return number(item);
}

/* A list of numbers, freed by the caller. */
static inline double *numbers(const cJSON *list, size_t *count) {
    *count = (size_t)cJSON_GetArraySize(list);
    double *values = calloc(*count + 1, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < *count; i++)
        values[i] = number(cJSON_GetArrayItem(list, (int)i));
    return values;
}

static inline double *get_list(const cJSON *object, const char *key, size_t *count) {
    return numbers(cJSON_GetObjectItemCaseSensitive(object, key), count);
}

/* Equal to 1e-9 of the larger of 1 and the expected value; NaN equals NaN. */
static inline void assert_number(const char *what, double got, double expected) {
    if (isnan(got) != isnan(expected) || fabs(got - expected) > 1e-9 * fmax(1.0, fabs(expected)))
        fail_msg("%s: %.17g, expected %.17g", what, got, expected);
}

/* p values to 1e-9 of themselves. */
static inline void assert_p(const char *what, double got, double expected) {
    if (isnan(got) != isnan(expected) || fabs(got - expected) > 1e-9 * expected)
        fail_msg("%s: p %.17g, expected %.17g", what, got, expected);
}

/* The table of this CSV; freed by the caller. */
static inline struct score_table table(const char *text, double scale) {
    struct score_table t;
    if (table_parse(cx, "test.csv", text, strlen(text), scale, &t) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return t;
}

#endif
