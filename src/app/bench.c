/* dlens bench: times a model on this machine. Its parts (text encoder, one denoising step with
 * guidance, decoder), medians of several runs; and by itself each operation that they are made of,
 * as a share of the processor's peak (independent multiply-adds on registers, measured in the same
 * run). An operation's share counts the multiplications that it really does: Winograd's of a 3x3
 * convolution are a quarter of the plain ones, and its transforms count as none. */
#include "app/commands.h"
#include "app/inputs.h"

#include "base/clock.h"
#include "kernels/op_log.h"
#include "lens/manifest.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { REPEATS_MAX = 1000 };

static const double SECONDS_PER_OPERATION = 0.1;

/* One operation of a part, timed by itself. */
struct timing {
    double seconds, work; /* of one call */
};

struct part {
    const char *name;
    double seconds;    /* median */
    double work;       /* multiply-adds */
    struct op_log log; /* what it is made of */
    struct timing *timings;
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

/* The first run is not timed: it brings weights and scratch memory into the process, which a lens
 * does once, and notes the operations. */
static int time_part(struct bench *b, int (*run)(struct bench *), struct part *part) {
    double seconds[REPEATS_MAX];
    const long repeats = b->call->options->repeats ? b->call->options->repeats : 3;
    b->call->cx->op_log = &part->log;
    const int first = run(b);
    b->call->cx->op_log = NULL;
    DL_TRY(first);
    for (long i = 0; i < repeats; i++) {
        const double start = clock_seconds();
        DL_TRY(run(b));
        seconds[i] = clock_seconds() - start;
    }
    qsort(seconds, (size_t)repeats, sizeof seconds[0], compare_doubles);
    part->seconds = seconds[repeats / 2];
    return DL_OK;
}

/* Times each operation of a part by itself. */
static int time_operations(dl_context *cx, struct part *part) {
    void *timings;
    if (part->log.cut)
        return fail_memory(cx, "list of operations", part->log.count * sizeof(struct op_call));
    DL_TRY(allocate(cx, "timings", part->log.count, sizeof *part->timings, &timings));
    part->timings = timings;
    for (size_t i = 0; i < part->log.count; i++)
        DL_TRY(op_time(cx, &part->log.calls[i], SECONDS_PER_OPERATION, &part->timings[i].seconds,
                       &part->timings[i].work));
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

/* "conv 3x3 2x64x64 320 <- 320": batch, sides, channels. */
static void describe(const struct op_call *call, char *out, size_t size) {
    const struct conv_shape *c = &call->conv;
    const struct attention_shape *a = &call->attention;
    const char *dtype = call->dtype == DTYPE_F32 ? "" : dtype_name(call->dtype);
    switch (call->kind) {
    case OP_LINEAR:
        snprintf(out, size, "linear %zu rows, %zu <- %zu %s", call->M, call->N, call->K, dtype);
        break;
    case OP_CONV:
        snprintf(out, size, "conv %zux%zu%s%s %zux%zux%zu, %zu <- %zu %s", call->side, call->side,
                 c->stride > 1 ? " halving" : "", c->up_H ? " enlarging" : "", c->B, c->H, c->W,
                 call->N, call->K, dtype);
        break;
    case OP_ATTENTION:
        snprintf(out, size, "attention %zu heads of %zu, %zu <- %zu", a->batch * a->heads,
                 a->head_dim, a->queries, a->keys);
        break;
    }
}

static void print_operations(const struct part *part, double peak) {
    printf("\n  %-44s %5s %11s %14s %9s\n", part->name, "times", "ms each", "share of part",
           "of peak");
    for (size_t i = 0; i < part->log.count; i++) {
        const struct timing *t = &part->timings[i];
        const double all = t->seconds * (double)part->log.calls[i].times;
        char name[96];
        describe(&part->log.calls[i], name, sizeof name);
        printf("  %-44s %5zu %11.3f %12.1f %% %7.1f %%\n", name, part->log.calls[i].times,
               1e3 * t->seconds, 100 * all / part->seconds, 100 * t->work / t->seconds / peak);
    }
}

static cJSON *operations_json(const struct part *part, double peak) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < part->log.count; i++) {
        const struct timing *t = &part->timings[i];
        char name[96];
        cJSON *o = cJSON_CreateObject();
        describe(&part->log.calls[i], name, sizeof name);
        cJSON_AddStringToObject(o, "operation", name);
        cJSON_AddNumberToObject(o, "times", (double)part->log.calls[i].times);
        cJSON_AddNumberToObject(o, "seconds", t->seconds);
        cJSON_AddNumberToObject(o, "gflop", 2e-9 * t->work);
        cJSON_AddNumberToObject(o, "share_of_peak", t->work / t->seconds / peak);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static int print_json_result(const struct bench *b, const struct part *parts, size_t count,
                             double speed, double peak, const dl_plan *plan) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "model", json_text(b->info.path));
    cJSON_AddStringToObject(o, "version", dl_version(b->call->cx));
    cJSON_AddNumberToObject(o, "threads", b->call->cx->threads);
    cJSON_AddNumberToObject(o, "width", (double)b->w * b->info.latent_scale);
    cJSON_AddNumberToObject(o, "height", (double)b->h * b->info.latent_scale);
    cJSON_AddNumberToObject(o, "peak_gflops", 2e-9 * peak);
    cJSON_AddNumberToObject(o, "matrix_gflops", 2e-9 * speed);
    for (size_t i = 0; i < count; i++) {
        cJSON *part = cJSON_AddObjectToObject(o, parts[i].name);
        cJSON_AddNumberToObject(part, "seconds", parts[i].seconds);
        cJSON_AddNumberToObject(part, "gflop", 2e-9 * parts[i].work);
        if (parts[i].timings)
            cJSON_AddItemToObject(part, "operations", operations_json(&parts[i], peak));
    }
    cJSON_AddNumberToObject(o, "plan_bytes", (double)plan->bytes);
    cJSON_AddNumberToObject(o, "peak_rss_kb", (double)peak_memory());
    return print_json(b->call, o);
}

static int print_parts(const struct bench *b, const struct part *parts, size_t count, double speed,
                       double peak, const dl_plan *plan) {
    if (b->call->options->json)
        return print_json_result(b, parts, count, speed, peak, plan);
    printf("%s at %zux%zu, dlens %s, threads: %d\n", b->info.path,
           b->w * (size_t)b->info.latent_scale, b->h * (size_t)b->info.latent_scale,
           dl_version(b->call->cx), b->call->cx->threads);
    printf("  %-22s %8.1f GFLOP/s\n", "peak", 2e-9 * peak);
    printf("  %-22s %8.1f GFLOP/s\n", "matrix product", 2e-9 * speed);
    for (size_t i = 0; i < count; i++)
        printf("  %-22s %8.3f s  %8.1f GFLOP  %6.1f GFLOP/s  %3.0f %% of the peak\n", parts[i].name,
               parts[i].seconds, 2e-9 * parts[i].work, 2e-9 * parts[i].work / parts[i].seconds,
               100 * parts[i].work / parts[i].seconds / peak);
    printf("  memory: %.0f MB planned beside file pages; peak resident %.0f MB\n",
           (double)plan->bytes / 1e6, (double)peak_memory() / 1e3);
    for (size_t i = 0; i < count; i++)
        if (parts[i].timings)
            print_operations(&parts[i], peak);
    return DL_OK;
}

static int time_parts(struct bench *b, struct part parts[3]) {
    static int (*const runs[3])(struct bench *) = {run_encode, run_step, run_decode};
    for (size_t i = 0; i < 3; i++)
        DL_TRY(time_part(b, runs[i], &parts[i]));
    for (size_t i = 0; i < 3 && !b->call->options->parts; i++)
        DL_TRY(time_operations(b->call->cx, &parts[i]));
    return DL_OK;
}

int command_bench(const struct invocation *call) {
    struct bench b = {.call = call};
    struct inputs inputs = {0};
    dl_plan plan = {0};
    double speed = 0;
    if (call->options->argument_count)
        return fail(call->cx, DL_USAGE, "%s: bench takes no argument; the model goes to -m",
                    call->options->arguments[0]);
    int status = bench_begin(&b, &inputs, &plan);
    struct part parts[3] = {{.name = "text_encoder", .work = plan.encode},
                            {.name = "unet_step", .work = plan.step},
                            {.name = "vae_decode", .work = plan.decode}};
    const double peak = op_peak(call->cx);
    if (status == DL_OK)
        status = dl_measure_speed(call->cx, &speed);
    if (status == DL_OK)
        status = time_parts(&b, parts);
    if (status == DL_OK)
        status = print_parts(&b, parts, 3, speed, peak, &plan);
    for (size_t i = 0; i < 3; i++) {
        free(parts[i].log.calls);
        free(parts[i].timings);
    }
    free(b.latents);
    free(b.out);
    free(b.image);
    free(b.states);
    inputs_free(&inputs);
    dl_model_close(b.model);
    return status;
}
