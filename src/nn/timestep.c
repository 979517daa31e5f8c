/* Time embedding; formulas in timestep.h. The sinusoids are computed step by step in f32, as
 * diffusers' get_timestep_embedding does (models/embeddings.py). */
#include "nn/timestep.h"

#include <math.h>
#include <string.h>

void sinusoids(float *out, float t, size_t C, bool cosines_first, double freq_shift) {
    size_t half = C / 2;
    float *sines = cosines_first ? out + half : out;
    float *cosines = cosines_first ? out : out + half;
    float log_period = (float)-log(10000.0);

    for (size_t i = 0; i < half; i++) {
        float exponent = log_period * (float)i / (float)((double)half - freq_shift);
        float angle = t * expf(exponent);
        sines[i] = sinf(angle);
        cosines[i] = cosf(angle);
    }
    if (C % 2 == 1)
        out[C - 1] = 0;
}

void bind_timestep_embedding(struct binder *b, struct timestep_embedding *out, const char *name,
                             size_t C, size_t E, size_t G) {
    size_t outer = bind_enter(b, "%s.", name);

    out->C = C;
    out->E = E;
    out->G = G;
    bind_linear(b, &out->linear_1, "linear_1", E, C, BIAS_YES);
    bind_linear(b, &out->linear_2, "linear_2", E, E, BIAS_YES);
    if (G > 0)
        bind_linear(b, &out->cond_proj, "cond_proj", C, G, BIAS_NO);
    bind_leave(b, outer);
}

void timestep_embedding(dl_context *cx, float *out, const float *x, const float *condition,
                        const struct timestep_embedding *w, size_t B) {
    size_t mark = arena_mark(cx);
    float *sum = floats(cx, B * w->C);    /* (B,C) */
    float *hidden = floats(cx, B * w->E); /* (B,E) */

    if (!planning(cx))
        memcpy(sum, x, B * w->C * sizeof *sum);
    if (condition && w->G > 0)
        linear_add(cx, sum, condition, &w->cond_proj, B);
    linear_act(cx, hidden, sum, &w->linear_1, B, w->act);
    linear_act(cx, out, hidden, &w->linear_2, B, w->post_act);
    arena_release(cx, mark);
}
