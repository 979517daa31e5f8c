/* Random numbers equal to torch's CPU generator.
 *
 *   words     mt19937 (Matsumoto, Nishimura: Mersenne Twister, ACM TOMACS 8 (1998) 3-30), seeded
 *             with the low 32 bits of the seed
 *   uniforms  24 bits of a word (f32), 53 bits of two words (f64), in [0, 1)
 *   normals   Box, Muller (Ann. Math. Statist. 29 (1958) 610): r = sqrt(-2 ln u), t = 2 pi v give
 *             r cos t and r sin t
 *
 * From 16 values on torch draws all uniforms first and turns them in blocks of 16, u in the first
 * eight and v in the last, into eight cosines and eight sines; a count that is no multiple of 16
 * has its last 16 values drawn again. Below 16 it makes pairs in f64 and keeps the spare.
 *
 * On processors with AVX2, torch evaluates ln, sin and cos by the single-precision polynomials of
 * Moshier's Cephes library with fused multiply-adds. They are written out here with fmaf, which
 * is exact, so that the numbers are equal to the last bit on every machine and with any libm; a
 * libm's logf, sinf and cosf would differ from torch in a sixth of all values, by up to 3 units in
 * the last place. (Torch without AVX2 differs from torch with AVX2 by up to 2e-6.) */
#include "base/rng.h"

#include <math.h>
#include <string.h>

/* ---- words and uniforms -------------------------------------------------------------------- */

enum { N = 624, M = 397 }; /* words of state, distance of the recurrence */

void rng_seed(struct rng *rng, uint64_t seed) {
    rng->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < N; i++) {
        uint32_t last = rng->state[i - 1];
        rng->state[i] = 1812433253u * (last ^ last >> 30) + i;
    }
    rng->next = N;
    rng->has_spare = false;
    rng->spare = 0;
}

/* The next N words of the recurrence x[k+N] = x[k+M] ^ (high bit of x[k], rest of x[k+1]) A. */
static void advance(uint32_t *x) {
    for (unsigned k = 0; k < N; k++) {
        uint32_t y = (x[k] & 0x80000000u) | (x[(k + 1) % N] & 0x7fffffffu);
        x[k] = x[(k + M) % N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
}

static uint32_t next_word(struct rng *rng) {
    if (rng->next >= N) {
        advance(rng->state);
        rng->next = 0;
    }
    uint32_t y = rng->state[rng->next++];
    y ^= y >> 11; /* tempering */
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

static float uniform_f32(struct rng *rng) {
    return (float)(next_word(rng) & 0xffffff) * (1.0f / 16777216); /* 2^-24 */
}

static double uniform_f64(struct rng *rng) {
    uint64_t high = next_word(rng), low = next_word(rng);
    uint64_t bits = (high << 32 | low) & (((uint64_t)1 << 53) - 1);
    return (double)bits * (1.0 / 9007199254740992.0); /* 2^-53 */
}

/* The high half of word * bound; words whose low half would make some results likelier than others
 * are drawn again (Lemire, ACM TOMACS 29 (2019) 3). */
uint32_t rng_below(struct rng *rng, uint32_t bound) {
    uint32_t reject = (UINT32_MAX - bound + 1) % bound; /* 2^32 mod bound */
    uint64_t product;
    do
        product = (uint64_t)next_word(rng) * bound;
    while ((uint32_t)product < reject);
    return (uint32_t)(product >> 32);
}

/* ---- Cephes' elementary functions ---------------------------------------------------------- */

/* c[0] x^(n-1) + ... + c[n-1], by Horner's rule with fused multiply-adds. */
static float polynomial(const float *c, int n, float x) {
    float y = c[0];
    for (int i = 1; i < n; i++)
        y = fmaf(y, x, c[i]);
    return y;
}

/* ln x for normal x > 0: with x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2),
 * ln x = e ln 2 + f - f^2/2 + f^3 P(f). ln 2 is split into 0.693359375 - 2.12194440e-4. */
static float natural_log(float x) {
    static const float P[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                              -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                              2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
    int exponent;
    float f = frexpf(x, &exponent); /* in [1/2, 1) */
    if (f < 0.707106781186547524f) {
        exponent--;
        f = f - 1 + f;
    } else {
        f = f - 1;
    }
    float e = (float)exponent, square = f * f;
    float y = polynomial(P, 9, f) * f;
    y = fmaf(y, square, e * -2.12194440e-4f);
    y = fmaf(-0.5f, square, y);
    return fmaf(e, 0.693359375f, f + y);
}

/* sin t and cos t, 0 <= t <= 2 pi: t is brought to |x| <= pi/4 by subtracting j pi/4, j even, in
 * three parts; there sin x = x + x^3 S(x^2) and cos x = 1 - x^2/2 + x^4 C(x^2). */
static void sine_cosine(float t, float *sine, float *cosine) {
    static const float S[] = {-1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f};
    static const float C[] = {2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f};
    int j = ((int)(t * 1.27323954473516f) + 1) & ~1; /* 4 / pi */
    float part = (float)j;
    float x = fmaf(part, -0.78515625f, t);
    x = fmaf(part, -2.4187564849853515625e-4f, x);
    x = fmaf(part, -3.77489497744594108e-8f, x);
    float square = x * x;
    float s = fmaf(polynomial(S, 3, square) * square, x, x);
    float c = fmaf(polynomial(C, 3, square) * square, square, -0.5f * square) + 1;
    bool swapped = j & 2; /* odd multiples of pi/2 */
    bool lower = j & 4;   /* half turn */
    *sine = swapped ? c : s;
    *cosine = swapped ? s : c;
    *sine = lower ? -*sine : *sine;
    *cosine = lower != swapped ? -*cosine : *cosine;
}

/* ---- normals ------------------------------------------------------------------------------- */

/* Turns 16 uniforms into 16 normals in place. */
static void box_muller_16(float values[16]) {
    for (int i = 0; i < 8; i++) {
        float sine, cosine;
        float radius = sqrtf(-2 * natural_log(1 - values[i])); /* 1 - u is never 0 */
        sine_cosine(6.283185307179586f * values[i + 8], &sine, &cosine);
        values[i] = radius * cosine + 0.0f; /* times the deviation 1 plus the mean 0: no -0 */
        values[i + 8] = radius * sine + 0.0f;
    }
}

static void draw_uniforms(struct rng *rng, float *out, size_t count) {
    for (size_t i = 0; i < count; i++)
        out[i] = uniform_f32(rng);
}

/* One normal in f64; the other of its pair is kept for the next call. */
static double next_normal(struct rng *rng) {
    if (rng->has_spare) {
        rng->has_spare = false;
        return rng->spare;
    }
    double u = uniform_f64(rng), v = uniform_f64(rng);
    double radius = sqrt(-2 * log1p(-v)), angle = 2 * 3.14159265358979323846 * u;
    rng->spare = radius * sin(angle);
    rng->has_spare = true;
    return radius * cos(angle);
}

void rng_normal(struct rng *rng, float *out, size_t count) {
    if (count < 16) {
        for (size_t i = 0; i < count; i++)
            out[i] = (float)next_normal(rng);
        return;
    }
    draw_uniforms(rng, out, count);
    for (size_t i = 0; i + 16 <= count; i += 16)
        box_muller_16(out + i);
    if (count % 16 != 0) {
        draw_uniforms(rng, out + count - 16, 16);
        box_muller_16(out + count - 16);
    }
}
