/* Baselines; see controls.h. */
#include "lens/controls.h"

#include "base/file.h"
#include "base/rng.h"
#include "lens/words.h"
#include "store/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONTROL_SEED = 0, CONFIG_BYTES_MAX = 1 << 20 };

static const char *const names[CONTROL_COUNT] = {[DL_CONTROL_NONE] = "none",
                                                 [DL_CONTROL_SHUFFLED] = "shuffled",
                                                 [DL_CONTROL_PADDING] = "padding",
                                                 [DL_CONTROL_RANDOM] = "random"};

const char *control_name(enum dl_control control) {
    return names[control];
}

int control_find(const char *name) {
    int i = 0;
    while (i < CONTROL_COUNT && !(name && strcmp(names[i], name) == 0))
        i++;
    return i;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* ids (n) in a random order (Fisher and Yates); another than before, unless all are equal. */
static void shuffle(int32_t *ids, size_t n, int32_t *before) {
    enum { TRIES = 100 };
    struct rng rng;
    rng_seed(&rng, CONTROL_SEED);
    memcpy(before, ids, n * sizeof *ids);
    for (int i = 0; i < TRIES && memcmp(before, ids, n * sizeof *ids) == 0; i++)
        for (size_t last = n; last > 1; last--) {
            const size_t other = rng_below(&rng, (uint32_t)last);
            const int32_t id = ids[last - 1];
            ids[last - 1] = ids[other];
            ids[other] = id;
        }
}

static int shuffle_prompt(dl_context *cx, const dl_model *model, const struct tokens *tokens,
                          int32_t *ids) {
    struct words words;
    int32_t *before = NULL;
    int status = words_find(cx, tokens, model->tokens, &words);
    if (status == DL_OK)
        status = allocate(cx, "token ids", words.tokens, sizeof *before, (void **)&before);
    if (status == DL_OK) {
        const size_t first = words.has_start ? 1 : 0, end = words.tokens - words.has_end;
        shuffle(ids + first, end - first, before);
    }
    free(before);
    words_free(&words);
    return status;
}

int control_tokens(dl_context *cx, const dl_model *model, enum dl_control control,
                   const struct tokens *tokens, int32_t *ids, unsigned char *mask) {
    if (control == DL_CONTROL_SHUFFLED)
        return shuffle_prompt(cx, model, tokens, ids);
    if (control != DL_CONTROL_PADDING)
        return DL_OK;
    struct tokens empty = {0};
    DL_TRY(model_tokenize(cx, model, "", 0, &empty));
    tokenizer_pad(model->tokenizer, &empty, ids, model->tokens);
    memset(mask, 0, model->tokens);
    memset(mask, 1, empty.count);
    tokens_free(&empty);
    return DL_OK;
}

/* ---- a random encoder ------------------------------------------------------------------------ */

/* to (n) = normal values with the mean and the standard deviation of `from`, drawn into `to`. */
static void draw_like(struct rng *rng, const struct tensor *from, float *to) {
    const size_t n = tensor_count(from);
    double sum = 0, squares = 0;
    tensor_widen(to, from);
    for (size_t i = 0; i < n; i++)
        sum += (double)to[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)to[i] - mean) * ((double)to[i] - mean);
    const double deviation = sqrt(squares / (double)n);
    rng_normal(rng, to, n);
    for (size_t i = 0; i < n; i++)
        to[i] = (float)(mean + deviation * (double)to[i]);
}

/* Weights, whatever they are kept as. */
static bool is_weights(const struct tensor *t) {
    return dtype_is_float(t->dtype) || (t->dtype == DTYPE_I8 && t->scales);
}

/* DIR/model.safetensors with random values in the place of `store`'s weights, in f32. */
static int write_random(dl_context *cx, const struct store *store, const char *dir) {
    const size_t count = store_count(store);
    struct tensor *tensors = NULL;
    float *values = NULL;
    size_t total = 0, at = 0, written = 0;
    struct rng rng;
    char *path = path_join(dir, "model.safetensors");
    for (size_t i = 0; i < count; i++)
        total += is_weights(store_at(store, i)) ? tensor_count(store_at(store, i)) : 0;
    int status = path ? DL_OK : fail_memory(cx, "random encoder", 0);
    if (status == DL_OK && total > machine_memory() / 2 / sizeof *values)
        status = fail(
            cx, DL_FAILED,
            "--control random: this text encoder's %zu weights do not fit into the memory", total);
    if (status == DL_OK)
        status = allocate(cx, "random encoder", total, sizeof *values, (void **)&values);
    if (status == DL_OK)
        status = allocate(cx, "random encoder", count, sizeof *tensors, (void **)&tensors);
    rng_seed(&rng, CONTROL_SEED);
    for (size_t i = 0; i < count && status == DL_OK; i++) {
        if (store_is_scales(store, store_at(store, i)))
            continue;
        struct tensor *t = &tensors[written++];
        *t = *store_at(store, i);
        if (!is_weights(t) || !tensor_count(t))
            continue;
        draw_like(&rng, t, values + at);
        t->dtype = DTYPE_F32;
        t->data = values + at;
        at += tensor_count(t);
    }
    if (status == DL_OK)
        status = store_write(cx, path, tensors, written, NULL);
    free(tensors);
    free(values);
    free(path);
    return status;
}

/* DIR/config.json as the model's encoder has it. */
static int copy_config(dl_context *cx, const dl_model *model, const char *dir) {
    char *folder = path_join(model->path, "text_encoder"), *text = NULL;
    char *from = folder ? path_join(folder, "config.json") : NULL;
    char *to = path_join(dir, "config.json");
    size_t size = 0;
    int status = from && to ? file_read(cx, DL_MODEL, from, CONFIG_BYTES_MAX, &text, &size)
                            : fail_memory(cx, "random encoder", 0);
    if (status == DL_OK)
        status = file_write(cx, to, text, size);
    free(folder);
    free(from);
    free(to);
    free(text);
    return status;
}

static void remove_from(const char *dir, const char *name) {
    char *path = path_join(dir, name);
    if (path)
        unlink(path);
    free(path);
}

static int open_random(dl_context *cx, const dl_model *model, struct text_encoder **out) {
    const char *tmp = getenv("TMPDIR");
    char *dir = path_join(tmp && tmp[0] ? tmp : "/tmp", "dlens-XXXXXX");
    if (!dir)
        return fail_memory(cx, "random encoder", 0);
    if (!mkdtemp(dir)) {
        int status = fail(cx, DL_FAILED, "%s: cannot make a folder for the random encoder", dir);
        free(dir);
        return status;
    }
    int status = copy_config(cx, model, dir);
    if (status == DL_OK)
        status = write_random(cx, text_encoder_store(model->encoder), dir);
    if (status == DL_OK)
        status = text_encoder_open(cx, dir, model->encoder->class_name, out);
    remove_from(dir, "config.json"); /* what is mapped stays */
    remove_from(dir, "model.safetensors");
    rmdir(dir);
    free(dir);
    return status;
}

int control_open(dl_context *cx, const dl_model *model, enum dl_control control,
                 struct control_model *out) {
    memset(out, 0, sizeof *out);
    out->model = model;
    if (control != DL_CONTROL_RANDOM)
        return DL_OK;
    out->copy = *model;
    out->copy.encoder = NULL;
    out->model = &out->copy;
    return open_random(cx, model, &out->copy.encoder);
}

void control_close(struct control_model *control) {
    if (control->model == &control->copy)
        text_encoder_close(control->copy.encoder);
    memset(control, 0, sizeof *control);
}
