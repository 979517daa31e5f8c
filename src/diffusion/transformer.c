/* The transformer of a UNet level; formulas and shape letters in transformer.h. */
#include "diffusion/transformer.h"

#include <stdlib.h>

static const float group_norm_eps = 1e-6f, layer_norm_eps = 1e-5f; /* not in the config */

/* The feed-forward widens 4 times; so many rows at a time bound its memory and stay in cache. */
enum { FEED_FORWARD_ROWS = 2048 };

static void bind_block(struct binder *b, struct transformer_block *w, const struct transformer *t,
                       size_t heads) {
    size_t C = t->C, D = t->D, outer;

    bind_norm(b, &w->norm1, "norm1", C);
    outer = bind_enter(b, "attn1.");
    bind_attention(b, &w->attn1, C, t->only_cross_attention ? D : C, heads, BIAS_NO);
    bind_leave(b, outer);
    bind_norm(b, &w->norm2, "norm2", C);
    outer = bind_enter(b, "attn2.");
    bind_attention(b, &w->attn2, C, D, heads, BIAS_NO);
    bind_leave(b, outer);
    bind_norm(b, &w->norm3, "norm3", C);
    bind_linear(b, &w->ff_in, "ff.net.0.proj", 8 * C, C, BIAS_YES);
    bind_linear(b, &w->ff_out, "ff.net.2", C, 4 * C, BIAS_YES);
}

int bind_transformer(struct binder *b, struct transformer *w, size_t C, size_t D, size_t heads,
                     size_t groups, size_t count, bool only_cross_attention) {
    void *blocks = NULL;

    *w = (struct transformer){.C = C,
                              .D = D,
                              .groups = groups,
                              .count = count,
                              .only_cross_attention = only_cross_attention};
    if (count > 0)
        DL_TRY(allocate(b->cx, "transformer blocks", count, sizeof *w->blocks, &blocks));
    w->blocks = blocks;
    bind_norm(b, &w->norm, "norm", C);
    bind_linear(b, &w->proj_in, "proj_in", C, C, BIAS_YES);
    for (size_t i = 0; i < count; i++) {
        size_t outer = bind_enter(b, "transformer_blocks.%zu.", i);
        bind_block(b, &w->blocks[i], w, heads);
        bind_leave(b, outer);
    }
    bind_linear(b, &w->proj_out, "proj_out", C, C, BIAS_YES);
    return DL_OK;
}

void transformer_free(struct transformer *w) {
    free(w->blocks);
    w->blocks = NULL;
}

/* z (M,C) += W2 (a gelu(g)), [a | g] = W1 layer_norm(z); n (M,C) is scratch. */
static void feed_forward_add(dl_context *cx, float *z, float *n, const struct transformer_block *w,
                             size_t M, size_t C) {
    size_t rows = M < FEED_FORWARD_ROWS ? M : FEED_FORWARD_ROWS, mark = arena_mark(cx);
    const struct linear a = linear_rows(&w->ff_in, 0, 4 * C);
    const struct linear g = linear_rows(&w->ff_in, 4 * C, 4 * C);
    float *gated = floats(cx, rows * 4 * C); /* (rows,4C) */

    layer_norm(cx, n, z, &w->norm3, M, C, layer_norm_eps);
    for (size_t at = 0, done; at < M; at += done) {
        size_t m = M - at < rows ? M - at : rows;
        done = m * plan_rounds(cx, (M - at) / m);
        linear(cx, gated, n + at * C, &a, m);
        linear_gate(cx, gated, n + at * C, &g, m, ACT_GELU);
        linear_add(cx, z + at * C, gated, &w->ff_out, m);
    }
    plan_rounds(cx, 1);
    arena_release(cx, mark);
}

void transformer_add(dl_context *cx, float *x, struct text *text, const struct transformer *w,
                     size_t S, size_t B, size_t P, struct attention_view *view) {
    size_t C = w->C, T = text->tokens, M = B * P, mark = arena_mark(cx);
    size_t items = S;             /* that differ: S until the text is looked at, then B */
    float *z = floats(cx, M * C); /* (B,P,C) */
    float *n = floats(cx, M * C); /* (B,P,C) */

    op_group_norm(cx, n, x, w->norm.weight, w->norm.bias, NULL, NULL, S, P, C, w->groups,
                  group_norm_eps, ACT_NONE);
    linear(cx, z, n, &w->proj_in, S * P);
    for (size_t i = 0; i < w->count; i++) {
        const struct transformer_block *block = &w->blocks[i];
        if (w->only_cross_attention)
            items = repeat_items(cx, z, items, B, P * C);
        layer_norm(cx, n, z, &block->norm1, items * P, C, layer_norm_eps);
        if (w->only_cross_attention) {
            attention_show_cross(cx, view, n, text->states, &block->attn1, B, P, T);
            cross_attention_add(cx, z, n, text, &block->attn1, B, P);
        } else {
            attention_add(cx, z, n, &block->attn1, items, P);
            items = repeat_items(cx, z, items, B, P * C);
        }
        layer_norm(cx, n, z, &block->norm2, M, C, layer_norm_eps);
        attention_show_cross(cx, view, n, text->states, &block->attn2, B, P, T);
        cross_attention_add(cx, z, n, text, &block->attn2, B, P);
        feed_forward_add(cx, z, n, block, M, C);
    }
    repeat_items(cx, z, items, B, P * C);
    repeat_items(cx, x, S, B, P * C);
    linear_add(cx, x, z, &w->proj_out, M);
    arena_release(cx, mark);
}

void transformer_keep(dl_context *cx, float *kept, size_t *at, const float *states,
                      const struct transformer *w, size_t rows) {
    for (size_t i = 0; i < w->count; i++) {
        if (w->only_cross_attention)
            cross_attention_keep(cx, kept, at, states, &w->blocks[i].attn1, rows);
        cross_attention_keep(cx, kept, at, states, &w->blocks[i].attn2, rows);
    }
}
