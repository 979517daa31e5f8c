/* What is behind the interface of encoder.h: a row of functions per class. Internal to the
 * encoders of this folder.
 *
 * A class's own struct begins with struct text_encoder. B, T, D, P as in encoder.h. */
#ifndef DLENS_TEXT_ENCODER_CLASS_H
#define DLENS_TEXT_ENCODER_CLASS_H

#include "text/encoder.h"

struct text_encoder_class {
    const char *name; /* as in model_index.json */

    /* Reads DIR/config.json and binds the weights of *out, which it allocates; also on failure
     * *out may be set and is then closed. */
    int (*open)(dl_context *cx, const char *dir, const struct text_encoder_class *class,
                struct text_encoder **out);

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

    /* Frees the struct; the store is closed by the caller. */
    void (*close)(struct text_encoder *encoder);
};

extern const struct text_encoder_class clip_text_model, clip_text_model_with_projection;
extern const struct text_encoder_class t5_encoder_model;

#endif
