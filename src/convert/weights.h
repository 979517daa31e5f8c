/* The weights of one part of a model (a text encoder, a UNet, ...) rewritten in another dtype,
 * tensor by tensor: what is held in memory does not grow with the model.
 *
 *     f16, bf16   rounded to the nearest, ties to even; a value too large for f16 is an error
 *     int8        row by row: s = max |w| / 127,  q = round(w / s), ties to even;  w is then s q
 *
 * f16, bf16 and f32 are all tensors of floats. int8 are weights of linear layers and convolutions
 * alone: tensors NAME.weight of two or four dimensions with rows of at least INTEGER_ROW values
 * that are no embedding tables; all others keep the dtype that they have. */
#ifndef DLENS_CONVERT_WEIGHTS_H
#define DLENS_CONVERT_WEIGHTS_H

#include "store/store.h"

enum { INTEGER_ROW = 16 };

/* How a tensor of the new file comes from one of the old. */
enum making { MAKE_COPY, MAKE_FLOATS, MAKE_SCALES, MAKE_INTEGERS };

struct part {
    char *name;           /* of its folder */
    const char *stem;     /* of its files: STEM.safetensors */
    struct store *store;  /* the old weights */
    bool convert;         /* not: the new file holds what the old ones do */
    enum dtype from, to;  /* what most weights are, and become */
    size_t tensors;       /* changed ones */
    size_t before, after; /* bytes of the files; after: of the data, until it is written */
    double largest_error; /* of a weight, as a share of its tensor's largest */

    struct tensor *made; /* (count) of the new file, without data */
    struct source {
        const struct tensor *tensor; /* in the store */
        enum making making;
    } * sources; /* (count) */
    size_t count;
    char *names; /* memory of the scales' names */
};

/* Decides what becomes of each tensor of part->store under `to` (F32, F16, BF16, I8). */
int part_plan(dl_context *cx, struct part *part, enum dtype to);

/* Asked after each tensor; not DL_OK: stop. */
typedef int (*part_step)(dl_context *cx, void *user);

/* Writes the new file; fills in after and largest_error. DL_FAILED, naming the tensor, for values
 * that `to` cannot hold. */
int part_write(dl_context *cx, struct part *part, const char *path, part_step step, void *user);

void part_free(struct part *part);

#endif
