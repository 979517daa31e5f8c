/* Embeddings of a run's pictures. See embeddings.h. */
#include "study/embeddings.h"

#include "base/file.h"
#include "base/rng.h"
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void embeddings_free(struct embeddings *e) {
    free(e->image);
    free(e->noise);
    memset(e, 0, sizeof *e);
}

static int init(dl_context *cx, const struct grid *grid, size_t P, struct embeddings *e) {
    const size_t cells = grid_count(grid);
    size_t values;
    memset(e, 0, sizeof *e);
    e->shape[0] = grid->prompt_count;
    e->shape[1] = grid->seed_count;
    e->shape[2] = grid->layer_count;
    e->size = P;
    if (!size_mul(cells, P, &values))
        return fail_memory(cx, "embeddings", cells);
    DL_TRY(allocate(cx, "embeddings", values, sizeof *e->image, (void **)&e->image));
    DL_TRY(allocate(cx, "embeddings", NOISE_PICTURES * P, sizeof *e->noise, (void **)&e->noise));
    for (size_t i = 0; i < values; i++)
        e->image[i] = NAN;
    return DL_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool has_shape(const struct tensor *t, const size_t *shape, size_t ndim) {
    return t && t->dtype == DTYPE_F32 && t->ndim == ndim &&
           memcmp(t->shape, shape, ndim * sizeof *shape) == 0;
}

int embeddings_read(dl_context *cx, const char *folder, const char *identity,
                    const struct grid *grid, struct embeddings *out, bool *found) {
    struct store *store = NULL;
    char *path = path_join(folder, EMBEDDINGS_FILE);
    int status = path ? DL_OK : fail_memory(cx, EMBEDDINGS_FILE, 0);
    memset(out, 0, sizeof *out);
    *found = path && file_exists(path) && store_open_file(cx, path, &store) == DL_OK;
    const char *run = *found ? store_metadata(store, "run") : NULL;
    const struct tensor *image = *found ? store_find(store, "image") : NULL;
    const struct tensor *noise = *found ? store_find(store, "noise") : NULL;
    const size_t P = noise && noise->ndim == 2 ? noise->shape[1] : 0;
    const size_t cells[4] = {grid->prompt_count, grid->seed_count, grid->layer_count, P};
    const size_t pictures[2] = {NOISE_PICTURES, P};
    *found = run && strcmp(run, identity) == 0 && P && has_shape(image, cells, 4) &&
             has_shape(noise, pictures, 2);
    if (*found)
        status = init(cx, grid, P, out);
    if (*found && status == DL_OK) {
        memcpy(out->image, image->data, tensor_count(image) * sizeof(float));
        memcpy(out->noise, noise->data, tensor_count(noise) * sizeof(float));
    }
    store_close(store);
    free(path);
    return status;
}

int embeddings_write(dl_context *cx, const char *folder, const char *identity,
                     const struct embeddings *e) {
    const struct tensor tensors[] = {
        {"image", DTYPE_F32, 4, {e->shape[0], e->shape[1], e->shape[2], e->size}, e->image, NULL},
        {"noise", DTYPE_F32, 2, {NOISE_PICTURES, e->size}, e->noise, NULL},
    };
    const char *const metadata[] = {"dlens", DLENS_VERSION, "run", identity, NULL};
    char *path = path_join(folder, EMBEDDINGS_FILE);
    int status = path ? dir_make_above(cx, path) : fail_memory(cx, EMBEDDINGS_FILE, 0);
    if (status == DL_OK)
        status = store_write(cx, path, tensors, 2, metadata);
    free(path);
    return status;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Normal noise around grey, of seed 0, 1, ...; the same for everybody. */
static int embed_noise(dl_context *cx, const dl_judge *judge, const struct settings *s,
                       struct embeddings *e) {
    const double middle = 127.5, spread = 64;
    const size_t values = 3 * s->width * s->height;
    struct image image = {0};
    struct rng rng;
    float *normal = NULL;
    int status = allocate(cx, "noise", values, sizeof *normal, (void **)&normal);
    if (status == DL_OK)
        status = image_make(cx, (int)s->width, (int)s->height, &image);
    for (size_t n = 0; n < NOISE_PICTURES && status == DL_OK; n++) {
        rng_seed(&rng, n);
        rng_normal(&rng, normal, values);
        for (size_t i = 0; i < values; i++)
            image.rgb[i] = (uint8_t)fmin(fmax(middle + spread * (double)normal[i], 0), 255);
        status = judge_pictures(cx, judge, &image, 1, e->noise + n * e->size);
    }
    image_free(&image);
    free(normal);
    return status;
}

/* The same judge sees the same noise alike, on another kind of machine to within rounding. */
static bool same_judge(const struct embeddings *a, const struct embeddings *b) {
    const float tolerance = 1e-4f;
    if (a->size != b->size)
        return false;
    for (size_t i = 0; i < NOISE_PICTURES * a->size; i++)
        if (!(fabsf(a->noise[i] - b->noise[i]) <= tolerance))
            return false;
    return true;
}

int embeddings_unite(dl_context *cx, const char *folder, struct embeddings *united,
                     const struct embeddings *part) {
    const size_t P = united->size, cells = united->shape[0] * united->shape[1] * united->shape[2];
    if (!same_judge(united, part))
        return fail(cx, DL_USAGE, "%s: was annotated by another judge than the first part", folder);
    for (size_t i = 0; i < cells; i++)
        if (isnan(united->image[i * P]))
            memcpy(united->image + i * P, part->image + i * P, P * sizeof(float));
    return DL_OK;
}

static int embed_cell(dl_context *cx, const dl_judge *judge, const struct run_folder *folder,
                      size_t cell, struct embeddings *e) {
    struct image image = {0};
    int status = cell_read(cx, folder->path, &folder->grid->cells[cell], &image);
    if (status == DL_OK)
        status = judge_pictures(cx, judge, &image, 1, e->image + cell * e->size);
    image_free(&image);
    return status;
}

static bool is_missing(const struct run_folder *folder, const struct embeddings *e, size_t cell) {
    return folder->grid->cells[cell].made && isnan(e->image[cell * e->size]);
}

/* Looks at what is missing; the file is written anew now and then, and once where there is none
 * (`kept` false): a shard may have no picture, and is annotated all the same. */
static int look(dl_context *cx, const dl_judge *judge, const struct run_folder *folder,
                const char *identity, bool kept, dl_progress_fn progress, void *progress_user,
                struct embeddings *e) {
    enum { WRITE_SECONDS = 60 };
    const struct grid *g = folder->grid;
    dl_progress at = {.stage = "annotate"};
    time_t written = time(NULL);
    int status = DL_OK;
    for (size_t i = 0; i < grid_count(g); i++)
        at.steps += is_missing(folder, e, i);
    for (size_t i = 0; i < grid_count(g) && status == DL_OK; i++) {
        if (!is_missing(folder, e, i))
            continue;
        status = embed_cell(cx, judge, folder, i, e);
        at.step++;
        if (status == DL_OK && time(NULL) - written >= WRITE_SECONDS) {
            status = embeddings_write(cx, folder->path, identity, e);
            written = time(NULL);
        }
        if (status == DL_OK && progress && progress(progress_user, &at))
            status = fail(cx, DL_CANCELLED, "stopped after annotating %zu of %zu pictures", at.step,
                          at.steps);
    }
    if ((at.steps || !kept) && (status == DL_OK || status == DL_CANCELLED)) {
        const int wrote = embeddings_write(cx, folder->path, identity, e);
        status = wrote ? wrote : status;
    }
    return status;
}

int embeddings_make(dl_context *cx, const dl_judge *judge, const struct run_folder *folder,
                    dl_progress_fn progress, void *progress_user, struct embeddings *out) {
    struct embeddings old = {0};
    char identity[16];
    bool found = false, kept = false;
    manifest_identity(folder->manifest, identity);
    int status = init(cx, folder->grid, judge_size(judge), out);
    if (status == DL_OK)
        status = embed_noise(cx, judge, folder->grid->settings, out);
    if (status == DL_OK)
        status = embeddings_read(cx, folder->path, identity, folder->grid, &old, &found);
    kept = status == DL_OK && found && same_judge(&old, out);
    if (kept) {
        float *swap = out->image;
        out->image = old.image;
        old.image = swap;
    }
    embeddings_free(&old);
    if (status == DL_OK)
        status = look(cx, judge, folder, identity, kept, progress, progress_user, out);
    return status;
}
