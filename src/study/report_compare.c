/* The paper's comparisons (stats/compare.h, stats/order.h) within one experiment, as far as its
 * columns allow:
 *
 *     binding   questions of parts (class1, class2, color1, color2) against `binding` or `relation`
 *     natural   column is_natural: the prompts of each question in two groups
 *     rank      a column of numbers (avg_daily_views, frequency): Spearman's rho with emergence
 *     coarse    is_animal, class, animal: from coarse to fine
 *     order     noun_0 and noun_1, and the column `head`
 *
 * Simple against compound, and common against uncommon, are two experiments' prompts: for these
 * there are `dlens compare` and `dlens analyse --compare`. */
#include "study/report.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 8 };

void put_p_value(struct buffer *b, double p) {
    if (p < 0.0001)
        buffer_text(b, "&lt; 0.0001");
    else
        put_fixed(b, p, 4);
}

void cell_number(struct buffer *b, double value, int decimals) {
    buffer_text(b, "<td>");
    put_fixed(b, value, decimals);
    buffer_text(b, "</td>");
}

static void put_interval(struct buffer *b, double value, double low, double high) {
    buffer_text(b, "<td>");
    put_fixed(b, value, 2);
    if (!isnan(low)) {
        buffer_text(b, " (");
        put_fixed(b, low, 2);
        buffer_text(b, " to ");
        put_fixed(b, high, 2);
        buffer_text(b, ")");
    }
    buffer_text(b, "</td>");
}

/* ---- contrasts ------------------------------------------------------------------------------- */

static void put_p_cell(struct buffer *b, double p) {
    buffer_text(b, "<td>");
    put_p_value(b, p);
    buffer_text(b, "</td>");
}

static void put_text_cell(struct buffer *b, const char *text) {
    buffer_text(b, "<td>");
    buffer_html(b, text);
    buffer_text(b, "</td>");
}

static void put_contrast(struct buffer *b, const struct contrast *c) {
    buffer_text(b, "<tr><th scope=\"row\">");
    if (c->file) {
        buffer_html(b, c->file);
        buffer_text(b, ": ");
    }
    buffer_html(b, c->a);
    buffer_text(b, " \xE2\x86\x92 ");
    buffer_html(b, c->b);
    buffer_format(b, "</th><td>%s</td><td>%zu, %zu</td>", c->rows == ROWS_ALL ? "all" : "emerged",
                  c->n_a, c->n_b);
    cell_number(b, c->mean_a, 2);
    cell_number(b, c->mean_b, 2);
    put_interval(b, c->difference, c->low, c->high);
    cell_number(b, c->test.effect, 2);
    put_p_cell(b, c->test.p);
    put_p_cell(b, c->p_holm);
    buffer_text(b, "</tr>\n");
}

void report_contrasts(struct buffer *b, const struct comparison *c) {
    bool paired = false;
    buffer_text(b, "<div class=\"scroll\"><table class=\"figures\"><thead><tr><th>a \xE2\x86\x92 b"
                   "</th><th>rows</th><th>prompts</th><th>layer a</th><th>layer b</th>"
                   "<th>b \xE2\x88\x92 a (95 %)</th><th>effect</th><th>p</th><th>Holm</th></tr>"
                   "</thead>\n<tbody>\n");
    for (size_t i = 0; i < c->contrast_count; i++) {
        put_contrast(b, &c->contrasts[i]);
        paired = paired || c->contrasts[i].paired;
    }
    buffer_text(b, "</tbody></table></div>\n<p class=\"hint\">");
    buffer_text(b, paired ? "Wilcoxon\xE2\x80\x99s signed-rank test, rank-biserial correlation"
                          : "Mann and Whitney\xE2\x80\x99s test, Cliff\xE2\x80\x99s delta");
    buffer_text(b, "; above 0: b emerges later. \xE2\x80\x9C"
                   "emerged\xE2\x80\x9D leaves out rows "
                   "that never emerge, \xE2\x80\x9C"
                   "all\xE2\x80\x9D counts them as one step "
                   "behind the last layer.</p>\n");
}

static int put_comparison(dl_context *cx, const struct study *s, enum comparison_kind kind,
                          const struct score_table *tables, size_t count, struct buffer *b) {
    struct comparison comparison;
    int status =
        compare_tables(cx, kind, tables, count, &s->set, s->set.rows ? 1 : 0, 0, &comparison);
    if (status == DL_OK) {
        const char *question = comparison_question(kind);
        buffer_format(b, "<h3>%c%s</h3>\n", toupper((unsigned char)question[0]), question + 1);
        report_contrasts(b, &comparison);
    }
    comparison_free(&comparison);
    return status;
}

/* ---- which questions there are --------------------------------------------------------------- */

static const struct study_question *find_question(const struct study *s, const char *name) {
    for (size_t i = 0; i < s->question_count; i++)
        if (strcmp(s->questions[i].name, name) == 0)
            return &s->questions[i];
    return NULL;
}

/* The tables of the questions of these names that there are, all about the same prompts as the
 * last one taken; NULL ends the names. */
static size_t take_tables(const struct study *s, const char *const *names,
                          struct score_table *out) {
    size_t count = 0;
    for (; *names; names++) {
        const struct study_question *q = find_question(s, *names);
        if (q && count < PARTS_MAX)
            out[count++] = q->table; /* borrowed */
    }
    return count;
}

static int put_binding(dl_context *cx, const struct study *s, struct buffer *b) {
    static const char *const of_binding[] = {"class1", "class2",  "color1",
                                             "color2", "binding", NULL};
    static const char *const of_relation[] = {"class1", "class2", "relation", NULL};
    struct score_table tables[PARTS_MAX];
    const char *const *lists[] = {of_binding, of_relation};
    for (size_t i = 0; i < 2; i++) {
        const size_t count = take_tables(s, lists[i], tables);
        if (count >= 2 && find_question(s, i ? "relation" : "binding"))
            DL_TRY(put_comparison(cx, s, COMPARE_BINDING, tables, count, b));
    }
    return DL_OK;
}

static int put_coarse(dl_context *cx, const struct study *s, struct buffer *b) {
    static const char *const names[] = {"is_animal", "class", "animal", NULL};
    struct score_table tables[PARTS_MAX];
    const size_t count = take_tables(s, names, tables);
    if (count < 2 || !find_question(s, "animal"))
        return DL_OK;
    return put_comparison(cx, s, COMPARE_COARSE, tables, count, b);
}

/* Whether a column has both 0 and 1. */
static bool has_both(const struct study *s, const char *column) {
    const size_t c = s->set.rows ? csv_column(&s->set.csv, column) : CSV_NONE;
    bool there[2] = {false, false};
    for (size_t row = 0; c != CSV_NONE && row < s->set.rows; row++) {
        double value;
        if (parse_score(csv_cell(&s->set.csv, row, c), &value) && (value == 0 || value == 1))
            there[value > 0.5] = true;
    }
    return there[0] && there[1];
}

static int put_natural(dl_context *cx, const struct study *s, struct buffer *b) {
    struct score_table *tables = NULL;
    if (!has_both(s, "is_natural") || !s->question_count)
        return DL_OK;
    DL_TRY(allocate(cx, "tables", s->question_count, sizeof *tables, (void **)&tables));
    for (size_t i = 0; i < s->question_count; i++)
        tables[i] = s->questions[i].table; /* borrowed */
    int status = put_comparison(cx, s, COMPARE_NATURAL, tables, s->question_count, b);
    free(tables);
    return status;
}

/* ---- emergence against a number -------------------------------------------------------------- */

/* A prompt's mean layer of emergence over its rows that emerge; NAN: none does. */
static double prompt_emergence(const struct study *s, const struct study_question *q,
                               size_t prompt) {
    const size_t seeds = s->record.settings.seed_count;
    double sum = 0;
    size_t n = 0;
    for (size_t i = prompt * seeds; i < (prompt + 1) * seeds; i++)
        if (q->first[i] >= 0) {
            sum += q->table.layer[q->first[i]];
            n++;
        }
    return n ? sum / (double)n : NAN;
}

static int put_correlation(dl_context *cx, const struct study *s, const struct study_question *q,
                           size_t column, struct buffer *b) {
    const size_t prompts = s->record.prompt_count;
    double *x = NULL;
    size_t n = 0;
    struct rank_test test;
    DL_TRY(allocate(cx, "correlation", prompts, 2 * sizeof *x, (void **)&x));
    for (size_t p = 0; p < prompts && p < s->set.rows; p++) {
        const double y = prompt_emergence(s, q, p);
        if (!isnan(y) && parse_score(csv_cell(&s->set.csv, p, column), &x[n]))
            x[prompts + n++] = y;
    }
    int status = spearman(cx, x, x + prompts, n, &test);
    free(x);
    if (status != DL_OK)
        return status;
    buffer_text(b, "<tr><th scope=\"row\">");
    buffer_html(b, q->name);
    buffer_text(b, "</th>");
    put_text_cell(b, csv_header(&s->set.csv, column));
    buffer_format(b, "<td>%zu</td>", n);
    put_interval(b, test.statistic, test.low, test.high);
    put_p_cell(b, test.p);
    buffer_text(b, "</tr>\n");
    return DL_OK;
}

/* A column of numbers that takes more than two values. */
static bool is_measure(const struct study *s, size_t column) {
    double first[2] = {NAN, NAN};
    for (size_t row = 0; row < s->set.rows; row++) {
        double value;
        if (column == s->set.prompt_column ||
            !parse_score(csv_cell(&s->set.csv, row, column), &value))
            return false;
        if (isnan(first[0]))
            first[0] = value;
        else if (value != first[0] && isnan(first[1]))
            first[1] = value;
        else if (value != first[0] && value != first[1])
            return true;
    }
    return false;
}

static int put_correlations(dl_context *cx, const struct study *s, struct buffer *b) {
    bool begun = false;
    for (size_t c = 0; s->set.rows && c < s->set.csv.columns; c++) {
        if (!is_measure(s, c))
            continue;
        if (!begun)
            buffer_text(b, "<h3>Does how common a thing is tell when it emerges?</h3>\n"
                           "<div class=\"scroll\"><table class=\"figures\"><thead><tr>"
                           "<th>question</th><th>column</th><th>prompts</th>"
                           "<th>Spearman\xE2\x80\x99s rho (95 %)</th><th>p</th></tr></thead>\n"
                           "<tbody>\n");
        begun = true;
        for (size_t i = 0; i < s->question_count; i++)
            DL_TRY(put_correlation(cx, s, &s->questions[i], c, b));
    }
    if (begun)
        buffer_text(b, "</tbody></table></div>\n<p class=\"hint\">Of the prompt\xE2\x80\x99s mean "
                       "layer of emergence (rows that emerge) with the column: below 0, larger "
                       "values emerge earlier.</p>\n");
    return DL_OK;
}

/* ---- which noun comes first ------------------------------------------------------------------ */

static void put_rule(struct buffer *b, const char *name, const struct rule_count *rule) {
    buffer_format(b, "<tr><th scope=\"row\">%s</th><td>%zu of %zu</td>", name, rule->k, rule->n);
    put_interval(b, rule->n ? (double)rule->k / (double)rule->n : NAN, rule->low, rule->high);
    put_p_cell(b, rule->p);
    buffer_text(b, "</tr>\n");
}

static int put_order(dl_context *cx, const struct study *s, struct buffer *b) {
    static const char *const names[] = {"noun_0", "noun_1", NULL};
    struct score_table tables[PARTS_MAX];
    struct order order;
    if (take_tables(s, names, tables) != 2)
        return DL_OK;
    int status = compare_order(cx, tables, 2, &s->set, s->set.rows ? 1 : 0, &order);
    if (status == DL_OK && order.question_count) {
        const struct order_question *q = &order.questions[0];
        buffer_text(b, "<h3>Which noun comes first: that written first, or the head?</h3>\n"
                       "<p class=\"finding\">");
        put_count(b, q->prompts, "prompt", "prompts");
        buffer_format(b,
                      ", %zu of them undecided.</p>\n"
                      "<div class=\"scroll\"><table class=\"figures\"><thead><tr><th>rule</th>"
                      "<th>prompts that follow it</th><th>share (95 %%)</th><th>p</th></tr></thead>"
                      "\n<tbody>\n",
                      q->undecided);
        put_rule(b, "linear: the noun written first", &q->linear);
        put_rule(b, "syntactic: the head", &q->head);
        buffer_format(b,
                      "</tbody></table></div>\n<p class=\"hint\">Binomial tests against one half. "
                      "Prompts for which only the linear rule holds: %zu, only the syntactic one: "
                      "%zu; McNemar\xE2\x80\x99s test: p ",
                      q->only_linear, q->only_head);
        put_p_value(b, q->rules_p);
        buffer_text(b, "</p>\n");
    }
    order_free(&order);
    return status;
}

int report_comparisons(dl_context *cx, const struct study *s, struct buffer *b) {
    struct buffer parts = {0};
    int status = put_binding(cx, s, &parts);
    if (status == DL_OK)
        status = put_natural(cx, s, &parts);
    if (status == DL_OK)
        status = put_coarse(cx, s, &parts);
    if (status == DL_OK)
        status = put_order(cx, s, &parts);
    if (status == DL_OK)
        status = put_correlations(cx, s, &parts);
    if (status == DL_OK && parts.length) {
        buffer_text(b, "<section>\n<h2>The paper\xE2\x80\x99s comparisons</h2>\n");
        buffer_bytes(b, parts.data, parts.length);
        buffer_text(b, "<p class=\"hint\">Simple against compound prompts, and common against "
                       "uncommon nouns, are comparisons of two experiments: <code>dlens analyse "
                       "--compare complexity</code> and <code>common</code>.</p>\n</section>\n");
    }
    buffer_free(&parts);
    return status;
}
