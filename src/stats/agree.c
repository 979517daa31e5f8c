/* Agreement of two annotators. See agree.h. */
#include "stats/agree.h"

#include "out/json_writer.h"
#include "out/number.h"
#include "stats/bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a prompt adds to the totals of a layer: pairs of scores by what they say. */
enum { BOTH, ONLY_A, ONLY_B, NEITHER, TOTALS };

static double percent_of(const double *t) {
    return (t[BOTH] + t[NEITHER]) / (t[BOTH] + t[ONLY_A] + t[ONLY_B] + t[NEITHER]);
}

static double kappa_of(const double *t) {
    const double n = t[BOTH] + t[ONLY_A] + t[ONLY_B] + t[NEITHER];
    const double a = (t[BOTH] + t[ONLY_A]) / n, b = (t[BOTH] + t[ONLY_B]) / n;
    const double chance = a * b + (1.0 - a) * (1.0 - b);
    return chance < 1.0 ? (percent_of(t) - chance) / (1.0 - chance) : (double)NAN;
}

/* Agreement and kappa of each layer and of all; totals (layers + 1,TOTALS). */
static void statistics(const void *user, const double *totals, double *out) {
    const struct agreement *g = user;
    for (size_t i = 0; i <= g->layers; i++) {
        out[2 * i] = percent_of(totals + i * TOTALS);
        out[2 * i + 1] = kappa_of(totals + i * TOTALS);
    }
}

/* ---- counting ----------------------------------------------------------------------------- */

struct common_layer {
    size_t a, b; /* index in either table */
};

static size_t common_layers(const struct score_table *a, const struct score_table *b,
                            struct common_layer *out) {
    size_t count = 0;
    for (size_t i = 0, j = 0; i < a->layers && j < b->layers;) {
        const int x = a->layer[i], y = b->layer[j];
        if (x == y)
            out[count++] = (struct common_layer){i, j};
        i += x <= y;
        j += x >= y;
    }
    return count;
}

/* totals (P,layers + 1,TOTALS) from the matched rows. */
static void count_pairs(const struct score_table *a, const struct score_table *b,
                        const struct common_layer *common, size_t layers,
                        const struct row_pair *rows, size_t count, double *totals) {
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < layers; i++) {
            const double x = a->scores[rows[r].a * a->layers + common[i].a];
            const double y = b->scores[rows[r].b * b->layers + common[i].b];
            double *prompt = totals + a->prompt[rows[r].a] * (layers + 1) * TOTALS;
            if (isnan(x) || isnan(y))
                continue;
            const bool in_a = x >= a->scale / 2.0, in_b = y >= b->scale / 2.0;
            const size_t cell = in_a && in_b ? BOTH : in_a ? ONLY_A : in_b ? ONLY_B : NEITHER;
            prompt[i * TOTALS + cell] += 1.0;
            prompt[layers * TOTALS + cell] += 1.0;
        }
}

static void take_layer(const double *t, struct layer_agreement *out) {
    out->n = (size_t)(t[BOTH] + t[ONLY_A] + t[ONLY_B] + t[NEITHER]);
    out->both = (size_t)t[BOTH];
    out->only_a = (size_t)t[ONLY_A];
    out->only_b = (size_t)t[ONLY_B];
    out->agreement = percent_of(t);
    out->kappa = kappa_of(t);
}

static int take_all(dl_context *cx, const double *totals, size_t prompts, uint64_t seed,
                    struct agreement *g) {
    const size_t width = (g->layers + 1) * TOTALS, outputs = 2 * (g->layers + 1);
    double *sums = NULL, *limits = NULL;
    int status = allocate(cx, "agreement", width, sizeof *sums, (void **)&sums);
    if (status == DL_OK)
        status = allocate(cx, "agreement", outputs, 2 * sizeof *limits, (void **)&limits);
    if (status == DL_OK) {
        const struct bootstrap b = {totals, prompts, width, 0, statistics, g, outputs, seed};
        for (size_t i = 0; i < prompts * width; i++)
            sums[i % width] += totals[i];
        status = bootstrap_intervals(cx, &b, limits, limits + outputs);
    }
    for (size_t i = 0; i <= g->layers && status == DL_OK; i++) {
        struct layer_agreement *out = &g->layer[i];
        take_layer(sums + i * TOTALS, out);
        out->agreement_low = limits[2 * i];
        out->kappa_low = limits[2 * i + 1];
        out->agreement_high = limits[outputs + 2 * i];
        out->kappa_high = limits[outputs + 2 * i + 1];
    }
    free(sums);
    free(limits);
    return status;
}

static int compare_rows(dl_context *cx, const struct score_table *a, const struct score_table *b,
                        const struct common_layer *common, uint64_t seed, struct agreement *g) {
    struct row_pair *rows;
    double *totals = NULL;
    size_t count;
    DL_TRY(allocate(cx, a->name, g->layers + 1, sizeof *g->layer, (void **)&g->layer));
    for (size_t i = 0; i <= g->layers; i++)
        g->layer[i].layer = i < g->layers ? a->layer[common[i].a] : -1;
    int status = table_match(cx, a, b, &rows, &count);
    g->matched = count;
    g->unmatched_a = a->rows - count;
    g->unmatched_b = b->rows - count;
    if (status == DL_OK)
        status = allocate(cx, "agreement", a->prompts, (g->layers + 1) * TOTALS * sizeof *totals,
                          (void **)&totals);
    if (status == DL_OK) {
        count_pairs(a, b, common, g->layers, rows, count, totals);
        status = take_all(cx, totals, a->prompts, seed, g);
    }
    free(rows);
    free(totals);
    return status;
}

int agree(dl_context *cx, const struct score_table *a, const struct score_table *b, uint64_t seed,
          struct agreement *out) {
    struct common_layer *common;
    *out = (struct agreement){.a = a->name, .b = b->name};
    DL_TRY(table_need_layers(cx, a));
    DL_TRY(table_need_layers(cx, b));
    DL_TRY(allocate(cx, a->name, a->layers, sizeof *common, (void **)&common));
    out->layers = common_layers(a, b, common);
    int status = out->layers
                     ? compare_rows(cx, a, b, common, seed, out)
                     : fail(cx, DL_USAGE, "%s: has no layer in common with %s", b->name, a->name);
    free(common);
    return status;
}

void agreement_free(struct agreement *agreement) {
    free(agreement->layer);
    memset(agreement, 0, sizeof *agreement);
}

/* ---- text and JSON ------------------------------------------------------------------------ */

static void put_value(struct buffer *b, double value, double low, double high) {
    if (isnan(value)) {
        buffer_format(b, "  %25s", "-");
    } else {
        buffer_text(b, "   ");
        put_estimate(b, value, low, high, 3);
    }
}

void agreement_print(struct buffer *b, const struct agreement *g) {
    buffer_utf8(b, g->a);
    buffer_text(b, " and ");
    buffer_utf8(b, g->b);
    buffer_format(b, "\n  %zu rows of the same prompt and seed; %zu and %zu have no counterpart\n",
                  g->matched, g->unmatched_a, g->unmatched_b);
    buffer_format(b, "  layer  scores  %-25s  Cohen's kappa\n", "agreement (95 %)");
    for (size_t i = 0; i <= g->layers; i++) {
        const struct layer_agreement *l = &g->layer[i];
        if (i < g->layers)
            buffer_format(b, "  %5d %7zu", l->layer, l->n);
        else
            buffer_format(b, "  %5s %7zu", "all", l->n);
        put_value(b, l->agreement, l->agreement_low, l->agreement_high);
        put_value(b, l->kappa, l->kappa_low, l->kappa_high);
        buffer_text(b, "\n");
    }
}

static void put_layer_json(struct buffer *b, const struct layer_agreement *l) {
    buffer_format(b, "\"n\":%zu,\"both\":%zu,\"only_a\":%zu,\"only_b\":%zu", l->n, l->both,
                  l->only_a, l->only_b);
    write_json_member(b, "agreement", l->agreement);
    write_json_pair(b, "agreement_ci95", l->agreement_low, l->agreement_high);
    write_json_member(b, "kappa", l->kappa);
    write_json_pair(b, "kappa_ci95", l->kappa_low, l->kappa_high);
    buffer_text(b, "}");
}

void agreement_json(struct buffer *b, const struct agreement *g) {
    buffer_text(b, "{\"a\":");
    write_json_string(b, g->a);
    buffer_text(b, ",\"b\":");
    write_json_string(b, g->b);
    buffer_format(b, ",\"matched\":%zu,\"unmatched\":[%zu,%zu],\"layers\":[", g->matched,
                  g->unmatched_a, g->unmatched_b);
    for (size_t i = 0; i < g->layers; i++) {
        buffer_format(b, "%s{\"layer\":%d,", i ? "," : "", g->layer[i].layer);
        put_layer_json(b, &g->layer[i]);
    }
    buffer_text(b, "],\"all\":{");
    put_layer_json(b, &g->layer[g->layers]);
    buffer_text(b, "}");
}
