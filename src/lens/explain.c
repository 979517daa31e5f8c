/* Other ways of looking: the files; see explain.h. */
#include "lens/explain.h"

#include "base/file.h"
#include "store/store.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ----------------------------------------------------------------------------------- */

/* The first `length` bytes of a text and an ending. */
static char *with_ending(const char *text, size_t length, const char *ending) {
    char *name = malloc(length + strlen(ending) + 1);
    if (!name)
        return NULL;
    memcpy(name, text, length);
    strcpy(name + length, ending);
    return name;
}

char *explain_heat_file(const char *picture) {
    const size_t length = strlen(picture), ending = strlen(".png");
    return with_ending(picture, length > ending ? length - ending : length, ".heat.safetensors");
}

char *explain_prompt_file(const char *picture) {
    return with_ending(picture, strcspn(picture, "/"), "/explain.safetensors");
}

/* FOLDER/NAME, freeing the name; NULL when memory is short. */
static char *inside(const char *folder, char *name) {
    char *path = name ? path_join(folder, name) : NULL;
    free(name);
    return path;
}

static bool is_there(const char *folder, char *name) {
    char *path = inside(folder, name);
    const bool there = path && file_exists(path);
    free(path);
    return there;
}

/* ---- begin and end --------------------------------------------------------------------------- */

void explainer_begin(dl_context *cx, const dl_model *model, struct grid *grid, const char *folder,
                     struct explainer *out) {
    *out = (struct explainer){.cx = cx, .model = model, .grid = grid, .folder = folder};
    out->tap = (struct attention_tap){heat_take, &out->heat, 0};
    for (size_t i = 0; i < grid_count(grid); i++) {
        struct cell *cell = &grid->cells[i];
        const bool first = i % (grid->seed_count * grid->layer_count) == 0;
        if (!is_there(folder, explain_heat_file(cell->file)) ||
            (first && !is_there(folder, explain_prompt_file(cell->file))))
            cell->made = false;
    }
}

void explainer_end(struct explainer *explainer) {
    words_free(&explainer->words);
    heat_free(&explainer->heat);
}

/* ---- writing --------------------------------------------------------------------------------- */

static cJSON *strings(char *const *texts, size_t count) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; list && i < count; i++)
        if (!cJSON_AddItemToArray(list, json_text(texts[i]))) {
            cJSON_Delete(list);
            return NULL;
        }
    return list;
}

/* The text of a list, which is deleted; NULL when memory is short. */
static char *print_list(cJSON *list) {
    char *text = list ? cJSON_PrintUnformatted(list) : NULL;
    cJSON_Delete(list);
    return text;
}

/* FOLDER/NAME (freed) with these tensors. */
static int write_file(struct explainer *e, char *name, const struct tensor *tensors, size_t count,
                      const char *const *metadata) {
    char *path = inside(e->folder, name);
    int status = path ? dir_make_above(e->cx, path) : fail_memory(e->cx, "explain", 0);
    if (status == DL_OK)
        status = store_write(e->cx, path, tensors, count, metadata);
    free(path);
    return status;
}

/* The nearest pieces as text: [layer][token][piece]. */
static cJSON *nearest_json(const struct explainer *e, const struct reading *r) {
    cJSON *layers = cJSON_CreateArray();
    for (size_t l = 0; l <= r->layers; l++) {
        cJSON *tokens = cJSON_CreateArray();
        for (size_t t = 0; t < r->tokens; t++) {
            const char *pieces[READING_PIECES];
            for (size_t i = 0; i < r->pieces; i++) {
                const int64_t id = r->nearest[(l * r->tokens + t) * r->pieces + i];
                const char *piece =
                    id < 0 ? NULL : tokenizer_piece(e->model->tokenizer, (int32_t)id);
                pieces[i] = piece ? piece : "";
            }
            cJSON_AddItemToArray(tokens, strings((char *const *)(uintptr_t)pieces, r->pieces));
        }
        cJSON_AddItemToArray(layers, tokens);
    }
    return layers;
}

static int write_reading(struct explainer *e, const struct tokens *tokens,
                         const struct reading *r) {
    enum { OTHERS = 4 };
    const size_t L = r->layers, n = r->tokens, S = L + 1;
    const char *file = grid_at(e->grid, e->prompt, 0, 0)->file;
    struct tensor *tensors = NULL;
    char(*names)[32] = NULL;
    char *pieces = print_list(strings(tokens->pieces, n));
    char *nearest = print_list(nearest_json(e, r));
    int status = pieces && nearest ? DL_OK : fail_memory(e->cx, "explain", 0);
    if (status == DL_OK)
        status = allocate(e->cx, "explain", L + OTHERS, sizeof *tensors, (void **)&tensors);
    if (status == DL_OK)
        status = allocate(e->cx, "explain", L, sizeof *names, (void **)&names);
    if (status == DL_OK) {
        const char *const metadata[] = {
            "dlens",   DLENS_VERSION, "prompt", e->grid->prompts[e->prompt], "tokens", pieces,
            "nearest", nearest,       NULL};
        for (size_t b = 0; b < L; b++) {
            snprintf(names[b], sizeof names[b], "attention.%zu", b + 1);
            tensors[b] = (struct tensor){
                names[b], DTYPE_F32, 3, {r->heads, n, n}, r->attention + b * r->heads * n * n,
                NULL};
        }
        tensors[L] =
            (struct tensor){"nearest.ids", DTYPE_I64, 3, {S, n, r->pieces}, r->nearest, NULL};
        tensors[L + 1] = (struct tensor){"nearest.cosine",  DTYPE_F32,         3,
                                         {S, n, r->pieces}, r->nearest_cosine, NULL};
        tensors[L + 2] = (struct tensor){"cosine", DTYPE_F32, 2, {S, S}, r->cosine, NULL};
        tensors[L + 3] = (struct tensor){"cka", DTYPE_F32, 2, {S, S}, r->cka, NULL};
        status = write_file(e, explain_prompt_file(file), tensors, L + OTHERS, metadata);
    }
    free(tensors);
    free(names);
    cJSON_free(pieces);
    cJSON_free(nearest);
    return status;
}

int explain_prompt(struct explainer *e, size_t prompt, const struct encoding *encoding) {
    const char *text = e->grid->prompts[prompt];
    struct tokens tokens = {0};
    struct reading reading = {0};
    words_free(&e->words);
    e->prompt = prompt;
    DL_TRY(model_tokenize(e->cx, e->model, text, strlen(text), &tokens));
    int status = words_find(e->cx, &tokens, encoding->tokens, &e->words);
    if (status == DL_OK)
        status =
            reading_make(e->cx, e->model, e->grid->settings, encoding, e->words.tokens, &reading);
    if (status == DL_OK)
        status = write_reading(e, &tokens, &reading);
    reading_free(&reading);
    tokens_free(&tokens);
    return status;
}

const struct attention_tap *explain_picture_begin(struct explainer *e) {
    heat_free(&e->heat);
    heat_begin(&e->heat, &e->words);
    return &e->tap;
}

int explain_picture(struct explainer *e, uint64_t seed, int layer) {
    const struct settings *s = e->grid->settings;
    const size_t scale = e->model->noise_scale, G = e->words.groups;
    const size_t h = s->height / scale, w = s->width / scale;
    const struct cell *cell = grid_find(e->grid, e->prompt, seed, layer);
    float *map = NULL;
    int64_t *counts = NULL;
    char *words = print_list(strings(e->words.names, e->words.count));
    char *special = print_list(strings(e->words.names + e->words.count, G - e->words.count));
    int status = words && special
                     ? allocate(e->cx, "heat maps", G * h * w, sizeof *map, (void **)&map)
                     : fail_memory(e->cx, "heat maps", 0);
    if (status == DL_OK)
        status = allocate(e->cx, "heat maps", G, sizeof *counts, (void **)&counts);
    for (size_t g = 0; g < G && status == DL_OK; g++)
        counts[g] = (int64_t)e->words.sizes[g];
    if (status == DL_OK)
        status = heat_finish(e->cx, &e->heat, map, h, w);
    if (status == DL_OK) {
        const struct tensor tensors[] = {{"heat", DTYPE_F32, 3, {G, h, w}, map, NULL},
                                         {"tokens", DTYPE_I64, 1, {G}, counts, NULL}};
        const char *const metadata[] = {
            "dlens",   DLENS_VERSION, "prompt", e->grid->prompts[e->prompt], "words", words,
            "special", special,       NULL};
        status = write_file(e, explain_heat_file(cell->file), tensors, 2, metadata);
    }
    free(map);
    free(counts);
    cJSON_free(words);
    cJSON_free(special);
    return status;
}
