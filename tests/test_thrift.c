/* Fitting into the memory allowed: pictures stay the same to the bit, the plan tells the truth,
 * what is too little is refused with the least size, and memory does not grow with a run's length.
 * Activations held in f16 take less, at a small error that no other measure changes.
 */
#include "model_support.h"

#include "base/context.h"
#include "dlens.h"
#include "kernels/op_log.h"

#include <sys/wait.h>

static const char mid_size[] = "weights/emoji-clip"; /* the bundled model */

static dl_model *open_in(dl_context *cx, const char *path) {
    dl_model *model;
    if (dl_model_open(cx, path, &model) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return model;
}

/* ---- the same pictures ----------------------------------------------------------------------- */

enum { SIDE = 64, VALUES = SIDE * SIDE * 3, PICTURES = 2 };

struct kept {
    size_t count;
    uint64_t sums[PICTURES]; /* FNV-1a of the pixels and the latents of each picture */
    uint8_t rgb[PICTURES][VALUES];
};

static uint64_t sum(uint64_t h, const void *data, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

static int keep(void *user, const dl_picture *p) {
    struct kept *kept = user;
    const size_t pixels = (size_t)p->width * (size_t)p->height;
    assert_int_equal(3 * pixels, VALUES);
    assert_true(kept->count < PICTURES);
    memcpy(kept->rgb[kept->count], p->rgb, VALUES);
    uint64_t h = sum(UINT64_C(0xcbf29ce484222325), p->rgb, VALUES);
    kept->sums[kept->count++] = sum(h, p->latents, 16 * sizeof *p->latents);
    return 0;
}

static struct kept run_with(const char *path, int activations, struct thrift thrift, int threads) {
    static const char *const prompts[PICTURES] = {"a dog", "a red cat"};
    dl_context *cx;
    dl_options options;
    struct kept kept = {0};
    assert_int_equal(dl_context_new(&cx), DL_OK);
    dl_model *model = open_in(cx, path);
    dl_set_threads(cx, threads);
    dl_options_init(&options);
    options.steps = 2;
    options.width = options.height = SIDE;
    options.layers = "1";
    options.keep_latents = 1;
    cx->thrift = thrift;
    assert_int_equal(dl_set_activations(cx, activations), DL_OK);
    assert_int_equal(dl_lens(cx, model, &options, prompts, PICTURES, keep, &kept), DL_OK);
    assert_int_equal(kept.count, PICTURES);
    dl_model_close(model);
    dl_context_free(cx);
    return kept;
}

static void measures_change_no_bit(void **state) {
    static const char *const models[] = {"tests/data/tiny-sd1", "tests/data/tiny-sd2",
                                         "tests/data/tiny-lcm"};
    static const struct thrift thrifts[] = {
        {.give_back = true},
        {.halves = true},
        {.strips = 1},
        {.limit = 1 << 20, .give_back = true, .halves = true, .strips = 3},
    };
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        for (int a = DL_ACTIVATIONS_F32; a <= DL_ACTIVATIONS_F16; a++) {
            const struct kept whole = run_with(models[m], a, (struct thrift){0}, 2);
            for (size_t i = 0; i < sizeof thrifts / sizeof *thrifts; i++) {
                const struct kept same = run_with(models[m], a, thrifts[i], (int)i % 2 + 1);
                assert_memory_equal(same.sums, whole.sums, sizeof whole.sums);
            }
        }
}

/* In f16 the pictures are not the same, which would mean that nothing was rounded, but nearly. */
static void f16_is_nearly_the_same(void **state) {
    static const char *const models[] = {"tests/data/tiny-sd1", "tests/data/tiny-sd2", mid_size};
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        const struct kept f32 = run_with(models[m], DL_ACTIVATIONS_F32, (struct thrift){0}, 1);
        const struct kept f16 = run_with(models[m], DL_ACTIVATIONS_F16, (struct thrift){0}, 1);
        for (size_t i = 0; i < PICTURES; i++) {
            const double db = psnr(f32.rgb[i], f16.rgb[i], VALUES);
            assert_true(f32.sums[i] != f16.sums[i]);
            if (!(db > 50.0))
                fail_msg("%s, picture %zu: %.1f dB", models[m], i, db);
        }
    }
}

/* ---- the plan and the truth ------------------------------------------------------------------ */

#if defined(__SANITIZE_ADDRESS__) || !defined(__linux__)
#define TELLS_MEMORY 0 /* a sanitizer's own memory is no part of the plan */
#else
#define TELLS_MEMORY 1
#endif

struct measured {
    size_t planned, peak, weights;
    char measures[160];
};

struct job {
    const char *layers;
    size_t limit; /* 0: SIZE_MAX, nothing is done to need less */
    int steps;
    size_t seeds;
    int side;
    int activations;
};

/* Peak resident memory of this process since it began. */
static size_t peak_memory(void) {
    char line[256];
    unsigned long kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lu", &kilobytes) == 1)
            break;
    if (f)
        fclose(f);
    return kilobytes * 1024;
}

static int drop(void *user, const dl_picture *picture) {
    (void)user, (void)picture;
    return 0;
}

/* In a process of its own, whose peak is that of the run. */
static int run_job(const struct job *job, struct measured *out) {
    static const uint64_t seeds[] = {0, 1, 2, 3};
    static const char *const prompt = "a dog";
    dl_context *cx;
    dl_model *model;
    dl_options options;
    dl_plan plan;
    dl_options_init(&options);
    options.layers = job->layers;
    options.steps = job->steps;
    options.seeds = seeds;
    options.seed_count = job->seeds;
    options.width = options.height = job->side;
    int status = dl_context_new(&cx);
    if (status == DL_OK)
        status = dl_set_threads(cx, 1);
    if (status == DL_OK)
        status = dl_set_activations(cx, job->activations);
    if (status == DL_OK)
        status = dl_model_open(cx, mid_size, &model);
    if (status == DL_OK)
        status = dl_limit_memory(cx, model, &options, 1, job->limit ? job->limit : SIZE_MAX, &plan);
    if (status == DL_OK)
        status = dl_lens(cx, model, &options, &prompt, 1, drop, NULL);
    out->planned = plan.resident;
    out->weights = plan.weights;
    out->peak = peak_memory();
    memcpy(out->measures, plan.measures, sizeof out->measures);
    return status;
}

static struct measured measure(struct job job) {
    struct measured m = {0};
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        status = run_job(&job, &m);
        _exit(write(ends[1], &m, sizeof m) == sizeof m ? status : DL_FAILED);
    }
    assert_true(child > 0);
    close(ends[1]);
    assert_int_equal(read(ends[0], &m, sizeof m), sizeof m);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return m;
}

static void assert_true_plan(const struct measured *m) {
    if ((double)m->planned < 0.95 * (double)m->peak || (double)m->planned > 1.05 * (double)m->peak)
        fail_msg("planned %zu bytes, the peak was %zu (%s)", m->planned, m->peak, m->measures);
}

static void plan_is_the_truth(void **state) {
    (void)state;
    if (!TELLS_MEMORY)
        skip();
    const struct measured all = measure((struct job){"-1", 0, 1, 1, 320, DL_ACTIVATIONS_F32});
    assert_true_plan(&all);
    assert_string_equal(all.measures, "");
    assert_true(all.weights > (size_t)10 << 20);
    const struct measured less =
        measure((struct job){"-1", all.peak * 8 / 10, 1, 1, 320, DL_ACTIVATIONS_F32});
    assert_true_plan(&less);
    assert_true(less.peak <= all.peak * 8 / 10);
    assert_true(strlen(less.measures) > 0);
    /* the UNet is now the largest: in the second picture, with the decoder's weights there */
    const struct measured f16 = measure((struct job){"0,-1", 0, 2, 1, 320, DL_ACTIVATIONS_F16});
    assert_true_plan(&f16);
    assert_true(f16.peak < all.peak * 8 / 10);
}

static void memory_does_not_grow_with_the_run(void **state) {
    (void)state;
    if (!TELLS_MEMORY)
        skip();
    const struct measured small = measure((struct job){"-1", 0, 1, 1, 192, DL_ACTIVATIONS_F32});
    const struct measured large = measure((struct job){"0,4,-1", 0, 2, 2, 192, DL_ACTIVATIONS_F32});
    assert_int_equal(small.planned / 1000000, large.planned / 1000000);
    assert_true((double)large.peak < 1.02 * (double)small.peak);
}

/* Rows whose text is looked at, and rows that are then widened to twice four times (the
 * feed-forward; a text's own goes before, a time embedding has two rows at most). */
static void count_rows(const struct op_log *log, size_t tokens, size_t *looking, size_t *widened) {
    size_t width = 0;
    *looking = *widened = 0;
    for (size_t i = 0; i < log->count; i++) {
        const struct op_call *c = &log->calls[i];
        if (c->kind == OP_ATTENTION && c->attention.keys == tokens && !c->attention.causal) {
            *looking += c->times * c->attention.batch * c->attention.queries;
            width = c->attention.heads * c->attention.head_dim;
        } else if (c->kind == OP_LINEAR && c->K == width && c->N == 4 * width && c->M > 2)
            *widened += c->times * c->M;
    }
    *widened /= 2;
}

/* The feed-forward goes by in rounds of 2048 rows, of which a plan makes two: all are counted. */
static void rounds_are_all_counted(void **state) {
    static const int sides[][2] = {{64, 64}, {512, 256}, {512, 512}, {1000, 1024}};
    dl_context *cx;
    dl_options options;
    dl_plan plan;
    struct op_log log = {0};
    size_t looking, widened;
    (void)state;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    dl_model *model = open_in(cx, "tests/data/tiny-sd1");
    dl_options_init(&options);
    cx->op_log = &log;
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        options.width = sides[i][0];
        options.height = sides[i][1];
        log.count = 0;
        assert_int_equal(dl_plan_picture(cx, model, &options, &plan), DL_OK);
        count_rows(&log, 77, &looking, &widened);
        assert_true(looking >= (size_t)(options.width * options.height / 64));
        assert_int_equal(widened, looking);
    }
    cx->op_log = NULL;
    free(log.calls);
    dl_model_close(model);
    dl_context_free(cx);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void too_little_is_refused_with_the_least(void **state) {
    dl_context *cx;
    dl_options options;
    dl_plan plan;
    size_t least;
    (void)state;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    dl_model *model = open_in(cx, "tests/data/tiny-sd1");
    assert_int_equal(dl_set_activations(cx, 2), DL_USAGE);
    dl_options_init(&options);
    assert_int_equal(dl_limit_memory(cx, model, &options, 1, 1 << 20, &plan), DL_FAILED);
    const char *number = strstr(dl_message(cx), "at least ");
    assert_non_null(number);
    assert_int_equal(sscanf(number, "at least %zu MB", &least), 1);
    if (TELLS_MEMORY) { /* with that and what the process may have grown by it does */
        assert_int_equal(
            dl_limit_memory(cx, model, &options, 1, least * 1000000 + (1 << 20), &plan), DL_OK);
        assert_true(plan.resident <= least * 1000000 + (1 << 20));
    }
    /* absurd sizes are refused, not tried */
    options.width = options.height = 1 << 14;
    assert_int_equal(dl_limit_memory(cx, model, &options, 1, 0, NULL), DL_FAILED);
    assert_int_equal(dl_limit_memory(cx, model, &options, SIZE_MAX, 1 << 30, NULL), DL_FAILED);
    dl_model_close(model);
    dl_context_free(cx);
}

/* Each thread has scratch of its own: where that is too much, some threads are given up. */
static void threads_are_given_up_last(void **state) {
    enum { MANY = 16 };
    dl_context *cx;
    dl_options options;
    dl_plan few, many;
    (void)state;
    if (!TELLS_MEMORY)
        skip();
    assert_int_equal(dl_context_new(&cx), DL_OK);
    dl_model *model = open_in(cx, mid_size);
    dl_options_init(&options);
    options.width = options.height = 320;
    dl_set_threads(cx, 1);
    cx->thrift = (struct thrift){.give_back = true, .halves = true, .strips = 3};
    assert_int_equal(dl_plan_picture(cx, model, &options, &few), DL_OK);
    dl_set_threads(cx, MANY);
    assert_int_equal(dl_plan_picture(cx, model, &options, &many), DL_OK);
    assert_true(many.resident > few.resident + (2 << 20));
    const size_t limit = few.resident + (1 << 20);
    assert_int_equal(dl_limit_memory(cx, model, &options, 1, limit, &few), DL_OK);
    assert_true(few.resident <= limit && cx->threads < MANY);
    assert_non_null(strstr(few.measures, "fewer threads"));
    assert_int_equal(dl_limit_memory(cx, model, &options, 1, 0, &few), DL_OK);
    assert_int_equal(cx->threads, MANY);
    dl_model_close(model);
    dl_context_free(cx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures_change_no_bit),
        cmocka_unit_test(f16_is_nearly_the_same),
        cmocka_unit_test(plan_is_the_truth),
        cmocka_unit_test(memory_does_not_grow_with_the_run),
        cmocka_unit_test(rounds_are_all_counted),
        cmocka_unit_test(too_little_is_refused_with_the_least),
        cmocka_unit_test(threads_are_given_up_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
