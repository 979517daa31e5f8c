/* What the report shows of `lens --explain`; see looks.h. */
#include "lens/looks.h"

#include "base/file.h"
#include "lens/explain.h"
#include "store/store.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All maps of a page together take about so many bytes: see html.c on the size of its pictures. */
enum { HEAT_BYTES = 4 << 20, HEAT_LEAST = 24, HEAT_MOST = 112 };

/* One prompt's. */
struct look {
    struct report_look view;
    struct store *readings;  /* what view points into */
    cJSON *tokens, *nearest; /* the same */
    cJSON *names, *special;  /* of groups */
    const char **texts;      /* (n + (L+1) n k) of the first two */
    float *attention;        /* (L,h,n,n) */
    const char **words;      /* (G) */
    struct image *heat;      /* (W,l) */
    double *shares;          /* (G,l) */
};

struct looks {
    size_t count;       /* prompts */
    struct look *items; /* (count) */
};

/* Opens FOLDER/NAME (freed) if it is a safetensors file; NULL otherwise. */
static struct store *open_file(dl_context *cx, const char *folder, char *name) {
    char *path = name ? path_join(folder, name) : NULL;
    struct store *store = NULL;
    if (path && file_exists(path) && store_open_file(cx, path, &store) != DL_OK)
        tell(cx, DL_LOG_WARNING, "%s; the report leaves it out", cx->message);
    free(path);
    free(name);
    return store;
}

/* Tensor `name` of this type and shape (0: any side); NULL if it is not there or not aligned. */
static const struct tensor *find(const struct store *store, const char *name, enum dtype dtype,
                                 size_t ndim, const size_t *shape) {
    const struct tensor *t = store_find(store, name);
    if (!t || t->dtype != dtype || t->ndim != ndim || !tensor_is_aligned(t))
        return NULL;
    for (size_t i = 0; i < ndim; i++)
        if (!t->shape[i] || (shape[i] && t->shape[i] != shape[i]))
            return NULL;
    return t;
}

/* The strings of a list, nested or not, one after another; false unless they are `count`. */
static bool take_strings(const cJSON *list, size_t count, const char **out, size_t *taken) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (cJSON_IsArray(item)) {
            if (!take_strings(item, count, out, taken))
                return false;
        } else if (!cJSON_IsString(item) || *taken == count) {
            return false;
        } else {
            out[(*taken)++] = item->valuestring;
        }
    }
    return true;
}

static cJSON *parse(const struct store *store, const char *key) {
    const char *text = store_metadata(store, key);
    return text ? cJSON_Parse(text) : NULL;
}

/* ---- readings of the encoder ----------------------------------------------------------------- */

/* Pieces as text. True if all are there. */
static int take_texts(dl_context *cx, struct look *look, bool *there) {
    const size_t n = look->view.tokens, all = (look->view.blocks + 1) * n * look->view.pieces;
    size_t tokens = 0, nearest = 0;
    look->tokens = parse(look->readings, "tokens");
    look->nearest = parse(look->readings, "nearest");
    DL_TRY(allocate(cx, "report", n + all, sizeof *look->texts, (void **)&look->texts));
    *there = take_strings(look->tokens, n, look->texts, &tokens) && tokens == n &&
             take_strings(look->nearest, all, look->texts + n, &nearest) && nearest == all;
    look->view.tokens_text = look->texts;
    look->view.nearest = *there ? look->texts + n : NULL;
    return DL_OK;
}

static int take_attention(dl_context *cx, struct look *look) {
    const size_t n = look->view.tokens, L = look->view.blocks;
    size_t shape[3] = {0, n, n};
    for (size_t b = 0; b < L; b++) {
        char name[32];
        snprintf(name, sizeof name, "attention.%zu", b + 1);
        const struct tensor *t = find(look->readings, name, DTYPE_F32, 3, shape);
        if (!t)
            return DL_OK;
        if (!look->attention) {
            const size_t strip = t->shape[0] * (n + 1); /* pixels of all heads side by side */
            if (tensor_count(t) > store_bytes(look->readings) / L || strip > IMAGE_SIDE_MAX)
                return DL_OK;
            shape[0] = look->view.heads = t->shape[0];
            DL_TRY(allocate(cx, "report", L * tensor_count(t), sizeof *look->attention,
                            (void **)&look->attention));
        }
        memcpy(look->attention + b * tensor_count(t), t->data, tensor_count(t) * sizeof(float));
    }
    look->view.attention = look->attention;
    return DL_OK;
}

static int read_readings(dl_context *cx, const struct grid *grid, const char *folder, size_t prompt,
                         struct look *look) {
    const size_t any[3] = {0};
    struct report_look *v = &look->view;
    bool there = false;
    look->readings = open_file(cx, folder, explain_prompt_file(grid_at(grid, prompt, 0, 0)->file));
    const struct tensor *near =
        look->readings ? find(look->readings, "nearest.cosine", DTYPE_F32, 3, any) : NULL;
    if (!near)
        return DL_OK;
    v->blocks = near->shape[0] - 1;
    v->tokens = near->shape[1];
    v->pieces = near->shape[2];
    v->nearest_cosine = near->data;
    const size_t square[2] = {v->blocks + 1, v->blocks + 1};
    const struct tensor *cosine = find(look->readings, "cosine", DTYPE_F32, 2, square);
    const struct tensor *cka = find(look->readings, "cka", DTYPE_F32, 2, square);
    v->cosine = cosine && cka ? cosine->data : NULL;
    v->cka = cka ? cka->data : NULL;
    DL_TRY(take_texts(cx, look, &there));
    return take_attention(cx, look);
}

/* ---- heat maps ------------------------------------------------------------------------------- */

/* The picture in grey with the map (h,w) over it in colour, as bright as its own largest value
 * allows. */
static int lay_over(dl_context *cx, const struct image *picture, const float *map, size_t h,
                    size_t w, int side, struct image *out) {
    struct image colours = {0}, wide = {0};
    float most = 0;
    for (size_t i = 0; i < h * w; i++)
        most = map[i] > most ? map[i] : most;
    int status = image_thumbnail(cx, picture->rgb, picture->width, picture->height, side, out);
    if (status == DL_OK)
        status = image_make(cx, (int)w, (int)h, &colours);
    for (size_t i = 0; i < h * w && status == DL_OK; i++)
        look_colour(most > 0 ? (double)(map[i] / most) : 0, colours.rgb + 3 * i);
    if (status == DL_OK)
        status = image_resize(cx, colours.rgb, (int)w, (int)h, out->width, out->height, &wide);
    for (size_t i = 0; status == DL_OK && i < (size_t)out->width * (size_t)out->height; i++) {
        uint8_t *p = out->rgb + 3 * i;
        const double grey = (p[0] + p[1] + p[2]) / 3.0;
        for (int c = 0; c < 3; c++)
            p[c] = (uint8_t)(0.4 * grey + 0.6 * wide.rgb[3 * i + (size_t)c]);
    }
    image_free(&colours);
    image_free(&wide);
    return status;
}

/* Names of the groups, words and then special ones, from the first file that has them. */
static int take_names(dl_context *cx, const struct grid *grid, const struct store *store,
                      struct look *look) {
    const size_t l = grid->layer_count;
    size_t taken = 0;
    if (look->names)
        return DL_OK;
    look->names = parse(store, "words");
    look->special = parse(store, "special");
    const size_t W = (size_t)cJSON_GetArraySize(look->names);
    const size_t G = W + (size_t)cJSON_GetArraySize(look->special);
    if (!G || G > IMAGE_SIDE_MAX)
        return DL_OK;
    DL_TRY(allocate(cx, "report", G, sizeof *look->words, (void **)&look->words));
    DL_TRY(allocate(cx, "report", G * l, sizeof *look->shares, (void **)&look->shares));
    DL_TRY(allocate(cx, "report", G * l, sizeof *look->heat, (void **)&look->heat));
    for (size_t i = 0; i < G * l; i++)
        look->shares[i] = NAN;
    if (!take_strings(look->names, G, look->words, &taken) || taken != W ||
        !take_strings(look->special, G, look->words, &taken) || taken != G)
        return DL_OK;
    look->view.groups = G;
    look->view.words = W;
    look->view.names = look->words;
    look->view.heat = look->heat;
    look->view.shares = look->shares;
    return DL_OK;
}

/* The maps of layer i. */
static int take_maps(dl_context *cx, const struct grid *grid, const struct store *store,
                     const struct image *picture, int side, size_t i, struct look *look) {
    const size_t G = look->view.groups, l = grid->layer_count, any[3] = {G, 0, 0};
    const struct tensor *heat = find(store, "heat", DTYPE_F32, 3, any);
    const struct tensor *tokens = find(store, "tokens", DTYPE_I64, 1, &G);
    if (!G || !heat || !tokens || !picture->rgb || heat->shape[1] > IMAGE_SIDE_MAX ||
        heat->shape[2] > IMAGE_SIDE_MAX)
        return DL_OK;
    const size_t h = heat->shape[1], w = heat->shape[2];
    for (size_t g = 0; g < G; g++) {
        const float *map = (const float *)heat->data + g * h * w;
        double sum = 0;
        for (size_t p = 0; p < h * w; p++)
            sum += (double)map[p];
        look->shares[g * l + i] =
            sum / (double)(h * w) * (double)((const int64_t *)tokens->data)[g];
        if (g < look->view.words)
            DL_TRY(lay_over(cx, picture, map, h, w, side, &look->heat[g * l + i]));
    }
    return DL_OK;
}

/* Of the first seed. */
static int read_heat(dl_context *cx, const struct grid *grid, const char *folder, size_t prompt,
                     const struct image *thumbnails, int side, struct look *look) {
    int status = DL_OK;
    for (size_t i = 0; i < grid->layer_count && status == DL_OK; i++) {
        const struct cell *cell = grid_at(grid, prompt, 0, i);
        struct store *store = open_file(cx, folder, explain_heat_file(cell->file));
        if (!store)
            continue;
        status = take_names(cx, grid, store, look);
        if (status == DL_OK)
            status = take_maps(cx, grid, store, &thumbnails[cell - grid->cells], side, i, look);
        store_close(store);
    }
    return status;
}

/* ---- all prompts ----------------------------------------------------------------------------- */

static void look_free(struct look *look) {
    for (size_t i = 0; look->heat && i < look->view.groups * look->view.layer_count; i++)
        image_free(&look->heat[i]);
    store_close(look->readings);
    cJSON_Delete(look->tokens);
    cJSON_Delete(look->nearest);
    cJSON_Delete(look->names);
    cJSON_Delete(look->special);
    free(look->texts);
    free(look->attention);
    free(look->words);
    free(look->heat);
    free(look->shares);
}

void looks_free(struct looks *looks) {
    for (size_t i = 0; looks && looks->items && i < looks->count; i++)
        look_free(&looks->items[i]);
    if (looks)
        free(looks->items);
    free(looks);
}

/* The longer side that keeps the page small: about 4 e^2 bytes for each of N maps, of ten words or
 * so. */
static int heat_side(const struct grid *grid) {
    const double maps = 10.0 * (double)(grid->prompt_count * grid->layer_count);
    const double side = sqrt(HEAT_BYTES / 4.0 / maps);
    return side < HEAT_LEAST ? HEAT_LEAST : side > HEAT_MOST ? HEAT_MOST : (int)side;
}

int looks_read(dl_context *cx, const struct grid *grid, const char *folder,
               const struct image *thumbnails, const int *layers, struct looks **out) {
    struct looks *looks;
    int status = allocate(cx, "report", 1, sizeof *looks, (void **)&looks);
    *out = NULL;
    DL_TRY(status);
    looks->count = grid->prompt_count;
    status = allocate(cx, "report", looks->count, sizeof *looks->items, (void **)&looks->items);
    for (size_t p = 0; p < looks->count && status == DL_OK; p++) {
        struct look *look = &looks->items[p];
        look->view.layers = layers;
        look->view.layer_count = grid->layer_count;
        look->view.seed = grid->settings->seeds[0];
        status = read_readings(cx, grid, folder, p, look);
        if (status == DL_OK)
            status = read_heat(cx, grid, folder, p, thumbnails, heat_side(grid), look);
    }
    if (status == DL_OK)
        *out = looks;
    else
        looks_free(looks);
    return status;
}

const struct report_look *looks_of(const struct looks *looks, size_t prompt) {
    const struct report_look *v = looks ? &looks->items[prompt].view : NULL;
    return v && (v->heat || v->nearest || v->attention || v->cosine) ? v : NULL;
}
