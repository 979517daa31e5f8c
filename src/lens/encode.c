/* From prompts to hidden states: many in one pass, so that an encoder larger than the memory is
 * read once for all of them.
 *
 * L blocks of the encoder   B prompts   T tokens   D width of the states */
#include "lens/lens.h"

#include <stdlib.h>
#include <string.h>

/* Tokens of one prompt: ids (T) with padding, mask (T) 1 for what is no padding. */
static int tokenize_padded(dl_context *cx, const dl_model *model, const char *prompt, int32_t *ids,
                           unsigned char *mask, char **cut) {
    struct tokens tokens = {0};
    DL_TRY(model_tokenize(cx, model, prompt, strlen(prompt), &tokens));
    tokenizer_pad(model->tokenizer, &tokens, ids, model->tokens);
    memset(mask, 0, model->tokens);
    memset(mask, 1, tokens.count);
    *cut = tokens.cut;
    tokens.cut = NULL;
    tokens_free(&tokens);
    return DL_OK;
}

/* Sizes, and the memory of all. */
static int begin(dl_context *cx, const dl_model *model, size_t count, struct encodings *out) {
    size_t values; /* (L+1) B T D */
    memset(out, 0, sizeof *out);
    out->count = count;
    DL_TRY(allocate(cx, "encodings", count, sizeof *out->items, (void **)&out->items));
    if (!size_mul(model->encoder->layers + 1, count, &values) ||
        !size_mul(values, model->tokens, &values) ||
        !size_mul(values, model->encoder->hidden_size, &values))
        return fail_memory(cx, "hidden states", SIZE_MAX);
    DL_TRY(allocate(cx, "hidden states", values, sizeof *out->hidden, (void **)&out->hidden));
    return allocate(cx, "token ids", count * model->tokens, sizeof *out->ids, (void **)&out->ids);
}

int encode_prompts(dl_context *cx, const dl_model *model, const char *const *prompts, size_t count,
                   const unsigned char *skip, const struct encode_watch *watch,
                   struct encodings *out) {
    const size_t T = model->tokens, values = T * model->encoder->hidden_size;
    unsigned char *mask = NULL; /* (B,T) */
    int status = begin(cx, model, count, out);
    if (status == DL_OK)
        status = allocate(cx, "padding mask", count, T, (void **)&mask);
    for (size_t i = 0; i < count && status == DL_OK; i++) {
        struct encoding *e = &out->items[i];
        *e = (struct encoding){
            .layers = model->encoder->layers,
            .tokens = T,
            .width = model->encoder->hidden_size,
            .stride = count * values,
            .hidden = out->hidden + i * values,
            .ids = out->ids + i * T,
        };
        status = tokenize_padded(cx, model, prompts[i], out->ids + i * T, mask + i * T, &e->cut);
    }
    if (status == DL_OK)
        status =
            text_encoder_forward_watched(cx, model->encoder, out->hidden, out->ids,
                                         model->mask_padding ? mask : NULL, count, T, skip, watch);
    free(mask);
    return status;
}

void encodings_free(struct encodings *encodings) {
    for (size_t i = 0; encodings->items && i < encodings->count; i++)
        free(encodings->items[i].cut);
    free(encodings->items);
    free(encodings->hidden);
    free(encodings->ids);
    memset(encodings, 0, sizeof *encodings);
}

size_t encode_group(const dl_model *model) {
    enum { BYTES = 256 << 20, PROMPTS = 32 };
    const size_t one =
        (model->encoder->layers + 1) * model->tokens * model->encoder->hidden_size * sizeof(float);
    const size_t fit = BYTES / one;
    return fit < 1 ? 1 : fit < PROMPTS ? fit : PROMPTS;
}

void condition(dl_context *cx, const dl_model *model, const struct encoding *encoding, int layer,
               bool norm, float *c) {
    const float *hidden = encoding->hidden + (size_t)layer * encoding->stride;
    if (norm)
        text_encoder_final_norm(cx, model->encoder, c, hidden, encoding->tokens);
    else
        memcpy(c, hidden, encoding->tokens * encoding->width * sizeof *c);
}
