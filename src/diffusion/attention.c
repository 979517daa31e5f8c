/* Attention; formulas and shape letters in attention.h. */
#include "diffusion/attention.h"

#include <math.h>

void bind_attention(struct binder *b, struct attention *w, size_t C, size_t D, size_t heads,
                    enum bias bias) {
    w->C = C;
    w->D = D;
    w->heads = heads;
    bind_linear(b, &w->q, "to_q|query", C, C, bias);
    bind_linear(b, &w->k, "to_k|key", C, D, bias);
    bind_linear(b, &w->v, "to_v|value", C, D, bias);
    bind_linear(b, &w->out, "to_out.0|proj_attn", C, C, BIAS_YES);
}

/* x (B,P,C) += Wo softmax(Wq n K^T / sqrt(d)) V with keys k and values v (B,T,C). */
static void attend_add(dl_context *cx, float *x, float *n, const float *k, const float *v,
                       const struct attention *w, size_t B, size_t P, size_t T) {
    const struct attention_shape shape = {.batch = B,
                                          .heads = w->heads,
                                          .queries = P,
                                          .keys = T,
                                          .head_dim = w->C / w->heads,
                                          .scale = 1.0f / sqrtf((float)(w->C / w->heads))};
    float *q = floats(cx, B * P * w->C); /* (B,P,C) */

    linear(cx, q, n, &w->q, B * P);
    op_attention(cx, n, q, k, v, &shape); /* n is free now: (B,P,C) */
    linear_add(cx, x, n, &w->out, B * P);
}

void attention_add(dl_context *cx, float *x, float *n, const struct attention *w, size_t B,
                   size_t P) {
    size_t mark = arena_mark(cx);
    float *k = floats(cx, B * P * w->C); /* (B,P,C) */
    float *v = floats(cx, B * P * w->C); /* (B,P,C) */

    linear(cx, k, n, &w->k, B * P);
    linear(cx, v, n, &w->v, B * P);
    attend_add(cx, x, n, k, v, w, B, P, P);
    arena_release(cx, mark);
}

void cross_attention_add(dl_context *cx, float *x, float *n, struct text *text,
                         const struct attention *w, size_t B, size_t P) {
    size_t mark = arena_mark(cx);
    const float *k = text_keys(cx, text, text->states, &w->k, B); /* (B,T,C) */
    const float *v = text_keys(cx, text, text->states, &w->v, B); /* (B,T,C) */

    attend_add(cx, x, n, k, v, w, B, P, text->tokens);
    arena_release(cx, mark);
}

void cross_attention_keep(dl_context *cx, float *kept, size_t *at, const float *states,
                          const struct attention *w, size_t rows) {
    text_keep(cx, kept, at, states, &w->k, rows);
    text_keep(cx, kept, at, states, &w->v, rows);
}

void bind_self_attention(struct binder *b, struct self_attention *w, size_t C, size_t heads,
                         size_t groups, float eps) {
    w->groups = groups;
    w->eps = eps;
    bind_norm(b, &w->norm, "group_norm", C);
    bind_attention(b, &w->attention, C, C, heads, BIAS_YES);
}

void self_attention_add(dl_context *cx, float *x, const struct self_attention *w, size_t B,
                        size_t P) {
    size_t C = w->attention.C, mark = arena_mark(cx);
    float *n = floats(cx, B * P * C); /* (B,P,C) */

    op_group_norm(cx, n, x, w->norm.weight, w->norm.bias, NULL, NULL, B, P, C, w->groups, w->eps,
                  ACT_NONE);
    attention_add(cx, x, n, &w->attention, B, P);
    arena_release(cx, mark);
}
