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

/* What a whole call leaves behind and a call that takes it up: the same at the same time step, for
 * all items or some. */
static void check_reuse(dl_context *cx, struct unet *u) {
    struct call c;
    struct unet_memory memory;
    call_begin(&c, cx, u);
    struct unet_condition condition = {.states = c.states,
                                       .tokens = TOKENS,
                                       .class_labels = c.labels,
                                       .samples = 1,
                                       .memory = &memory};
    float *whole = malloc(B * c.m * sizeof *whole), *again = malloc(B * c.m * sizeof *again);
    double work = 0;
    for (int planned = 1; planned >= 0; planned--) {
        if (planned)
            arena_plan(cx);
        unet_remember(cx, u, &memory, B, SIDE_H, SIDE_W, true, &condition);
        condition.reuse = false;
        unet_forward(cx, u, whole, c.samples, B, SIDE_H, SIDE_W, 500, &condition);
        condition.reuse = true;
        for (size_t first = 0; first < B; first++) {
            condition.first = first;
            condition.states = c.states + first * c.text;
            const double before = cx->arena.work;
            unet_forward(cx, u, again, c.samples, B - first, SIDE_H, SIDE_W, 500, &condition);
            if (!planned)
                assert_memory_equal(again, whole + first * c.m, (B - first) * c.m * sizeof *again);
            else if (first == 0)
                work = before / (cx->arena.work - before);
        }
        condition.first = 0;
        condition.states = c.states;
        if (planned)
            assert_int_equal(arena_reserve(cx, "UNet"), DL_OK);
    }
    assert_true(work > 1.5); /* much less is done */
    arena_release(cx, 0);
    free(whole);
    free(again);
    call_end(&c);
}

static void check_variant(struct scratch *s, const char *name, const cJSON *config) {
    dl_context *cx = reference_context();
    struct unet *u;
    (void)name;
    (void)config;
    if (unet_open(cx, s->dir, &u) == DL_OK) {
        check_unet(cx, u);
        check_reuse(cx, u);
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

/* ---- whole pictures -------------------------------------------------------------------------- */

enum { SIDE = 32, STEPS = 3, BYTES = 3 * SIDE * SIDE, LATENTS = 4 * 4 * 4, PICTURES_MAX = 64 };

struct picture {
    size_t prompt;
    int layer;
    uint64_t seed;
    uint8_t rgb[BYTES];
    float latents[LATENTS];
};

struct pictures {
    dl_context *cx;
    dl_model *model;
    dl_options options;
    size_t count, made, stop; /* made: not copied; stop: after so many */
    unsigned left_out;        /* of eight pictures in a row those with a bit are left out */
    struct picture items[PICTURES_MAX];
};

static int count_made(void *user, const dl_progress *progress) {
    ((struct pictures *)user)->made += strcmp(progress->stage, "decode") == 0;
    return 0;
}

static int put(void *user, const dl_picture *picture) {
    struct pictures *all = user;
    assert_int_equal(picture->width * picture->height * 3, BYTES);
    assert_true(all->count < PICTURES_MAX);
    struct picture *p = &all->items[all->count++];
    *p = (struct picture){picture->prompt, picture->layer, picture->seed, {0}, {0}};
    memcpy(p->rgb, picture->rgb, sizeof p->rgb);
    memcpy(p->latents, picture->latents, sizeof p->latents);
    return all->count == all->stop;
}

static int leave_out(void *user, size_t prompt, int layer, uint64_t seed) {
    const struct pictures *all = user;
    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].prompt == prompt && all->items[i].layer == layer &&
            all->items[i].seed == seed)
            return 1;
    return (int)(all->left_out >> (prompt + (size_t)(layer + 1) + seed) % 8 & 1);
}

static const uint64_t seeds[] = {3, 0};

static void pictures_begin(struct pictures *p) {
    memset(p, 0, sizeof *p);
    assert_int_equal(dl_context_new(&p->cx), DL_OK);
    assert_int_equal(dl_model_open(p->cx, "tests/data/tiny-sd1", &p->model), DL_OK);
    dl_options_init(&p->options);
    p->options.width = p->options.height = SIDE;
    p->options.sampler = "euler-a";
    p->options.steps = STEPS;
    p->options.guidance = 5;
    p->options.seeds = seeds;
    p->options.seed_count = 2;
    p->options.keep_latents = 1;
    p->options.progress = count_made;
    p->options.progress_user = p;
}

static void pictures_end(struct pictures *p) {
    dl_model_close(p->model);
    dl_context_free(p->cx);
}

static int make(struct pictures *p, const char *const *prompts, size_t count) {
    return dl_lens_resumed(p->cx, p->model, &p->options, prompts, count, leave_out, put, p);
}

/* A picture made in a run of its own, in a context of its own. */
static void expect_alone(const struct pictures *p, const struct picture *it,
                         const char *const *prompts) {
    static struct pictures alone;
    char layer[8];
    pictures_begin(&alone);
    snprintf(layer, sizeof layer, "%d", it->layer);
    alone.options = p->options;
    alone.options.progress_user = &alone;
    alone.options.layers = it->layer < 0 ? "last" : layer;
    alone.options.skip_layers = it->layer < 0 ? NULL : p->options.skip_layers;
    alone.options.norm = it->layer < 0 ? DL_NORM_FINAL : p->options.norm;
    alone.options.native = 0;
    alone.options.seeds = &it->seed;
    alone.options.seed_count = 1;
    assert_int_equal(make(&alone, &prompts[it->prompt], 1), DL_OK);
    assert_int_equal(alone.count, 1);
    assert_int_equal(alone.made, 1);
    assert_memory_equal(alone.items[0].rgb, it->rgb, sizeof it->rgb);
    assert_memory_equal(alone.items[0].latents, it->latents, sizeof it->latents);
    pictures_end(&alone);
}

static void expect_all_alone(const struct pictures *p, const char *const *prompts) {
    for (size_t i = 0; i < p->count; i++)
        expect_alone(p, &p->items[i], prompts);
}

static const char *const prompts[] = {"a dog", "two cats", "A  DOG"};
enum { PROMPTS = sizeof prompts / sizeof prompts[0] };

/* Prompts of equal tokens, a block left out, the control beside the last layer: made once. */
static void twins_are_made_once(void **state) {
    static struct pictures p;
    dl_model_info info;
    (void)state;
    pictures_begin(&p);
    dl_model_describe(p.model, &info);
    const size_t layers = (size_t)info.layers + 1;
    p.options.native = 1;
    assert_int_equal(make(&p, prompts, PROMPTS), DL_OK);
    assert_int_equal(p.count, PROMPTS * 2 * (layers + 1));
    assert_int_equal(p.made, 2 * 2 * layers);
    expect_all_alone(&p, prompts);
    pictures_end(&p);

    pictures_begin(&p);
    p.options.native = 1;
    p.options.skip_layers = "2";
    assert_int_equal(make(&p, prompts, PROMPTS), DL_OK);
    assert_int_equal(p.count, PROMPTS * 2 * (layers + 1));
    assert_int_equal(p.made, 2 * 2 * layers); /* 2 is as 1, the control is another */
    expect_all_alone(&p, prompts);
    pictures_end(&p);

    pictures_begin(&p);
    p.options.native = 1;
    p.options.norm = DL_NORM_NONE; /* nor is the control like the last layer */
    assert_int_equal(make(&p, prompts, 1), DL_OK);
    assert_int_equal(p.made, 2 * (layers + 1));
    expect_all_alone(&p, prompts);
    pictures_end(&p);
}

/* A prompt that is the negative one: both halves of guidance are the same. */
static void prompt_as_negative(void **state) {
    static struct pictures p;
    (void)state;
    pictures_begin(&p);
    p.options.negative = "two cats";
    p.options.layers = "last";
    assert_int_equal(make(&p, prompts, 2), DL_OK);
    expect_all_alone(&p, prompts);
    pictures_end(&p);
}

/* The halves of guidance one after another, as where memory is short. */
static void halves_one_after_another(void **state) {
    static struct pictures p;
    (void)state;
    for (int reuse = 1; reuse <= 2; reuse++) {
        pictures_begin(&p);
        p.cx->thrift.halves = true;
        p.options.layers = "1,4";
        p.options.reuse = reuse;
        assert_int_equal(make(&p, prompts, 2), DL_OK);
        expect_all_alone(&p, prompts);
        pictures_end(&p);
    }
}

/* Whatever is there already, and wherever a run stops: the rest comes out the same. */
static void any_part_and_any_stop(void **state) {
    static struct pictures p;
    (void)state;
    for (unsigned left_out = 0; left_out < 256; left_out += 51) {
        pictures_begin(&p);
        p.options.native = 1;
        p.options.skip_layers = "1";
        p.left_out = left_out;
        p.stop = 3 + left_out / 51;
        const int status = make(&p, prompts, PROMPTS);
        assert_int_equal(status, left_out == 255 ? DL_OK : DL_CANCELLED);
        p.stop = 0;
        assert_int_equal(make(&p, prompts, PROMPTS), DL_OK);
        p.left_out = 0;
        if (left_out == 102)
            assert_int_equal(make(&p, prompts, PROMPTS), DL_OK);
        expect_all_alone(&p, prompts);
        pictures_end(&p);
    }
}

/* ---- reuse of the deep part ------------------------------------------------------------------ */

struct comparison {
    const struct tensor *expected;
    size_t pictures;
};

static int compare(void *user, const dl_picture *picture) {
    struct comparison *c = user;
    const double error = relative_error(picture->latents, c->expected);
    if (!(error < 1e-4))
        print_error("%s: latents differ by %g\n", c->expected->name, error);
    assert_true(error < 1e-4);
    c->pictures++;
    return 0;
}

static char *text_of(const struct store *store, const char *name) {
    const struct tensor *t = store_find(store, name);
    assert_non_null(t);
    char *text = calloc(t->shape[0] + 1, 1);
    memcpy(text, t->data, t->shape[0]);
    return text;
}

/* Every reuse.N.SAMPLER.WxH.layer.K of the reference. */
static void check_reference(const char *name) {
    dl_context *cx = reference_context();
    dl_model *model;
    char path[128], file[64];
    const uint64_t seed = 7;
    snprintf(path, sizeof path, "tests/data/%s", name);
    assert_int_equal(dl_model_open(cx, path, &model), DL_OK);
    snprintf(file, sizeof file, "%s-text", name);
    struct store *texts = reference_open(cx, file);
    snprintf(file, sizeof file, "%s-reuse", name);
    struct store *expected = reference_open(cx, file);
    char *prompt = text_of(texts, "prompt.0.text"), *negative = text_of(texts, "prompt.2.text");
    for (size_t i = 0; i < store_count(expected); i++) {
        char sampler[16], layer[16];
        dl_options o;
        dl_options_init(&o);
        struct comparison c = {store_at(expected, i), 0};
        assert_int_equal(sscanf(c.expected->name, "reuse.%d.%15[^.].%dx%d.layer.%15[0-9]", &o.reuse,
                                sampler, &o.width, &o.height, layer),
                         5);
        o.sampler = sampler;
        o.layers = layer;
        o.steps = 5;
        o.guidance = 7.5;
        o.negative = negative;
        o.seeds = &seed;
        o.seed_count = 1;
        o.keep_latents = 1;
        const char *prompts_of[] = {prompt};
        assert_int_equal(dl_lens(cx, model, &o, prompts_of, 1, compare, &c), DL_OK);
        assert_int_equal(c.pictures, 1);
    }
    assert_int_equal(store_count(expected), 6);
    free(prompt);
    free(negative);
    store_close(expected);
    store_close(texts);
    dl_model_close(model);
    dl_context_free(cx);
}

static void reuse_as_with_diffusers(void **state) {
    (void)state;
    check_reference("tiny-sd1");
    check_reference("tiny-sd2");
}

/* Each picture's steps reuse its own: layers, seeds and prompts stay apart. */
static void reuse_apart(void **state) {
    static struct pictures p;
    (void)state;
    pictures_begin(&p);
    p.options.reuse = 2;
    p.options.layers = "0,2,4";
    p.options.native = 1;
    assert_int_equal(make(&p, prompts, PROMPTS), DL_OK);
    expect_all_alone(&p, prompts);
    pictures_end(&p);
}

/* The plan knows what is left out; what cannot be is refused. */
static void reuse_planned(void **state) {
    static struct pictures p;
    dl_plan whole, reused;
    (void)state;
    pictures_begin(&p);
    p.options.steps = 10;
    assert_int_equal(dl_plan_picture(p.cx, p.model, &p.options, &whole), DL_OK);
    p.options.reuse = 5;
    assert_int_equal(dl_plan_picture(p.cx, p.model, &p.options, &reused), DL_OK);
    assert_true(reused.step == whole.step && reused.bytes >= whole.bytes);
    assert_true(reused.picture < 0.6 * whole.picture && reused.picture > 2 * whole.step);
    p.options.reuse = 1001;
    assert_int_equal(make(&p, prompts, 1), DL_USAGE);
    assert_contains(dl_message(p.cx), "--reuse 1001");
    p.options.reuse = -1;
    assert_int_equal(make(&p, prompts, 1), DL_USAGE);
    pictures_end(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_share_to_the_bit),
        cmocka_unit_test(twins_are_made_once),
        cmocka_unit_test(prompt_as_negative),
        cmocka_unit_test(any_part_and_any_stop),
        cmocka_unit_test(halves_one_after_another),
        cmocka_unit_test(reuse_as_with_diffusers),
        cmocka_unit_test(reuse_apart),
        cmocka_unit_test(reuse_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
