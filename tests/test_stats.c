/* stats/: tests, intervals, tables of scores and comparisons, against numpy and scipy
 * (tools/reference/annotations.py), and files that are broken. */
#include "base/rng.h"
#include "out/json_writer.h"
#include "reference.h"
#include "stats/agree.h"
#include "stats/bootstrap.h"
#include "stats/compare.h"
#include "stats/exact.h"
#include "stats/numbers.h"
#include "stats/order.h"
#include "stats/ranks.h"
#include "stats/summary.h"

#include <locale.h>

static dl_context *cx;
static cJSON *cases;

static int begin(void **state) {
    (void)state;
    cx = reference_context();
    cases = reference_json("tests/data/stats/cases.json");
    return 0;
}

static int end(void **state) {
    (void)state;
    cJSON_Delete(cases);
    dl_context_free(cx);
    return 0;
}

/* ---- reading the reference ----------------------------------------------------------------- */

/* A number; NaN for null. */
static double number(const cJSON *item) {
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static double get(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_non_null(item);
    return number(item);
}

/* A list of numbers, freed by the caller. */
static double *numbers(const cJSON *list, size_t *count) {
    *count = (size_t)cJSON_GetArraySize(list);
    double *values = calloc(*count + 1, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < *count; i++)
        values[i] = number(cJSON_GetArrayItem(list, (int)i));
    return values;
}

static double *get_list(const cJSON *object, const char *key, size_t *count) {
    return numbers(cJSON_GetObjectItemCaseSensitive(object, key), count);
}

/* Equal to 1e-9 of the larger of 1 and the expected value; NaN equals NaN. */
static void assert_number(const char *what, double got, double expected) {
    if (isnan(got) != isnan(expected) || fabs(got - expected) > 1e-9 * fmax(1.0, fabs(expected)))
        fail_msg("%s: %.17g, expected %.17g", what, got, expected);
}

/* p values to 1e-9 of themselves. */
static void assert_p(const char *what, double got, double expected) {
    if (isnan(got) != isnan(expected) || fabs(got - expected) > 1e-9 * expected)
        fail_msg("%s: p %.17g, expected %.17g", what, got, expected);
}

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

static struct score_table table(const char *text, double scale) {
    struct score_table t;
    if (table_parse(cx, "test.csv", text, strlen(text), scale, &t) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return t;
}

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

/* ---- agreement ------------------------------------------------------------------------------- */

static void agreement_is_cohens(void **state) {
    (void)state;
    const cJSON *c = cJSON_GetObjectItemCaseSensitive(cases, "kappa");
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(c, "layers");
    const cJSON *unmatched = cJSON_GetObjectItemCaseSensitive(c, "unmatched");
    struct score_table a = table(cJSON_GetObjectItem(c, "a")->valuestring, 1.0);
    struct score_table b = table(cJSON_GetObjectItem(c, "b")->valuestring, 10.0);
    struct agreement g;
    struct buffer text = {0};
    assert_int_equal(agree(cx, &a, &b, 0, &g), DL_OK);
    assert_int_equal(g.layers + 1, cJSON_GetArraySize(layers));
    assert_int_equal(g.unmatched_a, cJSON_GetArrayItem(unmatched, 0)->valueint);
    assert_int_equal(g.unmatched_b, cJSON_GetArrayItem(unmatched, 1)->valueint);
    for (size_t i = 0; i <= g.layers; i++) {
        const cJSON *expected = cJSON_GetArrayItem(layers, (int)i);
        const struct layer_agreement *l = &g.layer[i];
        assert_int_equal(l->layer, (int)get(expected, "layer"));
        assert_int_equal(l->n, (size_t)get(expected, "n"));
        assert_number("agreement", l->agreement, get(expected, "agreement"));
        assert_number("kappa", l->kappa, get(expected, "kappa"));
        assert_true(l->agreement_low <= l->agreement && l->agreement <= l->agreement_high);
        assert_true(!(l->kappa_low > l->kappa) && !(l->kappa > l->kappa_high));
    }
    agreement_print(&text, &g);
    agreement_json(&text, &g);
    assert_int_equal(buffer_check(cx, &text, "test"), DL_OK);
    buffer_free(&text);
    agreement_free(&g);
    table_free(&a);
    table_free(&b);
}

static void agreement_of_strangers(void **state) {
    (void)state;
    struct score_table a = table("prompt,seed,0\nx,0,1\n", 1.0), b = table("prompt,0\ny,1\n", 1.0);
    struct score_table c = table("prompt,4\nx,1\n", 1.0), same = table("prompt,0\nx,1\nx,1\n", 1.0);
    struct agreement g;
    assert_int_equal(agree(cx, &a, &b, 0, &g), DL_OK);
    assert_int_equal(g.matched, 0);
    assert_true(isnan(g.layer[0].kappa) && isnan(g.layer[0].agreement));
    agreement_free(&g);
    assert_int_equal(agree(cx, &same, &same, 0, &g), DL_OK);
    assert_true(g.layer[0].agreement == 1.0 && isnan(g.layer[0].kappa)); /* chance agrees as well */
    agreement_free(&g);
    assert_int_equal(agree(cx, &a, &c, 0, &g), DL_USAGE);
    assert_contains(dl_message(cx), "no layer in common");
    agreement_free(&g);
    table_free(&a);
    table_free(&b);
    table_free(&c);
    table_free(&same);
}

/* ---- comparisons ----------------------------------------------------------------------------- */

static void comparisons_that_are_refused(void **state) {
    (void)state;
    struct score_table t[] = {table("prompt,0,4\nx,1,1\n", 1.0), table("prompt,0,8\nx,1,1\n", 1.0),
                              table("prompt,0,4\nx,1,1\n", 1.0)};
    struct comparison c;
    struct order o;
    assert_int_equal(compare_tables(cx, COMPARE_COMPLEXITY, t, 1, NULL, 0, 0, &c), DL_USAGE);
    assert_contains(dl_message(cx), "simple prompts' file");
    comparison_free(&c);
    assert_int_equal(compare_tables(cx, COMPARE_COARSE, t, 2, NULL, 0, 0, &c), DL_USAGE);
    assert_contains(dl_message(cx), "one encoder");
    comparison_free(&c);
    assert_int_equal(compare_tables(cx, COMPARE_NATURAL, t, 1, NULL, 0, 0, &c), DL_USAGE);
    assert_contains(dl_message(cx), "is_natural");
    comparison_free(&c);
    assert_int_equal(compare_order(cx, t, 3, NULL, 0, &o), DL_USAGE);
    order_free(&o);
    assert_int_equal(compare_order(cx, t, 2, NULL, 0, &o), DL_USAGE);
    assert_contains(dl_message(cx), "one encoder");
    order_free(&o);
    for (size_t i = 0; i < 3; i++)
        table_free(&t[i]);
}

/* Tables too small for any test: results that do not exist are NaN, not a failure. */
static void comparisons_of_little(void **state) {
    (void)state;
    struct score_table t[] = {table("prompt,0,is_natural,avg_daily_views\nx,1,1,3\ny,1,1,4\n", 1.0),
                              table("prompt,0,is_natural,avg_daily_views\nx,0,1,5\n", 1.0)};
    struct comparison c;
    struct order o;
    struct buffer b = {0};
    for (enum comparison_kind kind = 0; kind < COMPARE_KINDS; kind++) {
        assert_int_equal(compare_tables(cx, kind, t, 2, NULL, 0, 0, &c), DL_OK);
        assert_true(c.contrasts[1].rows == ROWS_ALL);
        comparison_print(&b, &c);
        comparison_json(&b, &c);
        comparison_free(&c);
    }
    assert_int_equal(compare_order(cx, t, 2, NULL, 0, &o), DL_OK);
    assert_int_equal(o.questions[0].linear.k, 1); /* x: there at once in the first table only */
    assert_int_equal(o.questions[0].head.n, 0);
    order_print(&b, &o);
    order_json(&b, &o);
    assert_int_equal(buffer_check(cx, &b, "test"), DL_OK);
    order_free(&o);
    buffer_free(&b);
    table_free(&t[0]);
    table_free(&t[1]);
}

/* What rounds to zero from below prints as zero, what does not exist as a dash. */
static void comparisons_without_minus_zero(void **state) {
    (void)state;
    struct contrast contrast = {.a = "one",
                                .b = "two",
                                .difference = -0.001,
                                .low = -0.004,
                                .high = -0.0,
                                .test = {.effect = -0.002, .p = NAN},
                                .p_holm = NAN};
    struct correlation correlation = {
        .property = "views", .n = 4, .test = {.statistic = -0.0004, .low = NAN, .high = 0.5}};
    const struct comparison c = {COMPARE_COMMON, 1, 1, &contrast, &correlation};
    struct buffer b = {0};
    comparison_print(&b, &c);
    assert_contains(b.data, "    0    0   0.00   0.00    0.00 (  0.00 to   0.00)   0.00");
    assert_contains(b.data, "rho  0.000 (     - to  0.500), p");
    assert_null(strstr(b.data, "-0.0"));
    buffer_free(&b);
}

/* The sets of the bundled model's world tell how often a noun was trained on. */
static void commonness_by_frequency(void **state) {
    (void)state;
    struct score_table t[] = {table("prompt,0,4,frequency\na,1,1,9\nb,1,1,8\n", 1.0),
                              table("prompt,0,4\nc,0,1\nd,0,1\n", 1.0)};
    struct score_table set = table("prompt,frequency\nc,2\nd,1\n", 1.0);
    struct comparison c;
    assert_int_equal(compare_tables(cx, COMPARE_COMMON, t, 2, &set, 1, 0, &c), DL_OK);
    assert_string_equal(c.correlations[0].property, "frequency");
    assert_int_equal(c.correlations[0].n, 4);
    assert_true(c.correlations[0].test.effect < -0.8);
    comparison_free(&c);
    table_free(&t[0]);
    table_free(&t[1]);
    table_free(&set);
}

/* ---- the published annotations ----------------------------------------------------------------
 */

#define PAPER "../shared/paper-data"

static struct score_table paper_table(const char *folder, const char *name, char *path,
                                      size_t size) {
    struct score_table t;
    snprintf(path, size, PAPER "/%s/%s", folder, name);
    if (table_read(cx, path, 10.0, &t) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return t;
}

/* The reference, or NULL with the test skipped where the published files are not there. */
static cJSON *paper(void) {
    FILE *stream = fopen(PAPER "/annotations-gpt/auto_prompts_classes_IsCorrect_df.csv", "rb");
    if (!stream) {
        print_message("skip: %s is not there\n", PAPER);
        return NULL;
    }
    fclose(stream);
    return reference_json("tests/data/stats/paper.json");
}

/* Either end of an interval lies in the range that resampling leaves. */
static void assert_interval(const char *what, const cJSON *item, double low, double high) {
    size_t n;
    double *limits = get_list(item, "limits", &n);
    assert_int_equal(n, 4);
    if (low < limits[0] - 1e-12 || low > limits[1] + 1e-12 || high < limits[2] - 1e-12 ||
        high > limits[3] + 1e-12)
        fail_msg("%s: interval %.6g to %.6g, expected %.6g-%.6g to %.6g-%.6g", what, low, high,
                 limits[0], limits[1], limits[2], limits[3]);
    free(limits);
}

static void check_summary(const cJSON *expected, const struct summary *s) {
    const cJSON *layers = cJSON_GetObjectItem(expected, "layers");
    const cJSON *emerges = cJSON_GetObjectItem(expected, "emergence");
    const cJSON *by_layer = cJSON_GetObjectItem(emerges, "by_layer");
    assert_int_equal(s->prompts, (size_t)get(expected, "prompts"));
    assert_int_equal(s->rows, (size_t)get(expected, "rows"));
    assert_int_equal(s->missing, (size_t)get(expected, "missing"));
    assert_int_equal(s->layers, cJSON_GetArraySize(layers));
    assert_int_equal(s->complete, (size_t)get(emerges, "n"));
    assert_int_equal(s->never, (size_t)get(emerges, "never"));
    assert_int_equal(s->unstable, (size_t)get(emerges, "unstable"));
    assert_number("median", s->median_layer, get(emerges, "median_layer"));
    for (size_t i = 0; i < s->layers; i++) {
        const cJSON *layer = cJSON_GetArrayItem(layers, (int)i);
        const struct layer_summary *l = &s->layer[i];
        char name[16];
        assert_int_equal(l->layer, (int)get(layer, "layer"));
        assert_int_equal(l->n, (size_t)get(layer, "n"));
        assert_number("mean", l->mean, get(layer, "mean"));
        assert_interval(s->name, layer, l->low, l->high);
        snprintf(name, sizeof name, "%d", l->layer);
        assert_int_equal(l->emerged, (size_t)get(by_layer, name));
    }
}

static void paper_files_are_numpys(void **state) {
    (void)state;
    cJSON *reference = paper();
    const cJSON *file;
    size_t count = 0;
    if (!reference)
        skip();
    cJSON_ArrayForEach(file, cJSON_GetObjectItem(reference, "files")) {
        char path[512];
        const char *name = cJSON_GetObjectItem(file, "file")->valuestring;
        struct score_table t = paper_table("annotations-gpt", name, path, sizeof path);
        struct summary s;
        assert_int_equal(summarise(cx, &t, 0, &s), DL_OK);
        check_summary(file, &s);
        summary_free(&s);
        table_free(&t);
        count++;
    }
    assert_int_equal(count, 58);
    cJSON_Delete(reference);
}

static void check_contrast(const cJSON *expected, const struct contrast *c) {
    size_t n;
    double *means = get_list(expected, "mean", &n), *prompts = get_list(expected, "prompts", &n);
    const char *rows = cJSON_GetObjectItem(expected, "rows")->valuestring;
    assert_string_equal(rows, c->rows == ROWS_ALL ? "all" : "emerged");
    assert_int_equal(c->n_a, (size_t)prompts[0]);
    assert_int_equal(c->n_b, (size_t)prompts[1]);
    assert_number("mean a", c->mean_a, means[0]);
    assert_number("mean b", c->mean_b, means[1]);
    assert_number("difference", c->difference, get(expected, "difference"));
    assert_number("statistic", c->test.statistic, get(expected, "statistic"));
    assert_number("effect", c->test.effect, get(expected, "effect"));
    assert_p(c->b, c->test.p, get(expected, "p"));
    assert_p(c->b, c->p_holm, get(expected, "p_holm"));
    assert_interval(c->b, expected, c->low, c->high);
    free(means);
    free(prompts);
}

static void check_comparison(const cJSON *expected, const struct comparison *c) {
    const cJSON *contrasts = cJSON_GetObjectItem(expected, "contrasts");
    const cJSON *correlations = cJSON_GetObjectItem(expected, "correlations");
    assert_int_equal(c->contrast_count, cJSON_GetArraySize(contrasts));
    assert_int_equal(c->correlation_count, cJSON_GetArraySize(correlations));
    for (size_t i = 0; i < c->contrast_count; i++)
        check_contrast(cJSON_GetArrayItem(contrasts, (int)i), &c->contrasts[i]);
    for (size_t i = 0; i < c->correlation_count; i++) {
        const cJSON *item = cJSON_GetArrayItem(correlations, (int)i);
        assert_int_equal(c->correlations[i].n, (size_t)get(item, "prompts"));
        assert_number("rho", c->correlations[i].test.statistic, get(item, "rho"));
        assert_p("rho", c->correlations[i].test.p, get(item, "p"));
    }
}

static void check_rule(const cJSON *expected, const struct rule_count *r) {
    assert_int_equal(r->k, (size_t)get(expected, "k"));
    assert_int_equal(r->n, (size_t)get(expected, "n"));
    assert_p("rule", r->p, get(expected, "p"));
    assert_p("rule", r->p_holm, get(expected, "p_holm"));
}

static void check_order(const cJSON *expected, const struct order *o) {
    const cJSON *questions = cJSON_GetObjectItem(expected, "questions");
    const cJSON *pairs = cJSON_GetObjectItem(expected, "pairs");
    assert_int_equal(o->question_count, cJSON_GetArraySize(questions));
    assert_int_equal(o->pair_count, cJSON_GetArraySize(pairs));
    for (size_t i = 0; i < o->question_count; i++) {
        const cJSON *item = cJSON_GetArrayItem(questions, (int)i);
        const cJSON *rules = cJSON_GetObjectItem(item, "rules");
        const cJSON *layers = cJSON_GetObjectItem(item, "layers");
        const struct order_question *q = &o->questions[i];
        assert_int_equal(q->prompts, (size_t)get(item, "prompts"));
        assert_int_equal(q->undecided, (size_t)get(item, "undecided"));
        check_rule(cJSON_GetObjectItem(item, "linear"), &q->linear);
        check_rule(cJSON_GetObjectItem(item, "head"), &q->head);
        assert_int_equal(q->only_linear, (size_t)get(rules, "only_linear"));
        assert_int_equal(q->only_head, (size_t)get(rules, "only_head"));
        assert_p("rules", q->rules_p, get(rules, "p"));
        for (size_t k = 0; k < q->layers; k++) {
            const cJSON *layer = cJSON_GetArrayItem(layers, (int)k);
            assert_int_equal(q->layer[k].only_first, (size_t)get(layer, "only_first"));
            assert_int_equal(q->layer[k].only_second, (size_t)get(layer, "only_second"));
            assert_p("layer", q->layer[k].p_holm, get(layer, "p_holm"));
        }
    }
    for (size_t i = 0; i < o->pair_count; i++) {
        const cJSON *item = cJSON_GetArrayItem(pairs, (int)i);
        assert_int_equal(o->pairs[i].shared, (size_t)get(item, "shared"));
        assert_int_equal(o->pairs[i].only_a, (size_t)get(item, "only_a"));
        assert_int_equal(o->pairs[i].only_b, (size_t)get(item, "only_b"));
        assert_p("pair", o->pairs[i].p_holm, get(item, "p_holm"));
    }
}

/* Opens the files of one comparison of the reference and makes it. */
static void check_paper_comparison(const cJSON *expected) {
    enum { FILES_MAX = 16 };
    static char paths[2][FILES_MAX][512];
    struct score_table tables[2][FILES_MAX];
    size_t counts[2] = {0};
    for (size_t k = 0; k < 2; k++) {
        const cJSON *name;
        cJSON_ArrayForEach(name, cJSON_GetObjectItem(expected, k ? "sets" : "files")) {
            char *path = paths[k][counts[k]];
            tables[k][counts[k]++] = paper_table(k ? "prompts" : "annotations-gpt",
                                                 name->valuestring, path, sizeof paths[0][0]);
        }
    }
    const char *name = cJSON_GetObjectItem(expected, "kind")->valuestring;
    struct comparison c = {0};
    struct order o = {0};
    if (strcmp(name, "order") == 0) {
        assert_int_equal(compare_order(cx, tables[0], counts[0], tables[1], counts[1], &o), DL_OK);
        check_order(expected, &o);
    } else {
        enum comparison_kind kind = 0;
        while (strcmp(comparison_name(kind), name) != 0)
            kind++;
        assert_int_equal(
            compare_tables(cx, kind, tables[0], counts[0], tables[1], counts[1], 0, &c), DL_OK);
        check_comparison(expected, &c);
    }
    comparison_free(&c);
    order_free(&o);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < counts[k]; i++)
            table_free(&tables[k][i]);
}

static void paper_comparisons_are_scipys(void **state) {
    (void)state;
    cJSON *reference = paper();
    const cJSON *item;
    size_t count = 0;
    if (!reference)
        skip();
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(reference, "comparisons")) {
        check_paper_comparison(item);
        count++;
    }
    assert_int_equal(count, 19);
    cJSON_Delete(reference);
}

/* ---- hostile files ----------------------------------------------------------------------------
 */

/* All that `analyse` does with a file of these bytes: it works or is refused. */
static void try_file(const char *bytes, size_t size) {
    struct score_table t[2];
    struct agreement g;
    struct comparison c = {0};
    struct order o = {0};
    struct buffer b = {0};
    int status = table_parse(cx, "damaged.csv", bytes, size, 10.0, &t[0]);
    assert_true(status == DL_OK || status == DL_USAGE);
    if (status == DL_OK) {
        t[1] = t[0];
        status = agree(cx, &t[0], &t[1], 0, &g);
        assert_true(status == DL_OK || status == DL_USAGE);
        if (status == DL_OK) {
            agreement_json(&b, &g);
            agreement_print(&b, &g);
        }
        agreement_free(&g);
        if (compare_tables(cx, COMPARE_COMMON, t, 2, NULL, 0, 0, &c) == DL_OK)
            comparison_print(&b, &c);
        comparison_free(&c);
        if (compare_order(cx, t, 2, NULL, 0, &o) == DL_OK)
            order_print(&b, &o);
        order_free(&o);
        assert_int_equal(buffer_check(cx, &b, "test"), DL_OK);
    }
    buffer_free(&b);
    table_free(&t[0]);
}

static void damaged_files(void **state) {
    (void)state;
    static const char text[] =
        "prompt,seed,0,4,8,is_natural,avg_daily_views,head,noun_0,noun_1\n"
        "a dog,0,0,10,\"1,0\",1,12,dog,dog,cat\n\"a \"\"cat\"\"\",0.0,5,Error,7,0,3,x,y,x\n"
        "a dog,1,9,,1e1,1,12,dog,dog,cat\n";
    uint64_t random = 88172645463325252u;
    char damaged[sizeof text];
    try_file(text, sizeof text - 1);
    for (int i = 0; i < 60; i++) {
        memcpy(damaged, text, sizeof text);
        try_file(damaged, scratch_mutate(&random, (unsigned char *)damaged, sizeof text - 1));
    }
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
        cmocka_unit_test(agreement_is_cohens),
        cmocka_unit_test(agreement_of_strangers),
        cmocka_unit_test(comparisons_that_are_refused),
        cmocka_unit_test(comparisons_of_little),
        cmocka_unit_test(comparisons_without_minus_zero),
        cmocka_unit_test(commonness_by_frequency),
        cmocka_unit_test(paper_files_are_numpys),
        cmocka_unit_test(paper_comparisons_are_scipys),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(large_files),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
