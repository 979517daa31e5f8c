/* The page of a comparison of two runs. See compare.h. */
#include "study/compare.h"

#include "base/file.h"
#include "out/page.h"
#include "out/png.h"
#include "study/report.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 160, STRIPS_MAX = 40, SIDE_MAX = 72, SIDE_MIN = 16, EMBED_BYTES = 6 << 20 };

static void cell_interval(struct buffer *b, double value, double low, double high) {
    buffer_text(b, "<td>");
    put_fixed(b, value, 3);
    buffer_text(b, " (");
    put_fixed(b, low, 3);
    buffer_text(b, " to ");
    put_fixed(b, high, 3);
    buffer_text(b, ")</td>");
}

/* ---- what differs ---------------------------------------------------------------------------- */

static const cJSON *item_of(const struct study *s, const char *part, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(s->record.manifest, part), key);
}

static void put_value(struct buffer *b, const cJSON *item) {
    char *text = item && !cJSON_IsString(item) ? cJSON_PrintUnformatted(item) : NULL;
    page_text(b, "<td>",
              text                   ? text
              : cJSON_IsString(item) ? item->valuestring
                                     : "\xE2\x80\x93",
              "</td>");
    cJSON_free(text);
}

/* The settings of both runs; those that differ are marked. */
static void put_settings(struct buffer *b, const struct runs_compared *c) {
    static const char *const keys[][2] = {
        {"model", "path"},          {"model", "weights"},    {"model", "encoder"},
        {"model", "layers"},        {"options", "layers"},   {"options", "norm"},
        {"options", "skip_layers"}, {"options", "seeds"},    {"options", "steps"},
        {"options", "sampler"},     {"options", "guidance"}, {"options", "negative"}};
    buffer_text(b, "<div class=\"scroll\"><table class=\"settings both\"><thead><tr><th></th>"
                   "<th>a</th><th>b</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const cJSON *a = item_of(&c->a, keys[i][0], keys[i][1]);
        const cJSON *its = item_of(&c->b, keys[i][0], keys[i][1]);
        if (!a && !its)
            continue;
        buffer_format(b, "<tr%s><th scope=\"row\">%s%s</th>",
                      cJSON_Compare(a, its, true) ? "" : " class=\"differs\"",
                      strcmp(keys[i][0], "model") == 0 && strcmp(keys[i][1], "layers") == 0
                          ? "encoder\xE2\x80\x99s "
                          : "",
                      keys[i][1]);
        put_value(b, a);
        put_value(b, its);
        buffer_text(b, "</tr>\n");
    }
    buffer_text(b, "</tbody></table></div>\n");
}

/* ---- a question ------------------------------------------------------------------------------ */

static const struct study_question *question_of(const struct study *s, const char *name) {
    for (size_t i = 0; i < s->question_count; i++)
        if (strcmp(s->questions[i].name, name) == 0)
            return &s->questions[i];
    return NULL;
}

/* A run's own curve, over all its prompts that are matched or not: what its report shows. */
static void take_curve(const struct study *s, const struct study_question *q, const char *name,
                       double *room, struct svg_curve *out) {
    const size_t L = q->summary.layers;
    for (size_t i = 0; i < L; i++) {
        room[i] = (double)q->summary.layer[i].layer / s->blocks;
        room[L + i] = q->summary.layer[i].mean;
        room[2 * L + i] = q->summary.layer[i].low;
        room[3 * L + i] = q->summary.layer[i].high;
    }
    *out = (struct svg_curve){name, L, room, room + L, room + 2 * L, room + 3 * L};
}

static int plot_both(struct plots *p, const struct runs_compared *c,
                     const struct compared_question *q) {
    const struct study_question *qa = question_of(&c->a, q->name);
    const struct study_question *qb = question_of(&c->b, q->name);
    const size_t A = 4 * qa->summary.layers, B = 4 * qb->summary.layers;
    double *room = NULL;
    struct svg_curve curves[2];
    struct buffer csv = {0};
    char name[NAME_SIZE], title[NAME_SIZE];
    DL_TRY(allocate(p->cx, "plot", A + B, sizeof *room, (void **)&room));
    take_curve(&c->a, qa, "a", room, &curves[0]);
    take_curve(&c->b, qb, "b", room + A, &curves[1]);
    buffer_text(&csv, "run,relative_layer,mean,ci95_low,ci95_high\n");
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < curves[k].count; i++) {
            csv_text(&csv, curves[k].name, false);
            csv_number(&csv, curves[k].x[i], false);
            csv_number(&csv, curves[k].y[i], false);
            csv_number(&csv, curves[k].low[i], false);
            csv_number(&csv, curves[k].high[i], true);
        }
    snprintf(name, sizeof name, "%.80s-both", q->name);
    snprintf(title, sizeof title, "%.80s: mean scores of both runs", q->name);
    const struct svg_lines plot = {.title = title,
                                   .x_label = "relative layer",
                                   .y_label = "mean score",
                                   .curves = curves,
                                   .curve_count = 2,
                                   .x_high = 1,
                                   .y_high = 1};
    plots_lines(p, name, &plot, &csv);
    free(room);
    return p->status;
}

static int plot_difference(struct plots *p, const struct compared_question *q) {
    const size_t L = q->layers;
    double *room = NULL, most = 0;
    struct buffer csv = {0};
    char name[NAME_SIZE], title[NAME_SIZE];
    DL_TRY(allocate(p->cx, "plot", L, 4 * sizeof *room, (void **)&room));
    buffer_text(&csv, "layer,relative_layer,prompts,a,b,difference,ci95_low,ci95_high\n");
    for (size_t i = 0; i < L; i++) {
        const struct compared_layer *l = &q->layer[i];
        const double cells[] = {l->layer, l->relative,   (double)l->n, l->a,
                                l->b,     l->difference, l->low,       l->high};
        for (size_t k = 0; k < 8; k++)
            csv_number(&csv, cells[k], k == 7);
        room[i] = l->relative;
        room[L + i] = l->difference;
        room[2 * L + i] = l->low;
        room[3 * L + i] = l->high;
        most = fmax(most, fmax(isnan(l->low) ? 0 : -l->low, isnan(l->high) ? 0 : l->high));
    }
    const double top = most <= 0.1 ? 0.1 : most <= 0.2 ? 0.2 : most <= 0.5 ? 0.5 : 1;
    const struct svg_curve curve = {NULL, L, room, room + L, room + 2 * L, room + 3 * L};
    snprintf(name, sizeof name, "%.80s-difference", q->name);
    snprintf(title, sizeof title, "%.80s: difference of the runs, b - a", q->name);
    const struct svg_lines plot = {.title = title,
                                   .x_label = "relative layer",
                                   .y_label = "b \xE2\x88\x92 a",
                                   .curves = &curve,
                                   .curve_count = 1,
                                   .x_high = 1,
                                   .y_low = -top,
                                   .y_high = top};
    plots_lines(p, name, &plot, &csv);
    free(room);
    return p->status;
}

static void put_layers(struct buffer *b, const struct compared_question *q) {
    buffer_text(b, "<details class=\"fold\"><summary>The numbers</summary><div class=\"scroll\">"
                   "<table class=\"figures\"><thead><tr><th>layer of a</th><th>relative</th>"
                   "<th>prompts</th><th>a</th><th>b</th><th>b \xE2\x88\x92 a (95 %)</th></tr>"
                   "</thead>\n<tbody>\n");
    for (size_t i = 0; i < q->layers; i++) {
        const struct compared_layer *l = &q->layer[i];
        buffer_format(b, "<tr><th scope=\"row\">%d</th>", l->layer);
        cell_number(b, l->relative, 2);
        buffer_format(b, "<td>%zu</td>", l->n);
        cell_number(b, l->a, 3);
        cell_number(b, l->b, 3);
        cell_interval(b, l->difference, l->low, l->high);
        buffer_text(b, "</tr>\n");
    }
    buffer_text(b, "</tbody></table></div></details>\n");
}

static int put_question(struct plots *p, const struct runs_compared *c,
                        const struct compared_question *q) {
    struct buffer *b = p->page;
    page_text(b, "<section class=\"question\">\n<h3>", q->name, "</h3>\n");
    buffer_text(b, "<p class=\"finding\">");
    put_count(b, q->prompts, "prompt", "prompts");
    buffer_format(b, " in both%s.</p>\n",
                  q->interpolated ? "; b\xE2\x80\x99s scores are interpolated to a\xE2\x80\x99s "
                                    "relative layers"
                                  : "");
    buffer_text(b, "<div class=\"pair\"><figure>");
    DL_TRY(plot_both(p, c, q));
    buffer_text(b, "<figcaption>Both runs, each over all its prompts.</figcaption></figure>"
                   "<figure>");
    DL_TRY(plot_difference(p, q));
    buffer_text(b, "<figcaption>Difference b \xE2\x88\x92 a of the same prompts, paired 95 % "
                   "interval.</figcaption></figure></div>\n");
    put_layers(b, q);
    buffer_text(b, "</section>\n");
    return DL_OK;
}

static void put_emergence(struct buffer *b, const struct runs_compared *c) {
    buffer_text(b, "<h3>Does it emerge later?</h3>\n<div class=\"scroll\"><table class=\"figures\">"
                   "<thead><tr><th>question</th><th>rows</th><th>prompts</th><th>a</th><th>b</th>"
                   "<th>b \xE2\x88\x92 a (95 %)</th><th>effect</th><th>p</th><th>Holm</th></tr>"
                   "</thead>\n<tbody>\n");
    for (size_t i = 0; i < c->question_count; i++)
        for (int rows = 0; rows < ROWS_COUNTED_KINDS; rows++) {
            const struct compared_emergence *e = &c->questions[i].emergence[rows];
            page_text(b, "<tr><th scope=\"row\">", c->questions[i].name, "</th>");
            buffer_format(b, "<td>%s</td><td>%zu</td>", rows == ROWS_ALL ? "all" : "emerged", e->n);
            cell_number(b, e->a, 3);
            cell_number(b, e->b, 3);
            cell_interval(b, e->difference, e->low, e->high);
            cell_number(b, e->test.effect, 2);
            buffer_text(b, "<td>");
            put_p_value(b, e->test.p);
            buffer_text(b, "</td><td>");
            put_p_value(b, e->p_holm);
            buffer_text(b, "</td></tr>\n");
        }
    buffer_text(b, "</tbody></table></div>\n<p class=\"hint\">Relative layers of emergence of the "
                   "same prompts; Wilcoxon\xE2\x80\x99s signed-rank test, rank-biserial "
                   "correlation; above 0: b emerges later. \xE2\x80\x9C"
                   "emerged\xE2\x80\x9D "
                   "leaves out rows that never emerge, \xE2\x80\x9C"
                   "all\xE2\x80\x9D counts them "
                   "as one step behind the last layer. Where the runs were looked at in other "
                   "layers, part of a difference may come from that.</p>\n");
}

/* ---- pictures -------------------------------------------------------------------------------- */

static void put_psnr(struct buffer *b, const struct runs_compared *c) {
    buffer_text(b, "<div class=\"scroll\"><table class=\"figures\"><thead><tr><th>layer of a</th>"
                   "<th>of b</th><th>pairs</th><th>identical</th><th>mean PSNR of the others"
                   "</th><th>least</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < c->picture_layers; i++) {
        const struct compared_pictures *p = &c->pictures[i];
        if (p->layer_a < 0)
            buffer_text(b, "<tr><th scope=\"row\">native</th><td>native</td>");
        else
            buffer_format(b, "<tr><th scope=\"row\">%d</th><td>%d</td>", p->layer_a, p->layer_b);
        buffer_format(b, "<td>%zu</td><td>%zu</td>", p->n, p->identical);
        cell_number(b, p->psnr, 2);
        cell_number(b, isfinite(p->least) ? p->least : NAN, 2);
        buffer_text(b, "</tr>\n");
    }
    buffer_text(b, "</tbody></table></div>\n<p class=\"hint\">Peak signal-to-noise ratio in dB of "
                   "pictures of the same prompt, seed and relative layer: 10 log\xE2\x82\x81\xE2"
                   "\x82\x80(255\xC2\xB2 / mean squared difference).</p>\n");
}

/* The pictures of a prompt and the first seed in all layers of a run, side by side. */
static int put_strip(dl_context *cx, struct buffer *b, const struct study *s, size_t prompt,
                     int side) {
    const struct grid *g = &s->record.grid;
    struct image strip;
    DL_TRY(image_make(cx, (side + 2) * (int)g->layer_count - 2, side, &strip));
    int status = DL_OK;
    for (size_t l = 0; l < g->layer_count && status == DL_OK; l++) {
        const struct cell *cell = grid_at(g, prompt, 0, l);
        struct image full = {0}, small = {0};
        if (cell->made)
            status = cell_read(cx, s->record.folder, cell, &full);
        if (full.rgb && status == DL_OK)
            status = image_thumbnail(cx, full.rgb, full.width, full.height, side, &small);
        for (int y = 0; small.rgb && y < small.height; y++)
            memcpy(strip.rgb + 3 * ((size_t)y * (size_t)strip.width + l * (size_t)(side + 2)),
                   small.rgb + 3 * (size_t)y * (size_t)small.width, 3 * (size_t)small.width);
        image_free(&full);
        image_free(&small);
    }
    if (status == DL_OK) {
        buffer_format(b, "<img width=\"%d\" height=\"%d\" alt=\"layers of one prompt\" src=\"",
                      strip.width, strip.height);
        status = png_data_uri(cx, b, strip.rgb, strip.width, strip.height);
        buffer_text(b, "\">");
    }
    image_free(&strip);
    return status;
}

static int put_strips(dl_context *cx, struct buffer *b, const struct runs_compared *c) {
    const size_t shown = c->prompt_count < STRIPS_MAX ? c->prompt_count : STRIPS_MAX;
    const size_t layers = c->a.record.grid.layer_count + c->b.record.grid.layer_count;
    const double side = sqrt(EMBED_BYTES / 3.0 / (double)(shown * layers));
    const int limit = side > SIDE_MAX ? SIDE_MAX : side < SIDE_MIN ? SIDE_MIN : (int)side;
    for (size_t i = 0; i < shown; i++) {
        page_text(b, "<figure class=\"strips\"><figcaption>", c->a.record.prompts[c->prompts[i].a],
                  "</figcaption><div class=\"scroll\">");
        buffer_text(b, "<div><b>a</b> ");
        DL_TRY(put_strip(cx, b, &c->a, c->prompts[i].a, limit));
        buffer_text(b, "</div><div><b>b</b> ");
        DL_TRY(put_strip(cx, b, &c->b, c->prompts[i].b, limit));
        buffer_text(b, "</div></div></figure>\n");
    }
    buffer_format(b, "<p class=\"hint\">%s", shown < c->prompt_count ? "the first " : "");
    put_count(b, shown, "prompt", "prompts");
    buffer_text(b, ", each run\xE2\x80\x99s first seed, its layers from left to right</p>\n");
    return DL_OK;
}

/* ---- the page -------------------------------------------------------------------------------- */

static void put_head(struct buffer *b, const struct runs_compared *c) {
    struct buffer css = {0};
    page_lines(&css, svg_css);
    page_lines(&css, report_css);
    const char *const style[] = {css.data ? css.data : "", NULL};
    b->failed = b->failed || css.failed;
    page_begin(b, DLENS_VERSION, "Two runs compared", style);
    buffer_free(&css);
    page_main(b);
    buffer_text(b, "<p class=\"eyebrow\">");
    put_count(b, c->prompt_count, "prompt", "prompts");
    buffer_text(b, " in both</p>\n<h1 class=\"long\">");
    page_text(b, "<span class=\"run\">a</span> ", c->a.record.folder, "<br>");
    page_text(b, "<span class=\"run\">b</span> ", c->b.record.folder, "</h1>\n");
    put_settings(b, c);
}

static int put_page(struct plots *p, const struct runs_compared *c) {
    struct buffer *b = p->page;
    put_head(b, c);
    if (c->question_count)
        buffer_text(b, "<h2>What is there, layer by layer</h2>\n");
    for (size_t i = 0; i < c->question_count; i++)
        DL_TRY(put_question(p, c, &c->questions[i]));
    if (c->question_count)
        put_emergence(b, c);
    buffer_text(b, "<h2>The pictures</h2>\n");
    if (c->picture_layers)
        put_psnr(b, c);
    DL_TRY(put_strips(p->cx, b, c));
    page_end(b, DLENS_VERSION, NULL);
    return DL_OK;
}

int compare_write(dl_context *cx, const struct runs_compared *c, const char *path,
                  const char *folder) {
    struct buffer b = {0};
    struct plots plots = {.cx = cx, .folder = folder, .page = &b};
    if (folder)
        plots_sweep(folder);
    int status = put_page(&plots, c);
    if (status == DL_OK)
        status = buffer_check(cx, &b, path);
    if (status == DL_OK)
        status = file_write(cx, path, b.data, b.length);
    buffer_free(&b);
    return status;
}
