/* Heat maps of the cross-attention; formulas in heat.h. */
#include "lens/heat.h"

#include "nn/resample.h"

#include <stdlib.h>
#include <string.h>

void heat_begin(struct heat *heat, const struct words *words) {
    *heat = (struct heat){.words = words};
}

void heat_free(struct heat *heat) {
    for (size_t i = 0; i < heat->count; i++)
        free(heat->levels[i].sum);
    free(heat->levels);
    memset(heat, 0, sizeof *heat);
}

/* The sums of an attention; NULL without memory. */
static struct heat_level *level_of(struct heat *heat, const void *attention, size_t H, size_t W) {
    for (size_t i = 0; i < heat->count; i++)
        if (heat->levels[i].attention == attention)
            return &heat->levels[i];
    if (heat->count == heat->capacity) {
        const size_t capacity = 2 * heat->capacity + 16;
        struct heat_level *grown = realloc(heat->levels, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        heat->levels = grown;
        heat->capacity = capacity;
    }
    struct heat_level *level = &heat->levels[heat->count];
    float *sum = calloc(H * W * heat->words->groups, sizeof *sum);
    *level = (struct heat_level){attention, sum, H, W, 0};
    if (!level->sum)
        return NULL;
    heat->count++;
    return level;
}

void heat_take(void *user, const void *attention, const float *map, size_t items, size_t H,
               size_t W, size_t T) {
    struct heat *heat = user;
    const struct words *w = heat->words;
    const bool fits = !heat->failed && items == 1 && T == w->padded;
    struct heat_level *level = fits ? level_of(heat, attention, H, W) : NULL;
    if (!level || level->H != H || level->W != W) {
        heat->failed = true;
        return;
    }
    level->calls++;
    for (size_t p = 0; p < H * W; p++)
        for (size_t t = 0; t < T; t++)
            level->sum[p * w->groups + w->group[t]] +=
                map[p * T + t] / (float)w->sizes[w->group[t]];
}

/* map (G,h,w) += share * max(0, y (h,w,G)) */
static void add_enlarged(float *map, const float *y, size_t pixels, size_t G, float share) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t g = 0; g < G; g++)
            map[g * pixels + p] += y[p * G + g] > 0 ? share * y[p * G + g] : 0;
}

int heat_finish(dl_context *cx, const struct heat *heat, float *map, size_t h, size_t w) {
    const size_t G = heat->words->groups;
    float *y = NULL; /* (h,w,G) */
    if (heat->failed || !heat->count)
        return fail(cx, DL_FAILED, "heat maps: %s",
                    heat->failed ? "out of memory" : "the UNet has no attention to the text");
    DL_TRY(allocate(cx, "heat maps", h * w * G, sizeof *y, (void **)&y));
    memset(map, 0, G * h * w * sizeof *map);
    for (size_t i = 0; i < heat->count; i++) {
        const struct heat_level *l = &heat->levels[i];
        enlarge_bicubic(cx, y, l->sum, 1, l->H, l->W, G, h, w);
        add_enlarged(map, y, h * w, G, 1.0f / (float)(l->calls * heat->count));
    }
    free(y);
    return DL_OK;
}
