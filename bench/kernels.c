/* Times the kernels at Stable Diffusion 1.5's shapes, as shares of the machine's peak.
 *
 *     make build/bench/kernels
 *     build/bench/kernels [-j THREADS] [-t SECONDS] [-p f32|fast] [NAME...]
 *
 * The peak is measured beside every row with a loop of independent multiply-adds on registers, on
 * as many threads, because clocks and neighbours change: a share compares with the same moment.
 * DLENS_ISA chooses the table, -p the precision of products. NAME: only rows that begin so. */
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static dl_context cx;
static double seconds_per_row = 0.5;

/* With one thread processor time, in which neighbours on a busy machine do not count. */
static double now(void) {
    struct timespec t;
    clock_gettime(cx.threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- peak ------------------------------------------------------------------------------------ */

enum { STEPS = 200000, LARGE_PAGE = 1 << 21 };

/* Multiply-adds per second of all threads. */
static double peak(void) {
    double best = 0.0;
    for (int trial = 0; trial < 5; trial++) {
        double work = 0.0, start = now();
#pragma omp parallel num_threads(cx.threads) reduction(+ : work)
        {
            float out[TILE_COLUMNS_MAX];
            work += products_of(&cx)->multiply_adds(out, STEPS);
        }
        double speed = work / (now() - start);
        best = speed > best ? speed : best;
    }
    return best;
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct row {
    const char *name;
    enum { LINEAR, CONV, ATTENTION, GROUP_NORM } kind;
    size_t a, b, c, d; /* see run */
};

static const struct row rows[] = {
    /* batch 2 (guidance), 512x512: M, N, K */
    {"linear 8192x320x320", LINEAR, 8192, 320, 320, 0},
    {"linear 8192x2560x320", LINEAR, 8192, 2560, 320, 0},
    {"linear 8192x320x1280", LINEAR, 8192, 320, 1280, 0},
    {"linear 2048x640x640", LINEAR, 2048, 640, 640, 0},
    {"linear 2048x5120x640", LINEAR, 2048, 5120, 640, 0},
    {"linear 512x1280x1280", LINEAR, 512, 1280, 1280, 0},
    {"linear 512x10240x1280", LINEAR, 512, 10240, 1280, 0},
    {"linear 154x320x768", LINEAR, 154, 320, 768, 0},
    {"linear 77x3072x768", LINEAR, 77, 3072, 768, 0},
    {"linear 77x768x3072", LINEAR, 77, 768, 3072, 0},
    {"linear 2x1280x320", LINEAR, 2, 1280, 320, 0},
    /* batch, side, N, K */
    {"conv 2x64 320<-4", CONV, 2, 64, 320, 4},
    {"conv 2x64 320<-320", CONV, 2, 64, 320, 320},
    {"conv 2x64 320<-960", CONV, 2, 64, 320, 960},
    {"conv 2x32 640<-640", CONV, 2, 32, 640, 640},
    {"conv 2x32 640<-1920", CONV, 2, 32, 640, 1920},
    {"conv 2x16 1280<-1280", CONV, 2, 16, 1280, 1280},
    {"conv 2x16 1280<-2560", CONV, 2, 16, 1280, 2560},
    {"conv 2x8 1280<-1280", CONV, 2, 8, 1280, 1280},
    {"conv 2x8 1280<-2560", CONV, 2, 8, 1280, 2560},
    {"conv vae 1x64 512<-512", CONV, 1, 64, 512, 512},
    {"conv vae 1x256 256<-256", CONV, 1, 256, 256, 256},
    {"conv vae 1x512 128<-128", CONV, 1, 512, 128, 128},
    {"conv vae 1x512 3<-128", CONV, 1, 512, 3, 128},
    /* batch * heads, queries, keys, head_dim */
    {"attention 16 4096x4096 d40", ATTENTION, 16, 4096, 4096, 40},
    {"attention 16 1024x1024 d80", ATTENTION, 16, 1024, 1024, 80},
    {"attention 16 256x256 d160", ATTENTION, 16, 256, 256, 160},
    {"attention 16 4096x77 d40", ATTENTION, 16, 4096, 77, 40},
    {"attention 12 77x77 d64", ATTENTION, 12, 77, 77, 64},
    {"attention vae 1 4096x4096 d512", ATTENTION, 1, 4096, 4096, 512},
    /* batch, side, -, channels: no products, so milliseconds only */
    {"group norm 2x64 320", GROUP_NORM, 2, 64, 0, 320},
    {"group norm 1x512 128", GROUP_NORM, 1, 512, 0, 128},
};

/* In large pages where `activations`, as the arena's are; weights lie in ordinary ones. */
static float *random_floats(size_t n, bool activations) {
    void *memory = NULL;
    uint32_t state = 1;
    if (posix_memalign(&memory, activations ? LARGE_PAGE : 4096, n * sizeof(float)))
        exit(1);
    if (activations)
        madvise(memory, n * sizeof(float), MADV_HUGEPAGE);
    float *x = memory;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
    return x;
}

static void run(const struct row *r, float *y, const float *x, const float *w) {
    struct tensor t = {.dtype = DTYPE_F32, .data = w};
    struct epilogue ep = {.bias = w};
    switch (r->kind) {
    case LINEAR:
        t.ndim = 2, t.shape[0] = r->b, t.shape[1] = r->c;
        op_linear(&cx, y, x, &t, r->a, &ep);
        break;
    case CONV: {
        struct conv_shape s = {
            .B = r->a, .H = r->b, .W = r->b, .stride = 1, .pad_before = 1, .pad_after = 1};
        t.ndim = 4, t.shape[0] = r->c, t.shape[1] = r->d, t.shape[2] = t.shape[3] = 3;
        op_conv2d(&cx, y, x, &t, &s, &ep);
        break;
    }
    case ATTENTION: {
        struct attention_shape s = {1, r->a, r->b, r->c, r->d, 0.1f, false, NULL, NULL};
        op_attention(&cx, y, x, w, w, &s);
        break;
    }
    case GROUP_NORM:
        op_group_norm(&cx, y, x, w, w, NULL, NULL, r->a, r->b * r->b, r->d, 32, 1e-5f, ACT_SILU);
        break;
    }
}

/* Elements of y, x and w. */
static void sizes(const struct row *r, size_t n[3]) {
    switch (r->kind) {
    case LINEAR:
        n[0] = r->a * r->b, n[1] = r->a * r->c, n[2] = r->b * r->c;
        break;
    case CONV:
        n[0] = r->a * r->b * r->b * r->c, n[1] = r->a * r->b * r->b * r->d;
        n[2] = r->c * r->d * 9;
        break;
    case ATTENTION:
        n[0] = n[1] = r->a * r->b * r->d, n[2] = r->a * r->c * r->d;
        break;
    case GROUP_NORM:
        n[0] = n[1] = r->a * r->b * r->b * r->d, n[2] = r->d;
        break;
    }
}

static void measure(const struct row *r) {
    size_t n[3] = {0};
    sizes(r, n);
    float *y = random_floats(n[0], true), *x = random_floats(n[1], true);
    float *w = random_floats(n[2], r->kind == ATTENTION);
    arena_plan(&cx);
    run(r, y, x, w);
    double work = cx.arena.work, best = 1e30, before = peak();
    if (arena_reserve(&cx, r->name))
        exit(1);
    for (double begin = now(); best == 1e30 || now() - begin < seconds_per_row;) {
        double start = now();
        run(r, y, x, w);
        double t = now() - start;
        best = t < best ? t : best;
    }
    double after = peak(), top = before > after ? before : after;
    printf("%-32s %9.3f ms", r->name, 1e3 * best);
    if (work > 0.0)
        printf("  %7.1f GFLOP/s  %5.1f %% of %.1f", 2e-9 * work / best, 100 * work / best / top,
               2e-9 * top);
    printf("\n");
    free(y);
    free(x);
    free(w);
}

int main(int argc, char **argv) {
    cx.threads = 1;
    cx.kernels = kernels_choose(getenv("DLENS_ISA"));
    cx.matrices = products_of_matrices(getenv("DLENS_ISA"));
    bool fast = false;
    int i = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2)
        if (argv[i][1] == 'j')
            cx.threads = atoi(argv[i + 1]);
        else if (argv[i][1] == 't')
            seconds_per_row = atof(argv[i + 1]);
        else
            fast = strcmp(argv[i + 1], "fast") == 0;
    if (!cx.kernels || cx.threads < 1)
        return 2;
    cx.fast = fast ? products_bf16(getenv("DLENS_ISA")) : NULL;
    printf("table %s, products in %s, %d thread(s)\n", cx.kernels->name, products_of(&cx)->name,
           cx.threads);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        bool wanted = i == argc;
        for (int a = i; a < argc; a++)
            wanted = wanted || strncmp(rows[r].name, argv[a], strlen(argv[a])) == 0;
        if (wanted)
            measure(&rows[r]);
    }
    arena_free(&cx);
    return 0;
}
