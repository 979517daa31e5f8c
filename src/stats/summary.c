/* Means, intervals and emergence. See summary.h. */
#include "stats/summary.h"

#include "stats/bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- emergence ---------------------------------------------------------------------------- */

static bool has_missing(const double *scores, size_t layers) {
    for (size_t i = 0; i < layers; i++)
        if (isnan(scores[i]))
            return true;
    return false;
}

int emergence(const double *scores, size_t layers, double scale) {
    size_t first = layers;
    if (has_missing(scores, layers))
        return EMERGES_UNKNOWN;
    while (first > 0 && scores[first - 1] >= scale / 2.0)
        first--;
    return first < layers ? (int)first : EMERGES_NEVER;
}

bool emergence_is_unstable(const double *scores, size_t layers, double scale) {
    bool was_there = false, was_lost = false;
    for (size_t i = 0; i < layers; i++) {
        const bool there = scores[i] >= scale / 2.0;
        if (there && was_lost)
            return true;
        was_lost = was_there && (was_lost || !there);
        was_there = was_there || there;
    }
    return false;
}

/* The number of the layer at which the n-th row, from 0, of those that emerge does so. */
static int nth_layer(const struct summary *s, size_t n) {
    size_t i = 0;
    while (n >= s->layer[i].emerged)
        n -= s->layer[i++].emerged;
    return s->layer[i].layer;
}

static void summarise_emergence(const struct score_table *t, struct summary *out) {
    for (size_t row = 0; row < t->rows; row++) {
        const double *scores = t->scores + row * t->layers;
        const int at = emergence(scores, t->layers, t->scale);
        if (at == EMERGES_UNKNOWN)
            continue;
        out->complete++;
        out->unstable += emergence_is_unstable(scores, t->layers, t->scale);
        if (at == EMERGES_NEVER)
            out->never++;
        else
            out->layer[at].emerged++;
    }
    const size_t n = out->complete - out->never;
    out->median_layer = (double)NAN;
    if (n)
        out->median_layer = (nth_layer(out, (n - 1) / 2) + nth_layer(out, n / 2)) / 2.0;
}

/* ---- means -------------------------------------------------------------------------------- */

/* What a prompt adds to the totals of each layer: its sum of scores, and their number. */
enum { SUM, COUNT, TOTALS };

static void layer_means(const void *user, const double *totals, double *out) {
    const struct score_table *t = user;
    for (size_t i = 0; i < t->layers; i++)
        out[i] = totals[TOTALS * i + SUM] / (totals[TOTALS * i + COUNT] * t->scale);
}

/* totals (P,L,TOTALS). */
static void add_up(const struct score_table *t, double *totals) {
    for (size_t row = 0; row < t->rows; row++)
        for (size_t i = 0; i < t->layers; i++) {
            const double score = t->scores[row * t->layers + i];
            double *its = totals + (t->prompt[row] * t->layers + i) * TOTALS;
            its[SUM] += isnan(score) ? 0.0 : score;
            its[COUNT] += !isnan(score);
        }
}

static void take_means(const struct score_table *t, const double *totals, struct summary *out) {
    for (size_t i = 0; i < t->layers; i++) {
        struct layer_summary *s = &out->layer[i];
        double sum = 0.0;
        for (size_t p = 0; p < t->prompts; p++) {
            sum += totals[(p * t->layers + i) * TOTALS + SUM];
            s->n += (size_t)totals[(p * t->layers + i) * TOTALS + COUNT];
        }
        s->layer = t->layer[i];
        s->mean = s->n ? sum / ((double)s->n * t->scale) : (double)NAN;
    }
}

static int summarise_means(dl_context *cx, const struct score_table *t, uint64_t seed,
                           struct summary *out) {
    const size_t width = t->layers * TOTALS;
    double *totals = NULL, *limits = NULL;
    int status = allocate(cx, t->name, t->prompts, width * sizeof *totals, (void **)&totals);
    if (status == DL_OK)
        status = allocate(cx, t->name, t->layers, 2 * sizeof *limits, (void **)&limits);
    if (status == DL_OK) {
        const struct bootstrap b = {totals, t->prompts, width, 0, layer_means, t, t->layers, seed};
        add_up(t, totals);
        take_means(t, totals, out);
        status = bootstrap_intervals(cx, &b, limits, limits + t->layers);
    }
    for (size_t i = 0; i < t->layers && status == DL_OK; i++) {
        out->layer[i].low = limits[i];
        out->layer[i].high = limits[t->layers + i];
    }
    free(totals);
    free(limits);
    return status;
}

int summarise(dl_context *cx, const struct score_table *table, uint64_t seed, struct summary *out) {
    *out = (struct summary){.name = table->name,
                            .scale = table->scale,
                            .prompts = table->prompts,
                            .rows = table->rows,
                            .missing = table->missing,
                            .outside = table->outside,
                            .layers = table->layers};
    DL_TRY(table_need_layers(cx, table));
    DL_TRY(allocate(cx, table->name, table->layers, sizeof *out->layer, (void **)&out->layer));
    DL_TRY(summarise_means(cx, table, seed, out));
    summarise_emergence(table, out);
    return DL_OK;
}

void summary_free(struct summary *summary) {
    free(summary->layer);
    memset(summary, 0, sizeof *summary);
}
