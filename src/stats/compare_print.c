/* Comparisons as text and as JSON. See compare.h. */
#include "out/json_writer.h"
#include "out/number.h"
#include "stats/compare.h"

#include <math.h>

const char *const rows_names[ROWS_COUNTED_KINDS] = {"emerged", "all"};

/* ---- text --------------------------------------------------------------------------------- */

static void put_p(struct buffer *b, double p) {
    if (isnan(p))
        buffer_format(b, " %9s", "-");
    else
        buffer_format(b, p < 0.0001 ? " %9.1e" : " %9.4f", p);
}

static void put_names(struct buffer *b, const struct contrast *c) {
    if (c->file) {
        buffer_text(b, "\n  ");
        buffer_utf8(b, c->file);
    }
    buffer_text(b, "\n  a: ");
    buffer_utf8(b, c->a);
    buffer_text(b, "\n  b: ");
    buffer_utf8(b, c->b);
    buffer_format(b, "\n  %-8s %-9s %6s %6s  %-23s %7s %9s %9s\n", "rows", "prompts", "mean a",
                  "mean b", "b - a (95 %), layers", "effect", "p", "Holm's p");
}

static void put_contrast(struct buffer *b, const struct contrast *c) {
    buffer_format(b, "  %-8s %4zu %4zu ", rows_names[c->rows], c->n_a, c->n_b);
    put_column(b, c->mean_a, 2, 6);
    buffer_text(b, " ");
    put_column(b, c->mean_b, 2, 6);
    buffer_text(b, "  ");
    put_estimate(b, c->difference, c->low, c->high, 2);
    buffer_text(b, " ");
    put_column(b, c->test.effect, 2, 6);
    put_p(b, c->test.p);
    put_p(b, c->p_holm);
    buffer_text(b, "\n");
}

static void put_never(struct buffer *b, const struct contrast *c) {
    buffer_format(b, "  never there: %zu of %zu rows of a, %zu of %zu of b; %s\n", c->never_a,
                  c->complete_a, c->never_b, c->complete_b,
                  c->paired ? "Wilcoxon's test, rank-biserial correlation"
                            : "Mann and Whitney's test, Cliff's delta");
}

static void put_correlation(struct buffer *b, const struct correlation *c) {
    buffer_format(b, "  %-8s %4zu prompts: Spearman's rho ", rows_names[c->rows], c->n);
    put_estimate(b, c->test.statistic, c->test.low, c->test.high, 3);
    buffer_text(b, ", p");
    put_p(b, c->test.p);
    buffer_text(b, "\n");
}

void comparison_print(struct buffer *b, const struct comparison *c) {
    buffer_format(b, "%s: %s\n", comparison_name(c->kind), comparison_question(c->kind));
    buffer_text(b, "  Layers of emergence, a prompt's mean. emerged: rows where it comes; all: "
                   "never counts as one\n  step behind the last layer.\n");
    for (size_t i = 0; i < c->contrast_count; i++) {
        const struct contrast *x = &c->contrasts[i];
        if (x->rows == ROWS_EMERGED)
            put_names(b, x);
        put_contrast(b, x);
        if (x->rows == ROWS_ALL)
            put_never(b, x);
    }
    if (c->correlation_count)
        buffer_format(b, "\n  emergence and %s\n", c->correlations[0].property);
    for (size_t i = 0; i < c->correlation_count; i++)
        put_correlation(b, &c->correlations[i]);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void put_contrast_json(struct buffer *b, const struct contrast *c) {
    buffer_text(b, "{");
    if (c->file) {
        buffer_text(b, "\"file\":");
        write_json_string(b, c->file);
        buffer_text(b, ",");
    }
    buffer_text(b, "\"a\":");
    write_json_string(b, c->a);
    buffer_text(b, ",\"b\":");
    write_json_string(b, c->b);
    buffer_format(b, ",\"rows\":\"%s\",\"paired\":%s,\"prompts\":[%zu,%zu]", rows_names[c->rows],
                  c->paired ? "true" : "false", c->n_a, c->n_b);
    buffer_format(b, ",\"complete\":[%zu,%zu],\"never\":[%zu,%zu]", c->complete_a, c->complete_b,
                  c->never_a, c->never_b);
    write_json_pair(b, "mean", c->mean_a, c->mean_b);
    write_json_member(b, "difference", c->difference);
    write_json_pair(b, "ci95", c->low, c->high);
    buffer_format(b, ",\"test\":\"%s\",\"exact\":%s", c->paired ? "wilcoxon" : "mann-whitney",
                  c->test.exact ? "true" : "false");
    write_json_member(b, "statistic", c->test.statistic);
    write_json_member(b, "effect", c->test.effect);
    write_json_member(b, "p", c->test.p);
    write_json_member(b, "p_holm", c->p_holm);
    buffer_text(b, "}");
}

static void put_correlation_json(struct buffer *b, const struct correlation *c) {
    buffer_text(b, "{\"property\":");
    write_json_string(b, c->property);
    buffer_format(b, ",\"rows\":\"%s\",\"prompts\":%zu", rows_names[c->rows], c->n);
    write_json_member(b, "rho", c->test.statistic);
    write_json_pair(b, "ci95", c->test.low, c->test.high);
    write_json_member(b, "p", c->test.p);
    buffer_text(b, "}");
}

void comparison_json(struct buffer *b, const struct comparison *c) {
    buffer_format(b, "{\"compare\":\"%s\",\"question\":\"%s\",\"contrasts\":[",
                  comparison_name(c->kind), comparison_question(c->kind));
    for (size_t i = 0; i < c->contrast_count; i++) {
        buffer_text(b, i ? "," : "");
        put_contrast_json(b, &c->contrasts[i]);
    }
    buffer_text(b, "],\"correlations\":[");
    for (size_t i = 0; i < c->correlation_count; i++) {
        buffer_text(b, i ? "," : "");
        put_correlation_json(b, &c->correlations[i]);
    }
    buffer_text(b, "]}");
}
