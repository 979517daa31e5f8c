/* Tokenizers: what all of them have in common.
 *
 * A new algorithm is one more file with a struct tokenizer_class and one more row in the table. */
#include "text/tokenizer.h"

#include "text/tokenizer_class.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

static const struct tokenizer_class *const classes[] = {&clip_tokenizer_class, &t5_tokenizer_class};

enum { CLASSES = sizeof classes / sizeof *classes };

/* ---- opening ------------------------------------------------------------------------------- */

static const struct tokenizer_class *find_class(const char *name) {
    for (size_t i = 0; i < CLASSES; i++) {
        for (const char *const *n = classes[i]->names; *n; n++) {
            if (strcmp(*n, name) == 0)
                return classes[i];
        }
    }
    return NULL;
}

static int unknown_class(dl_context *cx, const char *dir, const char *name) {
    struct buffer known = {0};
    for (size_t i = 0; i < CLASSES; i++) {
        for (const char *const *n = classes[i]->names; *n; n++)
            buffer_format(&known, "%s%s", known.length ? ", " : "", *n);
    }
    int status = fail(cx, DL_MODEL, "%s: tokenizer class \"%.100s\" is not supported; known are %s",
                      dir, name, known.data ? known.data : "none");
    buffer_free(&known);
    return status;
}

/* Gives every added token its id: the vocabulary's, or the next after it. */
static int number_added(dl_context *cx, const char *dir, struct tokenizer *t) {
    size_t next = t->vocabulary.size, old_count = t->vocabulary.count;
    for (size_t i = 0; i < t->special.added.count; i++) {
        struct added_token *token = &t->special.added.items[i];
        token->id = vocabulary_find(&t->vocabulary, token->content, strlen(token->content));
    }
    for (size_t i = 0; i < t->special.added.count; i++) {
        struct added_token *token = &t->special.added.items[i];
        if (token->id >= 0)
            continue;
        DL_TRY(vocabulary_add(cx, &t->vocabulary, dir, token->content, strlen(token->content),
                              (double)next));
        token->id = (int32_t)next++;
    }
    return t->vocabulary.count > old_count ? vocabulary_sort(cx, &t->vocabulary, dir) : DL_OK;
}

static int fill_matchers(dl_context *cx, struct tokenizer *t) {
    const struct added_tokens *added = &t->special.added;
    t->raw.tokens = t->normalized.tokens = added;
    for (size_t i = 0; i < added->count; i++) {
        const char *content = added->items[i].content;
        if (!added->items[i].normalized) {
            DL_TRY(matcher_add(cx, &t->raw, content, strlen(content), i));
            continue;
        }
        struct buffer normal = {0};
        int status = t->class->normalize(cx, t, content, strlen(content), &normal);
        if (status == DL_OK)
            status = buffer_check(cx, &normal, "added tokens");
        if (status == DL_OK)
            status = matcher_add(cx, &t->normalized, normal.data, normal.length, i);
        buffer_free(&normal);
        DL_TRY(status);
    }
    matcher_sort(&t->raw);
    matcher_sort(&t->normalized);
    return DL_OK;
}

static int named_id(dl_context *cx, const char *dir, const struct tokenizer *t,
                    enum named_token which, const char *key, int32_t *id) {
    const char *content = t->special.named[which];
    *id = content ? vocabulary_find(&t->vocabulary, content, strlen(content)) : -1;
    if (*id < 0)
        return fail(cx, DL_MODEL, "%s: tokenizer_config.json: %s: missing or empty", dir, key);
    return DL_OK;
}

static int open_parts(dl_context *cx, const char *dir, struct tokenizer *t) {
    DL_TRY(t->class->open(cx, dir, t));
    DL_TRY(number_added(cx, dir, t));
    DL_TRY(fill_matchers(cx, t));
    if (t->class->begins)
        DL_TRY(named_id(cx, dir, t, TOKEN_BOS, "bos_token", &t->bos));
    DL_TRY(named_id(cx, dir, t, TOKEN_EOS, "eos_token", &t->eos));
    return named_id(cx, dir, t, TOKEN_PAD, "pad_token", &t->pad);
}

int tokenizer_open(dl_context *cx, const char *dir, const char *class_name,
                   struct tokenizer **out) {
    const struct tokenizer_class *class = find_class(class_name);
    void *memory;
    *out = NULL;
    if (!class)
        return unknown_class(cx, dir, class_name);
    DL_TRY(allocate(cx, "tokenizer", 1, sizeof **out, &memory));
    struct tokenizer *t = memory;
    t->class = class;
    int status = open_parts(cx, dir, t);
    if (status != DL_OK) {
        tokenizer_close(t);
        return status;
    }
    *out = t;
    return DL_OK;
}

void tokenizer_close(struct tokenizer *t) {
    if (!t)
        return;
    if (t->own)
        t->class->close(t->own);
    matcher_free(&t->raw);
    matcher_free(&t->normalized);
    special_tokens_free(&t->special);
    vocabulary_free(&t->vocabulary);
    free(t);
}

/* ---- encoding ------------------------------------------------------------------------------ */

int id_push(dl_context *cx, struct id_list *list, int32_t id) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 128;
        int32_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (!ids)
            return fail_memory(cx, "tokens", capacity * sizeof *ids);
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return DL_OK;
}

static int encode_normalized(dl_context *cx, const struct tokenizer *t, const char *text,
                             size_t length, struct id_list *ids) {
    struct matcher_walk walk = {.matcher = &t->normalized, .text = text, .length = length};
    struct span span;
    while (matcher_next(&walk, &span)) {
        if (span.token)
            DL_TRY(id_push(cx, ids, span.token->id));
        else
            DL_TRY(t->class->encode(cx, t, text + span.begin, span.end - span.begin, ids));
    }
    return DL_OK;
}

static int encode_raw(dl_context *cx, const struct tokenizer *t, const char *text, size_t length,
                      struct id_list *ids) {
    struct buffer normal = {0};
    int status = t->class->normalize(cx, t, text, length, &normal);
    if (status == DL_OK)
        status = buffer_check(cx, &normal, "normalizing the text");
    if (status == DL_OK)
        status = encode_normalized(cx, t, normal.data, normal.length, ids);
    buffer_free(&normal);
    return status;
}

/* All ids of the text, without bos and eos. */
static int encode(dl_context *cx, const struct tokenizer *t, const char *text, size_t length,
                  struct id_list *ids) {
    struct matcher_walk walk = {.matcher = &t->raw, .text = text, .length = length};
    struct span span;
    while (matcher_next(&walk, &span)) {
        if (span.token)
            DL_TRY(id_push(cx, ids, span.token->id));
        else
            DL_TRY(encode_raw(cx, t, text + span.begin, span.end - span.begin, ids));
    }
    return DL_OK;
}

/* ---- the result ---------------------------------------------------------------------------- */

static int add_token(dl_context *cx, const struct tokenizer *t, int32_t id, struct tokens *out) {
    out->ids[out->count] = id;
    out->pieces[out->count] = strdup(t->vocabulary.by_id[id]);
    if (!out->pieces[out->count])
        return fail_memory(cx, "tokens", strlen(t->vocabulary.by_id[id]) + 1);
    out->count++;
    return DL_OK;
}

static int fill_tokens(dl_context *cx, const struct tokenizer *t, const int32_t *ids, size_t count,
                       struct tokens *out) {
    void *memory;
    DL_TRY(allocate(cx, "tokens", count + 2, sizeof *out->ids, &memory));
    out->ids = memory;
    DL_TRY(allocate(cx, "tokens", count + 2, sizeof *out->pieces, &memory));
    out->pieces = memory;
    if (t->class->begins)
        DL_TRY(add_token(cx, t, t->bos, out));
    for (size_t i = 0; i < count; i++)
        DL_TRY(add_token(cx, t, ids[i], out));
    return add_token(cx, t, t->eos, out);
}

/* *out: the text of the ids, invalid UTF-8 (from a character cut in two) replaced, without spaces
 * around it. */
static int decode(dl_context *cx, const struct tokenizer *t, const int32_t *ids, size_t count,
                  char **out) {
    struct buffer raw = {0}, text = {0};
    for (size_t i = 0; i < count; i++) {
        const char *piece = t->vocabulary.by_id[ids[i]];
        if (added_find(&t->special.added, piece))
            buffer_text(&raw, piece);
        else
            t->class->decode(t, piece, &raw);
    }
    utf8_repair(&text, raw.data, raw.length);
    int status = raw.failed ? buffer_check(cx, &raw, "tokens") : buffer_check(cx, &text, "tokens");
    buffer_free(&raw);
    size_t begin = text.data ? strspn(text.data, " ") : 0, end = text.length;
    while (end > begin && text.data[end - 1] == ' ')
        end--;
    void *copy = NULL;
    if (status == DL_OK)
        status = allocate(cx, "tokens", end - begin + 1, 1, &copy);
    if (status == DL_OK && end > begin)
        memcpy(copy, text.data + begin, end - begin);
    buffer_free(&text);
    *out = copy;
    return status;
}

/* Cuts ids to what fits into max_length beside bos and eos. */
static int cut_and_fill(dl_context *cx, const struct tokenizer *t, const struct id_list *ids,
                        size_t max_length, struct tokens *out) {
    size_t frame = t->class->begins ? 2 : 1, count = ids->count;
    if (max_length && count > max_length - frame) {
        count = max_length - frame;
        DL_TRY(decode(cx, t, ids->ids + count, ids->count - count, &out->cut));
    }
    return fill_tokens(cx, t, ids->ids, count, out);
}

int tokenize(dl_context *cx, const struct tokenizer *t, const char *text, size_t length,
             size_t max_length, struct tokens *out) {
    struct id_list ids = {0};
    *out = (struct tokens){0};
    if (max_length && max_length < (t->class->begins ? 2u : 1u))
        return fail(cx, DL_USAGE, "text: %zu tokens are too few for the special tokens",
                    max_length);
    DL_TRY(utf8_check(cx, text, length));
    int status = encode(cx, t, text, length, &ids);
    if (status == DL_OK)
        status = cut_and_fill(cx, t, &ids, max_length, out);
    free(ids.ids);
    if (status != DL_OK)
        tokens_free(out);
    return status;
}

void tokens_free(struct tokens *tokens) {
    for (size_t i = 0; i < tokens->count; i++)
        free(tokens->pieces[i]);
    free(tokens->pieces);
    free(tokens->ids);
    free(tokens->cut);
    *tokens = (struct tokens){0};
}

/* ---- queries ------------------------------------------------------------------------------- */

void tokenizer_pad(const struct tokenizer *t, const struct tokens *tokens, int32_t *ids,
                   size_t max_length) {
    for (size_t i = 0; i < max_length; i++)
        ids[i] = i < tokens->count ? tokens->ids[i] : t->pad;
}

size_t tokenizer_max_length(const struct tokenizer *t) {
    return t->special.max_length;
}

size_t tokenizer_vocab_size(const struct tokenizer *t) {
    return t->vocabulary.size;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->vocabulary.size ? t->vocabulary.by_id[id] : NULL;
}
