/* dlens bench: times the parts of a model on this machine: the matrix product (as the yardstick),
 * the text encoder, one denoising step with guidance, the decoder. Medians of several runs. */
#include "app/commands.h"
#include "app/inputs.h"

#include "base/clock.h"
#include "lens/manifest.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { REPEATS_MAX = 1000 };

struct part {
    const char *name;
    double seconds; /* median */
    double work;    /* multiply-adds */
};

struct bench {
    const struct invocation *call;
    dl_model *model;
    dl_model_info info;
    size_t h, w;    /* of the latents */
    float *latents; /* (2,C,h,w) */
    float *out;     /* (2,C,h,w) */
    float *image;   /* (3,H,W) */
    float *states;  /* (2,T,D) */
    dl_options options;
};

static int run_encode(struct bench *b) {
    dl_encoding encoding;
    DL_TRY(dl_encode(b->call->cx, b->model, &b->options, "a photo of a dog on a beach", &encoding));
    const size_t values = encoding.tokens * encoding.hidden_size;
    for (size_t half = 0; half < 2; half++)
        memcpy(b->states + half * values, encoding.conditioning + encoding.layers * values,
               values * sizeof *b->states);
    dl_encoding_free(&encoding);
    return DL_OK;
}

static int run_step(struct bench *b) {
    return dl_denoise(b->call->cx, b->model, b->out, b->latents, 2, b->h, b->w, 500, b->states,
                      (size_t)b->info.tokens);
}

static int run_decode(struct bench *b) {
    return dl_decode(b->call->cx, b->model, b->image, b->latents, b->h, b->w);
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int time_part(struct bench *b, int (*run)(struct bench *), struct part *part) {
    double seconds[REPEATS_MAX];
    const long repeats = b->call->options->repeats ? b->call->options->repeats : 3;
    for (long i = 0; i < repeats; i++) {
        const double start = clock_seconds();
        DL_TRY(run(b));
        seconds[i] = clock_seconds() - start;
    }
    qsort(seconds, (size_t)repeats, sizeof seconds[0], compare_doubles);
    part->seconds = seconds[repeats / 2];
    return DL_OK;
}

static int bench_begin(struct bench *b, struct inputs *inputs, dl_plan *plan) {
    dl_context *cx = b->call->cx;
    DL_TRY(open_model(b->call, &b->model));
    dl_model_describe(b->model, &b->info);
    DL_TRY(inputs_read(cx, b->model, b->call->options, inputs));
    b->options = inputs->options;
    b->options.layers = "last";
    b->options.guidance = 7.5; /* two halves, as timed */
    DL_TRY(dl_plan_picture(cx, b->model, &b->options, plan));
    const int width = b->options.width ? b->options.width : b->info.width;
    const int height = b->options.height ? b->options.height : b->info.height;
    b->w = (size_t)(width / b->info.noise_scale); /* of a cascade the first stage is timed */
    b->h = (size_t)(height / b->info.noise_scale);
    const size_t values = 2 * (size_t)b->info.noise_channels * b->h * b->w;
    const size_t states = 2 * (size_t)b->info.tokens * (size_t)b->info.hidden_size;
    const size_t scale = (size_t)b->info.latent_scale;
    DL_TRY(allocate(cx, "latents", values, sizeof(float), (void **)&b->latents));
    DL_TRY(allocate(cx, "latents", values, sizeof(float), (void **)&b->out));
    DL_TRY(
        allocate(cx, "image", 3 * b->h * scale * b->w * scale, sizeof(float), (void **)&b->image));
    DL_TRY(allocate(cx, "states", states, sizeof(float), (void **)&b->states));
    dl_noise(0, b->latents, values);
    return DL_OK;
}

static long peak_memory(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss; /* kilobytes */
}

static int print_parts(const struct bench *b, const struct part *parts, size_t count, double speed,
                       const dl_plan *plan) {
    if (b->call->options->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToObject(o, "model", json_text(b->info.path));
        cJSON_AddStringToObject(o, "version", dl_version(b->call->cx));
        cJSON_AddNumberToObject(o, "width", (double)b->w * b->info.latent_scale);
        cJSON_AddNumberToObject(o, "height", (double)b->h * b->info.latent_scale);
        cJSON_AddNumberToObject(o, "matrix_gflops", 2e-9 * speed);
        for (size_t i = 0; i < count; i++) {
            cJSON *part = cJSON_AddObjectToObject(o, parts[i].name);
            cJSON_AddNumberToObject(part, "seconds", parts[i].seconds);
            cJSON_AddNumberToObject(part, "gflop", 2e-9 * parts[i].work);
        }
        cJSON_AddNumberToObject(o, "plan_bytes", (double)plan->bytes);
        cJSON_AddNumberToObject(o, "peak_rss_kb", (double)peak_memory());
        return print_json(b->call, o);
    }
    printf("%s at %zux%zu, dlens %s\n", b->info.path, b->w * (size_t)b->info.latent_scale,
           b->h * (size_t)b->info.latent_scale, dl_version(b->call->cx));
    printf("  %-22s %8.1f GFLOP/s\n", "matrix product", 2e-9 * speed);
    for (size_t i = 0; i < count; i++)
        printf("  %-22s %8.3f s  %8.1f GFLOP  %6.1f GFLOP/s  %3.0f %% of the matrix product\n",
               parts[i].name, parts[i].seconds, 2e-9 * parts[i].work,
               2e-9 * parts[i].work / parts[i].seconds,
               100 * parts[i].work / parts[i].seconds / speed);
    printf("  memory: %.0f MB planned beside file pages; peak resident %.0f MB\n",
           (double)plan->bytes / 1e6, (double)peak_memory() / 1e3);
    return DL_OK;
}

int command_bench(const struct invocation *call) {
    struct bench b = {.call = call};
    struct inputs inputs = {0};
    dl_plan plan;
    double speed = 0;
    if (call->options->argument_count)
        return fail(call->cx, DL_USAGE, "%s: bench takes no argument; the model goes to -m",
                    call->options->arguments[0]);
    int status = bench_begin(&b, &inputs, &plan);
    struct part parts[] = {{"text_encoder", 0, 0}, {"unet_step", 0, 0}, {"vae_decode", 0, 0}};
    if (status == DL_OK) {
        parts[0].work = plan.encode;
        parts[1].work = plan.step;
        parts[2].work = plan.decode;
        status = dl_measure_speed(call->cx, &speed);
    }
    if (status == DL_OK)
        status = time_part(&b, run_encode, &parts[0]);
    if (status == DL_OK)
        status = time_part(&b, run_step, &parts[1]);
    if (status == DL_OK)
        status = time_part(&b, run_decode, &parts[2]);
    if (status == DL_OK)
        status = print_parts(&b, parts, sizeof parts / sizeof parts[0], speed, &plan);
    free(b.latents);
    free(b.out);
    free(b.image);
    free(b.states);
    inputs_free(&inputs);
    dl_model_close(b.model);
    return status;
}
