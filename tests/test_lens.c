/* The lens end to end against diffusers (tests/data/expected/MODEL-e2e), and its own promises: the
 * last layer is generate's picture, and no picture depends on threads or on its company. */
#include "model_support.h"

/* The prompts of the reference data. */
struct fixture {
    dl_context *cx;
    dl_model *model;
    struct store *expected;
    char *prompt, *negative;
};

static char *text_of(dl_context *cx, const char *path, const char *name) {
    struct store *store;
    assert_int_equal(store_open_file(cx, path, &store), DL_OK);
    const struct tensor *t = store_find(store, name);
    assert_non_null(t);
    char *text = calloc(t->shape[0] + 1, 1);
    memcpy(text, t->data, t->shape[0]);
    store_close(store);
    return text;
}

static void open_fixture(struct fixture *f, const char *folder, const char *data, const char *e2e) {
    char path[256];
    assert_int_equal(dl_context_new(&f->cx), DL_OK);
    assert_int_equal(dl_model_open(f->cx, folder, &f->model), DL_OK);
    snprintf(path, sizeof path, "tests/data/expected/%s-text.safetensors", data);
    f->prompt = text_of(f->cx, path, "prompt.0.text");
    f->negative = text_of(f->cx, path, "prompt.2.text");
    snprintf(path, sizeof path, "tests/data/expected/%s-e2e.safetensors", e2e);
    assert_int_equal(store_open_file(f->cx, path, &f->expected), DL_OK);
}

static void close_fixture(struct fixture *f) {
    store_close(f->expected);
    dl_model_close(f->model);
    dl_context_free(f->cx);
    free(f->prompt);
    free(f->negative);
}

/* ---- against diffusers ----------------------------------------------------------------------- */

struct comparison {
    const struct tensor *latents, *pixels; /* pixels may be NULL */
    const char *name;
    size_t pictures;
};

static int compare(void *user, const dl_picture *picture) {
    struct comparison *c = user;
    const double error = relative_error(picture->latents, c->latents);
    if (!(error < 1e-3))
        print_error("%s: latents differ by %g\n", c->name, error);
    assert_true(error < 1e-3);
    if (c->pixels) {
        const double db = psnr(picture->rgb, c->pixels->data, tensor_count(c->pixels));
        if (!(db > 40))
            print_error("%s: pixels %g dB\n", c->name, db);
        assert_true(db > 40);
    }
    c->pictures++;
    return 0;
}

/* One picture of the fixture's prompt with the reference's settings, compared to tensor NAME. */
static void check(const struct fixture *f, const dl_options *base, const char *name, int layer) {
    char latents[128], pixels[128], spec[16];
    const uint64_t seed = 7;
    dl_options o = *base;
    snprintf(latents, sizeof latents, "%s.latents", name);
    snprintf(pixels, sizeof pixels, "%s.pixels", name);
    snprintf(spec, sizeof spec, "%d", layer);
    struct comparison c = {store_find(f->expected, latents), store_find(f->expected, pixels), name,
                           0};
    assert_non_null(c.latents);
    o.layers = spec;
    o.seeds = &seed;
    o.seed_count = 1;
    o.keep_latents = 1;
    const char *prompt = f->prompt;
    const int status = dl_lens(f->cx, f->model, &o, &prompt, 1, compare, &c);
    if (status != DL_OK)
        print_error("%s: %s\n", name, dl_message(f->cx));
    assert_int_equal(status, DL_OK);
    assert_int_equal(c.pictures, 1);
}

/* Every SAMPLER.WxH.layer.K of the reference. */
static void check_all(const struct fixture *f, int steps, double guidance) {
    size_t checked = 0;
    for (size_t i = 0; i < store_count(f->expected); i++) {
        const char *name = store_at(f->expected, i)->name;
        char sampler[16], base[128];
        int width, height, layer, end = 0;
        if (sscanf(name, "%15[^.].%dx%d.layer.%d.latents%n", sampler, &width, &height, &layer,
                   &end) != 4 ||
            !end || name[end])
            continue;
        dl_options o;
        dl_options_init(&o);
        o.sampler = sampler;
        o.width = width;
        o.height = height;
        o.steps = steps;
        o.guidance = guidance;
        o.negative = f->negative;
        snprintf(base, sizeof base, "%.*s", (int)(strlen(name) - strlen(".latents")), name);
        check(f, &o, base, layer);
        checked++;
    }
    assert_true(checked >= 5);
}

static void check_variations(const struct fixture *f, int middle) {
    dl_options o, base;
    dl_options_init(&base);
    base.sampler = "ddim";
    base.width = base.height = 64;
    base.steps = 5;
    base.guidance = 7.5;
    base.negative = f->negative;
    o = base;
    o.guidance = 1;
    check(f, &o, "guidance-1", middle);
    o.guidance = 3;
    check(f, &o, "guidance-3", middle);
    o = base;
    o.eta = 0.5;
    check(f, &o, "eta-0.5", middle);
    o = base;
    o.negative = NULL;
    check(f, &o, "negative-empty", middle);
    o = base;
    o.steps = 1;
    check(f, &o, "steps-1", middle);
    o.steps = 20;
    check(f, &o, "steps-20", middle);
    o = base;
    o.norm = DL_NORM_NONE;
    check(f, &o, "norm-none", 1);
}

static void sd1_as_diffusers(void **state) {
    struct fixture f;
    (void)state;
    open_fixture(&f, "tests/data/tiny-sd1", "tiny-sd1", "tiny-sd1");
    check_all(&f, 5, 7.5);
    check_variations(&f, 2);
    close_fixture(&f);
}

static void sd2_as_diffusers(void **state) {
    struct fixture f;
    (void)state;
    open_fixture(&f, "tests/data/tiny-sd2", "tiny-sd2", "tiny-sd2");
    check_all(&f, 5, 7.5);
    check_variations(&f, 2);
    close_fixture(&f);
}

/* The model's own sampler and steps; the guidance scale is embedded. */
static void lcm_as_diffusers(void **state) {
    struct fixture f;
    dl_model_info info;
    (void)state;
    open_fixture(&f, "tests/data/tiny-lcm", "tiny-lcm", "tiny-lcm");
    dl_model_describe(f.model, &info);
    assert_string_equal(info.sampler, "lcm");
    assert_int_equal(info.steps, 4);
    check_all(&f, 0, 7.5);
    close_fixture(&f);
}

/* tiny-sd1 with SD-Turbo's scheduler. */
static void turbo_as_diffusers(void **state) {
    struct fixture f;
    dl_model_info info;
    char *folder = scratch_folder(), *scheduler = path_join(folder, "scheduler");
    char *config = NULL, name[64];
    size_t size;
    (void)state;
    dl_context *cx;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    assert_int_equal(file_read(cx, DL_MODEL, "tests/data/scheduler-turbo/scheduler_config.json",
                               100000, &config, &size),
                     DL_OK);
    link_tree("tests/data/tiny-sd1", folder);
    put_file(scheduler, "scheduler_config.json", config, size);
    open_fixture(&f, folder, "tiny-sd1", "tiny-turbo");
    dl_model_describe(f.model, &info);
    assert_string_equal(info.sampler, "euler");
    assert_int_equal(info.steps, 1);
    assert_true(info.guidance <= 1);
    for (int steps = 1; steps <= 4; steps += 3)
        for (int layer = 2; layer <= 4; layer += 2) {
            dl_options o;
            dl_options_init(&o);
            o.width = o.height = 64;
            o.steps = steps;
            snprintf(name, sizeof name, "euler.64x64.steps.%d.layer.%d", steps, layer);
            check(&f, &o, name, layer);
        }
    close_fixture(&f);
    dl_context_free(cx);
    scratch_remove(folder);
    free(config);
    free(scheduler);
    free(folder);
}

/* ---- promises -------------------------------------------------------------------------------- */

enum { SHELF_MAX = 64, SHELF_BYTES = 64 * 64 * 3 };

struct shelf {
    struct {
        size_t prompt;
        int layer;
        uint64_t seed;
        uint8_t rgb[SHELF_BYTES];
    } item[SHELF_MAX];
    size_t count;
};

static int put_on_shelf(void *user, const dl_picture *picture) {
    struct shelf *s = user;
    assert_int_equal(picture->width * picture->height * 3, SHELF_BYTES);
    assert_true(s->count < SHELF_MAX);
    s->item[s->count].prompt = picture->prompt;
    s->item[s->count].layer = picture->layer;
    s->item[s->count].seed = picture->seed;
    memcpy(s->item[s->count].rgb, picture->rgb, SHELF_BYTES);
    s->count++;
    return 0;
}

static const uint8_t *on_shelf(const struct shelf *s, size_t prompt, int layer, uint64_t seed) {
    for (size_t i = 0; i < s->count; i++)
        if (s->item[i].prompt == prompt && s->item[i].layer == layer && s->item[i].seed == seed)
            return s->item[i].rgb;
    fail_msg("no picture of prompt %zu, layer %d, seed %llu", prompt, layer,
             (unsigned long long)seed);
    return NULL;
}

static void small_options(dl_options *o) {
    dl_options_init(o);
    o->sampler = "ddim";
    o->width = o->height = 64;
    o->steps = 3;
    o->guidance = 5;
}

static void order_layers_and_generate(void **state) {
    struct fixture f;
    struct shelf *all = calloc(1, sizeof *all), *one = calloc(1, sizeof *one);
    const char *prompts[] = {"a dog", "two cats"};
    const uint64_t seeds[] = {3, 0};
    dl_options o;
    (void)state;
    open_fixture(&f, "tests/data/tiny-sd1", "tiny-sd1", "tiny-sd1");
    small_options(&o);
    o.seeds = seeds;
    o.seed_count = 2;
    o.native = 1;
    assert_int_equal(dl_lens(f.cx, f.model, &o, prompts, 2, put_on_shelf, all), DL_OK);
    assert_int_equal(all->count, 2 * 2 * 6);
    /* in the order of prompts, seeds, layers */
    assert_int_equal(all->item[0].layer, 0);
    assert_int_equal(all->item[4].layer, 4);
    assert_int_equal(all->item[5].layer, -1);
    assert_int_equal(all->item[6].seed, 0);
    assert_int_equal(all->item[12].prompt, 1);
    /* the last layer is generate's picture, and for this family the native one */
    assert_int_equal(dl_generate(f.cx, f.model, &o, prompts, 2, put_on_shelf, one), DL_OK);
    assert_int_equal(one->count, 4);
    for (size_t i = 0; i < one->count; i++) {
        const size_t p = one->item[i].prompt;
        const uint64_t s = one->item[i].seed;
        assert_memory_equal(one->item[i].rgb, on_shelf(all, p, 4, s), SHELF_BYTES);
        assert_memory_equal(one->item[i].rgb, on_shelf(all, p, -1, s), SHELF_BYTES);
    }
    /* layers, seeds and prompts do make a difference */
    assert_memory_not_equal(on_shelf(all, 0, 1, 3), on_shelf(all, 0, 4, 3), SHELF_BYTES);
    assert_memory_not_equal(on_shelf(all, 0, 4, 0), on_shelf(all, 0, 4, 3), SHELF_BYTES);
    assert_memory_not_equal(on_shelf(all, 0, 4, 3), on_shelf(all, 1, 4, 3), SHELF_BYTES);
    close_fixture(&f);
    free(all);
    free(one);
}

/* The same picture alone, in company, and with any number of threads. */
static void independent_of_company_and_threads(void **state) {
    struct fixture f;
    struct shelf *all = calloc(1, sizeof *all);
    const char *prompts[] = {"two cats", "a dog"};
    const uint64_t seeds[] = {3, 4};
    dl_options o;
    (void)state;
    open_fixture(&f, "tests/data/tiny-sd1", "tiny-sd1", "tiny-sd1");
    small_options(&o);
    o.seeds = seeds;
    o.seed_count = 2;
    assert_int_equal(dl_lens(f.cx, f.model, &o, prompts, 2, put_on_shelf, all), DL_OK);
    o.seeds = seeds + 1;
    o.seed_count = 1;
    o.layers = "2";
    for (int threads = 1; threads <= 5; threads++) {
        struct shelf *one = calloc(1, sizeof *one);
        assert_int_equal(dl_set_threads(f.cx, threads), DL_OK);
        assert_int_equal(dl_lens(f.cx, f.model, &o, prompts + 1, 1, put_on_shelf, one), DL_OK);
        assert_int_equal(one->count, 1);
        assert_memory_equal(one->item[0].rgb, on_shelf(all, 1, 2, 4), SHELF_BYTES);
        free(one);
    }
    close_fixture(&f);
    free(all);
}

/* Noise given is the noise the seed would have drawn. */
static void noise_given(void **state) {
    struct fixture f;
    struct shelf *seeded = calloc(1, sizeof *seeded), *given = calloc(1, sizeof *given);
    const char *prompt = "a dog";
    const uint64_t seed = 11;
    float noise[4 * 8 * 8];
    dl_options o;
    (void)state;
    open_fixture(&f, "tests/data/tiny-sd1", "tiny-sd1", "tiny-sd1");
    small_options(&o);
    o.layers = "1";
    o.seeds = &seed;
    o.seed_count = 1;
    assert_int_equal(dl_lens(f.cx, f.model, &o, &prompt, 1, put_on_shelf, seeded), DL_OK);
    dl_noise(seed, noise, 4 * 8 * 8);
    o.noise = noise;
    o.seeds = NULL;
    o.seed_count = 0;
    assert_int_equal(dl_lens(f.cx, f.model, &o, &prompt, 1, put_on_shelf, given), DL_OK);
    assert_memory_equal(seeded->item[0].rgb, given->item[0].rgb, SHELF_BYTES);
    close_fixture(&f);
    free(seeded);
    free(given);
}

static int stop_at_third_step(void *user, const dl_progress *progress) {
    int *steps = user;
    (void)progress;
    return ++*steps == 3;
}

static void cancelled(void **state) {
    struct fixture f;
    struct shelf *shelf = calloc(1, sizeof *shelf);
    const char *prompt = "a dog";
    int steps = 0;
    dl_options o;
    (void)state;
    open_fixture(&f, "tests/data/tiny-sd1", "tiny-sd1", "tiny-sd1");
    small_options(&o);
    o.progress = stop_at_third_step;
    o.progress_user = &steps;
    assert_int_equal(dl_lens(f.cx, f.model, &o, &prompt, 1, put_on_shelf, shelf), DL_CANCELLED);
    assert_true(dl_message(f.cx)[0] != '\0');
    assert_int_equal(shelf->count, 0);
    close_fixture(&f);
    free(shelf);
}

static void options_out_of_range(void **state) {
    struct fixture f;
    const char *prompt = "a dog";
    struct shelf *shelf = calloc(1, sizeof *shelf);
    dl_options good;
    (void)state;
    open_fixture(&f, "tests/data/tiny-sd1", "tiny-sd1", "tiny-sd1");
    small_options(&good);
    dl_options bad[12];
    for (size_t i = 0; i < 12; i++)
        bad[i] = good;
    bad[0].layers = "5";
    bad[1].layers = "0:";
    bad[1].skip_layers = "0";
    bad[2].steps = -1;
    bad[3].steps = 100000;
    bad[4].sampler = "euler-b";
    bad[5].guidance = NAN;
    bad[6].width = 60;
    bad[7].height = -8;
    bad[8].width = 1 << 30;
    bad[9].eta = 2;
    bad[10].norm = 7;
    bad[11].skip_layers = "9";
    for (size_t i = 0; i < 12; i++) {
        const int status = dl_lens(f.cx, f.model, &bad[i], &prompt, 1, put_on_shelf, shelf);
        if (status != DL_USAGE)
            print_error("case %zu: status %d\n", i, status);
        assert_int_equal(status, DL_USAGE);
        assert_true(strlen(dl_message(f.cx)) > 10);
    }
    assert_int_equal(shelf->count, 0);
    close_fixture(&f);
    free(shelf);
}

/* The plan's peak is what the run then takes: the arena grows no further. */
static void plan_is_told(void **state) {
    struct fixture f;
    dl_plan small, large;
    dl_options o;
    (void)state;
    open_fixture(&f, "tests/data/tiny-sd1", "tiny-sd1", "tiny-sd1");
    small_options(&o);
    o.width = o.height = 128; /* whole tiles for every convolution */
    assert_int_equal(dl_plan_picture(f.cx, f.model, &o, &small), DL_OK);
    o.width = 256;
    assert_int_equal(dl_plan_picture(f.cx, f.model, &o, &large), DL_OK);
    assert_true(small.bytes > 100000 && large.bytes > small.bytes);
    assert_true(small.encode > 0 && small.step > 0 && small.decode > 0);
    assert_true(large.step > 1.9 * small.step && large.encode == small.encode);
    close_fixture(&f);
}

static int never(void *user, const dl_picture *picture) {
    (void)user, (void)picture;
    fail();
    return 1;
}

/* Whose UNet is not open says so, whatever is asked of it. */
static void no_pictures_of_text_alone(void **state) {
    (void)state;
    const dl_open_options how = {.text_only = 1};
    const char *prompt = "a dog";
    dl_context *cx;
    dl_model *model;
    dl_options options;
    dl_plan plan;
    dl_run_result result;
    dl_tokens tokens;
    dl_options_init(&options);
    assert_int_equal(dl_context_new(&cx), DL_OK);
    assert_int_equal(dl_model_open_with(cx, "tests/data/tiny-sd1", &how, &model), DL_OK);
    assert_int_equal(dl_tokenize(cx, model, prompt, 5, &tokens), DL_OK);
    dl_tokens_free(&tokens);
    assert_int_equal(dl_lens(cx, model, &options, &prompt, 1, never, NULL), DL_USAGE);
    assert_int_equal(dl_generate(cx, model, &options, &prompt, 1, never, NULL), DL_USAGE);
    assert_int_equal(dl_plan_picture(cx, model, &options, &plan), DL_USAGE);
    assert_int_equal(dl_limit_memory(cx, model, &options, 1, 0, &plan), DL_OK); /* of encoding */
    assert_true(plan.picture <= 0 && plan.encode > 0);
    const dl_run run = {.folder = "not-made"};
    assert_int_equal(dl_lens_run(cx, model, &options, &prompt, 1, &run, &result), DL_USAGE);
    dl_model_close(model);
    dl_context_free(cx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sd1_as_diffusers),
        cmocka_unit_test(sd2_as_diffusers),
        cmocka_unit_test(lcm_as_diffusers),
        cmocka_unit_test(turbo_as_diffusers),
        cmocka_unit_test(order_layers_and_generate),
        cmocka_unit_test(independent_of_company_and_threads),
        cmocka_unit_test(noise_given),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(options_out_of_range),
        cmocka_unit_test(plan_is_told),
        cmocka_unit_test(no_pictures_of_text_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
