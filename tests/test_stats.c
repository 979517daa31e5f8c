/* stats/: tests and intervals against numpy and scipy, tables of scores, emergence. */
#include "base/rng.h"
#include "out/json_writer.h"
#include "stats/bootstrap.h"
#include "stats/exact.h"
#include "stats/numbers.h"
#include "stats/ranks.h"
#include "stats/summary.h"
#include "stats_support.h"

#include <locale.h>

static const cJSON *case_list(const char *name) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(cases, name);
    assert_true(cJSON_GetArraySize(list) > 2);
    return list;
}

/* ---- tests and effect sizes ------------------------------------------------------------------ */

static void ranks_are_scipys(void **state) {
    (void)state;
    const cJSON *c;
    cJSON_ArrayForEach(c, case_list("ranks")) {
        size_t n, m;
        double *x = get_list(c, "x", &n), *expected = get_list(c, "ranks", &m), ranks[16], ties;
        assert_int_equal(rank_values(cx, x, n, ranks, &ties), DL_OK);
        for (size_t i = 0; i < n; i++)
            assert_number("rank", ranks[i], expected[i]);
        assert_number("ties", ties, get(c, "ties"));
        free(x);
        free(expected);
    }
}

static void spearman_is_scipys(void **state) {
    (void)state;
    const cJSON *c;
    struct rank_test t;
    cJSON_ArrayForEach(c, case_list("spearman")) {
        size_t n, m;
        double *x = get_list(c, "x", &n), *y = get_list(c, "y", &m);
        assert_int_equal(spearman(cx, x, y, n, &t), DL_OK);
        assert_number("rho", t.statistic, get(c, "rho"));
        assert_p("Spearman", t.p, get(c, "p"));
        assert_number("low", t.low, get(c, "low"));
        assert_number("high", t.high, get(c, "high"));
        free(x);
        free(y);
    }
    const double rising[] = {1, 2, 3, 4}, same[] = {5, 5, 5, 5};
    assert_int_equal(spearman(cx, rising, rising, 4, &t), DL_OK);
    assert_true(t.statistic == 1.0 && t.p == 0.0);
    assert_int_equal(spearman(cx, rising, same, 4, &t), DL_OK);
    assert_true(isnan(t.statistic) && isnan(t.p));
    assert_int_equal(spearman(cx, rising, rising, 2, &t), DL_OK);
    assert_true(isnan(t.p));
}

static void mann_whitney_is_scipys(void **state) {
    (void)state;
    const cJSON *c;
    struct rank_test t;
    size_t exact = 0, all = 0;
    cJSON_ArrayForEach(c, case_list("mann_whitney")) {
        size_t n, m;
        double *x = get_list(c, "x", &n), *y = get_list(c, "y", &m);
        assert_int_equal(mann_whitney(cx, x, n, y, m, &t), DL_OK);
        assert_number("U", t.statistic, get(c, "u"));
        assert_p("Mann-Whitney", t.p, get(c, "p"));
        assert_number("Cliff's delta", t.effect, get(c, "delta"));
        exact += t.exact;
        all++;
        free(x);
        free(y);
    }
    assert_true(exact > 2 && exact < all - 2);
    const double same[] = {5, 5, 5};
    assert_int_equal(mann_whitney(cx, same, 3, same, 2, &t), DL_OK);
    assert_true(t.p == 1.0 && t.effect == 0.0);
    assert_int_equal(mann_whitney(cx, same, 0, same, 2, &t), DL_OK);
    assert_true(isnan(t.p));
}

static void wilcoxon_is_scipys(void **state) {
    (void)state;
    const cJSON *c;
    struct rank_test t;
    size_t exact = 0, all = 0;
    cJSON_ArrayForEach(c, case_list("wilcoxon")) {
        size_t n;
        double *d = get_list(c, "d", &n);
        assert_int_equal(wilcoxon(cx, d, n, &t), DL_OK);
        assert_number("W", t.statistic, get(c, "w"));
        assert_p("Wilcoxon", t.p, get(c, "p"));
        assert_number("rank-biserial", t.effect, get(c, "effect"));
        exact += t.exact;
        all++;
        free(d);
    }
    assert_true(exact > 2 && exact < all - 2);
    const double zeros[] = {0, 0, 0};
    assert_int_equal(wilcoxon(cx, zeros, 3, &t), DL_OK);
    assert_true(isnan(t.p));
}

static void binomial_is_scipys(void **state) {
    (void)state;
    const cJSON *c;
    double low, high;
    cJSON_ArrayForEach(c, case_list("binomial")) {
        const size_t k = (size_t)get(c, "k"), n = (size_t)get(c, "n");
        assert_p("binomial", binomial_test(k, n, get(c, "p")), get(c, "value"));
        binomial_interval(k, n, &low, &high);
        assert_number("low", low, get(c, "low"));
        assert_number("high", high, get(c, "high"));
    }
    assert_true(isnan(binomial_test(0, 0, 0.5)));
    assert_p("McNemar", mcnemar_test(7, 2), binomial_test(2, 9, 0.5));
    assert_true(isnan(mcnemar_test(0, 0)));
}

static void holm_steps_down(void **state) {
    (void)state;
    const cJSON *c;
    cJSON_ArrayForEach(c, case_list("holm")) {
        size_t n, m;
        double *p = get_list(c, "p", &n), *expected = get_list(c, "holm", &m);
        assert_int_equal(holm(cx, p, n), DL_OK);
        for (size_t i = 0; i < n; i++)
            assert_number("Holm", p[i], expected[i]);
        free(p);
        free(expected);
    }
}

static void quantiles_are_numpys(void **state) {
    (void)state;
    const double x[] = {1, 2, 4, 8};
    assert_number("0", quantile(x, 4, 0.0), 1.0);
    assert_number("1/2", quantile(x, 4, 0.5), 3.0);
    assert_number("0.9", quantile(x, 4, 0.9), 6.8);
    assert_number("1", quantile(x, 4, 1.0), 8.0);
    assert_number("one", quantile(x, 1, 0.3), 1.0);
    assert_true(isnan(mean(x, 0)));
}

/* ---- resampling ------------------------------------------------------------------------------ */

static void below_is_uniform(void **state) {
    (void)state;
    struct rng rng;
    size_t counts[7] = {0};
    rng_seed(&rng, 3);
    for (int i = 0; i < 70000; i++)
        counts[rng_below(&rng, 7)]++;
    for (size_t i = 0; i < 7; i++)
        assert_true(counts[i] > 9600 && counts[i] < 10400); /* four standard deviations */
    for (int i = 0; i < 100; i++)
        assert_true(rng_below(&rng, 1) == 0 && rng_below(&rng, 0xC0000001u) < 0xC0000001u);
}

/* A mean of many values has about a normal distribution, in bundles too. */
static void interval_has_its_width(void **state) {
    (void)state;
    enum { MANY = 300000 };
    static const size_t sizes[] = {400, MANY};
    double *x = malloc(MANY * sizeof *x);
    assert_non_null(x);
    for (size_t s = 0; s < 2; s++) {
        const size_t n = sizes[s];
        uint64_t random = 99;
        double sum = 0.0, squares = 0.0, low, high;
        for (size_t i = 0; i < n; i++) {
            x[i] = (double)(scratch_random(&random) >> 11) / 9007199254740992.0;
            sum += x[i];
            squares += x[i] * x[i];
        }
        const double mid = sum / (double)n, variance = squares / (double)n - mid * mid;
        const double half = 1.96 * sqrt(variance / (double)n);
        if (n == MANY)
            assert_int_equal(
                bootstrap_difference(cx, x, n / 3, x + n / 3, n - n / 3, 1, &low, &high), DL_OK);
        else
            assert_int_equal(bootstrap_mean(cx, x, n, 1, &low, &high), DL_OK);
        const double wide = n == MANY ? half * sqrt(3.0 + 1.5) : half;
        assert_true(fabs((high - low) / 2.0 - wide) < 0.15 * wide);
        assert_true(n == MANY ? low < 0.0 + 3 * wide && high > -3 * wide : low < mid && high > mid);
    }
    free(x);
}

static void interval_depends_on_the_seed_alone(void **state) {
    (void)state;
    const double x[] = {1.13, 2.71, 3.14, 4.2, 5.55, 6.02, 7.89, 8.31, 9.81, 20.4};
    double low[3], high[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(bootstrap_mean(cx, x, 10, i / 2, &low[i], &high[i]), DL_OK);
    assert_true(low[0] == low[1] && high[0] == high[1]);
    assert_true(low[0] != low[2] || high[0] != high[2]);
    assert_int_equal(bootstrap_mean(cx, x, 0, 0, &low[0], &high[0]), DL_OK);
    assert_true(isnan(low[0]));
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void refused(const char *text, const char *message) {
    struct score_table t;
    assert_int_equal(table_parse(cx, "test.csv", text, strlen(text), 1.0, &t), DL_USAGE);
    assert_contains(dl_message(cx), message);
    table_free(&t);
}

static void cells_that_are_numbers(void **state) {
    (void)state;
    static const char *const good[] = {"0",  "10",   "-3",  "+2",     "4.5", ".5",
                                       "5.", " 7\t", "1e1", "2.5E-1", "007"};
    static const double values[] = {0, 10, -3, 2, 4.5, 0.5, 5, 7, 10, 0.25, 7};
    static const char *const bad[] = {"",    " ",   "Error", "nan",     "inf",         "0x10",
                                      "1,0", "1_0", "--1",   "1e",      "1e+",         ".",
                                      "+",   "1 2", "1e999", "5 of 10", "\xC2\xA0\x31"};
    double value;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(parse_score(good[i], &value) && value == values[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse_score(bad[i], &value))
            fail_msg("\"%s\" is taken for %g", bad[i], value);
    char *digits = calloc(100001, 1);
    assert_non_null(digits);
    memset(digits, '1', 100000);
    assert_false(parse_score(digits, &value));
    free(digits);
}

/* Where the locale's decimal point is a comma, files and JSON still have a point. */
static void numbers_in_a_foreign_locale(void **state) {
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    struct buffer b = {0};
    double value;
    size_t i = 0;
    while (i < 4 && !setlocale(LC_NUMERIC, names[i]))
        i++;
    const bool parsed = parse_score("4.5", &value);
    write_json_number(&b, 0.1);
    setlocale(LC_NUMERIC, "C");
    assert_true(parsed && value == 4.5);
    assert_string_equal(b.data, "0.1");
    buffer_free(&b);
}

static void table_takes_what_is_there(void **state) {
    (void)state;
    struct score_table t = table("\xEF\xBB\xBF"
                                 "12 ,Prompt,4,note,seed\r\n"
                                 "10,\"a \"\"b\"\", c\",3,x,0.0\r\n"
                                 "Error,d,11,y,1\r\n"
                                 "5,\"a \"\"b\"\", c\",,z, 18446744073709551615.00 \r\n"
                                 "2,d\r\n",
                                 10.0);
    assert_int_equal(t.rows, 4);
    assert_int_equal(t.layers, 2);
    assert_int_equal(t.layer[0], 4);
    assert_int_equal(t.layer[1], 12);
    assert_int_equal(t.prompts, 2);
    assert_int_equal(t.prompt[2], 0);
    assert_int_equal(t.prompt[3], 1);
    assert_int_equal(t.missing, 3);
    assert_int_equal(t.outside, 1);
    assert_true(t.scores[0] == 3.0 && t.scores[1] == 10.0 && isnan(t.scores[3]));
    assert_string_equal(table_prompt(&t, 0), "a \"b\", c");
    assert_string_equal(table_seed(&t, 0), "0");
    assert_string_equal(table_seed(&t, 2), "18446744073709551615");
    assert_string_equal(table_seed(&t, 3), "");
    table_free(&t);
}

static void tables_that_are_refused(void **state) {
    (void)state;
    refused("", "empty");
    refused("0,1\n1,1\n", "no column `prompt`");
    refused("prompt,0,prompt\na,1,b\n", "two columns `prompt`");
    refused("prompt,0,seed,Seed\na,1,0,0\n", "two columns `seed`");
    refused("prompt,4,12,04\na,1,1,1\n", "two columns of layer 4");
    refused("prompt,4\na,1,1\n", "more fields");
    refused("prompt,4\na,\"1\n", "never closed");
    struct score_table t = table("prompt,class\na,b\n", 1.0);
    assert_int_equal(table_need_layers(cx, &t), DL_USAGE);
    assert_contains(dl_message(cx), "no layers");
    table_free(&t);
}

static void table_without_rows(void **state) {
    (void)state;
    struct score_table t = table("prompt,0,4\n", 1.0);
    struct summary s;
    struct buffer b = {0};
    assert_int_equal(summarise(cx, &t, 0, &s), DL_OK);
    assert_int_equal(s.rows, 0);
    assert_true(isnan(s.layer[0].mean) && isnan(s.layer[0].low) && isnan(s.median_layer));
    summary_json(&b, &s);
    assert_contains(b.data, "\"layers\":[{\"layer\":0,\"n\":0,\"mean\":null,\"ci95\":[null,null]}");
    assert_contains(b.data, "\"median_layer\":null,\"by_layer\":{\"0\":0,\"4\":0}}}");
    summary_print(&b, &s);
    assert_contains(b.data, "0 prompts, 0 rows, scores");
    buffer_free(&b);
    summary_free(&s);
    table_free(&t);
}

static void table_of_one_row(void **state) {
    (void)state;
    struct score_table t = table("prompt,0,4,8\na,1,,1\n", 1.0);
    struct summary s;
    struct buffer b = {0};
    assert_int_equal(summarise(cx, &t, 0, &s), DL_OK);
    summary_print(&b, &s);
    assert_contains(b.data, "1 prompt, 1 row, scores 0 to 1; 1 of 3 cells is no number");
    assert_contains(b.data, "emergence of 0 rows: 0 never, 0 unstable\n");
    buffer_free(&b);
    summary_free(&s);
    table_free(&t);
}

static void properties_are_joined(void **state) {
    (void)state;
    struct score_table t = table("prompt,0,own\na,1,1\n b ,1,\nc,1,3\nd,1,\n", 1.0);
    struct score_table sets[] = {table("prompt,other\na,x\n", 1.0),
                                 table("own,prompt\n7,a\n,b\n9,b\n8,\"b \"\n5,bb\n", 1.0)};
    const char **values;
    assert_int_equal(table_property(cx, &t, sets, 2, "own", &values), DL_OK);
    assert_string_equal(values[0], "1");
    assert_null(values[1]); /* the first row of the prompt counts, and it is empty */
    assert_string_equal(values[2], "3");
    assert_null(values[3]);
    free(values);
    assert_int_equal(table_property(cx, &t, sets, 2, "other", &values), DL_OK);
    assert_string_equal(values[0], "x");
    assert_null(values[1]);
    free(values);
    table_free(&t);
    table_free(&sets[0]);
    table_free(&sets[1]);
}

static void rows_are_matched(void **state) {
    (void)state;
    struct score_table a = table("prompt,seed,0\nx,0,1\ny,0,1\nx,0,1\nx,1,1\n", 1.0);
    struct score_table b = table("prompt,seed,0\nx,1.0,1\nx,0.0,1\nz,0,1\nx,0,1\nx,0,1\n", 1.0);
    struct score_table c = table("prompt,0\ny,1\nx,1\n", 1.0);
    struct row_pair *rows;
    size_t count;
    assert_int_equal(table_match(cx, &a, &b, &rows, &count), DL_OK);
    assert_int_equal(count, 3);
    assert_true(rows[0].a == 0 && rows[0].b == 1);
    assert_true(rows[1].a == 2 && rows[1].b == 3);
    assert_true(rows[2].a == 3 && rows[2].b == 0);
    free(rows);
    assert_int_equal(table_match(cx, &a, &c, &rows, &count), DL_OK);
    assert_int_equal(count, 2);
    assert_true(rows[0].a == 0 && rows[0].b == 1 && rows[1].a == 1 && rows[1].b == 0);
    free(rows);
    table_free(&a);
    table_free(&b);
    table_free(&c);
}

/* ---- emergence ------------------------------------------------------------------------------- */

static void emergence_by_definition(void **state) {
    (void)state;
    static const struct {
        double scores[5];
        int emerges;
        bool unstable;
    } rows[] = {
        {{0, 0, 5, 7, 9}, 2, false},    {{5, 5, 5, 5, 5}, 0, false}, {{0, 0, 0, 0, 4.9}, -1, false},
        {{9, 9, 9, 9, 0}, -1, false},   {{0, 9, 0, 0, 9}, 4, true},  {{9, 0, 9, 9, 0}, -1, true},
        {{0, 0, 0, 0, 5}, 4, false},    {{9, 9, 4, 3, 5}, 4, true},  {{9, NAN, 9, 9, 9}, -2, false},
        {{0, 0, 0, 0, NAN}, -2, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(emergence(rows[i].scores, 5, 10.0), rows[i].emerges);
        if (rows[i].emerges != EMERGES_UNKNOWN)
            assert_int_equal(emergence_is_unstable(rows[i].scores, 5, 10.0), rows[i].unstable);
    }
}

static void median_of_an_even_number(void **state) {
    (void)state;
    struct score_table t = table("prompt,0,4,8,12\na,1,1,1,1\nb,0,1,1,1\nc,0,0,1,1\nd,0,0,0,1\n"
                                 "e,0,0,0,0\nf,1,x,1,1\n",
                                 1.0);
    struct summary s;
    assert_int_equal(summarise(cx, &t, 0, &s), DL_OK);
    assert_true(s.median_layer == 6.0);
    assert_int_equal(s.complete, 5);
    assert_int_equal(s.never, 1);
    assert_int_equal(s.layer[0].n, 6);
    assert_int_equal(s.layer[1].n, 5);
    assert_true(s.layer[1].mean == 0.4);
    summary_free(&s);
    table_free(&t);
}

/* Many rows of one prompt, many prompts, many layers: seconds at most. */
static void large_files(void **state) {
    (void)state;
    struct buffer b = {0};
    struct score_table t;
    struct summary s;
    buffer_text(&b, "prompt,0\n");
    for (int i = 0; i < 300000; i++)
        buffer_format(&b, "%d,%d\n", i % 150000, i % 3);
    t = table(b.data, 2.0);
    assert_int_equal(summarise(cx, &t, 0, &s), DL_OK);
    assert_int_equal(s.prompts, 150000);
    assert_number("mean", s.layer[0].mean, 0.5);
    assert_true(s.layer[0].low < 0.5 && s.layer[0].high > 0.5);
    summary_free(&s);
    table_free(&t);
    buffer_free(&b);
    buffer_text(&b, "prompt");
    for (int i = 0; i < 1000; i++)
        buffer_format(&b, ",%d", 5 * i);
    buffer_text(&b, "\na\nb,1\n");
    t = table(b.data, 1.0);
    assert_int_equal(summarise(cx, &t, 0, &s), DL_OK);
    assert_int_equal(s.missing, 2 * 1000 - 1);
    summary_free(&s);
    table_free(&t);
    buffer_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_scipys),
        cmocka_unit_test(spearman_is_scipys),
        cmocka_unit_test(mann_whitney_is_scipys),
        cmocka_unit_test(wilcoxon_is_scipys),
        cmocka_unit_test(binomial_is_scipys),
        cmocka_unit_test(holm_steps_down),
        cmocka_unit_test(quantiles_are_numpys),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(interval_has_its_width),
        cmocka_unit_test(interval_depends_on_the_seed_alone),
        cmocka_unit_test(cells_that_are_numbers),
        cmocka_unit_test(numbers_in_a_foreign_locale),
        cmocka_unit_test(table_takes_what_is_there),
        cmocka_unit_test(tables_that_are_refused),
        cmocka_unit_test(table_without_rows),
        cmocka_unit_test(table_of_one_row),
        cmocka_unit_test(properties_are_joined),
        cmocka_unit_test(rows_are_matched),
        cmocka_unit_test(emergence_by_definition),
        cmocka_unit_test(median_of_an_even_number),
        cmocka_unit_test(large_files),
    };
    return cmocka_run_group_tests(tests, stats_setup, stats_teardown);
}
