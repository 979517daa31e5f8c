/* A table of concepts and their captions, and their embeddings. See concepts.h. */
#include "study/concepts.h"

#include "base/hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void concepts_init(struct concepts *c, dl_context *cx) {
    *c = (struct concepts){.cx = cx, .status = DL_OK};
}

void concepts_free(struct concepts *c) {
    for (size_t i = 0; i < c->count; i++)
        free(c->items[i].key);
    for (size_t i = 0; i < c->caption_count; i++)
        free(c->captions[i]);
    free(c->items);
    free(c->captions);
    free(c->table);
    memset(c, 0, sizeof *c);
}

/* ---- finding --------------------------------------------------------------------------------- */

/* The place of a key, or the free one where it belongs; the table is never full. */
static size_t *place(const struct concepts *c, const char *key) {
    const uint64_t h = hash(HASH_START, key, strlen(key));
    size_t at = (size_t)(h ^ h >> 32) & (c->table_size - 1);
    while (c->table[at] && strcmp(c->items[c->table[at] - 1].key, key) != 0)
        at = (at + 1) & (c->table_size - 1);
    return &c->table[at];
}

/* Room for one concept more, the table at most half full. */
static bool grow(struct concepts *c) {
    const size_t room = c->room ? 2 * c->room : 64;
    struct concept *items;
    if (c->status != DL_OK || c->count < c->room)
        return c->status == DL_OK;
    items = realloc(c->items, room * sizeof *items);
    size_t *table = calloc(2 * room, sizeof *table);
    c->items = items ? items : c->items;
    if (!items || !table) {
        free(table);
        c->status = fail_memory(c->cx, "concepts", room * sizeof *items);
        return false;
    }
    free(c->table);
    c->table = table;
    c->table_size = 2 * room;
    c->room = room;
    for (size_t i = 0; i < c->count; i++)
        *place(c, c->items[i].key) = i + 1;
    return true;
}

size_t concept_find(struct concepts *c, const char *key, bool *is_new) {
    if (is_new)
        *is_new = false;
    if (!grow(c))
        return 0;
    size_t *at = place(c, key);
    if (*at)
        return *at - 1;
    char *copy = strdup(key);
    if (!copy) {
        c->status = fail_memory(c->cx, "concepts", strlen(key) + 1);
        return 0;
    }
    c->items[c->count++] = (struct concept){copy, c->caption_count, 0};
    *at = c->count;
    if (is_new)
        *is_new = true;
    return c->count - 1;
}

void concept_caption(struct concepts *c, const char *caption) {
    if (c->status != DL_OK)
        return;
    if (c->caption_count == c->caption_room) {
        const size_t room = c->caption_room ? 2 * c->caption_room : 64;
        char **captions = realloc(c->captions, room * sizeof *captions);
        if (captions) {
            c->captions = captions;
            c->caption_room = room;
        }
    }
    char *copy = c->caption_count < c->caption_room ? strdup(caption) : NULL;
    if (!copy) {
        c->status = fail_memory(c->cx, "captions", strlen(caption) + 1);
        return;
    }
    c->captions[c->caption_count++] = copy;
    c->items[c->count - 1].count++;
}

size_t concept_of_caption(struct concepts *c, const char *caption) {
    bool is_new;
    const size_t index = concept_find(c, caption, &is_new);
    if (is_new)
        concept_caption(c, caption);
    return index;
}

/* ---- embeddings ------------------------------------------------------------------------------ */

/* out (P) = unit(mean of n rows) */
static void average(float *out, const float *rows, size_t n, size_t P) {
    double square = 0;
    for (size_t i = 0; i < P; i++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += (double)rows[k * P + i];
        out[i] = (float)(sum / (double)n);
        square += (double)out[i] * (double)out[i];
    }
    const double length = sqrt(square);
    for (size_t i = 0; i < P && length > 0; i++)
        out[i] = (float)((double)out[i] / length);
}

int concepts_embed(const struct concepts *c, const dl_judge *judge, float *out) {
    const size_t P = judge_size(judge);
    float *text = NULL;
    DL_TRY(allocate(c->cx, "captions", c->caption_count, P * sizeof *text, (void **)&text));
    int status =
        judge_texts(c->cx, judge, (const char *const *)c->captions, c->caption_count, text);
    for (size_t i = 0; i < c->count && status == DL_OK; i++)
        average(out + i * P, text + c->items[i].first * P, c->items[i].count, P);
    free(text);
    return status;
}
