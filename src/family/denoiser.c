/* The UNet as the denoising loop asks it. See denoiser.h. */
#include "family/denoiser.h"

#include <string.h>

/* Where memory is so short that halves go one after another, the text's keys are made anew in every
 * step: 15 MB less in Stable Diffusion 1.5, for 0.6 % more work. */
static bool remembers(const dl_context *cx, const struct denoiser *d) {
    return !cx->thrift.halves || d->reuse > 1;
}

void denoiser_prepare(dl_context *cx, struct denoiser *d) {
    if (!remembers(cx, d))
        return;
    unet_remember(cx, d->unet, &d->memory, d->items, d->h, d->w, d->reuse > 1, &d->condition);
}

void denoiser_predict(dl_context *cx, const struct denoiser *d, float *out, const float *input,
                      const struct denoise_call *call) {
    struct unet_condition condition = d->condition;
    struct attention_tap attention;
    if (condition.states)
        condition.states += call->first * condition.tokens * unet_config(d->unet)->states_dim;
    condition.samples = call->samples;
    condition.memory = remembers(cx, d) ? &d->memory : NULL;
    condition.first = call->first;
    condition.reuse = d->reuse > 1 && call->step % d->reuse != 0;
    if (condition.attention) { /* of one picture's positive half, the last item */
        attention = *condition.attention;
        attention.first = d->items - 1 - call->first;
        condition.attention = &attention;
    }
    unet_forward(cx, d->unet, out, input, call->count, d->h, d->w, call->timestep, &condition);
}

int denoiser_set_states(dl_context *cx, struct denoiser *d, const float *negative,
                        const float *const *positive, size_t values, float **states) {
    const size_t K = d->pictures, bytes = values * sizeof **states;
    DL_TRY(allocate(cx, "conditioning", d->items * values, sizeof **states, (void **)states));
    for (size_t k = 0; k < K; k++) {
        if (d->items > K)
            memcpy(*states + k * values, negative, bytes);
        memcpy(*states + (d->items - K + k) * values, positive[k], bytes);
    }
    d->condition.states = *states;
    return DL_OK;
}
