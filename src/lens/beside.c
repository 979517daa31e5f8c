/* Controls beside the lens; see beside.h. */
#include "lens/beside.h"

#include "base/file.h"
#include "lens/record.h"
#include "lens/run.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct variant {
    const char *name, *about;
    enum dl_control control;
    int norm; /* enum dl_norm; -1: the lens' own */
} variants[VARIANT_COUNT] = {
    {"shuffled", "the prompt's tokens in another order", DL_CONTROL_SHUFFLED, -1},
    {"padding", "no tokens but padding", DL_CONTROL_PADDING, -1},
    {"random", "a text encoder of random weights", DL_CONTROL_RANDOM, -1},
    {"norm-none", "without the final norm", DL_CONTROL_NONE, DL_NORM_NONE},
    {"norm-block", "the next block's own norm", DL_CONTROL_NONE, DL_NORM_BLOCK},
    {"norm-match", "without the final norm, scaled to the last layer's size", DL_CONTROL_NONE,
     DL_NORM_MATCH},
};

const char *controls_name(size_t variant) {
    return variants[variant].name;
}

const char *controls_about(size_t variant) {
    return variants[variant].about;
}

int controls_parse(dl_context *cx, const char *list, bool chosen[VARIANT_COUNT]) {
    const bool all = strcmp(list, "all") == 0;
    for (size_t i = 0; i < VARIANT_COUNT; i++)
        chosen[i] = all;
    for (const char *end; !all; list = end + 1) {
        size_t i = 0;
        end = list + strcspn(list, ",");
        const size_t length = (size_t)(end - list);
        while (i < VARIANT_COUNT &&
               (strlen(variants[i].name) != length || strncmp(list, variants[i].name, length) != 0))
            i++;
        if (i == VARIANT_COUNT)
            return fail(cx, DL_USAGE,
                        "--controls %.*s: is no control; they are shuffled, padding, random, "
                        "norm-none, norm-block, norm-match, or all",
                        (int)length, list);
        if (chosen[i])
            return fail(cx, DL_USAGE, "--controls: %s is given twice", variants[i].name);
        chosen[i] = true;
        if (!*end)
            break;
    }
    return DL_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

char *control_folder(const char *folder, size_t variant) {
    char *all = path_join(folder, CONTROLS_FOLDER);
    char *path = all ? path_join(all, variants[variant].name) : NULL;
    free(all);
    return path;
}

static int run_control(dl_context *cx, const dl_model *model, const dl_options *options,
                       const char *const *prompts, size_t prompt_count, const dl_run *run,
                       const struct run_plan *plan, const char *folder, size_t variant,
                       dl_run_result *total) {
    const struct variant *v = &variants[variant];
    dl_options its = *options;
    dl_run how = *run;
    dl_run_result result = {0};
    char *path = control_folder(folder, variant);
    its.control = (int)v->control;
    its.norm = v->norm < 0 ? options->norm : v->norm;
    its.native = 0; /* the same picture in every run */
    how.folder = path;
    how.overwrite = 1; /* it lies inside the lens' folder, which has been accepted */
    how.latents_file = how.controls = NULL;
    how.explain = 0;
    int status = path ? lens_run(cx, model, &its, prompts, prompt_count, &how, plan, &result)
                      : fail_memory(cx, CONTROLS_FOLDER, 0);
    total->made += result.made;
    total->found += result.found;
    free(result.report);
    free(result.manifest);
    free(path);
    return status;
}

int controls_run(dl_context *cx, const dl_model *model, const dl_options *options,
                 const char *const *prompts, size_t prompt_count, const dl_run *run,
                 const struct run_plan *plan, const char *folder, const bool chosen[VARIANT_COUNT],
                 dl_run_result *result) {
    for (size_t i = 0; i < VARIANT_COUNT; i++)
        if (chosen[i])
            DL_TRY(run_control(cx, model, options, prompts, prompt_count, run, plan, folder, i,
                               result));
    return DL_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* All pictures of controls on a page together take about so many bytes: see html.c. */
enum { PICTURE_BYTES = 4 << 20, PICTURE_LEAST = 24, PICTURE_MOST = 96 };

/* The lens itself or a control: (prompts,seeds,layers) and (prompts,layers) of the lens' grid. */
struct side {
    const struct variant *variant; /* NULL: the lens */
    struct image *pictures;        /* NULL: the lens */
    char **files;                  /* the same */
    double *distance, *relative, *cosine;
    char page[64];
};

struct beside {
    const struct grid *grid;
    int *layers; /* (layers) */
    struct side sides[1 + VARIANT_COUNT];
    size_t side_count;
    struct report_row *rows;     /* (prompts,side_count) */
    struct report_beside *views; /* (prompts) */
};

static int begin_side(dl_context *cx, const struct grid *grid, struct side *side) {
    const size_t count = grid_count(grid), layers = grid->prompt_count * grid->layer_count;
    DL_TRY(allocate(cx, "report", count, sizeof *side->distance, (void **)&side->distance));
    DL_TRY(allocate(cx, "report", layers, sizeof *side->relative, (void **)&side->relative));
    DL_TRY(allocate(cx, "report", layers, sizeof *side->cosine, (void **)&side->cosine));
    for (size_t i = 0; i < count; i++)
        side->distance[i] = NAN;
    for (size_t i = 0; i < layers; i++)
        side->relative[i] = side->cosine[i] = NAN;
    return DL_OK;
}

static int take_lens(dl_context *cx, const struct grid *grid, struct side *side) {
    DL_TRY(begin_side(cx, grid, side));
    for (size_t i = 0; i < grid_count(grid); i++)
        side->distance[i] = grid->cells[i].distance;
    for (size_t i = 0; i < grid->prompt_count * grid->layer_count; i++) {
        side->relative[i] = grid->conditionings[i].relative;
        side->cosine[i] = grid->conditionings[i].cosine;
    }
    return DL_OK;
}

/* What says which run it is, but for what a control changes; NULL without memory. */
static cJSON *common_part(const cJSON *manifest) {
    static const char *const parts[] = {"schema", "model", "options", "prompts"};
    static const char *const changed[] = {"control", "norm", "native"};
    cJSON *copy = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        cJSON *part = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(manifest, parts[i]), true);
        if (!part || !cJSON_AddItemToObject(copy, parts[i], part)) {
            cJSON_Delete(part);
            cJSON_Delete(copy);
            return NULL;
        }
    }
    cJSON *options = cJSON_GetObjectItemCaseSensitive(copy, "options");
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++)
        cJSON_DeleteItemFromObjectCaseSensitive(options, changed[i]);
    return copy;
}

int control_belongs(dl_context *cx, const cJSON *manifest, const struct settings *lens,
                    const struct record *record, size_t variant, bool *is) {
    const struct variant *v = &variants[variant];
    const struct settings *its = &record->settings;
    char what[256];
    cJSON *mine = common_part(manifest), *other = common_part(record->manifest);
    *is = false;
    int status =
        mine && other ? manifest_same(cx, mine, other, is, what) : fail_memory(cx, "report", 0);
    const enum dl_norm norm = v->norm < 0 ? lens->norm : (enum dl_norm)v->norm;
    *is = *is && its->control == v->control && its->norm == norm &&
          record->grid.layer_count == lens->layer_count;
    cJSON_Delete(mine);
    cJSON_Delete(other);
    return status;
}

/* The picture of a control and how far it is from the lens' last; one that has gone since it was
 * found is not shown. */
static int take_picture(dl_context *cx, const struct record *record, const struct cell *cell,
                        const struct image *last, int edge, struct image *small, double *distance) {
    struct image image = {0};
    int status = DL_OK;
    if (cell_read(cx, record->folder, cell, &image) == DL_OK) {
        if (last->rgb && last->width == image.width && last->height == image.height)
            *distance = image_distance(image.rgb, last->rgb, image.width, image.height);
        status = image_thumbnail(cx, image.rgb, image.width, image.height, edge, small);
    }
    image_free(&image);
    return status;
}

/* The lens' last picture of a row of its grid; empty where it is not made. */
static int read_last(dl_context *cx, const struct grid *grid, const char *folder, size_t row,
                     struct image *out) {
    const struct cell *cell =
        &grid->cells[row * grid->layer_count + grid->settings->layer_count - 1];
    return cell->made ? cell_read(cx, folder, cell, out) : DL_OK;
}

static char *relative_file(const struct variant *v, const char *file) {
    const size_t size = strlen(CONTROLS_FOLDER) + strlen(v->name) + strlen(file) + 3;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s/%s/%s", CONTROLS_FOLDER, v->name, file);
    return path;
}

/* Thumbnails and distances of a control. */
static int take_pictures(dl_context *cx, const struct grid *grid, const char *folder,
                         const struct record *record, struct side *side) {
    const size_t l = record->grid.layer_count, count = grid_count(grid);
    const double room = sqrt((double)PICTURE_BYTES / 4.0 / (double)(count * VARIANT_COUNT));
    const int edge = (int)fmin(fmax(room, PICTURE_LEAST), PICTURE_MOST);
    int status = DL_OK;
    DL_TRY(allocate(cx, "report", count, sizeof *side->pictures, (void **)&side->pictures));
    DL_TRY(allocate(cx, "report", count, sizeof *side->files, (void **)&side->files));
    for (size_t row = 0; row < grid->prompt_count * grid->seed_count && status == DL_OK; row++) {
        struct image last = {0};
        status = read_last(cx, grid, folder, row, &last);
        for (size_t k = 0; k < l && status == DL_OK; k++) {
            const struct cell *cell = &record->grid.cells[row * l + k];
            const size_t i = row * grid->layer_count + k;
            if (!cell->made)
                continue;
            side->files[i] = relative_file(side->variant, cell->file);
            status = side->files[i] ? take_picture(cx, record, cell, &last, edge,
                                                   &side->pictures[i], &side->distance[i])
                                    : fail_memory(cx, cell->file, 0);
        }
        image_free(&last);
    }
    return status;
}

static int take_control(dl_context *cx, const struct grid *grid, const char *folder,
                        const struct record *record, struct side *side) {
    const size_t l = record->grid.layer_count;
    DL_TRY(begin_side(cx, grid, side));
    snprintf(side->page, sizeof side->page, "%s/%s/index.html", CONTROLS_FOLDER,
             side->variant->name);
    for (size_t p = 0; p < grid->prompt_count; p++)
        for (size_t k = 0; k < l; k++) {
            side->relative[p * grid->layer_count + k] =
                record->grid.conditionings[p * l + k].relative;
            side->cosine[p * grid->layer_count + k] = record->grid.conditionings[p * l + k].cosine;
        }
    return take_pictures(cx, grid, folder, record, side);
}

/* Adds the control if its folder is there and holds it. */
static int read_control(dl_context *cx, const cJSON *manifest, const char *folder, size_t variant,
                        struct beside *b) {
    const struct grid *grid = b->grid;
    struct record record = {0};
    bool is = false;
    char *path = control_folder(folder, variant);
    char *file = path ? path_join(path, "manifest.json") : NULL;
    int status = file ? DL_OK : fail_memory(cx, CONTROLS_FOLDER, 0);
    if (status == DL_OK && file_exists(file)) {
        if (record_open(cx, path, &record) == DL_OK)
            status = control_belongs(cx, manifest, grid->settings, &record, variant, &is);
        else
            tell(cx, DL_LOG_WARNING, "%s; the report leaves it out", cx->message);
    }
    if (status == DL_OK && is) {
        struct side *side = &b->sides[b->side_count++];
        side->variant = &variants[variant];
        status = take_control(cx, grid, folder, &record, side);
    }
    record_close(&record);
    free(file);
    free(path);
    return status;
}

/* ---- what is shown --------------------------------------------------------------------------- */

static int make_views(dl_context *cx, struct beside *b) {
    const struct grid *grid = b->grid;
    const size_t pictures = grid->seed_count * grid->layer_count, sides = b->side_count;
    DL_TRY(allocate(cx, "report", grid->prompt_count * sides, sizeof *b->rows, (void **)&b->rows));
    DL_TRY(allocate(cx, "report", grid->prompt_count, sizeof *b->views, (void **)&b->views));
    for (size_t p = 0; p < grid->prompt_count; p++) {
        for (size_t i = 0; i < sides; i++) {
            const struct side *s = &b->sides[i];
            b->rows[p * sides + i] = (struct report_row){
                .name = s->variant ? s->variant->name : "lens",
                .about = s->variant ? s->variant->about : "the run itself",
                .page = s->variant ? s->page : NULL,
                .pictures = s->pictures ? s->pictures + p * pictures : NULL,
                .files = s->files ? (const char *const *)s->files + p * pictures : NULL,
                .distance = s->distance + p * pictures,
                .relative = s->relative + p * grid->layer_count,
                .cosine = s->cosine + p * grid->layer_count,
            };
        }
        b->views[p] =
            (struct report_beside){b->layers,        grid->layer_count,   grid->settings->seeds,
                                   grid->seed_count, b->rows + p * sides, sides};
    }
    return DL_OK;
}

int beside_read(dl_context *cx, const struct grid *grid, const cJSON *manifest, const char *folder,
                struct beside **out) {
    struct beside *b = NULL;
    DL_TRY(allocate(cx, "report", 1, sizeof *b, (void **)out));
    b = *out;
    b->grid = grid;
    DL_TRY(allocate(cx, "report", grid->layer_count, sizeof *b->layers, (void **)&b->layers));
    for (size_t l = 0; l < grid->layer_count; l++)
        b->layers[l] = grid_layer(grid, l);
    b->side_count = 1;
    DL_TRY(take_lens(cx, grid, &b->sides[0]));
    for (size_t i = 0; i < VARIANT_COUNT; i++)
        DL_TRY(read_control(cx, manifest, folder, i, b));
    return make_views(cx, b);
}

void beside_free(struct beside *b) {
    if (!b)
        return;
    const size_t count = grid_count(b->grid);
    for (size_t k = 0; k < b->side_count; k++) {
        struct side *s = &b->sides[k];
        for (size_t i = 0; s->pictures && i < count; i++)
            image_free(&s->pictures[i]);
        for (size_t i = 0; s->files && i < count; i++)
            free(s->files[i]);
        free(s->pictures);
        free(s->files);
        free(s->distance);
        free(s->relative);
        free(s->cosine);
    }
    free(b->layers);
    free(b->rows);
    free(b->views);
    free(b);
}

const struct report_beside *beside_of(const struct beside *b, size_t prompt) {
    if (!b)
        return NULL;
    /* a control, or distances of the lens itself, must be there */
    const struct report_beside *view = &b->views[prompt];
    bool known = view->row_count > 1;
    for (size_t i = 0; i < view->seed_count * view->layer_count && view->layer_count > 1; i++)
        known = known || !isnan(view->rows->distance[i]);
    return known ? view : NULL;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void put_number(struct buffer *b, double value) {
    buffer_text(b, ",");
    if (!isnan(value))
        buffer_format(b, "%.6g", value);
}

int beside_write(dl_context *cx, const struct beside *beside, const char *folder) {
    const struct grid *grid = beside->grid;
    struct buffer csv = {0};
    if (beside->side_count < 2)
        return DL_OK;
    buffer_text(&csv, "control,prompt,seed,layer,distance,conditioning,cosine\n");
    for (size_t k = 0; k < beside->side_count; k++) {
        const struct side *side = &beside->sides[k];
        for (size_t i = 0; i < grid_count(grid); i++) {
            const size_t row = i / grid->layer_count, l = i % grid->layer_count;
            const size_t p = row / grid->seed_count;
            if (side->variant ? !side->files[i] : !grid->cells[i].made)
                continue;
            buffer_format(&csv, "%s,%zu,%" PRIu64 ",%d",
                          side->variant ? side->variant->name : "lens", p,
                          grid->settings->seeds[row % grid->seed_count], beside->layers[l]);
            put_number(&csv, side->distance[i]);
            put_number(&csv, side->relative[p * grid->layer_count + l]);
            put_number(&csv, side->cosine[p * grid->layer_count + l]);
            buffer_text(&csv, "\n");
        }
    }
    char *path = path_join(folder, CONTROLS_FILE);
    int status = path ? buffer_check(cx, &csv, CONTROLS_FILE) : fail_memory(cx, CONTROLS_FILE, 0);
    if (status == DL_OK)
        status = file_write(cx, path, csv.data, csv.length);
    buffer_free(&csv);
    free(path);
    return status;
}
