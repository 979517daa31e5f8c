/* Encodings on the disk. See cache.h. */
#include "lens/cache.h"

#include "base/file.h"
#include "base/hash.h"
#include "family/identity.h"
#include "kernels/kernels.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys ------------------------------------------------------------------------------------ */

int cache_open(dl_context *cx, const dl_model *model, const char *dir, struct cache *out) {
    static const char *const encoder[] = {"text_encoder", NULL};
    *out = (struct cache){.dir = dir};
    if (!dir)
        return DL_OK;
    if (!dir[0])
        return fail(cx, DL_USAGE, "--cache: the folder has no name");
    DL_TRY(model_identity(cx, model, encoder, &out->encoder));
    /* other kernels, other bits */
    out->encoder = hash(out->encoder, cx->kernels->name, strlen(cx->kernels->name));
    if (cx->fast)
        out->encoder = hash(out->encoder, cx->fast->by, strlen(cx->fast->by));
    return dir_make(cx, dir);
}

/* The file of an encoding, in fresh memory; NULL when memory is short. */
static char *key_path(const struct cache *cache, const dl_model *model,
                      const struct cache_key *key) {
    const size_t T = model->tokens, L = model->encoder->layers;
    uint64_t h = hash_number(cache->encoder, T);
    char name[48];
    h = hash(h, key->ids, T * sizeof *key->ids);
    for (size_t t = 0; t < T; t++)
        h = hash_number(h, key->mask ? key->mask[t] : 1);
    for (size_t k = 0; k < L; k++)
        h = hash_number(h, key->skip ? key->skip[k] : 0);
    snprintf(name, sizeof name, "%016" PRIx64 ".safetensors", h);
    return path_join(cache->dir, name);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool same_ids(const struct store *store, const int32_t *ids, size_t T) {
    const struct tensor *t = store_find(store, "ids");
    if (!t || t->dtype != DTYPE_I64 || tensor_count(t) != T)
        return false;
    for (size_t i = 0; i < T; i++) {
        int64_t id; /* a file made by others may not be aligned */
        memcpy(&id, (const char *)t->data + i * sizeof id, sizeof id);
        if (id != ids[i])
            return false;
    }
    return true;
}

static bool read_states(const struct store *store, const dl_model *model, float *hidden,
                        size_t stride) {
    const size_t values = model->tokens * model->encoder->hidden_size;
    for (size_t k = 0; k <= model->encoder->layers; k++) {
        char name[32];
        snprintf(name, sizeof name, "hidden.%zu", k);
        const struct tensor *t = store_find(store, name);
        if (!t || t->dtype != DTYPE_F32 || tensor_count(t) != values)
            return false;
        memcpy(hidden + k * stride, t->data, values * sizeof *hidden);
    }
    return true;
}

bool cache_read(dl_context *cx, const struct cache *cache, const dl_model *model,
                const struct cache_key *key, float *hidden, size_t stride) {
    struct store *store = NULL;
    char *path = cache->dir ? key_path(cache, model, key) : NULL;
    bool found = path && file_exists(path);
    if (found && store_open_file(cx, path, &store) != DL_OK)
        found = false;
    if (found)
        found =
            same_ids(store, key->ids, model->tokens) && read_states(store, model, hidden, stride);
    if (!found && path && file_exists(path))
        tell(cx, DL_LOG_WARNING, "%s: is no such encoding; it is made anew", path);
    store_close(store);
    free(path);
    return found;
}

/* ---- writing --------------------------------------------------------------------------------- */

int cache_write(dl_context *cx, const struct cache *cache, const dl_model *model,
                const struct cache_key *key, const char *prompt, const float *hidden,
                size_t stride) {
    const size_t states = model->encoder->layers + 1, T = model->tokens;
    const char *const metadata[] = {"prompt", prompt, "family", model->family->name, NULL};
    struct tensor *tensors = NULL;
    char(*names)[32] = NULL;
    int64_t *ids = NULL;
    if (!cache->dir)
        return DL_OK;
    char *path = key_path(cache, model, key);
    int status = path ? allocate(cx, "tensors", states + 1, sizeof *tensors, (void **)&tensors)
                      : fail_memory(cx, "cache", 0);
    if (status == DL_OK)
        status = allocate(cx, "tensors", states, sizeof *names, (void **)&names);
    if (status == DL_OK)
        status = allocate(cx, "token ids", T, sizeof *ids, (void **)&ids);
    for (size_t k = 0; k < states && status == DL_OK; k++) {
        snprintf(names[k], sizeof names[k], "hidden.%zu", k);
        tensors[k] = (struct tensor){
            names[k], DTYPE_F32, 3, {1, T, model->encoder->hidden_size}, hidden + k * stride, NULL};
    }
    if (status == DL_OK) {
        for (size_t i = 0; i < T; i++)
            ids[i] = key->ids[i];
        tensors[states] = (struct tensor){"ids", DTYPE_I64, 2, {1, T}, ids, NULL};
        status = store_write(cx, path, tensors, states + 1, metadata);
    }
    free(path);
    free(tensors);
    free(names);
    free(ids);
    return status;
}
