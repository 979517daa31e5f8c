/* The time embedding and the text of a UNet; formulas and shape letters in unet_embedding.h. */
#include "diffusion/unet_embedding.h"

#include <math.h>
#include <string.h>

static const float layer_norm_eps = 1e-5f;

/* ---- binding -------------------------------------------------------------------------------- */

static void bind_text_embedding(struct binder *b, struct text_embedding *w) {
    size_t D = w->D, outer = bind_enter(b, "add_embedding.");

    bind_norm(b, &w->norm1, "norm1", D);
    bind_matrix(b, &w->position, "pool.positional_embedding", 1, D);
    bind_linear(b, &w->q, "pool.q_proj", D, D, BIAS_YES);
    bind_linear(b, &w->k, "pool.k_proj", D, D, BIAS_YES);
    bind_linear(b, &w->v, "pool.v_proj", D, D, BIAS_YES);
    bind_linear(b, &w->proj, "proj", w->E, D, BIAS_YES);
    bind_norm(b, &w->norm2, "norm2", w->E);
    bind_leave(b, outer);
}

void bind_unet_embedding(struct binder *b, struct unet_embedding *w, const struct unet_config *c) {
    size_t C0 = c->down[0].channels, E = c->time_embed_dim;

    w->config = c;
    bind_timestep_embedding(b, &w->time, "time_embedding", C0, E, c->time_cond_proj_dim);
    w->time.act = w->class_mlp.act = c->act;
    w->time.post_act = c->timestep_post_act;
    if (c->class_embedding == CLASS_TIMESTEP)
        bind_timestep_embedding(b, &w->class_mlp, "class_embedding", C0, E, 0);
    else if (c->class_embedding == CLASS_TABLE)
        bind_matrix(b, &w->class_table, "class_embedding.weight", c->num_class_embeds, E);
    if (c->text_embedding) {
        w->text.D = c->states_dim;
        w->text.E = E;
        w->text.heads = c->text_embedding_heads;
        bind_text_embedding(b, &w->text);
    }
    w->project_states = c->project_states;
    if (w->project_states)
        bind_linear(b, &w->states_proj, "encoder_hid_proj", c->cross_attention_dim, c->states_dim,
                    BIAS_YES);
}

/* ---- running -------------------------------------------------------------------------------- */

/* c (B,D) = mean over tokens of n (B,T,D) + position. */
static void mean_token(dl_context *cx, float *c, const float *n, const struct tensor *position,
                       size_t B, size_t T, size_t D) {
    size_t mark = arena_mark(cx);
    float *place = floats(cx, D); /* (D) */

    op_embedding_row(cx, place, position, 0);
    if (!planning(cx)) {
        memset(c, 0, B * D * sizeof *c);
        for (size_t i = 0; i < B * T; i++)
            for (size_t j = 0; j < D; j++)
                c[i / T * D + j] += n[i * D + j];
        for (size_t i = 0; i < B * D; i++)
            c[i] = c[i] / (float)T + place[i % D];
    }
    arena_release(cx, mark);
}

void embed_text(dl_context *cx, float *pooled, const struct unet_embedding *embedding,
                const float *states, size_t B, size_t T) {
    const struct text_embedding *w = &embedding->text;
    size_t D = w->D, d = D / w->heads, mark = arena_mark(cx);
    const struct attention_shape shape = {.batch = B,
                                          .heads = w->heads,
                                          .queries = 1,
                                          .keys = T + 1,
                                          .head_dim = d,
                                          .scale = 1.0f / sqrtf((float)d)};
    float *n = floats(cx, B * T * D);       /* (B,T,D) */
    float *c = floats(cx, B * D);           /* (B,D) */
    float *q = floats(cx, B * D);           /* (B,D) */
    float *k = floats(cx, B * (T + 1) * D); /* (B,T+1,D) */
    float *v = floats(cx, B * (T + 1) * D); /* (B,T+1,D) */

    layer_norm(cx, n, states, &w->norm1, B * T, D, layer_norm_eps);
    mean_token(cx, c, n, &w->position, B, T, D);
    linear(cx, q, c, &w->q, B);
    for (size_t i = 0; i < B; i++) {
        size_t first = i * (T + 1) * D;
        linear(cx, k + first, c + i * D, &w->k, 1);
        linear(cx, k + first + D, n + i * T * D, &w->k, T);
        linear(cx, v + first, c + i * D, &w->v, 1);
        linear(cx, v + first + D, n + i * T * D, &w->v, T);
    }
    op_attention(cx, c, q, k, v, &shape);
    linear(cx, pooled, c, &w->proj, B);
    layer_norm(cx, pooled, pooled, &w->norm2, B, w->E, layer_norm_eps);
    arena_release(cx, mark);
}

/* temb (B,E) += pooled text: kept, or made now. */
static void text_embedding_add(dl_context *cx, float *temb, const struct unet_embedding *w,
                               size_t B, const struct unet_condition *condition) {
    const struct unet_memory *memory = condition->memory;
    size_t E = w->text.E, mark = arena_mark(cx);

    if (memory) {
        op_add(cx, temb, memory->pooled + condition->first * E, B * E);
    } else {
        float *pooled = floats(cx, B * E); /* (B,E) */
        embed_text(cx, pooled, w, condition->states, B, condition->tokens);
        op_add(cx, temb, pooled, B * E);
    }
    arena_release(cx, mark);
}

/* out (B,E) = MLP(sinusoids(t)); t: one for all, or times[i]. */
static void embed_times(dl_context *cx, float *out, const struct timestep_embedding *mlp,
                        const struct unet_config *c, float t, const float *times, size_t B,
                        const float *condition) {
    size_t mark = arena_mark(cx);
    float *waves = floats(cx, B * mlp->C); /* (B,C0) */

    for (size_t i = 0; i < B && !planning(cx); i++)
        sinusoids(waves + i * mlp->C, times ? times[i] : t, mlp->C, c->flip_sin_to_cos,
                  c->freq_shift);
    timestep_embedding(cx, out, waves, condition, mlp, B);
    arena_release(cx, mark);
}

/* temb (B,E) += the class's embedding; labels (B), NULL for 0. */
static void class_embedding_add(dl_context *cx, float *temb, const struct unet_embedding *w,
                                const float *labels, size_t B) {
    const struct unet_config *c = w->config;
    size_t E = c->time_embed_dim, mark = arena_mark(cx);
    float *class = floats(cx, B * E); /* (B,E) */

    if (c->class_embedding == CLASS_TIMESTEP)
        embed_times(cx, class, &w->class_mlp, c, 0, labels, B, NULL);
    for (size_t i = 0; i < B && c->class_embedding == CLASS_TABLE && !planning(cx); i++) {
        float label = labels ? labels[i] : 0, last = (float)(c->num_class_embeds - 1);
        size_t row = label > 0 ? (size_t)(label < last ? label : last) : 0; /* no stray read */
        op_embedding_row(cx, class + i * E, &w->class_table, row);
    }
    op_add(cx, temb, class, B * E);
    arena_release(cx, mark);
}

void embed_time(dl_context *cx, float *temb, const struct unet_embedding *w, float timestep,
                size_t B, const struct unet_condition *condition) {
    const struct unet_config *c = w->config;

    embed_times(cx, temb, &w->time, c, timestep, NULL, B, condition->timestep_cond);
    if (condition->tap && !planning(cx))
        condition->tap->fn(condition->tap->user, "time_embedding", temb, B, 1, 1,
                           c->time_embed_dim);
    if (c->class_embedding != CLASS_NONE)
        class_embedding_add(cx, temb, w, condition->class_labels, B);
    if (c->text_embedding)
        text_embedding_add(cx, temb, w, B, condition);
    if (c->time_embedding_act != ACT_NONE)
        op_activate(cx, temb, temb, B * c->time_embed_dim, c->time_embedding_act);
}

const float *embed_states(dl_context *cx, const struct unet_embedding *w, const float *states,
                          size_t rows) {
    if (!w->project_states)
        return states;
    float *projected = floats(cx, rows * w->config->cross_attention_dim);
    linear(cx, projected, states, &w->states_proj, rows);
    return projected;
}
