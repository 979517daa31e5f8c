/* stats/: agreement of annotators, the paper's comparisons, the published annotations, against
 * numpy and scipy; files that are broken. */
#include "stats/agree.h"
#include "stats/compare.h"
#include "stats/order.h"
#include "stats/summary.h"
#include "stats_support.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agreement_is_cohens),
        cmocka_unit_test(agreement_of_strangers),
        cmocka_unit_test(comparisons_that_are_refused),
        cmocka_unit_test(comparisons_of_little),
        cmocka_unit_test(comparisons_without_minus_zero),
        cmocka_unit_test(commonness_by_frequency),
        cmocka_unit_test(paper_files_are_numpys),
        cmocka_unit_test(paper_comparisons_are_scipys),
        cmocka_unit_test(damaged_files),
    };
    return cmocka_run_group_tests(tests, stats_setup, stats_teardown);
}
