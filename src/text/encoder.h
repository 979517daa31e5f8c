/* Text encoders: from token ids to one hidden state per layer.
 *
 * One interface for all; which network is behind it follows from the class that the model's
 * model_index.json names.
 *
 * B batch   T tokens   D hidden size   L blocks   P pooled size   V vocabulary   h heads
 * F width of a block's feed-forward layer */
#ifndef DLENS_TEXT_ENCODER_H
#define DLENS_TEXT_ENCODER_H

#include "base/context.h"

struct store;
struct tensor;
struct text_encoder_class;

/* Heads the struct of every class of encoder; read-only once open, so that several contexts may
 * use one encoder at once. */
struct text_encoder {
    const struct text_encoder_class *class;
    const char *class_name;          /* "CLIPTextModel"; static */
    struct store *store;             /* the weights, owned */
    size_t layers;                   /* L: hidden states are 0..L */
    size_t hidden_size;              /* D */
    size_t max_tokens;               /* largest T (max_position_embeddings); 0: no limit */
    size_t vocab_size;               /* ids are 0..vocab_size-1 */
    size_t pooled_size;              /* P; 0: this class pools nothing */
    size_t heads;                    /* h */
    size_t units;                    /* F */
    bool streamed;                   /* it gives back its weights itself, half a block at a time */
    const struct tensor *vocabulary; /* (V,D) the tokens' embeddings, without positions */
};

/* Opens DIR/config.json and the weights in DIR. *out is freed with text_encoder_close. DL_MODEL
 * for an unknown class (the message lists those that are supported), for a config that is missing,
 * damaged or unsupported, and for weights that do not fit it. */
int text_encoder_open(dl_context *cx, const char *dir, const char *class_name,
                      struct text_encoder **out);
void text_encoder_close(struct text_encoder *encoder); /* NULL is allowed */

/* Told of the block that has begun, from 1; not 0: stop. */
struct encode_watch {
    int (*fn)(void *user, size_t block, size_t blocks);
    void *user;
};

/* One pass that keeps every layer: hidden (L+1,B,T,D), [0] the embeddings, [k] the raw output of
 * block k, without the final norm. ids (B,T). mask (B,T): 1 for a real token, 0 for padding; NULL:
 * all are real; CLIP takes none and ignores it. skip (L): 1 leaves the block out, its input passes
 * on; NULL: none. Plans and reserves the arena itself; nothing may be live there. DL_USAGE for an
 * id or a T out of range, DL_FAILED without memory. All texts go through a block before the next
 * one is read. */
int text_encoder_forward(dl_context *cx, const struct text_encoder *encoder, float *hidden,
                         const int32_t *ids, const unsigned char *mask, size_t B, size_t T,
                         const unsigned char *skip);

/* The same, watched: DL_CANCELLED where `watch` (may be NULL) says so. */
int text_encoder_forward_watched(dl_context *cx, const struct text_encoder *encoder, float *hidden,
                                 const int32_t *ids, const unsigned char *mask, size_t B, size_t T,
                                 const unsigned char *skip, const struct encode_watch *watch);

/* y (rows,D) = the encoder's final norm of x (rows,D); a copy where the encoder has none. y may be
 * x. */
void text_encoder_final_norm(dl_context *cx, const struct text_encoder *encoder, float *y,
                             const float *x, size_t rows);

/* pooled (B,P) from normed (B,T,D), the last layer after the final norm, and ids (B,T). Plans and
 * reserves the arena itself. DL_USAGE if the encoder pools nothing. */
int text_encoder_pooled(dl_context *cx, const struct text_encoder *encoder, float *pooled,
                        const float *normed, const int32_t *ids, size_t B, size_t T);

/* ---- looking inside a block, `block` from 0, given its input x (B,T,D), hidden state `block`.
 * Each plans and reserves the arena itself; nothing may be live there. mask as for the forward
 * pass. */

/* p (B,h,T,T): how much each token (row) attends to each (column), by head. */
int text_encoder_attention(dl_context *cx, const struct text_encoder *encoder, size_t block,
                           float *p, const float *x, const unsigned char *mask, size_t B, size_t T);

/* units (B,T,F): the feed-forward layer's activations, as its last matrix is given them. */
int text_encoder_units(dl_context *cx, const struct text_encoder *encoder, size_t block,
                       float *units, const float *x, const unsigned char *mask, size_t B, size_t T);

/* y (rows,D) = the norm that the block puts before its attention, of x (rows,D). y may be x. */
void text_encoder_block_norm(dl_context *cx, const struct text_encoder *encoder, size_t block,
                             float *y, const float *x, size_t rows);

/* Bytes of arena that text_encoder_forward takes for this batch, `hidden` not counted. */
size_t text_encoder_memory(dl_context *cx, const struct text_encoder *encoder, size_t B, size_t T);

const struct store *text_encoder_store(const struct text_encoder *encoder);

#endif
