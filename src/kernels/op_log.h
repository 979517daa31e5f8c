/* What operations a forward pass is made of: a log of their shapes, kept in plan mode, so that each
 * can be timed by itself. Shape letters as in ops.h. */
#ifndef DLENS_KERNELS_OP_LOG_H
#define DLENS_KERNELS_OP_LOG_H

#include "kernels/ops.h"

enum op_kind { OP_LINEAR, OP_CONV, OP_ATTENTION };

struct op_call {
    enum op_kind kind;
    size_t M;                         /* linear: rows */
    size_t N, K, side;                /* linear and convolution: the weights', (N,K,side,side) */
    enum dtype dtype;                 /* theirs */
    struct conv_shape conv;           /* convolution */
    struct attention_shape attention; /* attention; its biases are left out */
    size_t times;                     /* how often it was called so */
};

struct op_log {
    struct op_call
        *calls; /* different ones, in the order of their first call; freed by the owner */
    size_t count, capacity;
    bool cut; /* there was no memory for more */
};

/* Takes note of a call (its `times` is not looked at) where the context keeps a log and plans. */
void op_note(dl_context *cx, const struct op_call *call);

/* Runs `call` on random numbers again and again for about `seconds` and gives its shortest time and
 * its multiply-adds. DL_FAILED without memory. */
int op_time(dl_context *cx, const struct op_call *call, double seconds, double *best, double *work);

/* Multiply-adds per second of this processor at its very best: independent ones on registers, on
 * the context's threads. */
double op_peak(const dl_context *cx);

#endif
