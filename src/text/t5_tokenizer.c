/* T5's tokenizer: a sentencepiece unigram model and a hundred extra ids behind it.
 *
 * Source: Raffel et al. 2020, arXiv 1910.10683; the files are tokenizer.json, or else spiece.model.
 * As in transformers 5 (models/t5/tokenization_t5.py), special tokens written out in the text are
 * tokens, what follows one begins a word, and <extra_id_0> is the last piece of the vocabulary. In
 * normalizing, the sentencepiece library is followed: it takes the longest rule, transformers goes
 * by grapheme clusters and drops what its rule does not reach. */
#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer_class.h"
#include "text/unigram.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX_BYTES = 1 << 26, EXTRA_IDS_MAX = 4096, NAME_MAX_BYTES = 32 };

static const char *const defaults[NAMED_TOKENS] = {
    [TOKEN_EOS] = "</s>", [TOKEN_UNK] = "<unk>", [TOKEN_PAD] = "<pad>"};

/* ---- extra ids ----------------------------------------------------------------------------- */

static const char *extra_name(char name[NAME_MAX_BYTES], long i) {
    snprintf(name, NAME_MAX_BYTES, "<extra_id_%ld>", i);
    return name;
}

/* extra_ids of tokenizer_config.json, 100 where it is not given. */
static int read_extra_ids(dl_context *cx, const char *dir, long *count) {
    struct config config;
    char *path = path_join(dir, "tokenizer_config.json");
    if (!path)
        return fail_memory(cx, "tokenizer", strlen(dir));
    bool there = file_exists(path);
    free(path);
    *count = 100;
    if (!there)
        return DL_OK;
    DL_TRY(config_open(cx, dir, "tokenizer_config.json", &config));
    *count = config_int(&config, "extra_ids", 100, 0, EXTRA_IDS_MAX);
    return config_end(&config);
}

/* The pieces behind those of spiece.model, in falling order. */
static int add_extra_pieces(dl_context *cx, const char *dir, struct tokenizer *t, long count) {
    char name[NAME_MAX_BYTES];
    for (long i = count - 1; i >= 0; i--) {
        extra_name(name, i);
        DL_TRY(vocabulary_add(cx, &t->vocabulary, dir, name, strlen(name),
                              (double)t->vocabulary.count));
    }
    return DL_OK;
}

static int define_special(dl_context *cx, struct tokenizer *t, const char *content) {
    struct added_token token = {.content = content, .file_id = HUGE_VAL, .id = -1};
    return added_find(&t->special.added, content) ? DL_OK
                                                  : added_define(cx, &t->special.added, &token);
}

/* Where the files list no additional special tokens: the control and user-defined pieces of the
 * model, and the extra ids. Before the vocabulary is sorted. */
static int define_defaults(dl_context *cx, struct tokenizer *t, long extra) {
    const struct unigram *model = t->own;
    char name[NAME_MAX_BYTES];
    for (size_t id = 0; id < model->count && !t->special.additional; id++) {
        if (model->types[id] == PIECE_CONTROL || model->types[id] == PIECE_USER)
            DL_TRY(define_special(cx, t, t->vocabulary.pieces[id].text));
    }
    for (long i = 0; i < extra && !t->special.additional; i++)
        DL_TRY(define_special(cx, t, extra_name(name, i)));
    return DL_OK;
}

/* An added token is never found by the model: tokenizer.json, which knows no types, lists special
 * tokens like any other piece. After the vocabulary is sorted. */
static void hide_added(struct tokenizer *t) {
    struct unigram *model = t->own;
    for (size_t i = 0; i < t->special.added.count; i++) {
        const char *content = t->special.added.items[i].content;
        int32_t id = vocabulary_find(&t->vocabulary, content, strlen(content));
        if (id >= 0 && (size_t)id < model->count && model->types[id] == PIECE_NORMAL)
            model->types[id] = PIECE_CONTROL;
    }
}

/* ---- opening ------------------------------------------------------------------------------- */

static int open_json(dl_context *cx, const char *dir, struct tokenizer *t, const char *path) {
    cJSON *root;
    DL_TRY(json_read(cx, path, FILE_MAX_BYTES, &root));
    int status = special_tokens_read(cx, dir, root, defaults, &t->special);
    if (status == DL_OK)
        status = unigram_read_json(cx, path, root, &t->vocabulary, t->own);
    cJSON_Delete(root);
    return status;
}

static int open_model(dl_context *cx, const char *dir, struct tokenizer *t, const char *path,
                      long extra) {
    if (!file_exists(path))
        return fail(cx, DL_MODEL, "%s: holds neither tokenizer.json nor spiece.model", dir);
    DL_TRY(special_tokens_read(cx, dir, NULL, defaults, &t->special));
    DL_TRY(unigram_read_model(cx, path, &t->vocabulary, t->own));
    return add_extra_pieces(cx, dir, t, extra);
}

static int t5_open(dl_context *cx, const char *dir, struct tokenizer *t) {
    char *json = path_join(dir, "tokenizer.json"), *model = path_join(dir, "spiece.model");
    long extra = 0;
    int status = json && model ? allocate(cx, "tokenizer", 1, sizeof(struct unigram), &t->own)
                               : fail_memory(cx, "tokenizer", 2 * strlen(dir));
    if (status == DL_OK)
        status = read_extra_ids(cx, dir, &extra);
    if (status == DL_OK)
        status =
            file_exists(json) ? open_json(cx, dir, t, json) : open_model(cx, dir, t, model, extra);
    if (status == DL_OK)
        status = define_defaults(cx, t, extra);
    if (status == DL_OK)
        status = vocabulary_sort(cx, &t->vocabulary, dir);
    if (status == DL_OK)
        hide_added(t);
    free(json);
    free(model);
    return status;
}

static void t5_close(void *own) {
    unigram_free(own);
    free(own);
}

/* ---- encoding ------------------------------------------------------------------------------ */

static int t5_normalize(dl_context *cx, const struct tokenizer *t, const char *text, size_t length,
                        struct buffer *out) {
    (void)cx;
    unigram_normalize(t->own, text, length, out);
    return DL_OK;
}

static int t5_encode(dl_context *cx, const struct tokenizer *t, const char *text, size_t length,
                     struct id_list *ids) {
    return unigram_encode(cx, t->own, &t->vocabulary, text, length, ids);
}

static void t5_decode(const struct tokenizer *t, const char *piece, struct buffer *out) {
    static const char space[] = "\xe2\x96\x81"; /* U+2581 */
    (void)t;
    for (const char *next; (next = strstr(piece, space)); piece = next + strlen(space)) {
        buffer_bytes(out, piece, (size_t)(next - piece));
        buffer_text(out, " ");
    }
    buffer_text(out, piece);
}

static const char *const class_names[] = {"T5Tokenizer", "T5TokenizerFast", NULL};

const struct tokenizer_class t5_tokenizer_class = {
    .names = class_names,
    .open = t5_open,
    .normalize = t5_normalize,
    .encode = t5_encode,
    .decode = t5_decode,
    .close = t5_close,
    .begins = false,
};
