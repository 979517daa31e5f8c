/* Text encoders: what all of them have in common: choosing the class, checking what is asked,
 * planning before running.
 *
 * A new encoder is one more file with a struct text_encoder_class and one more row in the table. */
#include "text/encoder.h"

#include "out/buffer.h"
#include "store/store.h"
#include "text/encoder_class.h"

#include <stdlib.h>
#include <string.h>

static const struct text_encoder_class *const classes[] = {
    &clip_text_model, &clip_text_model_with_projection, &clip_model_text, &t5_encoder_model};

enum { CLASSES = sizeof classes / sizeof *classes, TOKENS_MAX = 1 << 16 };

static int unknown_class(dl_context *cx, const char *dir, const char *name) {
    struct buffer known = {0};
    for (size_t i = 0; i < CLASSES; i++)
        buffer_format(&known, "%s%s", i ? ", " : "", classes[i]->name);
    int status =
        fail(cx, DL_MODEL, "%s: text encoder class \"%.100s\" is not supported; known are %s", dir,
             name, known.data ? known.data : "none");
    buffer_free(&known);
    return status;
}

int text_encoder_open(dl_context *cx, const char *dir, const char *class_name,
                      struct text_encoder **out) {
    const struct text_encoder_class *class = NULL;
    *out = NULL;
    for (size_t i = 0; i < CLASSES; i++)
        class = strcmp(classes[i]->name, class_name) == 0 ? classes[i] : class;
    if (!class)
        return unknown_class(cx, dir, class_name);
    void *memory;
    DL_TRY(allocate(cx, class->name, 1, class->size, &memory));
    *out = memory;
    (*out)->class = class;
    (*out)->class_name = class->name;
    int status = class->open(cx, dir, *out);
    if (status != DL_OK) {
        text_encoder_close(*out);
        *out = NULL;
    }
    return status;
}

void text_encoder_close(struct text_encoder *encoder) {
    if (!encoder)
        return;
    store_close(encoder->store);
    encoder->class->close(encoder);
    free(encoder);
}

/* ---- running ------------------------------------------------------------------------------- */

static int check_input(dl_context *cx, const struct text_encoder *encoder, const int32_t *ids,
                       size_t B, size_t T) {
    size_t count = encoder->layers + 1;
    size_t max_tokens = encoder->max_tokens ? encoder->max_tokens : TOKENS_MAX;
    if (T == 0 || B == 0 || T > max_tokens)
        return fail(cx, DL_USAGE, "%s: %zu texts of %zu tokens; a text has 1 to %zu tokens",
                    encoder->class_name, B, T, max_tokens);
    if (!size_mul(count, B, &count) || !size_mul(count, T, &count) ||
        !size_mul(count, encoder->hidden_size, &count) || !size_mul(count, sizeof(float), &count))
        return fail(cx, DL_USAGE, "%s: %zu texts of %zu tokens are too many", encoder->class_name,
                    B, T);
    for (size_t i = 0; i < B * T; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= encoder->vocab_size)
            return fail(cx, DL_USAGE,
                        "%s: token %zu has id %d, the encoder has embeddings for 0 to %zu; do "
                        "tokenizer and encoder belong together?",
                        encoder->class_name, i % T, (int)ids[i], encoder->vocab_size - 1);
    }
    return DL_OK;
}

/* A text has few tokens, so each weight meets few rows: packing weights for products of f32 in
 * pieces takes the time that these save (bench/README.md). Texts go without; what they are to go
 * back to. */
static const struct products *without_pieces(dl_context *cx) {
    const struct products *const matrices = cx->matrices;
    cx->matrices = NULL;
    return matrices;
}

/* The forward pass, planned or run. */
static bool forward(dl_context *cx, const struct text_encoder *encoder, float *hidden,
                    const int32_t *ids, const unsigned char *mask, size_t B, size_t T,
                    const unsigned char *skip, const struct encode_watch *watch) {
    const struct products *const matrices = without_pieces(cx);
    const bool done = encoder->class->forward(cx, encoder, hidden, ids, mask, B, T, skip, watch);
    cx->matrices = matrices;
    return done;
}

int text_encoder_forward(dl_context *cx, const struct text_encoder *encoder, float *hidden,
                         const int32_t *ids, const unsigned char *mask, size_t B, size_t T,
                         const unsigned char *skip) {
    return text_encoder_forward_watched(cx, encoder, hidden, ids, mask, B, T, skip, NULL);
}

int text_encoder_forward_watched(dl_context *cx, const struct text_encoder *encoder, float *hidden,
                                 const int32_t *ids, const unsigned char *mask, size_t B, size_t T,
                                 const unsigned char *skip, const struct encode_watch *watch) {
    DL_TRY(check_input(cx, encoder, ids, B, T));
    arena_plan(cx);
    forward(cx, encoder, NULL, NULL, NULL, B, T, NULL, NULL);
    DL_TRY(arena_reserve(cx, encoder->class_name));
    if (!forward(cx, encoder, hidden, ids, mask, B, T, skip, watch))
        return fail(cx, DL_CANCELLED, "%s: stopped", encoder->class_name);
    if (cx->thrift.give_back)
        store_drop_pages(encoder->store); /* embeddings, too */
    return DL_OK;
}

void text_encoder_final_norm(dl_context *cx, const struct text_encoder *encoder, float *y,
                             const float *x, size_t rows) {
    if (encoder->class->final_norm)
        encoder->class->final_norm(cx, encoder, y, x, rows);
    else if (y != x)
        memcpy(y, x, rows * encoder->hidden_size * sizeof *y);
}

int text_encoder_pooled(dl_context *cx, const struct text_encoder *encoder, float *pooled,
                        const float *normed, const int32_t *ids, size_t B, size_t T) {
    if (!encoder->class->pooled)
        return fail(cx, DL_USAGE, "%s: pools nothing", encoder->class_name);
    DL_TRY(check_input(cx, encoder, ids, B, T));
    arena_plan(cx);
    encoder->class->pooled(cx, encoder, NULL, NULL, NULL, B, T);
    DL_TRY(arena_reserve(cx, encoder->class_name));
    encoder->class->pooled(cx, encoder, pooled, normed, ids, B, T);
    return DL_OK;
}

/* ---- looking inside a block ---------------------------------------------------------------- */

/* What text_encoder_attention and text_encoder_units have in common. */
typedef void (*look_fn)(dl_context *cx, const struct text_encoder *encoder, size_t block,
                        float *out, const float *x, const unsigned char *mask, size_t B, size_t T);

static int look(dl_context *cx, const struct text_encoder *encoder, look_fn fn, size_t block,
                float *out, const float *x, const unsigned char *mask, size_t B, size_t T) {
    if (block >= encoder->layers || !B || !T)
        return fail(cx, DL_USAGE, "%s: block %zu, %zu texts of %zu tokens; blocks are 0 to %zu",
                    encoder->class_name, block, B, T, encoder->layers - 1);
    const struct products *const matrices = without_pieces(cx);
    arena_plan(cx);
    fn(cx, encoder, block, NULL, NULL, NULL, B, T);
    const int status = arena_reserve(cx, encoder->class_name);
    if (status == DL_OK)
        fn(cx, encoder, block, out, x, mask, B, T);
    cx->matrices = matrices;
    return status;
}

int text_encoder_attention(dl_context *cx, const struct text_encoder *encoder, size_t block,
                           float *p, const float *x, const unsigned char *mask, size_t B,
                           size_t T) {
    return look(cx, encoder, encoder->class->attention, block, p, x, mask, B, T);
}

int text_encoder_units(dl_context *cx, const struct text_encoder *encoder, size_t block,
                       float *units, const float *x, const unsigned char *mask, size_t B,
                       size_t T) {
    return look(cx, encoder, encoder->class->units, block, units, x, mask, B, T);
}

void text_encoder_block_norm(dl_context *cx, const struct text_encoder *encoder, size_t block,
                             float *y, const float *x, size_t rows) {
    encoder->class->block_norm(cx, encoder, block, y, x, rows);
}

size_t text_encoder_memory(dl_context *cx, const struct text_encoder *encoder, size_t B, size_t T) {
    arena_plan(cx);
    forward(cx, encoder, NULL, NULL, NULL, B, T, NULL, NULL);
    return arena_plan_end(cx);
}

const struct store *text_encoder_store(const struct text_encoder *encoder) {
    return encoder->store;
}
