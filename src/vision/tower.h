/* CLIP's vision tower: a picture to a vector.
 *
 * B batch   S image size   p patch size   N patches   D hidden size   P size of the embedding */
#ifndef DLENS_VISION_TOWER_H
#define DLENS_VISION_TOWER_H

#include "nn/clip_encoder.h"
#include "store/store.h"

/* What a vision tower comes in. */
enum vision_class {
    VISION_MODEL,                 /* CLIPVisionModel: the normed state of the class token, P = D */
    VISION_MODEL_WITH_PROJECTION, /* CLIPVisionModelWithProjection */
    VISION_OF_CLIP_MODEL          /* CLIPModel: the tower of a whole CLIP model */
};

/* Read-only once open, so that several contexts may use one tower at once. */
struct vision_tower {
    enum vision_class class;
    struct store *store;           /* the weights, owned */
    size_t image_size, patch_size; /* S, p */
    size_t patches;                /* N = (S / p)^2, rounded down before it is squared */
    size_t size;                   /* P */
    struct clip_encoder encoder;
    struct tensor class_embedding; /* (1,D) */
    struct tensor patch_embedding; /* (D, 3 p p), a convolution (D,3,p,p) whose stride is p */
    struct tensor positions;       /* (N+1,D) */
    struct norm pre_layernorm;     /* (D); "pre_layrnorm" in files */
    struct norm post_layernorm;    /* (D) */
    struct linear projection;      /* (P,D), but for VISION_MODEL */
};

/* Opens DIR/config.json and the weights in DIR. *out is freed with vision_close. DL_MODEL for a
 * config that is missing, damaged or unsupported, and for weights that do not fit it. */
int vision_open(dl_context *cx, const char *dir, enum vision_class class,
                struct vision_tower **out);
void vision_close(struct vision_tower *tower); /* NULL is allowed */

/* out (B,P) from pixels (B,3,S,S), preprocessed. Plans and reserves the arena itself; nothing may
 * be live there. An embedding does not depend on the batch that it is in. */
int vision_embed(dl_context *cx, const struct vision_tower *tower, float *out, const float *pixels,
                 size_t B);

#endif
