/* Reading a run's folder back. See record.h.
 *
 * A manifest comes from a disk and is checked like any other file; names of pictures are made anew
 * from its prompts and settings, never taken from it. */
#include "lens/record.h"

#include "base/file.h"
#include "base/json.h"
#include "lens/controls.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is being read; a failure stays and is told once. */
struct reader {
    dl_context *cx;
    const char *path; /* of the manifest */
    const cJSON *options;
    int status;
};

static void complain(struct reader *r, const char *key) {
    if (r->status == DL_OK)
        r->status = fail(r->cx, DL_USAGE, "%s: %s is missing or no such value", r->path, key);
}

static double read_number(struct reader *r, const cJSON *object, const char *key, double min,
                          double max) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (cJSON_IsNumber(item) && item->valuedouble >= min && item->valuedouble <= max)
        return item->valuedouble;
    complain(r, key);
    return min;
}

static const char *read_text(struct reader *r, const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (cJSON_IsString(item))
        return item->valuestring;
    complain(r, key);
    return "";
}

/* ---- lists ----------------------------------------------------------------------------------- */

enum { LIST_MAX = 1000000 };

/* The length of a list of options, at least 1. */
static size_t list_size(struct reader *r, const char *key) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->options, key);
    const int size = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (size < 1 || size > LIST_MAX)
        complain(r, key);
    return r->status == DL_OK ? (size_t)size : 0;
}

static void read_layers(struct reader *r, int blocks, struct settings *s) {
    const size_t count = list_size(r, "layers");
    const cJSON *item;
    if (count && r->status == DL_OK)
        r->status = allocate(r->cx, "layers", count, sizeof *s->layers, (void **)&s->layers);
    if (r->status != DL_OK)
        return;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(r->options, "layers")) {
        const int least = s->layer_count ? s->layers[s->layer_count - 1] + 1 : 0;
        if (!cJSON_IsNumber(item) || item->valueint < least || item->valueint > blocks)
            complain(r, "layers");
        s->layers[s->layer_count++] = item->valueint;
    }
}

/* Where the numbers of "seeds": [...] begin. Inside a JSON string its quotes would be escaped, so
 * the key is found in the text. */
static const char *find_seeds(const char *text) {
    for (const char *at = strstr(text, "\"seeds\""); at; at = strstr(at, "\"seeds\"")) {
        at += strlen("\"seeds\"");
        at += strspn(at, " \t\r\n");
        if (*at != ':')
            continue;
        at += 1 + strspn(at + 1, " \t\r\n");
        if (*at == '[')
            return at + 1;
    }
    return NULL;
}

/* Seeds are whole numbers of 64 bits, which a double does not hold: they are read from the text,
 * and put into the manifest as they stand there. */
static void read_seeds(struct reader *r, const char *text, struct settings *s) {
    const size_t count = list_size(r, "seeds");
    const char *at = find_seeds(text);
    cJSON *exact = cJSON_CreateArray();
    if (!at)
        complain(r, "seeds");
    if (r->status == DL_OK)
        r->status = allocate(r->cx, "seeds", count, sizeof *s->seeds, (void **)&s->seeds);
    while (r->status == DL_OK && s->seed_count < count) {
        char *end;
        at += strspn(at, " \t\r\n,");
        errno = 0;
        s->seeds[s->seed_count] = *at >= '0' && *at <= '9' ? strtoull(at, &end, 10) : 0;
        if (*at < '0' || *at > '9' || errno) {
            complain(r, "seeds");
            break;
        }
        at = end;
        cJSON_AddItemToArray(exact, json_u64(s->seeds[s->seed_count++]));
    }
    if (r->status == DL_OK && cJSON_GetArraySize(exact) != (int)count)
        r->status = fail_memory(r->cx, "seeds", count);
    if (r->status != DL_OK || !cJSON_ReplaceItemInObjectCaseSensitive(
                                  (cJSON *)(uintptr_t)r->options, "seeds", exact))
        cJSON_Delete(exact);
}

static void read_prompts(struct reader *r, const cJSON *manifest, struct record *out) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(manifest, "prompts"), *item;
    const int size = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (size < 1)
        complain(r, "prompts");
    if (r->status == DL_OK)
        r->status =
            allocate(r->cx, "prompts", (size_t)size, sizeof *out->prompts, (void **)&out->prompts);
    if (r->status != DL_OK)
        return;
    cJSON_ArrayForEach(item, list) out->prompts[out->prompt_count++] = read_text(r, item, "text");
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void read_settings(struct reader *r, const cJSON *model, const char *text,
                          struct settings *s) {
    enum { BLOCKS_MAX = 10000, SIDE_MAX = 65536 };
    read_layers(r, (int)read_number(r, model, "layers", 1, BLOCKS_MAX), s);
    read_seeds(r, text, s);
    s->steps = (size_t)read_number(r, r->options, "steps", 1, 1e6);
    s->width = (size_t)read_number(r, r->options, "width", 1, SIDE_MAX);
    s->height = (size_t)read_number(r, r->options, "height", 1, SIDE_MAX);
    s->guidance = read_number(r, r->options, "guidance", -1e6, 1e6);
    s->eta = read_number(r, r->options, "eta", 0, 1);
    s->reuse = 1;
    if (cJSON_HasObjectItem(r->options, "reuse"))
        s->reuse = (size_t)read_number(r, r->options, "reuse", 1, 1e6);
    if (cJSON_HasObjectItem(r->options, "precision"))
        s->precision = read_text(r, r->options, "precision");
    if (cJSON_HasObjectItem(r->options, "activations"))
        s->activations = read_text(r, r->options, "activations");
    s->sampler = read_text(r, r->options, "sampler");
    s->negative = read_text(r, r->options, "negative");
    const int norm = norm_find(read_text(r, r->options, "norm"));
    if (cJSON_HasObjectItem(r->options, "control")) {
        const int control = control_find(read_text(r, r->options, "control"));
        s->control = control < CONTROL_COUNT ? (enum dl_control)control : DL_CONTROL_NONE;
    }
    s->norm = norm < NORM_COUNT ? (enum dl_norm)norm : DL_NORM_FINAL;
    s->native = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(r->options, "native"));
}

static void read_shard(struct reader *r, struct record *out) {
    const cJSON *shard = cJSON_GetObjectItemCaseSensitive(out->manifest, "shard");
    if (!shard)
        return;
    out->shards = (size_t)read_number(r, shard, "of", 1, 1e6);
    out->shard = (size_t)read_number(r, shard, "index", 1, (double)out->shards);
}

static int read_manifest(dl_context *cx, const char *path, struct record *out) {
    char *text = NULL;
    const char *end;
    size_t size;
    DL_TRY(file_read(cx, DL_USAGE, path, MANIFEST_BYTES_MAX, &text, &size));
    int status = json_parse(cx, path, text, size + 1, true, &end, &out->manifest);
    if (status == DL_OK && !cJSON_IsObject(out->manifest))
        status = fail(cx, DL_USAGE, "%s: is not the JSON of a manifest", path);
    if (status == DL_OK) {
        struct reader r = {cx, path, cJSON_GetObjectItemCaseSensitive(out->manifest, "options"),
                           DL_OK};
        read_settings(&r, cJSON_GetObjectItemCaseSensitive(out->manifest, "model"), text,
                      &out->settings);
        read_prompts(&r, out->manifest, out);
        read_shard(&r, out);
        status = r.status;
    }
    free(text);
    return status;
}

int record_open(dl_context *cx, const char *folder, struct record *out) {
    char *times = path_join(folder, "times.csv"), *path = path_join(folder, "manifest.json");
    memset(out, 0, sizeof *out);
    out->folder = strdup(folder);
    int status = times && path && out->folder ? DL_OK : fail_memory(cx, folder, 0);
    if (status == DL_OK && !file_exists(path))
        status = fail(cx, DL_USAGE, "%s: is no run's folder: it has no manifest.json", folder);
    if (status == DL_OK)
        status = read_manifest(cx, path, out);
    if (status == DL_OK)
        status = grid_init(cx, &out->grid, &out->settings, out->prompts, out->prompt_count);
    if (status == DL_OK) {
        out->grid.times_apart = file_exists(times);
        if (out->shards)
            grid_shard(&out->grid, out->shard, out->shards);
        status = folder_take_times(cx, &out->grid, folder,
                                   cJSON_GetObjectItemCaseSensitive(out->manifest, "images"));
        distance_take(&out->grid, cJSON_GetObjectItemCaseSensitive(out->manifest, "conditioning"));
        folder_take_files(cx, &out->grid, folder);
    }
    free(times);
    free(path);
    return status;
}

void record_close(struct record *record) {
    grid_free(&record->grid);
    settings_free(&record->settings);
    cJSON_Delete(record->manifest);
    free(record->prompts);
    free(record->folder);
    memset(record, 0, sizeof *record);
}
