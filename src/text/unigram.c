/* The unigram language model: normalizing and splitting as the sentencepiece library does it, in
 * the same order and precision (f32), so that ties fall alike. */
#include "text/unigram.h"

#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

static const char SPACE[] = "\xe2\x96\x81"; /* U+2581 */

void unigram_free(struct unigram *model) {
    free(model->scores);
    free(model->types);
    charsmap_free(&model->charsmap);
    *model = (struct unigram){0};
}

/* ---- normalizing --------------------------------------------------------------------------- */

/* Appends a replacement, spaces as U+2581 and, after another space, not at all. */
static void put_merged(const struct unigram *model, struct buffer *out, struct replacement r,
                       bool *after_space) {
    for (size_t i = 0; i < r.length; i++) {
        bool space = r.text[i] == ' ';
        if (!space)
            buffer_bytes(out, r.text + i, 1);
        else if (!*after_space)
            buffer_text(out, SPACE);
        *after_space = space && model->merge_spaces;
    }
}

static bool ends_with_space(const struct buffer *out, size_t begin) {
    size_t n = sizeof SPACE - 1;
    return out->length >= begin + n && memcmp(out->data + out->length - n, SPACE, n) == 0;
}

void unigram_normalize(const struct unigram *model, const char *text, size_t length,
                       struct buffer *out) {
    size_t begin = out->length, at = 0;
    bool after_space = model->merge_spaces;
    struct replacement r;
    for (; model->merge_spaces && at < length; at += r.taken) {
        r = charsmap_next(&model->charsmap, text + at, length - at);
        if (r.length != 1 || r.text[0] != ' ')
            break;
    }
    if (at == length)
        return;
    if (model->dummy_prefix)
        buffer_text(out, SPACE);
    for (; at < length; at += r.taken) {
        r = charsmap_next(&model->charsmap, text + at, length - at);
        put_merged(model, out, r, &after_space);
    }
    while (model->merge_spaces && ends_with_space(out, begin)) {
        out->length -= sizeof SPACE - 1;
        out->data[out->length] = '\0';
    }
}

/* ---- splitting ----------------------------------------------------------------------------- */

static const float UNKNOWN_PENALTY = 10.0f;

/* The best split of the text up to one place: its score, its last piece and where that begins. */
struct path {
    float score;
    int32_t id; /* -1: no split ends here */
    size_t begin;
};

static void offer(struct path *paths, size_t begin, size_t end, int32_t id, double score) {
    double total = score + (double)paths[begin].score;
    if (paths[end].id < 0 || (float)total > paths[end].score)
        paths[end] = (struct path){(float)total, id, begin};
}

static bool is_matchable(const struct unigram *model, int32_t id) {
    return (size_t)id < model->count &&
           (model->types[id] == PIECE_NORMAL || model->types[id] == PIECE_USER);
}

/* A user-defined piece gets a score that no split of it can reach. */
static double piece_score(const struct unigram *model, int32_t id, size_t length) {
    if (model->types[id] == PIECE_USER)
        return (double)((float)length * model->highest) - 0.1;
    return model->scores[id];
}

/* Extends the path to `begin` by every piece that stands there, and by the unknown token where no
 * piece is the single character. Returns that character's bytes. */
static size_t extend(const struct unigram *model, const struct vocabulary *v, struct path *paths,
                     const char *text, size_t length, size_t begin) {
    struct piece_range range = {0, v->count, 0};
    bool single = false;
    size_t character;
    utf8_at(text + begin, length - begin, &character);
    for (size_t i = begin; i < length && narrow(v->pieces, &range, (unsigned char)text[i]); i++) {
        const struct piece *piece = &v->pieces[range.begin];
        size_t n = i + 1 - begin;
        if (piece->length != n || !is_matchable(model, piece->id))
            continue;
        offer(paths, begin, begin + n, piece->id, piece_score(model, piece->id, n));
        single = single || n == character;
    }
    if (!single)
        offer(paths, begin, begin + character, model->unknown, model->lowest - UNKNOWN_PENALTY);
    return character;
}

/* The ids of one piece of the best split, last id first. */
static int push_piece(dl_context *cx, const struct unigram *model, int32_t id, const char *text,
                      size_t length, size_t first, struct id_list *ids) {
    if (id == model->unknown && model->byte_fallback) {
        for (size_t i = length; i-- > 0;)
            DL_TRY(id_push(cx, ids, model->byte_ids[(unsigned char)text[i]]));
        return DL_OK;
    }
    if (id == model->unknown && ids->count > first && ids->ids[ids->count - 1] == id)
        return DL_OK; /* a run of unknown characters is one id */
    return id_push(cx, ids, id);
}

/* Follows the best split from the end to the beginning, then turns its ids around. */
static int push_split(dl_context *cx, const struct unigram *model, const struct path *paths,
                      const char *text, size_t length, struct id_list *ids) {
    size_t first = ids->count;
    for (size_t end = length; end > 0; end = paths[end].begin) {
        size_t begin = paths[end].begin;
        DL_TRY(push_piece(cx, model, paths[end].id, text + begin, end - begin, first, ids));
    }
    for (size_t i = first, j = ids->count; i + 1 < j; i++) {
        int32_t id = ids->ids[i];
        ids->ids[i] = ids->ids[--j];
        ids->ids[j] = id;
    }
    return DL_OK;
}

int unigram_encode(dl_context *cx, const struct unigram *model, const struct vocabulary *v,
                   const char *text, size_t length, struct id_list *ids) {
    void *memory;
    if (length == 0)
        return DL_OK;
    DL_TRY(allocate(cx, "splitting the text", length + 1, sizeof(struct path), &memory));
    struct path *paths = memory;
    for (size_t i = 1; i <= length; i++)
        paths[i].id = -1;
    for (size_t i = 0; i < length;)
        i += extend(model, v, paths, text, length, i);
    int status = push_split(cx, model, paths, text, length, ids);
    free(paths);
    return status;
}
