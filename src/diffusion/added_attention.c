/* Attention with added keys and values; formulas and shape letters in added_attention.h. */
#include "diffusion/added_attention.h"

#include <math.h>

static const float norm_eps = 1e-5f; /* of both norms, not in the config */

void bind_added_attention(struct binder *b, struct added_attention *w) {
    bind_norm(b, &w->norm, "group_norm", w->C);
    if (w->norm_states)
        bind_norm(b, &w->norm_cross, "norm_cross", w->D);
    bind_linear(b, &w->q, "to_q", w->C, w->C, BIAS_YES);
    if (!w->text_only) {
        bind_linear(b, &w->k, "to_k", w->C, w->C, BIAS_YES);
        bind_linear(b, &w->v, "to_v", w->C, w->C, BIAS_YES);
    }
    bind_linear(b, &w->add_k, "add_k_proj", w->C, w->D, BIAS_YES);
    bind_linear(b, &w->add_v, "add_v_proj", w->C, w->D, BIAS_YES);
    bind_linear(b, &w->out, "to_out.0", w->C, w->C, BIAS_YES);
}

/* keys (B,T+P,C), or (B,T,C) if text_only: the text's, then the picture's. */
static void project_both(dl_context *cx, float *keys, const float *s, const float *n,
                         const struct linear *text, const struct linear *picture,
                         const struct added_attention *w, size_t B, size_t P, size_t T) {
    size_t own = w->text_only ? 0 : P;

    for (size_t i = 0; i < B; i++) {
        float *item = keys + i * (T + own) * w->C;
        linear(cx, item, s + i * T * w->D, text, T);
        if (own > 0)
            linear(cx, item + T * w->C, n + i * P * w->C, picture, P);
    }
}

void added_attention_add(dl_context *cx, float *x, const float *states,
                         const struct added_attention *w, size_t B, size_t P, size_t T,
                         struct attention_view *view) {
    size_t C = w->C, d = C / w->heads, keys = w->text_only ? T : T + P;
    const struct attention_shape shape = {.batch = B,
                                          .heads = w->heads,
                                          .queries = P,
                                          .keys = keys,
                                          .head_dim = d,
                                          .scale = 1.0f / sqrtf((float)d)};
    size_t mark = arena_mark(cx);
    float *n = floats(cx, B * P * C);    /* (B,P,C) */
    float *q = floats(cx, B * P * C);    /* (B,P,C) */
    float *k = floats(cx, B * keys * C); /* (B,T+P,C) */
    float *v = floats(cx, B * keys * C); /* (B,T+P,C) */

    op_group_norm(cx, n, x, w->norm.weight, w->norm.bias, NULL, NULL, B, P, C, w->groups, norm_eps,
                  ACT_NONE);
    if (w->norm_states) {
        float *s = floats(cx, B * T * w->D); /* (B,T,D) */
        op_group_norm(cx, s, states, w->norm_cross.weight, w->norm_cross.bias, NULL, NULL, B, T,
                      w->D, CROSS_NORM_GROUPS, norm_eps, ACT_NONE);
        states = s;
    }
    linear(cx, q, n, &w->q, B * P);
    project_both(cx, k, states, n, &w->add_k, &w->k, w, B, P, T);
    project_both(cx, v, states, n, &w->add_v, &w->v, w, B, P, T);
    attention_show(cx, view, q, k, &shape, T);
    op_attention(cx, n, q, k, v, &shape); /* n is free now: (B,P,C) */
    linear_add(cx, x, n, &w->out, B * P);
    arena_release(cx, mark);
}
