/* What the lens shares between the halves of guidance, steps, layers and prompts is equal, to the
 * bit, to what each would have computed alone. */
#include "diffusion/unet.h"
#include "model_support.h"
#include "reference.h"

/* ---- one call of a UNet ---------------------------------------------------------------------- */

enum { B = 3, TOKENS = 5, SIDE_H = 6, SIDE_W = 5 };

/* Three items of one sample, different texts. */
struct call {
    dl_context *cx;
    struct unet *u;
    size_t n, m, text; /* floats of a sample, of an output, of an item's states */
    float *samples;    /* (B,n), all equal */
    float *states;     /* (B,T,D) */
    float labels[B];
};

static void call_begin(struct call *c, dl_context *cx, struct unet *u) {
    const struct unet_config *config = unet_config(u);
    *c = (struct call){.cx = cx, .u = u, .labels = {3, 3, 3}};
    c->n = config->in_channels * SIDE_H * SIDE_W;
    c->m = config->out_channels * SIDE_H * SIDE_W;
    c->text = TOKENS * config->states_dim;
    c->samples = malloc(B * c->n * sizeof(float));
    c->states = malloc(B * c->text * sizeof(float));
    dl_noise(1, c->samples, c->n);
    for (size_t b = 1; b < B; b++)
        memcpy(c->samples + b * c->n, c->samples, c->n * sizeof(float));
    dl_noise(2, c->states, B * c->text);
}

static void call_end(struct call *c) {
    free(c->samples);
    free(c->states);
    arena_free(c->cx);
}

/* How a call is made. */
struct how {
    size_t samples; /* as in unet_condition */
    bool memory;    /* text kept for all items */
    size_t first, count;
};

static void run_once(const struct call *c, const struct how *how, float *out) {
    struct unet_memory memory;
    struct unet_condition condition = {
        .states = c->states, .tokens = TOKENS, .class_labels = c->labels, .samples = how->samples};
    if (how->memory) {
        unet_remember(c->cx, c->u, &memory, B, SIDE_H, SIDE_W, false, &condition);
        condition.memory = &memory;
        condition.first = how->first;
    }
    condition.states += how->first * c->text;
    unet_forward(c->cx, c->u, out, c->samples, how->count, SIDE_H, SIDE_W, 500, &condition);
}

/* Plans and runs; the result is the caller's. */
static float *run(const struct call *c, const struct how *how, double *work) {
    float *out = malloc(how->count * c->m * sizeof *out);
    arena_plan(c->cx);
    run_once(c, how, out);
    *work = c->cx->arena.work;
    assert_int_equal(arena_reserve(c->cx, "UNet"), DL_OK);
    run_once(c, how, out);
    arena_release(c->cx, 0);
    return out;
}

static void check_unet(dl_context *cx, struct unet *u) {
    struct call c;
    call_begin(&c, cx, u);
    double all, work;
    float *expected = run(&c, &(struct how){0, false, 0, B}, &all);
    for (size_t samples = 0; samples < 2; samples++)
        for (int memory = 0; memory < 2; memory++)
            for (size_t first = 0; first < B; first++) {
                const struct how how = {samples, memory, first, B - first};
                float *out = run(&c, &how, &work);
                assert_memory_equal(out, expected + first * c.m, how.count * c.m * sizeof *out);
                if (first == 0 && samples)
                    assert_true(memory || work < all);
                free(out);
            }
    free(expected);
    call_end(&c);
}

static void check_variant(struct scratch *s, const char *name, const cJSON *config) {
    dl_context *cx = reference_context();
    struct unet *u;
    (void)name;
    (void)config;
    if (unet_open(cx, s->dir, &u) == DL_OK) {
        check_unet(cx, u);
        unet_close(u);
    }
    dl_context_free(cx);
}

/* Whatever attends, and wherever the text comes in first. */
static void calls_share_to_the_bit(void **state) {
    (void)state;
    assert_true(reference_variants("variants", "unet", check_variant) >= 19);
    assert_true(reference_variants("if", "unet", check_variant) >= 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_share_to_the_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
