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
static struct heat_level *level_of(struct heat *heat, const struct attention_look *look) {
    for (size_t i = 0; i < heat->count; i++)
        if (heat->levels[i].attention == look->attention)
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
    float *sum = calloc(look->heads * look->H * look->W * look->tokens, sizeof *sum);
    *level =
        (struct heat_level){look->attention, look->middle, sum, look->heads, look->H, look->W, 0};
    if (!level->sum)
        return NULL;
    heat->count++;
    return level;
}

void heat_take(void *user, const struct attention_look *look) {
    struct heat *heat = user;
    const bool fits = !heat->failed && look->items == 1 && look->tokens == heat->words->padded;
    struct heat_level *level = fits ? level_of(heat, look) : NULL;
    if (!level || level->heads != look->heads || level->H != look->H || level->W != look->W) {
        heat->failed = true;
        return;
    }
    const size_t values = look->heads * look->H * look->W * look->tokens;
    level->calls++;
    for (size_t i = 0; i < values; i++)
        level->sum[i] += look->map[i];
}

/* map (G,h,w) += share * max(0, y (h,w,T)), each token's as its part of a group. */
static void add_enlarged(float *map, const float *y, const struct words *words, size_t pixels,
                         float share) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t t = 0; t < words->padded; t++) {
            const size_t g = words->group[t];
            const float value = y[p * words->padded + t];
            map[g * pixels + p] += value > 0 ? share / (float)words->sizes[g] * value : 0;
        }
}

/* How many heads there are, in the middle block or not. */
static size_t count_heads(const struct heat *heat, bool middle) {
    size_t heads = 0;
    for (size_t i = 0; i < heat->count; i++)
        heads += heat->levels[i].middle == middle ? heat->levels[i].heads : 0;
    return heads;
}

int heat_finish(dl_context *cx, const struct heat *heat, float *map, size_t h, size_t w) {
    const struct words *words = heat->words;
    const size_t T = words->padded, outer = count_heads(heat, false);
    const size_t heads = outer ? outer : count_heads(heat, true);
    float *y = NULL; /* (h,w,T) */
    if (heat->failed || !heads)
        return fail(cx, DL_FAILED, "heat maps: %s",
                    heat->failed ? "out of memory" : "the UNet has no attention to the text");
    DL_TRY(allocate(cx, "heat maps", h * w * T, sizeof *y, (void **)&y));
    memset(map, 0, words->groups * h * w * sizeof *map);
    for (size_t i = 0; i < heat->count; i++) {
        const struct heat_level *l = &heat->levels[i];
        for (size_t a = 0; a < l->heads && l->middle == !outer; a++) {
            enlarge_bicubic(cx, y, l->sum + a * l->H * l->W * T, 1, l->H, l->W, T, h, w);
            add_enlarged(map, y, words, h * w, 1.0f / (float)(l->calls * heads));
        }
    }
    free(y);
    return DL_OK;
}
