/* manifest.json: building, writing. (Reading and comparing: folder.c.) */
#include "lens/manifest.h"

#include "base/file.h"
#include "family/identity.h"
#include "lens/controls.h"
#include "out/buffer.h"
#include "out/png.h"
#include "text/unicode.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PICTURES_MAX = 100000, SEEDS_MAX = 3000 /* rows of a sheet */ };

/* ---- the grid of pictures -------------------------------------------------------------------- */

void slug(char out[48], const char *prompt) {
    size_t n = 0;
    for (const char *p = prompt; *p && n < 40; p++) {
        const unsigned char c = (unsigned char)*p;
        const bool upper = c >= 'A' && c <= 'Z';
        if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            out[n++] = (char)(upper ? c - 'A' + 'a' : c);
        else if (n && out[n - 1] != '-')
            out[n++] = '-';
    }
    while (n && out[n - 1] == '-')
        n--;
    out[n] = '\0';
    if (!n)
        strcpy(out, "prompt");
}

struct cell *grid_at(const struct grid *grid, size_t prompt, size_t seed, size_t layer) {
    return &grid->cells[(prompt * grid->seed_count + seed) * grid->layer_count + layer];
}

int grid_layer(const struct grid *grid, size_t layer) {
    return layer < grid->settings->layer_count ? grid->settings->layers[layer] : -1;
}

size_t grid_count(const struct grid *grid) {
    return grid->prompt_count * grid->seed_count * grid->layer_count;
}

int cell_read(dl_context *cx, const char *folder, const struct cell *cell, struct image *out) {
    char *path = path_join(folder, cell->file);
    int status = path ? png_read(cx, path, DL_FAILED, out) : fail_memory(cx, cell->file, 0);
    free(path);
    return status;
}

struct cell *grid_find(struct grid *grid, size_t prompt, uint64_t seed, int layer) {
    for (size_t i = 0; i < grid->seed_count; i++) {
        const size_t s = (grid->seed_found + i) % grid->seed_count;
        for (size_t l = 0; grid->settings->seeds[s] == seed && l < grid->layer_count; l++)
            if (grid_layer(grid, l) == layer) {
                grid->seed_found = s;
                return grid_at(grid, prompt, s, l);
            }
    }
    return NULL;
}

bool grid_complete(const struct grid *grid) {
    for (size_t i = 0; i < grid_count(grid); i++)
        if (!grid->cells[i].made && !grid->cells[i].elsewhere)
            return false;
    return true;
}

void grid_shard(struct grid *grid, size_t shard, size_t shards) {
    const size_t count = grid_count(grid), share = count / shards, rest = count % shards;
    /* the first `rest` parts have one more */
    const size_t first = share * (shard - 1) + (shard - 1 < rest ? shard - 1 : rest);
    const size_t end = first + share + (shard - 1 < rest);
    for (size_t i = 0; i < count; i++)
        grid->cells[i].elsewhere = i < first || i >= end;
}

static int name_cell(dl_context *cx, const struct grid *grid, size_t p, size_t s, size_t l) {
    char prompt[48], layer[32], path[160];
    slug(prompt, grid->prompts[p]);
    if (grid_layer(grid, l) < 0)
        strcpy(layer, "native");
    else
        snprintf(layer, sizeof layer, "layer-%02d", grid_layer(grid, l));
    snprintf(path, sizeof path, "%zu-%s/seed-%" PRIu64 "/%s.png", p, prompt,
             grid->settings->seeds[s], layer);
    struct cell *cell = grid_at(grid, p, s, l);
    cell->seconds = -1;
    cell->distance = NAN;
    cell->file = strdup(path);
    return cell->file ? DL_OK : fail_memory(cx, path, strlen(path) + 1);
}

int grid_init(dl_context *cx, struct grid *grid, const struct settings *settings,
              const char *const *prompts, size_t prompt_count) {
    size_t count;
    memset(grid, 0, sizeof *grid);
    grid->settings = settings;
    grid->prompts = prompts;
    grid->prompt_count = prompt_count;
    grid->seed_count = settings->seed_count;
    grid->layer_count = settings->layer_count + (settings->native ? 1 : 0);
    if (!size_mul(prompt_count, grid->seed_count, &count) ||
        !size_mul(count, grid->layer_count, &count) || count > PICTURES_MAX)
        return fail(cx, DL_USAGE,
                    "%zu prompts, %zu seeds, %zu layers: a folder takes at most %d pictures; make "
                    "several",
                    prompt_count, grid->seed_count, grid->layer_count, PICTURES_MAX);
    if (grid->seed_count > SEEDS_MAX)
        return fail(cx, DL_USAGE, "%zu seeds: a folder takes at most %d; make several",
                    grid->seed_count, SEEDS_MAX);
    DL_TRY(allocate(cx, "list of pictures", count, sizeof *grid->cells, (void **)&grid->cells));
    DL_TRY(allocate(cx, "distances", prompt_count * grid->layer_count, sizeof *grid->conditionings,
                    (void **)&grid->conditionings));
    for (size_t i = 0; i < prompt_count * grid->layer_count; i++)
        grid->conditionings[i] = (struct distance){NAN, NAN};
    for (size_t p = 0; p < prompt_count; p++)
        for (size_t s = 0; s < grid->seed_count; s++)
            for (size_t l = 0; l < grid->layer_count; l++)
                DL_TRY(name_cell(cx, grid, p, s, l));
    return DL_OK;
}

void grid_free(struct grid *grid) {
    for (size_t i = 0; grid->cells && i < grid_count(grid); i++)
        free(grid->cells[i].file);
    free(grid->cells);
    free(grid->conditionings);
    memset(grid, 0, sizeof *grid);
}

/* ---- building -------------------------------------------------------------------------------- */

const char *manifest_text(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "?";
}

int manifest_number(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valueint : 0;
}

cJSON *json_u64(uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cJSON_CreateRaw(text);
}

cJSON *json_text(const char *text) {
    const size_t length = strlen(text);
    if (utf8_valid(text, length) == length)
        return cJSON_CreateString(text);
    struct buffer b = {0};
    buffer_utf8(&b, text);
    cJSON *string = b.failed ? NULL : cJSON_CreateString(b.data ? b.data : "");
    buffer_free(&b);
    return string;
}

/* cJSON tells of no memory only by leaving things out. Here a failure stays: no manifest is written
 * that lacks a part. */
struct builder {
    bool failed;
};

static void put(struct builder *b, cJSON *object, const char *key, cJSON *item) {
    if (item && cJSON_AddItemToObject(object, key, item))
        return;
    cJSON_Delete(item);
    b->failed = true;
}

static void put_number(struct builder *b, cJSON *object, const char *key, double value) {
    put(b, object, key, cJSON_CreateNumber(value));
}

static void put_string(struct builder *b, cJSON *object, const char *key, const char *value) {
    put(b, object, key, json_text(value));
}

static void add(struct builder *b, cJSON *array, cJSON *item) {
    if (item && cJSON_AddItemToArray(array, item))
        return;
    cJSON_Delete(item);
    b->failed = true;
}

static cJSON *put_array(struct builder *b, cJSON *object, const char *key) {
    cJSON *array = cJSON_CreateArray();
    put(b, object, key, array);
    return b->failed ? NULL : array;
}

static cJSON *model_json(struct builder *b, const dl_model *model, uint64_t identity) {
    char text[32];
    cJSON *o = cJSON_CreateObject();
    put_string(b, o, "path", model->path);
    put_string(b, o, "family", model->family->name);
    put_string(b, o, "encoder", model->encoder->class_name);
    put_number(b, o, "layers", (double)model->encoder->layers);
    snprintf(text, sizeof text, "fnv1a:%016" PRIx64, identity);
    put_string(b, o, "weights", text);
    return o;
}

/* Start noise given by the caller is recorded by its checksum. */
static cJSON *noise_json(const dl_model *model, const struct settings *s) {
    char text[16];
    if (!s->noise)
        return cJSON_CreateNull();
    const size_t values =
        model->noise_channels * (s->width / model->noise_scale) * (s->height / model->noise_scale);
    snprintf(text, sizeof text, "crc32:%08lx",
             (unsigned long)crc32_z(0, (const unsigned char *)s->noise, values * sizeof *s->noise));
    return cJSON_CreateString(text);
}

/* The stages of a cascade with the settings that each is run with. */
static cJSON *stages_json(struct builder *b, const dl_model *model, const struct settings *s) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < model->stage_count; i++) {
        const struct stage_info *stage = &model->stages[i];
        cJSON *o = cJSON_CreateObject();
        put_string(b, o, "name", stage->name);
        put_string(b, o, "path", stage->path);
        if (s->timesteps[i])
            put_string(b, o, "timesteps", s->timesteps[i]);
        else
            put_number(b, o, "steps", (double)(s->own_steps ? stage->steps : s->steps));
        put_string(b, o, "sampler", s->own_sampler ? stage->sampler : s->sampler);
        put_number(b, o, "guidance", s->own_guidance ? stage->guidance : s->guidance);
        put_number(b, o, "noise_level", stage->noise_level);
        add(b, list, o);
    }
    return list;
}

static cJSON *options_json(struct builder *b, const dl_model *model, const struct settings *s) {
    cJSON *o = cJSON_CreateObject();
    put(b, o, "layers", cJSON_CreateIntArray(s->layers, (int)s->layer_count));
    cJSON *skip = put_array(b, o, "skip_layers");
    for (size_t k = 0; s->skip && k < model->encoder->layers; k++)
        if (s->skip[k])
            add(b, skip, cJSON_CreateNumber((double)k + 1));
    cJSON *seeds = put_array(b, o, "seeds");
    for (size_t i = 0; i < s->seed_count; i++)
        add(b, seeds, json_u64(s->seeds[i]));
    put_number(b, o, "steps", (double)s->steps);
    put_string(b, o, "sampler", s->sampler);
    put_number(b, o, "guidance", s->guidance);
    put_number(b, o, "eta", s->eta);
    if (s->reuse > 1)
        put_number(b, o, "reuse", (double)s->reuse);
    if (s->precision)
        put_string(b, o, "precision", s->precision);
    if (s->activations)
        put_string(b, o, "activations", s->activations);
    put_number(b, o, "width", (double)s->width);
    put_number(b, o, "height", (double)s->height);
    put_string(b, o, "negative", s->negative);
    put_string(b, o, "norm", norm_name(s->norm));
    if (s->control != DL_CONTROL_NONE)
        put_string(b, o, "control", control_name(s->control));
    put(b, o, "native", cJSON_CreateBool(s->native));
    put(b, o, "noise", noise_json(model, s));
    if (model->stage_count)
        put(b, o, "stages", stages_json(b, model, s));
    if (model->clean_caption)
        put(b, o, "clean_caption", cJSON_CreateBool(true));
    return o;
}

static int add_prompt(dl_context *cx, struct builder *b, cJSON *prompts, const dl_model *model,
                      const char *text, size_t index) {
    struct tokens tokens = {0};
    DL_TRY(model_tokenize(cx, model, text, strlen(text), &tokens));
    cJSON *o = cJSON_CreateObject();
    put_number(b, o, "index", (double)index);
    put_string(b, o, "text", text);
    cJSON *list = put_array(b, o, "tokens");
    for (size_t i = 0; i < tokens.count; i++) {
        cJSON *token = cJSON_CreateObject();
        put_number(b, token, "id", tokens.ids[i]);
        put_string(b, token, "piece", tokens.pieces[i]);
        add(b, list, token);
    }
    if (tokens.cut)
        put_string(b, o, "cut", tokens.cut);
    tokens_free(&tokens);
    add(b, prompts, o);
    return DL_OK;
}

int manifest_begin(dl_context *cx, const dl_model *model, const struct grid *grid,
                   const dl_run *run, size_t shard, size_t shards, struct cJSON **out) {
    struct builder builder = {false}, *b = &builder;
    uint64_t identity;
    *out = NULL;
    DL_TRY(model_identity(cx, model, NULL, &identity));
    cJSON *m = *out = cJSON_CreateObject();
    put_number(b, m, "schema", 1);
    put_string(b, m, "version", DLENS_VERSION);
    cJSON *command = put_array(b, m, "command");
    for (size_t i = 0; i < run->command_count; i++)
        add(b, command, json_text(run->command[i]));
    put(b, m, "model", model_json(b, model, identity));
    put(b, m, "options", options_json(b, model, grid->settings));
    cJSON *prompts = put_array(b, m, "prompts");
    for (size_t p = 0; p < grid->prompt_count; p++)
        DL_TRY(add_prompt(cx, b, prompts, model, grid->prompts[p], p));
    if (shards) {
        cJSON *part = cJSON_CreateObject();
        put_number(b, part, "index", (double)shard);
        put_number(b, part, "of", (double)shards);
        put(b, m, "shard", part);
    }
    return b->failed ? fail_memory(cx, "manifest.json", 0) : DL_OK;
}

int settings_identity(dl_context *cx, const dl_model *model, const struct settings *settings,
                      char out[DL_IDENTITY]) {
    struct builder builder = {false};
    uint64_t identity;
    DL_TRY(model_identity(cx, model, NULL, &identity));
    cJSON *options = options_json(&builder, model, settings);
    cJSON_DeleteItemFromObjectCaseSensitive(options, "layers");
    cJSON_DeleteItemFromObjectCaseSensitive(options, "seeds");
    char *text = builder.failed ? NULL : cJSON_PrintUnformatted(options);
    if (text)
        snprintf(out, DL_IDENTITY, "%016" PRIx64 "-%08lx", identity,
                 crc32_z(0, (const unsigned char *)text, strlen(text)));
    cJSON_Delete(options);
    cJSON_free(text);
    return text ? DL_OK : fail_memory(cx, "identity", 0);
}

void manifest_identity(const struct cJSON *manifest, char out[16]) {
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(manifest, "model");
    const cJSON *const parts[] = {
        cJSON_GetObjectItemCaseSensitive(model, "weights"),
        cJSON_GetObjectItemCaseSensitive(manifest, "options"),
        cJSON_GetObjectItemCaseSensitive(manifest, "prompts"),
    };
    unsigned long sum = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char *text = cJSON_PrintUnformatted(parts[i]);
        if (text)
            sum = crc32_z(sum, (const unsigned char *)text, strlen(text));
        cJSON_free(text);
    }
    snprintf(out, 16, "%08lx", sum);
}

/* ---- writing --------------------------------------------------------------------------------- */

static cJSON *images_json(struct builder *b, const struct grid *grid) {
    cJSON *images = cJSON_CreateArray();
    for (size_t p = 0; p < grid->prompt_count; p++)
        for (size_t s = 0; s < grid->seed_count; s++)
            for (size_t l = 0; l < grid->layer_count; l++) {
                const struct cell *cell = grid_at(grid, p, s, l);
                if (!cell->made)
                    continue;
                cJSON *o = cJSON_CreateObject();
                put_number(b, o, "prompt", (double)p);
                put(b, o, "seed", json_u64(grid->settings->seeds[s]));
                put_number(b, o, "layer", grid_layer(grid, l));
                put_string(b, o, "file", cell->file);
                put(b, o, "seconds",
                    cell->seconds < 0 || grid->times_apart ? cJSON_CreateNull()
                                                           : cJSON_CreateNumber(cell->seconds));
                if (!grid->times_apart)
                    put(b, o, "distance", distance_number(cell->distance));
                cJSON *flags = put_array(b, o, "flags");
                for (size_t f = 0; f < cell->flag_count; f++)
                    add(b, flags, cJSON_CreateString(cell->flags[f]));
                add(b, images, o);
            }
    return images;
}

int manifest_write(dl_context *cx, struct cJSON *manifest, const struct grid *grid,
                   const char *folder) {
    struct builder builder = {false}, *b = &builder;
    cJSON_DeleteItemFromObjectCaseSensitive(manifest, "conditioning");
    cJSON_DeleteItemFromObjectCaseSensitive(manifest, "images");
    cJSON_DeleteItemFromObjectCaseSensitive(manifest, "complete");
    put(b, manifest, "conditioning", distance_json(grid));
    put(b, manifest, "images", images_json(b, grid));
    put(b, manifest, "complete", cJSON_CreateBool(grid_complete(grid)));
    char *path = path_join(folder, "manifest.json");
    char *text = b->failed ? NULL : cJSON_Print(manifest);
    int status = path && text ? file_write(cx, path, text, strlen(text))
                              : fail_memory(cx, "manifest.json", 0);
    cJSON_free(text);
    free(path);
    if (status == DL_OK && grid->times_apart)
        status = times_write(cx, grid, folder);
    return status;
}
