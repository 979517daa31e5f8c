/* The public context: threads, kernel table, log, version; and what needs nothing but a context:
 * noise, and the speed of this machine. */
#include "base/context.h"

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { THREADS_MAX = 1024 };

/* The cores that this process may run on. */
static int all_cores(void) {
#ifdef _OPENMP
    const long cores = omp_get_num_procs();
#else
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (int)cores;
}

/* The instruction set that the user asks for; NULL: the best. */
static const char *wanted_isa(void) {
    const char *wanted = getenv("DLENS_ISA");
    return wanted && wanted[0] ? wanted : NULL;
}

int dl_context_new(dl_context **out) {
    dl_context *cx = *out = calloc(1, sizeof *cx);
    if (!cx)
        return DL_FAILED;
    const char *wanted = wanted_isa();
    cx->threads = all_cores();
    cx->kernels = kernels_choose(wanted);
    cx->matrices = products_of_matrices(wanted);
    if (cx->kernels)
        return DL_OK;
    cx->kernels = kernels_choose("ref");
    return fail(cx, DL_USAGE,
                "DLENS_ISA=%s: not an instruction set of this processor and build; ref, avx2, "
                "avx512, amx and neon exist",
                wanted);
}

void dl_context_free(dl_context *cx) {
    if (!cx)
        return;
    arena_free(cx);
    pages_free(cx);
    free(cx);
}

const char *dl_message(const dl_context *cx) {
    return cx ? cx->message : "out of memory";
}

void dl_set_log(dl_context *cx, dl_log_fn log, void *user) {
    cx->log = log;
    cx->log_user = user;
}

int dl_set_threads(dl_context *cx, int threads) {
    if (threads < 0 || threads > THREADS_MAX)
        return fail(cx, DL_USAGE, "--threads %d: must be 1 to %d", threads, THREADS_MAX);
    cx->threads = threads ? threads : all_cores();
    cx->thrift.threads = 0;
    return DL_OK;
}

int dl_set_precision(dl_context *cx, int precision) {
    if (precision != DL_F32 && precision != DL_FAST)
        return fail(cx, DL_USAGE, "precision %d: must be DL_F32 or DL_FAST", precision);
    cx->fast = precision == DL_FAST ? products_bf16(wanted_isa()) : NULL;
    if (precision == DL_FAST && !cx->fast)
        tell(cx, DL_LOG_WARNING,
             "--precision fast: this processor has no instructions for products in bf16 that are "
             "faster than f32's (AMX, AMD's AVX-512 BF16); computing in f32");
    return DL_OK;
}

int dl_set_activations(dl_context *cx, int activations) {
    if (activations != DL_ACTIVATIONS_F32 && activations != DL_ACTIVATIONS_F16)
        return fail(cx, DL_USAGE,
                    "activations %d: must be DL_ACTIVATIONS_F32 or DL_ACTIVATIONS_F16",
                    activations);
    cx->hold_f16 = activations == DL_ACTIVATIONS_F16;
    return DL_OK;
}

const char *dl_version(dl_context *cx) {
    const char *openmp = "no OpenMP";
#ifdef _OPENMP
    openmp = "OpenMP";
#endif
    const struct products *bf16 = products_bf16(wanted_isa());
    const char *and = cx->matrices ? ", " : bf16 ? " for --precision fast, " : "";
    snprintf(cx->version, sizeof cx->version, "%s (%s; %s%s%s)", DLENS_VERSION, openmp,
             bf16 ? bf16->by : "", and, cx->kernels->name);
    return cx->version;
}

void dl_free(void *memory) {
    free(memory);
}

void dl_noise(uint64_t seed, float *out, size_t count) {
    struct rng rng;
    rng_seed(&rng, seed);
    if (count)
        rng_normal(&rng, out, count);
}

/* The best of the products that fit into a third of a second. */
int dl_measure_speed(dl_context *cx, double *speed) {
    enum { M = 1024, N = 1280, K = 1280 }; /* as in Stable Diffusion's transformers */
    float *x = NULL, *w = NULL, *y = NULL;
    struct tensor weight = {"speed", DTYPE_F32, 2, {N, K}, NULL, NULL};
    int status = allocate(cx, "matrix", (size_t)M * K, sizeof *x, (void **)&x);
    if (status == DL_OK)
        status = allocate(cx, "matrix", (size_t)N * K, sizeof *w, (void **)&w);
    if (status == DL_OK)
        status = allocate(cx, "matrix", (size_t)M * N, sizeof *y, (void **)&y);
    weight.data = w;
    if (status == DL_OK) {
        arena_plan(cx);
        op_linear(cx, y, x, &weight, M, NULL);
        status = arena_reserve(cx, "matrix product");
    }
    *speed = 0;
    for (double start = clock_seconds(), t = start; status == DL_OK && t - start < 0.33;) {
        op_linear(cx, y, x, &weight, M, NULL);
        const double end = clock_seconds(), rate = (double)M * N * K / (end - t);
        *speed = rate > *speed ? rate : *speed;
        t = end;
    }
    free(x);
    free(w);
    free(y);
    return status;
}
