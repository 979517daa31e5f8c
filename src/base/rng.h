/* Random numbers equal to torch's CPU generator (torch.Generator("cpu").manual_seed, torch.randn
 * in f32): mt19937, 24-bit uniforms, Box-Muller. */
#ifndef DLENS_BASE_RNG_H
#define DLENS_BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint32_t state[624];
    unsigned next;  /* index of the next word in state */
    bool has_spare; /* second half of a Box-Muller pair (draws of fewer than 16) */
    double spare;
};

void rng_seed(struct rng *rng, uint64_t seed);

/* What torch.randn(count, generator=g) gives next, count >= 1. */
void rng_normal(struct rng *rng, float *out, size_t count);

/* A whole number in [0, bound), each as likely as the others; bound >= 1. For resampling: it is not
 * what torch.randint gives. */
uint32_t rng_below(struct rng *rng, uint32_t bound);

#endif
