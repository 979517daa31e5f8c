/* Pictures that are the same. See twins.h. */
#include "lens/twins.h"

#include <string.h>

bool view_equal(const struct view *a, const struct view *b) {
    if (a->seed != b->seed || a->norm != b->norm || a->block != b->block || a->values != b->values)
        return false;
    if (a->prompt && b->prompt && strcmp(a->prompt, b->prompt) != 0)
        return false;
    return a->states == b->states ||
           memcmp(a->states, b->states, a->values * sizeof *a->states) == 0;
}

static struct twin *find(struct twins *twins, const struct view *view) {
    for (size_t i = 0; i < twins->count; i++)
        if (view_equal(&twins->items[i].view, view))
            return &twins->items[i];
    return NULL;
}

const struct sample *twins_find(struct twins *twins, const struct view *view) {
    const struct twin *twin = find(twins, view);
    return twin ? &twin->sample : NULL;
}

void twins_keep(const dl_context *cx, struct twins *twins, const struct view *view,
                struct sample *sample, size_t pixel_bytes) {
    const size_t bytes = pixel_bytes + sample->channels * sample->h * sample->w * sizeof(float);
    const size_t most = cx->thrift.limit ? 0 : TWINS_BYTES; /* no plan counts them */
    if (twins->count == TWINS_MAX || twins->bytes + bytes > most)
        return;
    twins->items[twins->count++] = (struct twin){*view, *sample, bytes};
    twins->bytes += bytes;
    *sample = (struct sample){0};
}

void twins_drop(struct twins *twins, const struct view *view) {
    struct twin *twin = find(twins, view);
    if (!twin)
        return;
    sample_free(&twin->sample);
    twins->bytes -= twin->bytes;
    *twin = twins->items[--twins->count];
}

void twins_free(struct twins *twins) {
    while (twins->count)
        sample_free(&twins->items[--twins->count].sample);
    twins->bytes = 0;
}
