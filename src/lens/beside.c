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

/* Any of what stands beside a lens: a control, or the lens without a block. */
struct kind {
    char name[24];     /* "shuffled", "block 7" */
    char folder[40];   /* in the lens' */
    const char *about; /* NULL: without a block */
    int control, norm; /* enum dl_control and dl_norm; -1: the lens' own */
    int block;         /* left out; 0: none */
};

static struct kind kind_of(size_t variant) {
    struct kind k = {.control = -1, .norm = -1};
    if (variant < VARIANT_COUNT) {
        const struct variant *v = &variants[variant];
        k.about = v->about;
        k.control = (int)v->control;
        k.norm = v->norm;
        snprintf(k.name, sizeof k.name, "%s", v->name);
        snprintf(k.folder, sizeof k.folder, CONTROLS_FOLDER "/%s", v->name);
    } else {
        k.block = (int)(variant - VARIANT_COUNT) + 1;
        snprintf(k.name, sizeof k.name, "block %d", k.block);
        snprintf(k.folder, sizeof k.folder, SKIP_FOLDER "/block-%02d", k.block);
    }
    return k;
}

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
    return path_join(folder, kind_of(variant).folder);
}

int control_begun(dl_context *cx, const char *folder, size_t variant, char **path) {
    *path = control_folder(folder, variant);
    char *file = *path ? path_join(*path, "manifest.json") : NULL;
    const int status = file ? DL_OK : fail_memory(cx, "control", 0);
    if (!file || !file_exists(file)) {
        free(*path);
        *path = NULL;
    }
    free(file);
    return status;
}

static int run_control(dl_context *cx, const dl_model *model, const dl_options *options,
                       const char *const *prompts, size_t prompt_count, const dl_run *run,
                       const struct run_plan *plan, const char *folder, size_t variant,
                       dl_run_result *total) {
    const struct kind kind = kind_of(variant);
    dl_options its = *options;
    dl_run how = *run;
    dl_run_result result = {0};
    char *path = control_folder(folder, variant), block[16];
    snprintf(block, sizeof block, "%d", kind.block);
    its.control = kind.control < 0 ? options->control : kind.control;
    its.norm = kind.norm < 0 ? options->norm : kind.norm;
    its.skip_layers = kind.block ? block : options->skip_layers;
    its.native = 0; /* the same picture in every run */
    how.folder = path;
    how.overwrite = 1; /* it lies inside the lens' folder, which has been accepted */
    how.latents_file = how.controls = NULL;
    how.explain = how.skip_each = 0;
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
                 size_t blocks, dl_run_result *result) {
    for (size_t i = 0; i < VARIANT_COUNT + blocks; i++)
        if (i >= VARIANT_COUNT || chosen[i])
            DL_TRY(run_control(cx, model, options, prompts, prompt_count, run, plan, folder, i,
                               result));
    return DL_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* All pictures of controls on a page together take about so many bytes: see html.c. */
enum { PICTURE_BYTES = 4 << 20, PICTURE_LEAST = 24, PICTURE_MOST = 96 };

/* The lens itself or what stands beside it: (prompts,seeds,layers) and (prompts,layers) of the
 * lens' grid. */
struct side {
    struct kind kind;
    bool is_lens;
    struct image *pictures; /* NULL: they stand above */
    char **files;           /* the same */
    double *distance, *relative, *cosine;
    double
        *moved; /* pictures, from the lens' of the same layer; without a block alone, else NULL */
    char page[64];
};

struct beside {
    const struct grid *grid;
    int *layers; /* (layers) */
    struct side sides[1 + VARIANT_COUNT];
    size_t side_count;
    struct side *blocks; /* (1 + blocks) the lens once more, with pictures; without a block each */
    size_t block_count;
    struct report_row *rows;     /* (prompts,side_count + block_count) */
    struct report_beside *views; /* (prompts) */
};

static void free_side(struct side *s, size_t count) {
    for (size_t i = 0; s->pictures && i < count; i++)
        image_free(&s->pictures[i]);
    for (size_t i = 0; s->files && i < count; i++)
        free(s->files[i]);
    free(s->pictures);
    free(s->files);
    free(s->distance);
    free(s->relative);
    free(s->cosine);
    free(s->moved);
    memset(s, 0, sizeof *s);
}

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

/* What says which run it is, but for what a control changes, or leaving out a block; NULL without
 * memory. */
static cJSON *common_part(const cJSON *manifest, bool skips) {
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
    if (skips)
        cJSON_DeleteItemFromObjectCaseSensitive(options, "skip_layers");
    return copy;
}

/* Whether just this block is left out, or, of 0, whatever there is. */
static bool skips_block(const cJSON *manifest, int block) {
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(manifest, "options");
    const cJSON *skipped = cJSON_GetObjectItemCaseSensitive(options, "skip_layers");
    return !block || (cJSON_GetArraySize(skipped) == 1 && skipped->child->valueint == block);
}

int control_belongs(dl_context *cx, const cJSON *manifest, const struct settings *lens,
                    const struct record *record, size_t variant, bool *is) {
    const struct kind kind = kind_of(variant);
    const struct settings *its = &record->settings;
    char what[256];
    cJSON *mine = common_part(manifest, kind.block > 0);
    cJSON *other = common_part(record->manifest, kind.block > 0);
    *is = false;
    int status =
        mine && other ? manifest_same(cx, mine, other, is, what) : fail_memory(cx, "report", 0);
    *is = *is && (int)its->control == (kind.control < 0 ? (int)lens->control : kind.control) &&
          (int)its->norm == (kind.norm < 0 ? (int)lens->norm : kind.norm) &&
          skips_block(record->manifest, kind.block) &&
          record->grid.layer_count == lens->layer_count;
    cJSON_Delete(mine);
    cJSON_Delete(other);
    return status;
}

/* NAN where one is not there or they have two sizes. */
static double distance_between(const struct image *a, const struct image *b) {
    return a->rgb && b->rgb && a->width == b->width && a->height == b->height
               ? image_distance(a->rgb, b->rgb, a->width, a->height)
               : NAN;
}

/* A picture of a side's folder: its thumbnail, how far it is from the lens' last, and from the
 * lens' of this layer; one that has gone since it was found is not shown. */
static int take_picture(dl_context *cx, const struct beside *b, const char *folder,
                        const struct cell *cell, const char *its_folder, const struct image *last,
                        int edge, struct side *side, size_t i) {
    const struct cell *own = &b->grid->cells[i];
    struct image image = {0}, same = {0};
    int status = DL_OK;
    if (cell_read(cx, its_folder, cell, &image) == DL_OK) {
        side->distance[i] = distance_between(&image, last);
        if (side->moved && own->made && cell_read(cx, folder, own, &same) == DL_OK)
            side->moved[i] = distance_between(&image, &same);
        status =
            image_thumbnail(cx, image.rgb, image.width, image.height, edge, &side->pictures[i]);
    }
    image_free(&image);
    image_free(&same);
    return status;
}

/* The lens' last picture of a row of its grid; empty where it is not made. */
static int read_last(dl_context *cx, const struct grid *grid, const char *folder, size_t row,
                     struct image *out) {
    const struct cell *cell =
        &grid->cells[row * grid->layer_count + grid->settings->layer_count - 1];
    return cell->made ? cell_read(cx, folder, cell, out) : DL_OK;
}

static char *relative_file(const struct side *side, const char *file) {
    const size_t size = strlen(side->kind.folder) + strlen(file) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s%s", side->kind.folder, side->is_lens ? "" : "/", file);
    return path;
}

/* Thumbnails and distances of a side, which lies in its_folder; so many sides share the page. */
static int take_pictures(dl_context *cx, const struct beside *b, const char *folder,
                         const struct grid *its, const char *its_folder, size_t sides,
                         struct side *side) {
    const struct grid *grid = b->grid;
    const size_t l = its->layer_count, count = grid_count(grid);
    const double room = sqrt((double)PICTURE_BYTES / 4.0 / (double)(count * sides));
    const int edge = (int)fmin(fmax(room, PICTURE_LEAST), PICTURE_MOST);
    int status = DL_OK;
    DL_TRY(allocate(cx, "report", count, sizeof *side->pictures, (void **)&side->pictures));
    DL_TRY(allocate(cx, "report", count, sizeof *side->files, (void **)&side->files));
    for (size_t row = 0; row < grid->prompt_count * grid->seed_count && status == DL_OK; row++) {
        struct image last = {0};
        status = read_last(cx, grid, folder, row, &last);
        for (size_t k = 0; k < l && status == DL_OK; k++) {
            const struct cell *cell = &its->cells[row * l + k];
            const size_t i = row * grid->layer_count + k;
            if (!cell->made)
                continue;
            side->files[i] = relative_file(side, cell->file);
            status = side->files[i]
                         ? take_picture(cx, b, folder, cell, its_folder, &last, edge, side, i)
                         : fail_memory(cx, cell->file, 0);
        }
        image_free(&last);
    }
    return status;
}

/* A control, or the lens without a block. */
static int take_side(dl_context *cx, const struct beside *b, const char *folder,
                     const struct record *record, size_t sides, struct side *side) {
    const struct grid *grid = b->grid;
    const size_t l = record->grid.layer_count;
    DL_TRY(begin_side(cx, grid, side));
    snprintf(side->page, sizeof side->page, "%s/index.html", side->kind.folder);
    for (size_t p = 0; p < grid->prompt_count; p++)
        for (size_t k = 0; k < l; k++) {
            side->relative[p * grid->layer_count + k] =
                record->grid.conditionings[p * l + k].relative;
            side->cosine[p * grid->layer_count + k] = record->grid.conditionings[p * l + k].cosine;
        }
    return take_pictures(cx, b, folder, &record->grid, record->folder, sides, side);
}

/* Reads the side into *side if its folder is there and holds it; *is tells. */
static int read_side(dl_context *cx, const cJSON *manifest, const char *folder, size_t variant,
                     size_t sides, const struct beside *b, struct side *side, bool *is) {
    struct record record = {0};
    char *path;
    int status = control_begun(cx, folder, variant, &path);
    *is = false;
    if (status == DL_OK && path) {
        if (record_open(cx, path, &record) == DL_OK)
            status = control_belongs(cx, manifest, b->grid->settings, &record, variant, is);
        else
            tell(cx, DL_LOG_WARNING, "%s; the report leaves it out", cx->message);
    }
    if (status == DL_OK && *is) {
        side->kind = kind_of(variant);
        status = take_side(cx, b, folder, &record, sides, side);
    }
    record_close(&record);
    free(path);
    return status;
}

/* The rows of the blocks left out, behind the lens' own. */
static int read_blocks(dl_context *cx, const cJSON *manifest, const char *folder,
                       struct beside *b) {
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(manifest, "model");
    const int layers = manifest_number(model, "layers");
    const size_t blocks = layers > 0 ? (size_t)layers : 0, count = grid_count(b->grid);
    char *all = path_join(folder, SKIP_FOLDER);
    const bool any = all && dir_exists(all);
    free(all);
    if (!any)
        return DL_OK;
    DL_TRY(allocate(cx, "report", 1 + blocks, sizeof *b->blocks, (void **)&b->blocks));
    b->block_count = 1;
    b->blocks[0] = (struct side){.kind.name = "whole", .is_lens = true};
    DL_TRY(take_lens(cx, b->grid, &b->blocks[0]));
    DL_TRY(take_pictures(cx, b, folder, b->grid, folder, 1 + blocks, &b->blocks[0]));
    for (size_t k = 0; k < blocks; k++) {
        struct side *side = &b->blocks[b->block_count++]; /* freed with the others */
        bool is;
        DL_TRY(allocate(cx, "report", count, sizeof *side->moved, (void **)&side->moved));
        for (size_t i = 0; i < count; i++)
            side->moved[i] = NAN;
        DL_TRY(read_side(cx, manifest, folder, VARIANT_COUNT + k, 1 + blocks, b, side, &is));
        if (!is) {
            free(side->moved);
            side->moved = NULL;
            b->block_count--;
        }
    }
    if (b->block_count == 1) { /* none is there */
        free_side(&b->blocks[0], count);
        b->block_count = 0;
    }
    return DL_OK;
}

/* ---- what is shown --------------------------------------------------------------------------- */

static struct report_row row_of(const struct grid *grid, const struct side *s, size_t prompt) {
    const size_t pictures = prompt * grid->seed_count * grid->layer_count;
    return (struct report_row){
        .name = s->kind.name,
        .about = s->kind.about,
        .page = s->is_lens ? NULL : s->page,
        .pictures = s->pictures ? s->pictures + pictures : NULL,
        .files = s->files ? (const char *const *)s->files + pictures : NULL,
        .distance = s->distance + pictures,
        .moved = s->moved ? s->moved + pictures : NULL,
        .relative = s->relative + prompt * grid->layer_count,
        .cosine = s->cosine + prompt * grid->layer_count,
    };
}

static int make_views(dl_context *cx, struct beside *b) {
    const struct grid *grid = b->grid;
    const size_t rows = b->side_count + b->block_count;
    DL_TRY(allocate(cx, "report", grid->prompt_count * rows, sizeof *b->rows, (void **)&b->rows));
    DL_TRY(allocate(cx, "report", grid->prompt_count, sizeof *b->views, (void **)&b->views));
    for (size_t p = 0; p < grid->prompt_count; p++) {
        struct report_row *mine = b->rows + p * rows;
        for (size_t i = 0; i < b->side_count; i++)
            mine[i] = row_of(grid, &b->sides[i], p);
        for (size_t i = 0; i < b->block_count; i++)
            mine[b->side_count + i] = row_of(grid, &b->blocks[i], p);
        b->views[p] = (struct report_beside){
            .layers = b->layers,
            .layer_count = grid->layer_count,
            .seeds = grid->settings->seeds,
            .seed_count = grid->seed_count,
            .rows = mine,
            .row_count = b->side_count,
            .blocks = mine + b->side_count,
            .block_count = b->block_count,
        };
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
    b->sides[0] =
        (struct side){.kind = {.name = "lens", .about = "the run itself"}, .is_lens = true};
    DL_TRY(take_lens(cx, grid, &b->sides[0]));
    for (size_t i = 0; i < VARIANT_COUNT; i++) {
        bool is;
        struct side *side = &b->sides[b->side_count++]; /* freed with the others */
        DL_TRY(read_side(cx, manifest, folder, i, VARIANT_COUNT, b, side, &is));
        b->side_count -= is ? 0 : 1;
    }
    DL_TRY(read_blocks(cx, manifest, folder, b));
    return make_views(cx, b);
}

void beside_free(struct beside *b) {
    if (!b)
        return;
    const size_t count = grid_count(b->grid);
    for (size_t k = 0; k < b->side_count; k++)
        free_side(&b->sides[k], count);
    for (size_t k = 0; k < b->block_count; k++)
        free_side(&b->blocks[k], count);
    free(b->blocks);
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
    bool known = view->row_count > 1 || view->block_count;
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

/* The rows of a side. */
static void put_side(struct buffer *b, const struct beside *beside, const struct side *side) {
    const struct grid *grid = beside->grid;
    for (size_t i = 0; i < grid_count(grid); i++) {
        const size_t row = i / grid->layer_count, l = i % grid->layer_count;
        const size_t p = row / grid->seed_count;
        if (side->is_lens ? !grid->cells[i].made : !side->files[i])
            continue;
        if (side->kind.block)
            buffer_format(b, "%d", side->kind.block);
        else
            buffer_text(b, side->kind.name);
        buffer_format(b, ",%zu,%" PRIu64 ",%d", p, grid->settings->seeds[row % grid->seed_count],
                      beside->layers[l]);
        if (side->moved)
            put_number(b, side->moved[i]);
        put_number(b, side->distance[i]);
        put_number(b, side->relative[p * grid->layer_count + l]);
        put_number(b, side->cosine[p * grid->layer_count + l]);
        buffer_text(b, "\n");
    }
}

static int write_table(dl_context *cx, const char *folder, const char *name,
                       const struct buffer *csv) {
    char *path = path_join(folder, name);
    int status = path ? buffer_check(cx, csv, name) : fail_memory(cx, name, 0);
    if (status == DL_OK)
        status = file_write(cx, path, csv->data, csv->length);
    free(path);
    return status;
}

int beside_write(dl_context *cx, const struct beside *beside, const char *folder) {
    struct buffer controls = {0}, blocks = {0};
    int status = DL_OK;
    buffer_text(&controls, "control,prompt,seed,layer,distance,conditioning,cosine\n");
    for (size_t k = 0; k < beside->side_count; k++)
        put_side(&controls, beside, &beside->sides[k]);
    buffer_text(&blocks, "block,prompt,seed,layer,distance,from_last,conditioning,cosine\n");
    for (size_t k = 1; k < beside->block_count; k++)
        put_side(&blocks, beside, &beside->blocks[k]);
    if (beside->side_count > 1)
        status = write_table(cx, folder, CONTROLS_FILE, &controls);
    if (beside->block_count && status == DL_OK)
        status = write_table(cx, folder, SKIP_FILE, &blocks);
    buffer_free(&controls);
    buffer_free(&blocks);
    return status;
}
