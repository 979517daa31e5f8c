/* The identity of a model: a hash over its small files and samples of its weights. See identity.h. */
#include "family/identity.h"

#include "base/file.h"
#include "base/hash.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

/* ---- weights --------------------------------------------------------------------------------- */

static uint64_t hash_tensor(uint64_t h, const struct tensor *t) {
    enum { SAMPLES = 4, BYTES = 64 };
    const size_t bytes = tensor_count(t) * dtype_size(t->dtype);
    const size_t n = bytes < BYTES ? bytes : BYTES;
    h = hash(h, t->name, strlen(t->name) + 1);
    h = hash_number(h, t->dtype);
    for (size_t d = 0; d < t->ndim; d++)
        h = hash_number(h, t->shape[d]);
    if (bytes <= SAMPLES * BYTES)
        return hash(h, t->data, bytes);
    for (size_t i = 0; i < SAMPLES; i++)
        h = hash(h, (const unsigned char *)t->data + (bytes - n) / (SAMPLES - 1) * i, n);
    return h;
}

static uint64_t hash_weights(uint64_t h, const struct store *store) {
    store_read_scattered(store);
    for (size_t i = 0; i < store_count(store); i++)
        h = hash_tensor(h, store_at(store, i));
    store_read_whole(store);
    store_drop_pages(store);
    return h;
}

/* ---- small files ----------------------------------------------------------------------------- */

static const char *const small_files[] = {"config.json",
                                          "scheduler_config.json",
                                          "tokenizer_config.json",
                                          "special_tokens_map.json",
                                          "added_tokens.json",
                                          "vocab.json",
                                          "merges.txt",
                                          "spiece.model"};

static int hash_file(dl_context *cx, const char *dir, const char *name, uint64_t *h) {
    enum { BYTES_MAX = 64 << 20 };
    char *path = path_join(dir, name), *text = NULL;
    size_t size;
    int status = path ? DL_OK : fail_memory(cx, name, 0);
    if (path && file_exists(path))
        status = file_read(cx, DL_MODEL, path, BYTES_MAX, &text, &size);
    if (text)
        *h = hash(hash(*h, name, strlen(name) + 1), text, size);
    free(text);
    free(path);
    return status;
}

/* Those of a component: "unet" in the model's folder, "stage2/unet" in that of a cascade's stage.
 */
static int hash_files(dl_context *cx, const dl_model *model, const char *component, uint64_t *h) {
    const char *slash = strchr(component, '/');
    const size_t stage = slash ? (size_t)(slash[-1] - '1') : 0;
    const char *folder =
        slash && stage < model->stage_count ? model->stages[stage].path : model->path;
    char *dir = path_join(folder, slash ? slash + 1 : component);
    int status = dir ? DL_OK : fail_memory(cx, component, 0);
    for (size_t i = 0; i < sizeof small_files / sizeof *small_files && status == DL_OK; i++)
        status = hash_file(cx, dir, small_files[i], h);
    free(dir);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool is_among(const char *name, const char *const *names) {
    for (; names && *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return !names;
}

int model_identity(dl_context *cx, const dl_model *model, const char *const *components,
                   uint64_t *out) {
    uint64_t h = HASH_START;
    for (size_t i = 0; i < model->component_count; i++) {
        const struct component *c = &model->components[i];
        if (!is_among(c->name, components))
            continue;
        h = hash(h, c->name, strlen(c->name) + 1);
        if (c->store)
            h = hash_weights(h, c->store);
        DL_TRY(hash_files(cx, model, c->name, &h));
    }
    *out = h;
    return DL_OK;
}
