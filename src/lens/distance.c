/* Distances from the last layer; formulas in distance.h. */
#include "lens/distance.h"

#include "lens/manifest.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

struct distance conditioning_distance(const float *c, const float *ordinary, size_t T, size_t D) {
    double difference = 0, size = 0, cosines = 0;
    for (size_t t = 0; t < T; t++) {
        double product = 0, own = 0, its = 0;
        for (size_t i = t * D; i < (t + 1) * D; i++) {
            const double x = (double)c[i], y = (double)ordinary[i];
            difference += (x - y) * (x - y);
            product += x * y;
            own += x * x;
            its += y * y;
        }
        size += its;
        cosines += product / sqrt(own * its);
    }
    const double relative = sqrt(difference / size), cosine = cosines / (double)T;
    return (struct distance){isfinite(relative) ? relative : NAN, isfinite(cosine) ? cosine : NAN};
}

/* ---- pictures -------------------------------------------------------------------------------- */

/* One prompt and seed: cells (layers) from the picture of `last`. */
static int measure_row(dl_context *cx, struct cell *cells, size_t count, const char *folder,
                       const struct cell *last, const char *last_folder) {
    struct image reference = {0};
    if (!last->made)
        return DL_OK;
    int status = cell_read(cx, last_folder, last, &reference);
    for (size_t l = 0; l < count && status == DL_OK; l++) {
        struct image image = {0};
        if (!cells[l].made)
            continue;
        if (&cells[l] == last) {
            cells[l].distance = 0;
            continue;
        }
        status = cell_read(cx, folder, &cells[l], &image);
        if (status == DL_OK && image.width == reference.width && image.height == reference.height)
            cells[l].distance = image_distance(image.rgb, reference.rgb, image.width, image.height);
        image_free(&image);
    }
    image_free(&reference);
    return status;
}

int distance_pictures(dl_context *cx, struct grid *grid, const char *folder,
                      const struct grid *lens, const char *lens_folder) {
    const size_t last = lens->settings->layer_count - 1, count = grid->layer_count;
    for (size_t i = 0; i < grid_count(grid); i++)
        grid->cells[i].distance = NAN;
    for (size_t row = 0; row < grid->prompt_count * grid->seed_count; row++)
        DL_TRY(measure_row(cx, grid->cells + row * count, count, folder,
                           &lens->cells[row * lens->layer_count + last], lens_folder));
    return DL_OK;
}

/* ---- the manifest ---------------------------------------------------------------------------- */

cJSON *distance_number(double value) {
    return isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull();
}

cJSON *distance_json(const struct grid *grid) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; list && i < grid->prompt_count * grid->layer_count; i++) {
        const struct distance *d = &grid->conditionings[i];
        if (isnan(d->relative) && isnan(d->cosine))
            continue;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "prompt", (double)(i / grid->layer_count));
        cJSON_AddNumberToObject(o, "layer", grid_layer(grid, i % grid->layer_count));
        cJSON_AddItemToObject(o, "distance", distance_number(d->relative));
        cJSON_AddItemToObject(o, "cosine", distance_number(d->cosine));
        if (cJSON_GetArraySize(o) != 4 || !cJSON_AddItemToArray(list, o)) {
            cJSON_Delete(o);
            cJSON_Delete(list);
            return NULL;
        }
    }
    return list;
}

static double number_of(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

void distance_take(struct grid *grid, const cJSON *list) {
    const cJSON *o;
    cJSON_ArrayForEach(o, list) {
        const double prompt = number_of(o, "prompt"), layer = number_of(o, "layer");
        if (!(prompt >= 0 && prompt < (double)grid->prompt_count))
            continue;
        struct distance *row = grid->conditionings + (size_t)prompt * grid->layer_count;
        for (size_t l = 0; l < grid->layer_count; l++)
            if (fabs(layer - grid_layer(grid, l)) < 0.5)
                row[l] = (struct distance){number_of(o, "distance"), number_of(o, "cosine")};
    }
}
