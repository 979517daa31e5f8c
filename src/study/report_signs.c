/* Signatures of failure, summed up and one by one, and how far the judge can be trusted. See
 * report.h. */
#include "study/report.h"

#include "base/file.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- signatures ------------------------------------------------------------------------------ */

/* Pictures of a layer with a signature. */
static size_t count_pictures(const struct study *s, size_t layer, unsigned sign) {
    const struct grid *g = &s->record.grid;
    size_t n = 0;
    for (size_t i = layer; i < grid_count(g); i += g->layer_count)
        n += (s->signs[i] & sign) != 0 ? 1 : 0;
    return n;
}

void report_layer_names(struct buffer *b, const struct grid *g, const char *first) {
    buffer_format(b, "<thead><tr><th>%s</th>", first);
    for (size_t l = 0; l < g->layer_count; l++)
        if (grid_layer(g, l) < 0)
            buffer_text(b, "<th>native</th>");
        else
            buffer_format(b, "<th>layer %d</th>", grid_layer(g, l));
    buffer_text(b, "</tr></thead>\n<tbody>\n");
}

static void put_pictures(struct buffer *b, const struct study *s) {
    const struct grid *g = &s->record.grid;
    buffer_text(b, "<div class=\"scroll\"><table class=\"figures\">");
    report_layer_names(b, g, "pictures");
    for (size_t i = 0; i < 3; i++) {
        buffer_format(b, "<tr><th scope=\"row\">%s</th>", signature_names[i]);
        for (size_t l = 0; l < g->layer_count; l++)
            buffer_format(b, "<td>%zu</td>", count_pictures(s, l, 1u << i));
        buffer_text(b, "</tr>\n");
    }
    buffer_format(b,
                  "</tbody></table></div>\n<p class=\"hint\">of %zu pictures in each layer</p>\n",
                  g->prompt_count * g->seed_count);
}

static void put_rows(struct buffer *b, const struct study *s) {
    buffer_text(b, "<div class=\"scroll\"><table class=\"figures\"><thead><tr><th>question</th>"
                   "<th>rows</th><th>never emerges</th><th>appears and disappears</th></tr>"
                   "</thead>\n<tbody>\n");
    for (size_t i = 0; i < s->question_count; i++) {
        const struct summary *q = &s->questions[i].summary;
        buffer_text(b, "<tr><th scope=\"row\">");
        buffer_html(b, s->questions[i].name);
        buffer_format(b, "</th><td>%zu</td><td>%zu</td><td>%zu</td></tr>\n", q->complete, q->never,
                      q->unstable);
    }
    buffer_text(b, "</tbody></table></div>\n");
}

static const cJSON *field(const cJSON *object, const char *part, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(object, part), key);
}

static void put_rate(struct buffer *b, const cJSON *item, const char *part) {
    const cJSON *rate = field(item, part, "rate");
    buffer_text(b, "<td>");
    put_fixed(b, cJSON_IsNumber(rate) ? 100 * rate->valuedouble : NAN, 1);
    buffer_text(b, cJSON_IsNumber(rate) ? " %</td>" : "</td>");
}

static void put_reliability(struct buffer *b, const struct study *s) {
    buffer_text(b, "<h3>How far the annotator can be trusted</h3>\n"
                   "<div class=\"scroll\"><table class=\"figures\"><thead><tr><th>question</th>"
                   "<th>last layer: yes</th><th>other prompts: wrongly yes</th>"
                   "<th>noise: wrongly yes</th><th>by chance</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < s->question_count; i++) {
        const cJSON *item = study_reliability(s, s->questions[i].name);
        const cJSON *chance = cJSON_GetObjectItemCaseSensitive(item, "chance");
        buffer_text(b, "<tr><th scope=\"row\">");
        buffer_html(b, s->questions[i].name);
        buffer_text(b, "</th>");
        put_rate(b, item, "last_layer");
        put_rate(b, item, "other_prompts");
        put_rate(b, item, "noise");
        buffer_text(b, "<td>");
        put_fixed(b, cJSON_IsNumber(chance) ? 100 * chance->valuedouble : NAN, 1);
        buffer_text(b, " %</td></tr>\n");
    }
    buffer_text(b,
                "</tbody></table></div>\n<p class=\"hint\">The same judge asked about the last "
                "layer\xE2\x80\x99s pictures (its successes and the model\xE2\x80\x99s together), "
                "about what another prompt asks for, and about pictures of noise.</p>\n");
}

void report_signatures(const struct study *s, struct buffer *b) {
    buffer_text(b, "<section>\n<h2>What failed</h2>\n<dl class=\"measures\">\n");
    for (size_t i = 0; i < SIGNATURES; i++)
        buffer_format(b, "<dt>%s</dt><dd>%s</dd>\n", signature_names[i], signature_measures[i]);
    buffer_text(b, "</dl>\n");
    put_pictures(b, s);
    if (s->question_count)
        put_rows(b, s);
    if (s->reliability && s->question_count)
        put_reliability(b, s);
    buffer_text(b, "</section>\n");
}

/* ---- signatures.csv -------------------------------------------------------------------------- */

static void put_line(struct buffer *b, const struct study *s, size_t row, const char *layer,
                     const char *question, const char *signature) {
    const struct grid *g = &s->record.grid;
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, g->settings->seeds[row % g->seed_count]);
    const char *const cells[] = {g->prompts[row / g->seed_count], seed, layer, question, signature};
    csv_row(b, cells, 5);
}

static void put_row_lines(struct buffer *b, const struct study *s, size_t row) {
    const struct grid *g = &s->record.grid;
    char layer[16];
    for (size_t l = 0; l < g->layer_count; l++)
        for (size_t i = 0; i < 3; i++) {
            snprintf(layer, sizeof layer, "%d", grid_layer(g, l));
            if (s->signs[row * g->layer_count + l] & (1u << i))
                put_line(b, s, row, grid_layer(g, l) < 0 ? "native" : layer, "",
                         signature_names[i]);
        }
    for (size_t i = 0; i < s->question_count; i++) {
        const struct study_question *q = &s->questions[i];
        if (q->first[row] == EMERGES_NEVER)
            put_line(b, s, row, "", q->name, "never");
        if (q->unstable[row])
            put_line(b, s, row, "", q->name, "unstable");
    }
}

int signatures_write(dl_context *cx, const struct study *s) {
    const struct grid *g = &s->record.grid;
    struct buffer b = {0};
    char *path = path_join(s->record.folder, "signatures.csv");
    csv_row(&b, (const char *const[]){"prompt", "seed", "layer", "question", "signature"}, 5);
    for (size_t row = 0; row < g->prompt_count * g->seed_count; row++)
        put_row_lines(&b, s, row);
    int status = path ? buffer_check(cx, &b, path) : fail_memory(cx, "signatures.csv", 0);
    if (status == DL_OK)
        status = file_write(cx, path, b.data, b.length);
    buffer_free(&b);
    free(path);
    return status;
}
