/* An experiment's report. See report.h. */
#include "study/report.h"

#include "base/file.h"
#include "out/page.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- head ------------------------------------------------------------------------------------ */

static void put_heading(const struct study *s, struct buffer *b) {
    const struct grid *g = &s->record.grid;
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(s->record.manifest, "model");
    size_t made = 0;
    for (size_t i = 0; i < grid_count(g); i++)
        made += g->cells[i].made ? 1 : 0;
    if (made < grid_count(g))
        buffer_format(
            b,
            "<p class=\"note\" role=\"status\"><strong>This run is not finished:</strong> "
            "%zu of %zu pictures are there. Running the same command again makes the "
            "rest.</p>\n",
            made, grid_count(g));
    buffer_text(b, "<p class=\"eyebrow\">");
    buffer_html(b, path_name(manifest_text(model, "path")));
    buffer_format(b,
                  " \xC2\xB7 %zu prompt%s \xC2\xB7 %zu seed%s \xC2\xB7 %zu of %d layers</p>\n<h1>",
                  g->prompt_count, g->prompt_count == 1 ? "" : "s", g->seed_count,
                  g->seed_count == 1 ? "" : "s", g->settings->layer_count, s->blocks + 1);
    buffer_html(b, s->name ? s->name : g->prompts[0]);
    buffer_text(b, "</h1>\n");
}

static void put_contents(const struct sides *sides, struct buffer *b) {
    const struct study *s = sides->items[0].study;
    buffer_text(b, "<nav class=\"contents\" aria-label=\"Contents\"><a href=\"#gallery\">Pictures"
                   "</a>");
    for (size_t i = 0; i < s->question_count; i++) {
        buffer_format(b, "<a href=\"#q%zu\">", i);
        buffer_html(b, s->questions[i].name);
        buffer_text(b, "</a>");
    }
    if (sides->count > 1)
        buffer_text(b, "<a href=\"#controls\">Controls</a>");
    if (s->record.grid.layer_count > 1 || sides->count > 1)
        buffer_text(b, "<a href=\"#distances\">Distances</a>");
    buffer_text(b, "<a href=\"#settings\">Settings</a></nav>\n");
}

/* ---- figures --------------------------------------------------------------------------------- */

static void put_questions(struct plots *plots, const struct sides *sides) {
    const struct study *s = sides->items[0].study;
    struct buffer *b = plots->page;
    if (!s->question_count) {
        buffer_text(b, "<p class=\"note\">Nobody has annotated these pictures: there are no scores "
                       "to plot. People can, below.</p>\n");
        return;
    }
    buffer_text(b, "<section>\n<h2>What is there, layer by layer</h2>\n<figure class=\"first\">");
    report_overview(plots, s);
    buffer_text(b, "<figcaption>Mean score of every question against the relative layer (layer / "
                   "number of blocks) with 95 % intervals, by bootstrap over prompts. Every plot "
                   "also lies in plots/ as .svg and .csv.</figcaption></figure>\n");
    for (size_t i = 0; i < s->question_count; i++)
        report_question(plots, sides, i);
    buffer_text(b, "</section>\n");
}

static int put_figures(dl_context *cx, const struct sides *sides, struct buffer *b) {
    const struct study *s = sides->items[0].study;
    struct plots plots = {.cx = cx, .folder = s->record.folder, .page = b};
    plots_sweep(s->record.folder);
    put_questions(&plots, sides);
    if (sides->count > 1)
        report_controls(sides, b);
    report_distances(&plots, sides);
    DL_TRY(plots.status);
    return s->question_count ? report_comparisons(cx, s, b) : DL_OK;
}

/* ---- settings -------------------------------------------------------------------------------- */

static void put_setting(struct buffer *b, const char *key, const char *value) {
    page_text(b, "<tr><th scope=\"row\">", key, "</th>");
    page_text(b, "<td>", value, "</td></tr>\n");
}

/* A number of the options or a list of numbers, as it stands in the manifest. */
static void put_option(struct buffer *b, const struct study *s, const char *key) {
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(s->record.manifest, "options");
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(options, key);
    char *text = item ? cJSON_PrintUnformatted(item) : NULL;
    if (text)
        put_setting(b, key, cJSON_IsString(item) ? item->valuestring : text);
    cJSON_free(text);
}

static void put_foot(const struct study *s, struct buffer *b) {
    static const char *const keys[] = {"layers",   "skip_layers", "seeds",  "steps",
                                       "sampler",  "guidance",    "width",  "height",
                                       "negative", "norm",        "control"};
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(s->record.manifest, "model");
    buffer_text(b, "<section class=\"about\" id=\"settings\">\n<div>\n<h2>How to read this</h2>\n"
                   "<p>The hidden state behind each layer of the text encoder was given to the "
                   "image model in place of the last one; all else, the starting noise included, "
                   "stayed the same. A score says whether what a question asks for is in the "
                   "picture; a thing <em>emerges</em> at the first layer from which on it is there "
                   "up to the last.</p>\n<p>Scores come from an automatic annotator, whose own "
                   "reliability is stated; people can annotate the same pictures on this page, "
                   "and <code>dlens analyse human.csv annotations/QUESTION.csv --agree</code> "
                   "tells how far both agree.</p>\n"
                   "<p>The method is the Diffusion Lens of Toker, Orgad, Ventura, Arad and "
                   "Belinkov (2024), <a href=\"https://arxiv.org/abs/2403.05846\">arXiv:2403.05846"
                   "</a>.</p>\n</div>\n<div>\n<h2>Settings</h2>\n<table class=\"settings\">\n");
    put_setting(b, "model", path_name(manifest_text(model, "path")));
    put_setting(b, "weights", manifest_text(model, "weights"));
    put_setting(b, "encoder", manifest_text(model, "encoder"));
    put_setting(b, "judge",
                manifest_text(cJSON_GetObjectItemCaseSensitive(s->facts, "judge"), "path"));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        put_option(b, s, keys[i]);
    buffer_text(b, "</table>\n</div>\n</section>\n");
}

/* ---- the page -------------------------------------------------------------------------------- */

static int put_page(dl_context *cx, const struct sides *sides, struct buffer *b) {
    const struct study *s = sides->items[0].study;
    struct buffer css = {0};
    page_lines(&css, svg_css);
    page_lines(&css, report_css);
    const char *const style[] = {css.data ? css.data : "", NULL};
    b->failed = b->failed || css.failed;
    page_begin(b, DLENS_VERSION, s->name ? s->name : s->record.prompts[0], style);
    buffer_free(&css);
    page_main(b);
    put_heading(s, b);
    put_contents(sides, b);
    DL_TRY(put_figures(cx, sides, b));
    report_signatures(s, b);
    DL_TRY(report_pictures(cx, s, b));
    put_foot(s, b);
    buffer_text(b, "<script>\n");
    page_lines(b, annotate_js);
    buffer_text(b, "</script>\n");
    page_end(b, DLENS_VERSION, report_js);
    return DL_OK;
}

static int write_report(dl_context *cx, const struct sides *sides) {
    const struct study *s = sides->items[0].study;
    struct buffer b = {0};
    char *path = path_join(s->record.folder, "index.html");
    int status = path ? put_page(cx, sides, &b) : fail_memory(cx, "index.html", 0);
    if (status == DL_OK)
        status = signatures_write(cx, s);
    if (status == DL_OK)
        status = distances_write(cx, sides);
    if (status == DL_OK)
        status = buffer_check(cx, &b, path);
    if (status == DL_OK)
        status = file_write(cx, path, b.data, b.length);
    buffer_free(&b);
    free(path);
    return status;
}

int study_report(dl_context *cx, const char *folder) {
    struct study study;
    struct sides sides = {0};
    int status = study_open(cx, folder, 0, &study);
    if (status == DL_OK && study.record.shards)
        status = fail(cx, DL_USAGE, "%s: is shard %zu of %zu; dlens merge puts the parts together",
                      folder, study.record.shard, study.record.shards);
    if (status == DL_OK)
        status = sides_open(cx, &study, &sides);
    if (status == DL_OK)
        status = write_report(cx, &sides);
    sides_free(&sides);
    study_close(&study);
    return status;
}
