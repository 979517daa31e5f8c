/* The table of samplers, and a run of one. See sampler.h. */
#include "diffusion/sampler.h"

#include "diffusion/sampler_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct sampler *const SAMPLERS[] = {&sampler_ddim,  &sampler_dpm_2m,
                                                 &sampler_euler, &sampler_euler_ancestral,
                                                 &sampler_lcm,   &sampler_ddpm};
enum { SAMPLERS_COUNT = sizeof SAMPLERS / sizeof SAMPLERS[0] };

const struct sampler *sampler_find(const char *name) {
    for (size_t i = 0; i < SAMPLERS_COUNT; i++) {
        if (strcmp(SAMPLERS[i]->name, name) == 0)
            return SAMPLERS[i];
    }
    return NULL;
}

const char *const *sampler_names(void) {
    static const char *const NAMES[] = {"ddim", "dpm++2m", "euler", "euler-a", "lcm", "ddpm", NULL};
    return NAMES;
}

/* What both beginnings check and set, but for the timesteps. */
static int prepare(dl_context *cx, struct sampling *s, const struct sampler *sampler,
                   const struct schedule *schedule, size_t steps, double eta, size_t n) {
    memset(s, 0, sizeof *s);
    s->sampler = sampler;
    s->steps = s->steps_asked = steps;
    s->init_noise_sigma = 1;
    s->eta = eta;
    s->n = s->outputs = n;
    if (steps < 1 || steps > schedule->num_train_timesteps)
        return fail(cx, DL_USAGE,
                    "--steps %zu: must be from 1 to %zu, the model's num_train_timesteps", steps,
                    schedule->num_train_timesteps);
    if (!(eta >= 0 && eta <= 1))
        return fail(cx, DL_USAGE, "eta %g: must be from 0 to 1", eta);
    DL_TRY(schedule_complete(cx, schedule, &s->sampler->defaults, &s->schedule));
    DL_TRY(allocate(cx, "timesteps", steps, sizeof(float), (void **)&s->timesteps));
    DL_TRY(allocate(cx, "sigmas", steps + 1, sizeof(float), (void **)&s->sigmas));
    DL_TRY(allocate(cx, "sampler", s->n, sizeof(float), (void **)&s->x0));
    DL_TRY(allocate(cx, "sampler", s->n, sizeof(float), (void **)&s->x0_previous));
    return allocate(cx, "sampler", s->n, sizeof(float), (void **)&s->scratch);
}

int sampling_begin(dl_context *cx, struct sampling *s, const struct sampler *sampler,
                   const struct schedule *schedule, size_t steps, double eta, size_t n) {
    DL_TRY(prepare(cx, s, sampler, schedule, steps, eta, n));
    return sampler->init(cx, s, steps);
}

int sampling_begin_at(dl_context *cx, struct sampling *s, const struct sampler *sampler,
                      const struct schedule *schedule, const int *timesteps, size_t count,
                      double eta, size_t n) {
    DL_TRY(prepare(cx, s, sampler, schedule, count, eta, n));
    if (!sampler->takes_timesteps || s->schedule->use_karras_sigmas)
        return fail(cx, DL_USAGE, "--sampler %s: chooses its timesteps itself and takes no list",
                    sampler->name);
    for (size_t i = 0; i < count; i++) {
        const long before = i ? timesteps[i - 1] : (long)s->schedule->num_train_timesteps;
        if (timesteps[i] < 0 || timesteps[i] >= before)
            return fail(cx, DL_USAGE, "timestep %d, number %zu of the list: must be from 0 to %ld",
                        timesteps[i], i, before - 1);
        s->timesteps[i] = (float)timesteps[i];
    }
    s->given = true;
    return sampler->init(cx, s, count);
}

void sampling_end(struct sampling *s) {
    schedule_close(s->schedule);
    free(s->timesteps);
    free(s->sigmas);
    free(s->x0);
    free(s->x0_previous);
    free(s->scratch);
    memset(s, 0, sizeof *s);
}

void sampling_scale_input(const struct sampling *s, size_t i, float *out, const float *latents) {
    if (s->sampler->scale_input)
        s->sampler->scale_input(s, i, out, latents);
    else
        memmove(out, latents, s->n * sizeof *out);
}

void sampling_step(struct sampling *s, size_t i, float *latents, const float *model_output,
                   struct rng *rng) {
    s->sampler->step(s, i, latents, model_output, rng);
}
