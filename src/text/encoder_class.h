/* What is behind the interface of encoder.h: a row of functions per class. Internal to the
 * encoders of this folder.
 *
 * A class's own struct begins with struct text_encoder. B, T, D, P as in encoder.h. */
#ifndef DLENS_TEXT_ENCODER_CLASS_H
#define DLENS_TEXT_ENCODER_CLASS_H

#include "text/encoder.h"

struct text_encoder_class {
    const char *name; /* as in model_index.json */
    size_t size;      /* of its struct */

    /* Reads DIR/config.json and binds the weights of `encoder`, which is zero but for its class;
     * it is closed by the caller, also on failure. */
    int (*open)(dl_context *cx, const char *dir, struct text_encoder *encoder);

    /* As text_encoder_forward, arguments checked; runs in plan mode too (pointers are NULL then).
     * False if the watch has stopped it. */
    bool (*forward)(dl_context *cx, const struct text_encoder *encoder, float *hidden,
                    const int32_t *ids, const unsigned char *mask, size_t B, size_t T,
                    const unsigned char *skip, const struct encode_watch *watch);

    /* As text_encoder_final_norm; NULL: the identity. */
    void (*final_norm)(dl_context *cx, const struct text_encoder *encoder, float *y, const float *x,
                       size_t rows);

    /* As text_encoder_pooled; runs in plan mode too; NULL where pooled_size is 0. */
    void (*pooled)(dl_context *cx, const struct text_encoder *encoder, float *pooled,
                   const float *normed, const int32_t *ids, size_t B, size_t T);

    /* As text_encoder_attention and text_encoder_units, arguments checked; run in plan mode too. */
    void (*attention)(dl_context *cx, const struct text_encoder *encoder, size_t block, float *p,
                      const float *x, const unsigned char *mask, size_t B, size_t T);
    void (*units)(dl_context *cx, const struct text_encoder *encoder, size_t block, float *units,
                  const float *x, const unsigned char *mask, size_t B, size_t T);

    /* As text_encoder_block_norm. */
    void (*block_norm)(dl_context *cx, const struct text_encoder *encoder, size_t block, float *y,
                       const float *x, size_t rows);

    /* Frees what the struct points to; the struct and the store are the caller's. */
    void (*close)(struct text_encoder *encoder);
};

extern const struct text_encoder_class clip_text_model, clip_text_model_with_projection,
    clip_model_text;
extern const struct text_encoder_class t5_encoder_model;

#endif
