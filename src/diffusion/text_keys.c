/* Keys and values of the text; formulas and shape letters in text_keys.h. */
#include "diffusion/text_keys.h"

const float *text_keys(dl_context *cx, struct text *text, const float *s, const struct linear *w,
                       size_t B) {
    const size_t C = w->weight.shape[0], item = text->tokens * C;
    if (text->kept) {
        const float *keys = text->kept + text->at + text->first * item;
        text->at += text->items * item;
        return keys;
    }
    float *keys = floats(cx, B * item);
    linear(cx, keys, s, w, B * text->tokens);
    return keys;
}

void text_keep(dl_context *cx, float *kept, size_t *at, const float *s, const struct linear *w,
               size_t rows) {
    if (kept)
        linear(cx, kept + *at, s, w, rows);
    *at += rows * w->weight.shape[0];
}
