/* Binding: takes a component's weights out of a store by name, checks each shape, and at the end
 * lists everything that is missing, misshapen or unused.
 *
 *     struct binder b;
 *     bind_begin(&b, cx, store);
 *     size_t outer = bind_enter(&b, "encoder.layers.%zu.", i);
 *     bind_matrix(&b, &w->query, "self_attn.q_proj.weight", D, D);
 *     bind_leave(&b, outer);
 *     DL_TRY(bind_end(&b));
 *
 * Shapes depend on the config, so the calls are made in code rather than from constant tables
 * (design.md proposes {name, offset, shape} tables; with them every shape would be an expression
 * evaluated far from the layer it belongs to). Names may list alternatives: "to_q|query". */
#ifndef DLENS_STORE_BIND_H
#define DLENS_STORE_BIND_H

#include "store/store.h"

struct binder {
    dl_context *cx;
    struct store *store;
    char prefix[512];
    unsigned char *used; /* one flag per tensor of the store */
    size_t failures;     /* missing or misshapen so far */
    char report[1024];   /* the first few of them */
    int status;          /* memory shortage and the like */
};

int bind_begin(struct binder *b, dl_context *cx, struct store *store);

/* Appends to the prefix; returns the length to be given to bind_leave. */
size_t bind_enter(struct binder *b, const char *format, ...) PRINTF_LIKE(2, 3);
void bind_leave(struct binder *b, size_t outer);

/* True if prefix + name (or one of the alternatives) is in the store. Marks nothing. */
bool bind_has(const struct binder *b, const char *names);

/* A tensor used where it lies: dtype F32, F16 or BF16, this shape. Trailing ones count on neither
 * side, so a (N,K,1,1) convolution binds as the matrix (N,K); out has the shape asked for. What
 * cannot be bound is zeroed and counted: bind_end fails. */
void bind_tensor(struct binder *b, struct tensor *out, const char *names, size_t ndim,
                 const size_t *shape);

/* The same for the weights of a matrix product or a convolution: they may be I8 with scales, too.
 */
void bind_weight(struct binder *b, struct tensor *out, const char *names, size_t ndim,
                 const size_t *shape);

/* A table of floats. */
void bind_matrix(struct binder *b, struct tensor *out, const char *names, size_t rows,
                 size_t columns);

/* A copy of a vector of n values, widened to f32 (norm weights, biases); lives as long as the
 * store. */
void bind_vector(struct binder *b, const float **out, const char *names, size_t n);

/* Marks a tensor that may be there but is not needed (position_ids, logit_scale, ...). A name that
 * ends in '*' stands for all that begin so: "encoder.*". */
void bind_ignore(struct binder *b, const char *names);

/* Fails with DL_MODEL naming what is missing or misshapen; tells the log of unused tensors. */
int bind_end(struct binder *b);

#endif
