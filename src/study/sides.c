/* Runs side by side, and their distances from the last layer. See sides.h. */
#include "study/sides.h"

#include "base/file.h"
#include "out/csv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- means ----------------------------------------------------------------------------------- */

void running_take(struct running_mean *m, double value) {
    if (isnan(value))
        return;
    const double before = value - m->mean;
    m->n++;
    m->mean += before / (double)m->n;
    m->squares += before * (value - m->mean);
}

double running_mean(const struct running_mean *m) {
    return m->n ? m->mean : NAN;
}

double running_deviation(const struct running_mean *m) {
    return m->n > 1 ? sqrt(m->squares / (double)(m->n - 1)) : NAN;
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* The layers of a side's grid are the first of the lens'. */
static int measure(dl_context *cx, const struct study *lens, struct side *side) {
    struct record *r = &side->study->record;
    const struct grid *g = &r->grid;
    DL_TRY(allocate(cx, "distances", lens->record.grid.layer_count, sizeof *side->distances,
                    (void **)&side->distances));
    DL_TRY(distance_pictures(cx, &r->grid, r->folder, &lens->record.grid, lens->record.folder));
    for (size_t i = 0; i < grid_count(g); i++)
        running_take(&side->distances[i % g->layer_count].picture, g->cells[i].distance);
    for (size_t i = 0; i < g->prompt_count * g->layer_count; i++) {
        running_take(&side->distances[i % g->layer_count].relative, g->conditionings[i].relative);
        running_take(&side->distances[i % g->layer_count].cosine, g->conditionings[i].cosine);
    }
    return DL_OK;
}

/* Reads the study of a control; *is tells whether the folder holds the whole of it. */
static int read_control(dl_context *cx, const struct record *lens, const char *path, size_t variant,
                        struct study *study, bool *is) {
    *is = false;
    if (study_open(cx, path, 0, study) != DL_OK) {
        tell(cx, DL_LOG_WARNING, "%s; the report leaves %s out", cx->message,
             controls_name(variant));
        return DL_OK;
    }
    DL_TRY(control_belongs(cx, lens->manifest, &lens->settings, &study->record, variant, is));
    *is = *is && !study->record.shards;
    if (!*is)
        tell(cx, DL_LOG_WARNING, "%s: is no control of %s; the report leaves it out", path,
             lens->folder);
    return DL_OK;
}

/* Adds the control if its folder is there and holds it. */
static int open_control(dl_context *cx, const struct record *lens, size_t variant,
                        struct sides *out) {
    struct study *study = NULL;
    bool is = false;
    char *path;
    int status = control_begun(cx, lens->folder, variant, &path);
    if (status == DL_OK && path) {
        status = allocate(cx, "report", 1, sizeof *study, (void **)&study);
        if (status == DL_OK)
            status = read_control(cx, lens, path, variant, study, &is);
    }
    if (status == DL_OK && is) {
        out->items[out->count++] =
            (struct side){controls_name(variant), controls_about(variant), study, NULL};
    } else if (study) {
        study_close(study);
        free(study);
    }
    free(path);
    return status;
}

int sides_open(dl_context *cx, struct study *lens, struct sides *out) {
    memset(out, 0, sizeof *out);
    out->items[out->count++] = (struct side){.name = "lens", .study = lens};
    for (size_t v = 0; v < VARIANT_COUNT; v++)
        DL_TRY(open_control(cx, &lens->record, v, out));
    for (size_t i = 0; i < out->count; i++)
        DL_TRY(measure(cx, lens, &out->items[i]));
    return DL_OK;
}

void sides_free(struct sides *sides) {
    for (size_t i = 0; i < sides->count; i++) {
        free(sides->items[i].distances);
        if (i > 0) {
            study_close(sides->items[i].study);
            free(sides->items[i].study);
        }
    }
    memset(sides, 0, sizeof *sides);
}

const struct study_question *side_question(const struct side *side, const char *name) {
    for (size_t i = 0; i < side->study->question_count; i++)
        if (strcmp(side->study->questions[i].name, name) == 0)
            return &side->study->questions[i];
    return NULL;
}

/* ---- distances.csv --------------------------------------------------------------------------- */

static void put_line(struct buffer *b, const struct sides *sides, size_t side, size_t layer) {
    const struct study *lens = sides->items[0].study;
    const struct mean_distance *d = &sides->items[side].distances[layer];
    const int number = grid_layer(&lens->record.grid, layer);
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    csv_text(b, sides->items[side].name, false);
    csv_text(b, number < 0 ? "native" : text, false);
    csv_number(b, number < 0 ? NAN : (double)number / lens->blocks, false);
    csv_number(b, (double)d->picture.n, false);
    csv_number(b, running_mean(&d->picture), false);
    csv_number(b, running_deviation(&d->picture), false);
    csv_number(b, (double)d->relative.n, false);
    csv_number(b, running_mean(&d->relative), false);
    csv_number(b, running_deviation(&d->relative), false);
    csv_number(b, running_mean(&d->cosine), true);
}

int distances_write(dl_context *cx, const struct sides *sides) {
    const struct record *lens = &sides->items[0].study->record;
    struct buffer b = {0};
    char *path = path_join(lens->folder, "distances.csv");
    buffer_text(&b, "run,layer,relative_layer,pictures,picture,picture_sd,prompts,conditioning,"
                    "conditioning_sd,cosine\n");
    for (size_t i = 0; i < sides->count; i++)
        for (size_t l = 0; l < sides->items[i].study->record.grid.layer_count; l++)
            put_line(&b, sides, i, l);
    int status = path ? buffer_check(cx, &b, path) : fail_memory(cx, "distances.csv", 0);
    if (status == DL_OK)
        status = file_write(cx, path, b.data, b.length);
    buffer_free(&b);
    free(path);
    return status;
}
