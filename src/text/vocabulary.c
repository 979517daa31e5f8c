/* A vocabulary: a sorted list of pieces. No hash table: a binary search among the pieces with the
 * same first two bytes is fast enough, and no file can be made that turns it slow. */
#include "text/vocabulary.h"

#include "text/unicode.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int vocabulary_add(dl_context *cx, struct vocabulary *v, const char *path, const char *text,
                   size_t length, double id) {
    if (!(id >= 0 && id < VOCABULARY_MAX) || floor(id) != id)
        return fail(cx, DL_MODEL, "%s: piece \"%.*s\": its id is %g, must be from 0 to %d", path,
                    length > 100 ? 100 : (int)length, text, id, VOCABULARY_MAX - 1);
    if (utf8_valid(text, length) != length)
        return fail(cx, DL_MODEL, "%s: the piece with id %g is not UTF-8", path, id);
    if (v->count == v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : 1024;
        struct piece *pieces = realloc(v->pieces, capacity * sizeof *pieces);
        if (!pieces)
            return fail_memory(cx, "vocabulary", capacity * sizeof *pieces);
        v->pieces = pieces;
        v->capacity = capacity;
    }
    void *copy;
    DL_TRY(allocate(cx, "vocabulary", length + 1, 1, &copy));
    memcpy(copy, text, length);
    v->pieces[v->count++] = (struct piece){copy, length, (int32_t)id};
    return DL_OK;
}

int vocabulary_add_json(dl_context *cx, struct vocabulary *v, const char *path,
                        const cJSON *object) {
    const cJSON *item;
    if (!cJSON_IsObject(object) || !object->child)
        return fail(cx, DL_MODEL, "%s: vocab must be an object {\"piece\": id} with entries", path);
    cJSON_ArrayForEach(item, object) {
        if (!cJSON_IsNumber(item))
            return fail(cx, DL_MODEL, "%s: piece \"%.100s\": its id is no number", path,
                        item->string);
        DL_TRY(vocabulary_add(cx, v, path, item->string, strlen(item->string), item->valuedouble));
    }
    return DL_OK;
}

/* ---- sorting ------------------------------------------------------------------------------- */

static int compare_text(const char *a, size_t a_length, const char *b, size_t b_length) {
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int compare_pieces(const void *a, const void *b) {
    const struct piece *p = a, *q = b;
    return compare_text(p->text, p->length, q->text, q->length);
}

/* by_id from the pieces; refuses an id that two pieces have. */
static int index_ids(dl_context *cx, struct vocabulary *v, const char *path) {
    void *by_id;
    v->size = 0;
    for (size_t i = 0; i < v->count; i++) {
        size_t id = (size_t)v->pieces[i].id;
        v->size = id >= v->size ? id + 1 : v->size;
    }
    DL_TRY(allocate(cx, "vocabulary", v->size, sizeof *v->by_id, &by_id));
    free(v->by_id);
    v->by_id = by_id;
    for (size_t i = 0; i < v->count; i++) {
        const struct piece *p = &v->pieces[i];
        if (v->by_id[p->id])
            return fail(cx, DL_MODEL, "%s: id %d belongs to two pieces, \"%.100s\" and \"%.100s\"",
                        path, (int)p->id, v->by_id[p->id], p->text);
        v->by_id[p->id] = p->text;
    }
    return DL_OK;
}

enum { STARTS = 1 << 16 };

/* The first two bytes as a number that sorts as the text does. */
static size_t start_of(const char *text, size_t length) {
    size_t first = length > 0 ? (unsigned char)text[0] : 0;
    return first << 8 | (length > 1 ? (unsigned char)text[1] : 0);
}

static int index_starts(dl_context *cx, struct vocabulary *v) {
    void *starts;
    DL_TRY(allocate(cx, "vocabulary", STARTS + 1, sizeof *v->starts, &starts));
    free(v->starts);
    v->starts = starts;
    for (size_t i = 0, start = 0; start <= STARTS; start++) {
        while (i < v->count && start_of(v->pieces[i].text, v->pieces[i].length) < start)
            i++;
        v->starts[start] = (uint32_t)i;
    }
    return DL_OK;
}

int vocabulary_sort(dl_context *cx, struct vocabulary *v, const char *path) {
    if (v->count == 0)
        return fail(cx, DL_MODEL, "%s: the vocabulary is empty", path);
    qsort(v->pieces, v->count, sizeof *v->pieces, compare_pieces);
    for (size_t i = 1; i < v->count; i++) {
        if (compare_pieces(&v->pieces[i - 1], &v->pieces[i]) == 0)
            return fail(cx, DL_MODEL, "%s: piece \"%.100s\" is there twice", path,
                        v->pieces[i].text);
    }
    DL_TRY(index_starts(cx, v));
    return index_ids(cx, v, path);
}

void vocabulary_free(struct vocabulary *v) {
    for (size_t i = 0; i < v->count; i++)
        free(v->pieces[i].text);
    free(v->pieces);
    free(v->by_id);
    free(v->starts);
    *v = (struct vocabulary){0};
}

/* ---- looking up ---------------------------------------------------------------------------- */

int32_t vocabulary_find(const struct vocabulary *v, const char *text, size_t length) {
    const size_t start = start_of(text, length);
    size_t begin = v->starts[start], end = v->starts[start + 1];
    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        const struct piece *p = &v->pieces[middle];
        int order = compare_text(text, length, p->text, p->length);
        if (order == 0)
            return p->id;
        if (order < 0)
            end = middle;
        else
            begin = middle + 1;
    }
    return -1;
}

/* The first piece in the range whose byte at range->depth is at least `byte` (a piece that ends
 * there comes before all others). */
static size_t lower_bound(const struct piece *sorted, const struct piece_range *range,
                          unsigned byte) {
    size_t begin = range->begin, end = range->end;
    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        const struct piece *p = &sorted[middle];
        if (p->length > range->depth && (unsigned char)p->text[range->depth] >= byte)
            end = middle;
        else
            begin = middle + 1;
    }
    return begin;
}

bool narrow(const struct piece *sorted, struct piece_range *range, unsigned char byte) {
    size_t begin = lower_bound(sorted, range, byte);
    size_t end = lower_bound(sorted, range, (unsigned)byte + 1);
    *range = (struct piece_range){begin, end, range->depth + 1};
    return begin < end;
}
