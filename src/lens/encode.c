/* From prompts to hidden states: many in one pass, so that an encoder larger than the memory is
 * read once for all of them.
 *
 * L blocks of the encoder   B prompts   T tokens   D width of the states */
#include "lens/controls.h"
#include "lens/lens.h"

#include "family/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of one prompt: ids (T) with padding, mask (T) 1 for what is no padding. */
static int tokenize_padded(dl_context *cx, const dl_model *model, const char *prompt,
                           enum dl_control control, int32_t *ids, unsigned char *mask, char **cut) {
    struct tokens tokens = {0};
    DL_TRY(model_tokenize(cx, model, prompt, strlen(prompt), &tokens));
    tokenizer_pad(model->tokenizer, &tokens, ids, model->tokens);
    memset(mask, 0, model->tokens);
    memset(mask, 1, tokens.count);
    int status = control_tokens(cx, model, control, &tokens, ids, mask);
    *cut = tokens.cut;
    tokens.cut = NULL;
    tokens_free(&tokens);
    return status;
}

/* Floats of the states of `count` prompts, and their memory; NULL for none. */
static int allocate_states(dl_context *cx, const dl_model *model, size_t count, float **out) {
    size_t values; /* (L+1) count T D */
    if (!count)
        return DL_OK;
    if (!size_mul(model->encoder->layers + 1, count, &values) ||
        !size_mul(values, model->tokens, &values) ||
        !size_mul(values, model->encoder->hidden_size, &values))
        return fail_memory(cx, "hidden states", SIZE_MAX);
    return allocate(cx, "hidden states", values, sizeof **out, (void **)out);
}

static int begin(dl_context *cx, const dl_model *model, const char *const *prompts, size_t count,
                 enum dl_control control, struct encodings *out) {
    const size_t T = model->tokens;
    memset(out, 0, sizeof *out);
    out->count = count;
    DL_TRY(allocate(cx, "encodings", count, sizeof *out->items, (void **)&out->items));
    DL_TRY(allocate(cx, "token ids", count * T, sizeof *out->ids, (void **)&out->ids));
    DL_TRY(allocate(cx, "padding mask", count, T, (void **)&out->mask));
    for (size_t i = 0; i < count; i++) {
        struct encoding *e = &out->items[i];
        e->layers = model->encoder->layers;
        e->tokens = T;
        e->width = model->encoder->hidden_size;
        e->ids = out->ids + i * T;
        DL_TRY(tokenize_padded(cx, model, prompts[i], control, out->ids + i * T, out->mask + i * T,
                               &e->cut));
    }
    return DL_OK;
}

static struct cache_key key_of(const dl_model *model, const struct encodings *e, size_t i,
                               const unsigned char *skip) {
    const size_t T = model->tokens;
    return (struct cache_key){e->ids + i * T, model->mask_padding ? e->mask + i * T : NULL, skip};
}

/* Takes what the cache holds; what it does not is left without states. *missing counts that. */
static int take_kept(dl_context *cx, const dl_model *model, const struct cache *cache,
                     const unsigned char *skip, struct encodings *e, size_t *missing) {
    const size_t values = model->tokens * model->encoder->hidden_size, stride = e->count * values;
    size_t found = 0;
    *missing = e->count;
    if (!cache->dir)
        return DL_OK;
    DL_TRY(allocate_states(cx, model, e->count, &e->kept));
    for (size_t i = 0; i < e->count; i++) {
        const struct cache_key key = key_of(model, e, i, skip);
        if (!cache_read(cx, cache, model, &key, e->kept + found * values, stride))
            continue;
        e->items[i].hidden = e->kept + found++ * values;
        e->items[i].stride = stride;
    }
    *missing -= found;
    if (!found) {
        free(e->kept);
        e->kept = NULL;
    }
    return DL_OK;
}

/* Encodes the prompts without states, `count` of them, in one pass: their ids side by side. */
static int encode_missing(dl_context *cx, const dl_model *model, const unsigned char *skip,
                          const struct encode_watch *watch, size_t count, struct encodings *e) {
    const size_t T = model->tokens, values = T * model->encoder->hidden_size;
    int32_t *ids = NULL;
    unsigned char *mask = NULL;
    size_t n = 0;
    int status = allocate_states(cx, model, count, &e->hidden);
    if (status == DL_OK)
        status = allocate(cx, "token ids", count * T, sizeof *ids, (void **)&ids);
    if (status == DL_OK)
        status = allocate(cx, "padding mask", count, T, (void **)&mask);
    for (size_t i = 0; i < e->count && status == DL_OK; i++) {
        if (e->items[i].hidden)
            continue;
        e->items[i].hidden = e->hidden + n * values;
        e->items[i].stride = count * values;
        e->items[i].fresh = true;
        memcpy(ids + n * T, e->ids + i * T, T * sizeof *ids);
        memcpy(mask + n * T, e->mask + i * T, T);
        n++;
    }
    if (status == DL_OK)
        status =
            text_encoder_forward_watched(cx, model->encoder, e->hidden, ids,
                                         model->mask_padding ? mask : NULL, count, T, skip, watch);
    free(ids);
    free(mask);
    return status;
}

/* Keeps what was encoded now. */
static int keep(dl_context *cx, const dl_model *model, const struct cache *cache,
                const char *const *prompts, const unsigned char *skip, const struct encodings *e) {
    for (size_t i = 0; i < e->count && cache->dir; i++) {
        const struct encoding *item = &e->items[i];
        const struct cache_key key = key_of(model, e, i, skip);
        if (item->fresh)
            DL_TRY(cache_write(cx, cache, model, &key, prompts[i], item->hidden, item->stride));
    }
    return DL_OK;
}

int encode_prompts(dl_context *cx, const dl_model *model, const char *const *prompts, size_t count,
                   const struct settings *ablated, const struct cache *cache,
                   const struct encode_watch *watch, struct encodings *out) {
    const unsigned char *skip = ablated ? ablated->skip : NULL;
    size_t missing = 0;
    int status =
        begin(cx, model, prompts, count, ablated ? ablated->control : DL_CONTROL_NONE, out);
    if (status == DL_OK)
        status = take_kept(cx, model, cache, skip, out, &missing);
    if (status == DL_OK && missing)
        status = encode_missing(cx, model, skip, watch, missing, out);
    if (status == DL_OK && missing)
        status = keep(cx, model, cache, prompts, skip, out);
    return status;
}

void encodings_free(struct encodings *encodings) {
    for (size_t i = 0; encodings->items && i < encodings->count; i++)
        free(encodings->items[i].cut);
    free(encodings->items);
    free(encodings->hidden);
    free(encodings->kept);
    free(encodings->ids);
    free(encodings->mask);
    memset(encodings, 0, sizeof *encodings);
}

size_t encode_group(const dl_context *cx, const dl_model *model) {
    return memory_prompts(cx, model);
}

static double mean_square(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum / (double)n;
}

/* c (T,D) = H_l, each token scaled to the root mean square of final_norm(H_L). */
static void match(dl_context *cx, const dl_model *model, const struct encoding *e,
                  const float *hidden, float *c) {
    const size_t D = e->width;
    text_encoder_final_norm(cx, model->encoder, c, e->hidden + e->layers * e->stride, e->tokens);
    for (size_t t = 0; t < e->tokens; t++) {
        const float *h = hidden + t * D;
        const double own = mean_square(h, D);
        const double scale = own > 0 ? sqrt(mean_square(c + t * D, D) / own) : 0;
        for (size_t i = 0; i < D; i++)
            c[t * D + i] = (float)(scale * (double)h[i]);
    }
}

void condition(dl_context *cx, const dl_model *model, const struct encoding *encoding, int layer,
               enum dl_norm norm, float *c) {
    const float *hidden = encoding->hidden + (size_t)layer * encoding->stride;
    const size_t T = encoding->tokens;
    if (norm == DL_NORM_NONE)
        memcpy(c, hidden, T * encoding->width * sizeof *c);
    else if (norm == DL_NORM_MATCH)
        match(cx, model, encoding, hidden, c);
    else if (norm == DL_NORM_BLOCK && (size_t)layer < encoding->layers)
        text_encoder_block_norm(cx, model->encoder, (size_t)layer, c, hidden, T);
    else
        text_encoder_final_norm(cx, model->encoder, c, hidden, T);
}
