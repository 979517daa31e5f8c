/* The unigram language model: reading it from spiece.model (a protocol buffer; field numbers from
 * sentencepiece_model.proto) or from tokenizer.json. */
#include "text/unigram.h"

#include "base/file.h"
#include "text/protobuf.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_MAX_BYTES = 1 << 26, PIECE_MAX = 512 };

/* ---- pieces -------------------------------------------------------------------------------- */

/* Adds the next piece to vocabulary and model, whose arrays have room for it. */
static int add_piece(dl_context *cx, const char *path, struct vocabulary *v, struct unigram *m,
                     const char *text, size_t length, double score, int64_t type) {
    if (length == 0 || length > PIECE_MAX || memchr(text, '\0', length))
        return fail(cx, DL_MODEL, "%s: piece %zu: has %zu bytes, must have 1 to %d", path, m->count,
                    length, PIECE_MAX);
    if (!(fabs(score) <= 1e30))
        return fail(cx, DL_MODEL, "%s: piece %zu: its score %g is no probability", path, m->count,
                    score);
    if (type < PIECE_NORMAL || type > PIECE_BYTE)
        return fail(cx, DL_MODEL, "%s: piece %zu: unknown type %lld", path, m->count,
                    (long long)type);
    DL_TRY(vocabulary_add(cx, v, path, text, length, (double)m->count));
    m->scores[m->count] = (float)score;
    m->types[m->count++] = (unsigned char)type;
    return DL_OK;
}

static int allocate_pieces(dl_context *cx, const char *path, struct unigram *m, size_t count) {
    void *memory;
    if (count == 0 || count > VOCABULARY_MAX)
        return fail(cx, DL_MODEL, "%s: has %zu pieces, must have 1 to %d", path, count,
                    VOCABULARY_MAX);
    DL_TRY(allocate(cx, "vocabulary", count, sizeof *m->scores, &memory));
    m->scores = memory;
    DL_TRY(allocate(cx, "vocabulary", count, 1, &memory));
    m->types = memory;
    return DL_OK;
}

/* lowest, highest, unknown, byte_ids: what follows from all pieces. */
static int summarize(dl_context *cx, const char *path, const struct vocabulary *v,
                     struct unigram *m) {
    size_t normal = 0, bytes = 0;
    for (size_t id = 0; id < m->count; id++) {
        unsigned value;
        if (m->types[id] == PIECE_NORMAL) {
            m->lowest = normal == 0 || m->scores[id] < m->lowest ? m->scores[id] : m->lowest;
            m->highest = normal == 0 || m->scores[id] > m->highest ? m->scores[id] : m->highest;
            normal++;
        } else if (m->types[id] == PIECE_BYTE &&
                   sscanf(v->pieces[id].text, "<0x%2X>", &value) == 1 && value < 256) {
            m->byte_ids[value] = (int32_t)id;
            bytes++;
        }
    }
    if (normal == 0)
        return fail(cx, DL_MODEL, "%s: has no normal pieces", path);
    if (m->byte_fallback && bytes != 256)
        return fail(cx, DL_MODEL, "%s: byte_fallback: has %zu byte pieces, must have 256", path,
                    bytes);
    return DL_OK;
}

/* ---- spiece.model -------------------------------------------------------------------------- */

enum { /* field numbers */
       MODEL_PIECES = 1,
       MODEL_TRAINER = 2,
       MODEL_NORMALIZER = 3,
       PIECE_TEXT = 1,
       PIECE_SCORE = 2,
       PIECE_TYPE = 3,
       TRAINER_MODEL_TYPE = 3,
       TRAINER_SPACE_AS_SUFFIX = 24,
       TRAINER_BYTE_FALLBACK = 35,
       NORMALIZER_CHARSMAP = 2,
       NORMALIZER_DUMMY_PREFIX = 3,
       NORMALIZER_MERGE_SPACES = 4,
       NORMALIZER_ESCAPE_SPACES = 5,
       MODEL_TYPE_UNIGRAM = 1
};

static int broken(dl_context *cx, const char *path, const char *where) {
    return fail(cx, DL_MODEL, "%s: not a sentencepiece model, or cut short (%s)", path, where);
}

static int read_piece(dl_context *cx, const char *path, struct message piece, struct vocabulary *v,
                      struct unigram *m) {
    struct message text = {NULL, NULL, false};
    struct field field;
    float score = 0;
    uint64_t type = PIECE_NORMAL;
    while (next_field(&piece, &field)) {
        if (field.number == PIECE_TEXT && field.kind == FIELD_BYTES)
            text = field.content;
        else if (field.number == PIECE_SCORE && field.kind == FIELD_NUMBER)
            score = field_float(&field);
        else if (field.number == PIECE_TYPE && field.kind == FIELD_NUMBER)
            type = field.value;
    }
    if (piece.broken || !text.at)
        return broken(cx, path, "pieces");
    if (type == PIECE_UNKNOWN) {
        if (m->unknown >= 0)
            return fail(cx, DL_MODEL, "%s: has two unknown pieces", path);
        m->unknown = (int32_t)m->count;
    }
    return add_piece(cx, path, v, m, (const char *)text.at, (size_t)(text.end - text.at), score,
                     type > PIECE_BYTE ? -1 : (int64_t)type);
}

static int read_trainer(dl_context *cx, const char *path, struct message spec, struct unigram *m) {
    struct field field;
    while (next_field(&spec, &field)) {
        if (field.kind != FIELD_NUMBER)
            continue;
        if (field.number == TRAINER_MODEL_TYPE && field.value != MODEL_TYPE_UNIGRAM)
            return fail(cx, DL_MODEL, "%s: model_type is %llu; only unigram (1) is supported", path,
                        (unsigned long long)field.value);
        if (field.number == TRAINER_SPACE_AS_SUFFIX && field.value)
            return fail(cx, DL_MODEL, "%s: treat_whitespace_as_suffix is not supported", path);
        if (field.number == TRAINER_BYTE_FALLBACK)
            m->byte_fallback = field.value != 0;
    }
    return spec.broken ? broken(cx, path, "trainer_spec") : DL_OK;
}

static int read_normalizer(dl_context *cx, const char *path, struct message spec,
                           struct unigram *m) {
    struct field field;
    while (next_field(&spec, &field)) {
        if (field.number == NORMALIZER_CHARSMAP && field.kind == FIELD_BYTES) {
            charsmap_free(&m->charsmap);
            DL_TRY(charsmap_read(cx, path, field.content.at,
                                 (size_t)(field.content.end - field.content.at), &m->charsmap));
        } else if (field.number == NORMALIZER_DUMMY_PREFIX && field.kind == FIELD_NUMBER) {
            m->dummy_prefix = field.value != 0;
        } else if (field.number == NORMALIZER_MERGE_SPACES && field.kind == FIELD_NUMBER) {
            m->merge_spaces = field.value != 0;
        } else if (field.number == NORMALIZER_ESCAPE_SPACES && !field.value) {
            return fail(cx, DL_MODEL, "%s: escape_whitespaces false is not supported", path);
        }
    }
    return spec.broken ? broken(cx, path, "normalizer_spec") : DL_OK;
}

static size_t count_pieces(struct message model) {
    struct field field;
    size_t count = 0;
    while (next_field(&model, &field))
        count += field.number == MODEL_PIECES && field.kind == FIELD_BYTES;
    return count;
}

static int parse_model(dl_context *cx, const char *path, struct message model, struct vocabulary *v,
                       struct unigram *m) {
    bool has_trainer = false, has_normalizer = false;
    struct field field;
    DL_TRY(allocate_pieces(cx, path, m, count_pieces(model)));
    while (next_field(&model, &field)) {
        if (field.kind != FIELD_BYTES)
            continue;
        if (field.number == MODEL_PIECES)
            DL_TRY(read_piece(cx, path, field.content, v, m));
        else if (field.number == MODEL_TRAINER)
            DL_TRY(read_trainer(cx, path, field.content, m));
        else if (field.number == MODEL_NORMALIZER)
            DL_TRY(read_normalizer(cx, path, field.content, m));
        has_trainer = has_trainer || field.number == MODEL_TRAINER;
        has_normalizer = has_normalizer || field.number == MODEL_NORMALIZER;
    }
    if (model.broken)
        return broken(cx, path, "end of file");
    if (m->unknown < 0)
        return fail(cx, DL_MODEL, "%s: has no unknown piece", path);
    DL_TRY(summarize(cx, path, v, m));
    if (!has_trainer || !has_normalizer) /* they stand behind the pieces, where a cut may fall */
        return broken(cx, path, has_trainer ? "no normalizer_spec" : "no trainer_spec");
    return DL_OK;
}

int unigram_read_model(dl_context *cx, const char *path, struct vocabulary *v,
                       struct unigram *out) {
    char *data;
    size_t size;
    *out = (struct unigram){.unknown = -1, .dummy_prefix = true, .merge_spaces = true};
    DL_TRY(file_read(cx, DL_MODEL, path, MODEL_MAX_BYTES, &data, &size));
    const unsigned char *bytes = (const unsigned char *)data;
    int status = parse_model(cx, path, (struct message){bytes, bytes + size, false}, v, out);
    free(data);
    return status;
}

/* ---- tokenizer.json ------------------------------------------------------------------------ */

/* vocab: [["piece", score], ...]. */
static int read_json_vocab(dl_context *cx, const char *path, const cJSON *vocab,
                           struct vocabulary *v, struct unigram *m) {
    const cJSON *item;
    size_t count = 0;
    if (!cJSON_IsArray(vocab))
        return fail(cx, DL_MODEL, "%s: model.vocab: must be a list", path);
    cJSON_ArrayForEach(item, vocab) count++;
    DL_TRY(allocate_pieces(cx, path, m, count));
    cJSON_ArrayForEach(item, vocab) {
        const cJSON *text = cJSON_IsArray(item) ? item->child : NULL;
        const cJSON *score = text ? text->next : NULL;
        if (!cJSON_IsString(text) || !cJSON_IsNumber(score))
            return fail(cx, DL_MODEL, "%s: model.vocab: entry %zu must be [\"piece\", score]", path,
                        m->count);
        enum piece_type type = (int32_t)m->count == m->unknown ? PIECE_UNKNOWN : PIECE_NORMAL;
        DL_TRY(add_piece(cx, path, v, m, text->valuestring, strlen(text->valuestring),
                         score->valuedouble, type));
    }
    return DL_OK;
}

/* The charsmap of `normalizer`, or of the first such entry of a Sequence. */
static int read_json_normalizer(dl_context *cx, const char *path, const cJSON *root,
                                struct unigram *m) {
    const cJSON *normalizer = cJSON_GetObjectItemCaseSensitive(root, "normalizer");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(normalizer, "normalizers");
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(normalizer, "precompiled_charsmap");
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (!map)
            map = cJSON_GetObjectItemCaseSensitive(item, "precompiled_charsmap");
    }
    if (!map || cJSON_IsNull(map))
        return DL_OK;
    if (!cJSON_IsString(map))
        return fail(cx, DL_MODEL, "%s: precompiled_charsmap: must be a string", path);
    return charsmap_read_base64(cx, path, map->valuestring, &m->charsmap);
}

int unigram_read_json(dl_context *cx, const char *path, const cJSON *root, struct vocabulary *v,
                      struct unigram *out) {
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(model, "type");
    const cJSON *unknown = cJSON_GetObjectItemCaseSensitive(model, "unk_id");
    *out = (struct unigram){.unknown = 2, .dummy_prefix = true, .merge_spaces = true};
    if (!cJSON_IsObject(model) ||
        (cJSON_IsString(type) && strcmp(type->valuestring, "Unigram") != 0))
        return fail(cx, DL_MODEL, "%s: model: must be an object of type \"Unigram\"", path);
    if (cJSON_IsNumber(unknown) && unknown->valuedouble >= 0 &&
        unknown->valuedouble < VOCABULARY_MAX)
        out->unknown = (int32_t)unknown->valuedouble;
    DL_TRY(read_json_vocab(cx, path, cJSON_GetObjectItemCaseSensitive(model, "vocab"), v, out));
    if ((size_t)out->unknown >= out->count)
        return fail(cx, DL_MODEL, "%s: model.unk_id: %d is beyond the vocabulary", path,
                    (int)out->unknown);
    DL_TRY(read_json_normalizer(cx, path, root, out));
    return summarize(cx, path, v, out);
}
