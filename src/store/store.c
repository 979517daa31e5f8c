/* A component's weights: one safetensors file or several shards as one table of tensors, sorted by
 * name and searched by bisection. */
#include "store/store.h"

#include "base/json.h"
#include "store/safetensors.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_MAX_BYTES = 16 << 20, MAX_SHARDS = 1000, NAME_ROOM = 512 };

/* Memory given out by store_allocate; what is given out follows the head. */
union block {
    union block *next;
    char align[64];
};

struct store {
    char *path;
    struct safetensors *files; /* (file_count) */
    size_t file_count;
    struct tensor *tensors; /* (count) of all files, sorted by name */
    size_t count;
    union block *blocks;
};

/* ---- the table of tensors ------------------------------------------------------------------ */

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

/* The scales of an I8 tensor must be (rows) values of F32 that a weight can have; trailing ones of
 * their shape move nothing. */
static int check_scales(dl_context *cx, const struct store *s, const struct tensor *t,
                        const struct tensor *scales) {
    if (scales->dtype != DTYPE_F32)
        return fail(cx, DL_MODEL, "%s: tensor %s has dtype %s; scales of %s must be F32", s->path,
                    scales->name, dtype_name(scales->dtype), t->name);
    if (scales->ndim == 0 || scales->shape[0] != t->shape[0] || tensor_count(scales) != t->shape[0])
        return fail(
            cx, DL_MODEL,
            "%s: tensor %s has %zu values in %zu rows; %s needs one for each of its %zu rows",
            s->path, scales->name, tensor_count(scales), scales->ndim ? scales->shape[0] : 1,
            t->name, t->shape[0]);
    for (size_t i = 0; i < t->shape[0]; i++) {
        float value;
        memcpy(&value, (const char *)scales->data + i * sizeof value, sizeof value);
        if (!isfinite(value) || value < 0.0f)
            return fail(cx, DL_MODEL,
                        "%s: tensor %s: the scale of row %zu is %g; it must be finite and not "
                        "negative",
                        s->path, scales->name, i, (double)value);
    }
    return DL_OK;
}

/* Gives the I8 tensors their scales, in memory of their own as biases are: small, and aligned. */
static int take_scales(dl_context *cx, struct store *s) {
    for (size_t i = 0; i < s->count; i++) {
        struct tensor *t = &s->tensors[i];
        const struct tensor *scales = store_scales(s, t);
        if (!scales)
            continue;
        DL_TRY(check_scales(cx, s, t, scales));
        const size_t bytes = t->shape[0] * sizeof *t->scales;
        float *copy = store_allocate(s, bytes);
        if (!copy)
            return fail_memory(cx, t->name, bytes);
        if (bytes > 0)
            memcpy(copy, scales->data, bytes);
        t->scales = copy;
    }
    return DL_OK;
}

/* Gathers the tensors of all files; a name may be there only once. */
static int gather(dl_context *cx, struct store *s) {
    void *memory;
    for (size_t i = 0; i < s->file_count; i++)
        s->count += s->files[i].count;
    DL_TRY(allocate(cx, s->path, s->count, sizeof *s->tensors, &memory));
    struct tensor *t = s->tensors = memory;
    for (size_t i = 0; i < s->file_count; i++) {
        if (s->files[i].count > 0)
            memcpy(t, s->files[i].tensors, s->files[i].count * sizeof *t);
        t += s->files[i].count;
    }
    qsort(s->tensors, s->count, sizeof *s->tensors, by_name);
    for (size_t i = 1; i < s->count; i++) {
        if (strcmp(s->tensors[i - 1].name, s->tensors[i].name) == 0)
            return fail(cx, DL_MODEL, "%s: tensor %s is there twice", s->path, s->tensors[i].name);
    }
    return take_scales(cx, s);
}

/* A store without files. `path` is copied. */
static int store_new(dl_context *cx, const char *path, size_t files, struct store **out) {
    void *memory;
    struct store *s;
    DL_TRY(allocate(cx, path, 1, sizeof *s, &memory));
    s = memory;
    int status = allocate(cx, path, strlen(path) + 1, 1, &memory);
    if (status == DL_OK) {
        s->path = memcpy(memory, path, strlen(path) + 1);
        status = allocate(cx, path, files, sizeof *s->files, &memory);
    }
    if (status != DL_OK) {
        store_close(s);
        return status;
    }
    s->files = memory;
    *out = s;
    return DL_OK;
}

int store_open_file(dl_context *cx, const char *path, struct store **out) {
    struct store *s;
    *out = NULL;
    DL_TRY(store_new(cx, path, 1, &s));
    int status = safetensors_open(cx, path, &s->files[0]);
    if (status == DL_OK) {
        s->file_count = 1;
        status = gather(cx, s);
    }
    if (status != DL_OK) {
        store_close(s);
        return status;
    }
    *out = s;
    return DL_OK;
}

/* ---- shards -------------------------------------------------------------------------------- */

/* True for a plain file name, which cannot lead out of the folder. */
static bool is_file_name(const char *name) {
    return name[0] != '\0' && !strchr(name, '/') && !strchr(name, '\\') && !strstr(name, "..");
}

/* The different files of an index's weight_map, in the order of their first mention. */
static int list_shards(dl_context *cx, const char *path, const cJSON *map, const char **shards,
                       size_t *count) {
    const cJSON *item;
    *count = 0;
    if (!cJSON_IsObject(map) || !map->child)
        return fail(cx, DL_MODEL, "%s: weight_map is missing, empty or not an object", path);
    cJSON_ArrayForEach(item, map) {
        if (!cJSON_IsString(item) || !is_file_name(item->valuestring))
            return fail(cx, DL_MODEL, "%s: weight_map: %s is not in a file of this folder", path,
                        item->string);
        size_t i = 0;
        while (i < *count && strcmp(shards[i], item->valuestring) != 0)
            i++;
        if (i == MAX_SHARDS)
            return fail(cx, DL_MODEL, "%s: weight_map names more than %d files", path, MAX_SHARDS);
        shards[i] = item->valuestring;
        *count = i == *count ? i + 1 : *count;
    }
    return DL_OK;
}

static int open_shard(dl_context *cx, struct store *s, const char *dir, const char *name) {
    char *path = path_join(dir, name);
    if (!path)
        return fail_memory(cx, name, strlen(dir) + strlen(name));
    int status = safetensors_open(cx, path, &s->files[s->file_count]);
    s->file_count += status == DL_OK;
    free(path);
    return status;
}

/* Opens every shard that the index names and checks that what it promises is there. */
static int open_shards(dl_context *cx, struct store *s, const char *dir, const cJSON *map,
                       const char *const *shards, size_t count) {
    const cJSON *item;
    for (size_t i = 0; i < count; i++)
        DL_TRY(open_shard(cx, s, dir, shards[i]));
    DL_TRY(gather(cx, s));
    cJSON_ArrayForEach(item, map) {
        if (!store_find(s, item->string))
            return fail(cx, DL_MODEL, "%s: tensor %s is not in %s", s->path, item->string,
                        item->valuestring);
    }
    return DL_OK;
}

static int open_index(dl_context *cx, const char *dir, const char *path, struct store **out) {
    cJSON *root;
    void *shards = NULL;
    size_t count = 0;
    struct store *s = NULL;
    DL_TRY(json_read(cx, path, INDEX_MAX_BYTES, &root));
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(root, "weight_map");
    int status = allocate(cx, path, MAX_SHARDS, sizeof(char *), &shards);
    if (status == DL_OK)
        status = list_shards(cx, path, map, shards, &count);
    if (status == DL_OK)
        status = store_new(cx, path, count, &s);
    if (status == DL_OK)
        status = open_shards(cx, s, dir, map, shards, count);
    free(shards);
    cJSON_Delete(root);
    if (status != DL_OK) {
        store_close(s);
        return status;
    }
    *out = s;
    return DL_OK;
}

/* ---- a component's folder ------------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* True, and the name in `file`, if weights of a format that is not read lie in the folder. */
static bool find_foreign(const char *dir, char *file, size_t size) {
    static const char *const ends[] = {".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5"};
    bool found = false;
    const struct dirent *entry;
    DIR *folder = opendir(dir);
    if (!folder)
        return false;
    while (!found && (entry = readdir(folder)) != NULL) {
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            found = found || ends_with(entry->d_name, ends[i]);
        if (found)
            snprintf(file, size, "%s", entry->d_name);
    }
    closedir(folder);
    return found;
}

bool store_foreign(const char *dir) {
    char file[256];
    return find_foreign(dir, file, sizeof file);
}

static int no_weights(dl_context *cx, const char *dir, const char *stem) {
    char file[256];
    if (!dir_exists(dir))
        return fail(cx, DL_MODEL, "%s: no such folder", dir);
    if (!find_foreign(dir, file, sizeof file))
        return fail(cx, DL_MODEL, "%s: no weights; expected %s.safetensors", dir, stem);
    return fail(cx, DL_MODEL,
                "%s: the weights are in %s, a format that is not read; convert the model once with "
                "python -c \"import diffusers; diffusers.DiffusionPipeline.from_pretrained('MODEL')"
                ".save_pretrained('NEW', safe_serialization=True)\" and open NEW",
                dir, file);
}

/* The file in the folder that is opened: STEM with the first of the endings that is there, freed by
 * the caller; NULL where none is. */
static int find_weights(dl_context *cx, const char *dir, const char *stem, char **path) {
    static const char *const endings[] = {".safetensors",
                                          ".safetensors.index.json",
                                          ".fp16.safetensors",
                                          ".safetensors.index.fp16.json",
                                          ".fp16.safetensors.index.json",
                                          ".bf16.safetensors",
                                          ".safetensors.index.bf16.json",
                                          ".bf16.safetensors.index.json"};
    *path = NULL;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s", stem, endings[i]);
        *path = path_join(dir, name);
        if (!*path)
            return fail_memory(cx, dir, strlen(dir) + sizeof name);
        if (file_exists(*path))
            return DL_OK;
        free(*path);
        *path = NULL;
    }
    return DL_OK;
}

int store_find_weights(dl_context *cx, const char *dir, const char *stem, bool *there) {
    char *path;
    DL_TRY(find_weights(cx, dir, stem, &path));
    *there = path != NULL;
    free(path);
    return DL_OK;
}

int store_open(dl_context *cx, const char *dir, const char *stem, struct store **out) {
    char *path;
    *out = NULL;
    DL_TRY(find_weights(cx, dir, stem, &path));
    if (!path)
        return no_weights(cx, dir, stem);
    int status = ends_with(path, ".json") ? open_index(cx, dir, path, out)
                                          : store_open_file(cx, path, out);
    free(path);
    return status;
}

void store_close(struct store *store) {
    if (!store)
        return;
    for (size_t i = 0; i < store->file_count; i++)
        safetensors_close(&store->files[i]);
    while (store->blocks) {
        union block *block = store->blocks;
        store->blocks = block->next;
        free(block);
    }
    free(store->files);
    free(store->tensors);
    free(store->path);
    free(store);
}

/* ---- asking -------------------------------------------------------------------------------- */

const struct tensor *store_find(const struct store *store, const char *name) {
    const struct tensor key = {.name = name};
    return bsearch(&key, store->tensors, store->count, sizeof key, by_name);
}

const struct tensor *store_scales(const struct store *store, const struct tensor *t) {
    char name[NAME_ROOM];
    if (t->dtype != DTYPE_I8 || t->ndim == 0)
        return NULL;
    const int length = snprintf(name, sizeof name, "%s%s", t->name, STORE_SCALES);
    return length < (int)sizeof name ? store_find(store, name) : NULL;
}

bool store_is_scales(const struct store *store, const struct tensor *t) {
    char name[NAME_ROOM];
    const size_t length = strlen(t->name);
    if (!ends_with(t->name, STORE_SCALES) || length >= sizeof name)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(length - strlen(STORE_SCALES)), t->name);
    const struct tensor *of = store_find(store, name);
    return of && store_scales(store, of) == t;
}

size_t store_count(const struct store *store) {
    return store->count;
}

const struct tensor *store_at(const struct store *store, size_t index) {
    return &store->tensors[index];
}

const char *store_metadata(const struct store *store, const char *key) {
    const cJSON *metadata = store->files[0].metadata;
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, key));
}

const char *store_path(const struct store *store) {
    return store->path;
}

size_t store_bytes(const struct store *store) {
    size_t bytes = 0;
    for (size_t i = 0; i < store->file_count; i++)
        bytes += store->files[i].map.size;
    return bytes;
}

static void advise(const struct store *store, enum pages_advice advice) {
    for (size_t i = 0; i < store->file_count; i++) {
        const struct mapping *map = &store->files[i].map;
        pages_advise(map, map->data, map->size, advice);
    }
}

void store_drop_pages(const struct store *store) {
    advise(store, PAGES_GIVE_BACK);
}

void store_read_scattered(const struct store *store) {
    advise(store, PAGES_SCATTERED);
}

void store_read_whole(const struct store *store) {
    advise(store, PAGES_USUAL);
}

/* Advises on a tensor that lies in a mapping. One that was copied does not: its memory is not the
 * file's to be read again. */
static void advise_tensor(const struct store *store, const struct tensor *t,
                          enum pages_advice advice) {
    const uintptr_t data = (uintptr_t)t->data;
    for (size_t i = 0; i < store->file_count; i++) {
        const struct mapping *map = &store->files[i].map;
        if (data >= (uintptr_t)map->data && data < (uintptr_t)map->data + map->size)
            pages_advise(map, t->data, tensor_count(t) * dtype_size(t->dtype), advice);
    }
}

void store_drop_tensor(const struct store *store, const struct tensor *t) {
    advise_tensor(store, t, PAGES_GIVE_BACK);
}

void store_fetch_tensor(const struct store *store, const struct tensor *t) {
    advise_tensor(store, t, PAGES_READ_AHEAD);
}

int store_allow_giving_back(dl_context *cx, const struct store *store) {
    for (size_t i = 0; i < store->file_count; i++)
        DL_TRY(pages_add_file(cx, &store->files[i].map));
    return DL_OK;
}

void *store_allocate(struct store *store, size_t bytes) {
    size_t size;
    union block *block = size_add(bytes, sizeof *block, &size) ? malloc(size) : NULL;
    if (!block)
        return NULL;
    block->next = store->blocks;
    store->blocks = block;
    return block + 1;
}
