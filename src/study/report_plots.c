/* The plots of a report, on the page and as files. See report.h. */
#include "study/report.h"

#include "base/file.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SIZE = 160, HEAT_ROWS_MAX = 240, HEAT_ROWS_OPEN = 40, LABEL_SIZE = 16 };

/* ---- files ----------------------------------------------------------------------------------- */

static int write_file(struct plots *p, const char *name, const char *ending,
                      const struct buffer *text) {
    char file[NAME_SIZE];
    snprintf(file, sizeof file, "plots/%.100s%s", name, ending);
    char *path = path_join(p->folder, file);
    int status = path ? buffer_check(p->cx, text, path) : fail_memory(p->cx, file, 0);
    if (status == DL_OK)
        status = dir_make_above(p->cx, path);
    if (status == DL_OK)
        status = file_write(p->cx, path, text->data ? text->data : "", text->length);
    free(path);
    return status;
}

static void write_both(struct plots *p, const char *name, struct buffer *svg, struct buffer *csv) {
    if (p->status == DL_OK && p->folder)
        p->status = write_file(p, name, ".svg", svg);
    if (p->status == DL_OK && p->folder)
        p->status = write_file(p, name, ".csv", csv);
    buffer_free(svg);
    buffer_free(csv);
}

void plots_lines(struct plots *p, const char *name, const struct svg_lines *plot,
                 struct buffer *csv) {
    struct buffer svg = {0};
    svg_lines(p->page, plot, false);
    svg_lines(&svg, plot, true);
    write_both(p, name, &svg, csv);
}

void plots_bars(struct plots *p, const char *name, const struct svg_bars *plot,
                struct buffer *csv) {
    struct buffer svg = {0};
    svg_bars(p->page, plot, false);
    svg_bars(&svg, plot, true);
    write_both(p, name, &svg, csv);
}

void plots_heat(struct plots *p, const char *name, const struct svg_heat *plot,
                struct buffer *csv) {
    struct buffer svg = {0};
    svg_heat(p->page, plot, false);
    svg_heat(&svg, plot, true);
    write_both(p, name, &svg, csv);
}

void plots_sweep(const char *folder) {
    char *path = path_join(folder, "plots");
    DIR *dir = path ? opendir(path) : NULL;
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        const char *ending = strrchr(entry->d_name, '.');
        char *file = ending && (strcmp(ending, ".svg") == 0 || strcmp(ending, ".csv") == 0)
                         ? path_join(path, entry->d_name)
                         : NULL;
        if (file)
            unlink(file);
        free(file);
    }
    if (dir)
        closedir(dir);
    free(path);
}

/* ---- score against layer --------------------------------------------------------------------- */

/* The numbers of a summary's layers, in arrays for a curve. */
struct points {
    double *x, *relative, *y, *low, *high; /* (L) */
    size_t count;
};

static bool points_make(struct plots *p, const struct summary *s, int blocks, struct points *out) {
    memset(out, 0, sizeof *out);
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", s->layers, 5 * sizeof(double), (void **)&out->x);
    if (p->status != DL_OK)
        return false;
    out->count = s->layers;
    out->relative = out->x + s->layers;
    out->y = out->relative + s->layers;
    out->low = out->y + s->layers;
    out->high = out->low + s->layers;
    for (size_t i = 0; i < s->layers; i++) {
        out->x[i] = s->layer[i].layer;
        out->relative[i] = (double)s->layer[i].layer / blocks;
        out->y[i] = s->layer[i].mean;
        out->low[i] = s->layer[i].low;
        out->high[i] = s->layer[i].high;
    }
    return true;
}

static void scores_csv(struct buffer *csv, const char *question, const struct summary *s,
                       const struct points *points, const char *run) {
    for (size_t i = 0; i < points->count; i++) {
        csv_text(csv, question, false);
        csv_number(csv, points->x[i], false);
        csv_number(csv, points->relative[i], false);
        csv_number(csv, (double)s->layer[i].n, false);
        csv_number(csv, points->y[i], false);
        csv_number(csv, points->low[i], false);
        csv_number(csv, points->high[i], false);
        csv_text(csv, run, true);
    }
}

static const char scores_header[] = "question,layer,relative_layer,n,mean,ci95_low,ci95_high,run\n";

void report_overview(struct plots *p, const struct study *study) {
    const size_t count = study->question_count;
    struct points *points = NULL;
    struct svg_curve *curves = NULL;
    struct buffer csv = {0};
    size_t made = 0;
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", count, sizeof *points, (void **)&points);
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", count, sizeof *curves, (void **)&curves);
    buffer_text(&csv, scores_header);
    for (; p->status == DL_OK && made < count; made++) {
        const struct study_question *q = &study->questions[made];
        if (!points_make(p, &q->summary, study->blocks, &points[made]))
            break;
        const struct points *at = &points[made];
        curves[made] =
            (struct svg_curve){q->name, at->count, at->relative, at->y, at->low, at->high};
        scores_csv(&csv, q->name, &q->summary, at, "lens");
    }
    if (p->status == DL_OK) {
        const struct svg_lines plot = {.title = "Mean score of every question by relative layer",
                                       .x_label = "relative layer",
                                       .y_label = "mean score",
                                       .curves = curves,
                                       .curve_count = count,
                                       .x_high = 1,
                                       .y_high = 1};
        plots_lines(p, "scores", &plot, &csv);
    }
    for (size_t i = 0; points && i < made; i++)
        free(points[i].x);
    buffer_free(&csv);
    free(points);
    free(curves);
}

/* The lens, and the controls that were asked the question. */
static void plot_scores(struct plots *p, const struct sides *sides,
                        const struct study_question *q) {
    const int blocks = sides->items[0].study->blocks;
    struct points points[SIDES_MAX];
    struct svg_curve curves[SIDES_MAX];
    struct buffer csv = {0};
    char name[NAME_SIZE], title[NAME_SIZE];
    size_t count = 0;
    buffer_text(&csv, scores_header);
    for (size_t i = 0; i < sides->count; i++) {
        const struct study_question *its = side_question(&sides->items[i], q->name);
        struct points *at = &points[count];
        if (!its || !points_make(p, &its->summary, blocks, at))
            continue;
        curves[count++] =
            (struct svg_curve){sides->items[i].name, at->count, at->x, at->y, at->low, at->high};
        scores_csv(&csv, q->name, &its->summary, at, sides->items[i].name);
    }
    snprintf(name, sizeof name, "%.80s-score", q->name);
    snprintf(title, sizeof title, "%.80s: mean score by layer, with 95 %% intervals", q->name);
    if (p->status == DL_OK) {
        const struct svg_lines plot = {.title = title,
                                       .x_label = "layer",
                                       .y_label = "mean score",
                                       .curves = curves,
                                       .curve_count = count,
                                       .x_high = blocks,
                                       .y_high = 1,
                                       .ticks = points[0].x,
                                       .tick_count = points[0].count,
                                       .relative = true};
        plots_lines(p, name, &plot, &csv);
    }
    buffer_free(&csv);
    for (size_t i = 0; i < count; i++)
        free(points[i].x);
}

/* ---- emergence ------------------------------------------------------------------------------- */

static void plot_emergence(struct plots *p, const struct study_question *q) {
    const struct summary *s = &q->summary;
    const size_t count = s->layers + 1;
    char(*labels)[LABEL_SIZE] = NULL, name[NAME_SIZE], title[NAME_SIZE];
    const char **texts = NULL;
    double *values = NULL;
    struct buffer csv = {0};
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", count, sizeof *labels, (void **)&labels);
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", count, sizeof *texts, (void **)&texts);
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", count, sizeof *values, (void **)&values);
    buffer_text(&csv, "layer,rows\n");
    for (size_t i = 0; p->status == DL_OK && i < count; i++) {
        const bool never = i == s->layers;
        snprintf(labels[i], LABEL_SIZE, "%d", never ? 0 : s->layer[i].layer);
        texts[i] = never ? "never" : labels[i];
        values[i] = (double)(never ? s->never : s->layer[i].emerged);
        csv_text(&csv, texts[i], false);
        csv_number(&csv, values[i], true);
    }
    snprintf(name, sizeof name, "%.80s-emergence", q->name);
    snprintf(title, sizeof title, "%.80s: layer from which on it is there", q->name);
    const struct svg_bars plot = {.title = title,
                                  .x_label = "layer of emergence",
                                  .y_label = "pictures\xE2\x80\x99 rows (prompt and seed)",
                                  .labels = texts,
                                  .values = values,
                                  .count = count,
                                  .series = 1};
    if (p->status == DL_OK)
        plots_bars(p, name, &plot, &csv);
    buffer_free(&csv);
    free(labels);
    free(texts);
    free(values);
}

/* ---- prompts by layers ----------------------------------------------------------------------- */

/* A table's prompts that are asked, their means to `values`; all of them as CSV. */
static size_t heat_rows(const struct study *study, const struct study_question *q,
                        const char **labels, double *values, struct buffer *csv) {
    const size_t L = q->table.layers;
    size_t rows = 0;
    for (size_t n = 0; n < study->record.prompt_count; n++) {
        const double *from = q->by_prompt + n * L;
        bool asked = false;
        for (size_t i = 0; i < L; i++)
            asked = asked || !isnan(from[i]);
        if (!asked)
            continue;
        csv_text(csv, study->record.prompts[n], false);
        for (size_t i = 0; i < L; i++)
            csv_number(csv, from[i], i + 1 == L);
        if (rows < HEAT_ROWS_MAX) {
            labels[rows] = study->record.prompts[n];
            memcpy(values + rows * L, from, L * sizeof *values);
        }
        rows++;
    }
    return rows;
}

static void plot_heat(struct plots *p, const struct study *study, const struct study_question *q) {
    const size_t L = q->table.layers;
    char(*columns)[LABEL_SIZE] = NULL, name[NAME_SIZE], title[NAME_SIZE];
    const char **texts = NULL, **labels = NULL;
    double *values = NULL;
    struct buffer csv = {0};
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", L, sizeof *columns, (void **)&columns);
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", L, sizeof *texts, (void **)&texts);
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", HEAT_ROWS_MAX, sizeof *labels, (void **)&labels);
    if (p->status == DL_OK)
        p->status = allocate(p->cx, "plot", HEAT_ROWS_MAX, L * sizeof *values, (void **)&values);
    if (p->status == DL_OK) {
        csv_text(&csv, "prompt", false);
        for (size_t i = 0; i < L; i++) {
            snprintf(columns[i], LABEL_SIZE, "%d", q->table.layer[i]);
            texts[i] = columns[i];
            csv_text(&csv, texts[i], i + 1 == L);
        }
        const size_t rows = heat_rows(study, q, labels, values, &csv);
        snprintf(name, sizeof name, "%.80s-heat", q->name);
        snprintf(title, sizeof title, "%.80s: mean score of each prompt by layer", q->name);
        const struct svg_heat plot = {
            title, "layer", labels, texts, values, rows < HEAT_ROWS_MAX ? rows : HEAT_ROWS_MAX, L};
        buffer_format(p->page,
                      "<details class=\"fold\"%s><summary>Every prompt by layer</summary>\n",
                      rows <= HEAT_ROWS_OPEN ? " open" : "");
        plots_heat(p, name, &plot, &csv);
        if (rows > HEAT_ROWS_MAX)
            buffer_format(p->page, "<p class=\"hint\">the first %d of %zu prompts</p>",
                          HEAT_ROWS_MAX, rows);
        buffer_text(p->page, "</details>\n");
    }
    buffer_free(&csv);
    free(columns);
    free(texts);
    free(labels);
    free(values);
}

/* ---- a question ------------------------------------------------------------------------------ */

static void put_layers(struct buffer *b, const struct study *study, const struct summary *s) {
    buffer_text(b, "<div class=\"scroll\"><table class=\"figures\"><thead><tr><th>layer</th>"
                   "<th>relative</th><th>n</th><th>mean</th><th>95 % interval</th>"
                   "<th>emerge here</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < s->layers; i++) {
        const struct layer_summary *l = &s->layer[i];
        buffer_format(b, "<tr><th scope=\"row\">%d</th>", l->layer);
        cell_number(b, (double)l->layer / study->blocks, 2);
        buffer_format(b, "<td>%zu</td>", l->n);
        cell_number(b, l->mean, 3);
        buffer_text(b, "<td>");
        put_fixed(b, l->low, 3);
        buffer_text(b, " to ");
        put_fixed(b, l->high, 3);
        buffer_format(b, "</td><td>%zu</td></tr>\n", l->emerged);
    }
    buffer_text(b, "</tbody></table></div>\n");
}

static void put_emergence(struct buffer *b, const struct summary *s) {
    buffer_text(b, "<p class=\"finding\">");
    put_count(b, s->prompts, "prompt, ", "prompts, ");
    put_count(b, s->rows, "row", "rows");
    buffer_text(b, " (a prompt and a seed); ");
    put_count(b, s->missing, "cell missing. Of ", "cells missing. Of ");
    put_count(b, s->complete, "complete row ", "complete rows ");
    put_count(b, s->never, "never emerges, ", "never emerge, ");
    put_count(b, s->unstable, "is unstable", "are unstable");
    if (!isnan(s->median_layer)) {
        buffer_text(b, "; the median layer of emergence is ");
        put_fixed(b, s->median_layer, 1);
    }
    buffer_text(b, ".</p>\n");
}

void report_question(struct plots *p, const struct sides *sides, size_t question) {
    const struct study *study = sides->items[0].study;
    const struct study_question *q = &study->questions[question];
    struct buffer *b = p->page;
    buffer_format(b, "<section class=\"question\" id=\"q%zu\">\n", question);
    buffer_text(b, "<h3>");
    buffer_html(b, q->name);
    buffer_text(b, "</h3>\n<p class=\"wording\">");
    buffer_html(b, q->wording);
    buffer_text(b, "</p>\n");
    put_emergence(b, &q->summary);
    buffer_text(b, "<div class=\"pair\"><figure>");
    plot_scores(p, sides, q);
    buffer_text(b, "<figcaption>Mean score; the band is the 95 % interval.</figcaption></figure>"
                   "<figure>");
    plot_emergence(p, q);
    buffer_text(b, "<figcaption>From which layer on it is there.</figcaption></figure></div>\n"
                   "<details class=\"fold\"><summary>The numbers</summary>\n");
    put_layers(b, study, &q->summary);
    buffer_text(b, "</details>\n");
    plot_heat(p, study, q);
    buffer_text(b, "</section>\n");
}
