/* Attention with added keys and values; formulas and shape letters in added_attention.h. */
#include "diffusion/added_attention.h"

#include <math.h>
#include <string.h>

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

/* s (B,T,D) = norm_cross(states), in the arena, or the states themselves. */
static const float *normed_states(dl_context *cx, const float *states,
                                  const struct added_attention *w, size_t B, size_t T) {
    if (!w->norm_states)
        return states;
    float *s = floats(cx, B * T * w->D);
    op_group_norm(cx, s, states, w->norm_cross.weight, w->norm_cross.bias, NULL, NULL, B, T, w->D,
                  CROSS_NORM_GROUPS, norm_eps, ACT_NONE);
    return s;
}

/* keys (B,T+P,C), or (B,T,C) if text_only: the text's, then the picture's. */
static void join_both(dl_context *cx, float *keys, const float *text, const float *n,
                      const struct linear *picture, const struct added_attention *w, size_t B,
                      size_t P, size_t T) {
    size_t own = w->text_only ? 0 : P;

    for (size_t i = 0; i < B; i++) {
        float *item = keys + i * (T + own) * w->C;
        if (!planning(cx))
            memcpy(item, text + i * T * w->C, T * w->C * sizeof *item);
        if (own > 0)
            linear(cx, item + T * w->C, n + i * P * w->C, picture, P);
    }
}

void added_attention_add(dl_context *cx, float *x, struct text *text,
                         const struct added_attention *w, size_t B, size_t P,
                         struct attention_view *view) {
    size_t C = w->C, T = text->tokens, d = C / w->heads, keys = w->text_only ? T : T + P;
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
    const float *s = text->kept ? NULL : normed_states(cx, text->states, w, B, T);

    op_group_norm(cx, n, x, w->norm.weight, w->norm.bias, NULL, NULL, B, P, C, w->groups, norm_eps,
                  ACT_NONE);
    linear(cx, q, n, &w->q, B * P);
    join_both(cx, k, text_keys(cx, text, s, &w->add_k, B), n, &w->k, w, B, P, T);
    join_both(cx, v, text_keys(cx, text, s, &w->add_v, B), n, &w->v, w, B, P, T);
    attention_show(cx, view, w, q, k, &shape, T);
    op_attention(cx, n, q, k, v, &shape); /* n is free now: (B,P,C) */
    linear_add(cx, x, n, &w->out, B * P);
    arena_release(cx, mark);
}

void added_attention_keep(dl_context *cx, float *kept, size_t *at, const float *states,
                          const struct added_attention *w, size_t N, size_t T) {
    size_t mark = arena_mark(cx);
    const float *s = kept ? normed_states(cx, states, w, N, T) : NULL;

    text_keep(cx, kept, at, s, &w->add_k, N * T);
    text_keep(cx, kept, at, s, &w->add_v, N * T);
    arena_release(cx, mark);
}
