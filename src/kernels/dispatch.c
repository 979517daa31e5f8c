/* Chooses the table of functions for this processor, once per context. */
#include "kernels/tables.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* __builtin_cpu_supports asks cpuid, and whether the system saves the wide registers. */
#if defined(__x86_64__)
static bool has_avx2(void) {
    unsigned a, b, c = 0, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512_bf16(void) {
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

/* Intel's processors multiply bf16 so at half the rate of f32 (a Xeon with AMX, measured), AMD's at
 * twice it. */
static bool gains_by_avx512_bf16(void) {
    return !__builtin_cpu_is("intel");
}

/* A process has to ask Linux for the tile registers, whose 8 KB are kept for each thread. */
static bool has_amx(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, BF16 = 1 << 22, TILES = 1 << 24 };
    unsigned a, b, c, d = 0;
    return has_avx512_bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & BF16) &&
           (d & TILES) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}
#endif

static bool always(void) {
    return true;
}

static bool never(void) {
    return false;
}

static const struct row {
    const char *name;
    const struct kernels *table;
    bool (*runs)(void);
    const struct products *bf16; /* beside it, where the next function says so; */
    bool (*runs_bf16)(void);
    bool (*gains)(void); /* whether they are faster than those of the table */
    const struct products *matrices; /* in f32, faster than those of the table; or NULL */
} rows[] = {
/* fastest first */
#if defined(__x86_64__)
    {"amx", &kernels_avx512, has_amx, &products_amx, always, always, &products_amx_f32},
    {"avx512", &kernels_avx512, has_avx512, &products_avx512_bf16, has_avx512_bf16,
     gains_by_avx512_bf16, NULL},
    {"avx2", &kernels_avx2, has_avx2, NULL, never, never, NULL},
#endif
#if defined(__aarch64__)
    {"neon", &kernels_neon, always, NULL, never, never, NULL}, /* part of the base architecture */
#endif
    {"ref", &kernels_ref, always, &products_ref_bf16, always, never, NULL},
};

static const struct row *choose(const char *name) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if ((!name || strcmp(name, rows[i].name) == 0) && rows[i].runs())
            return &rows[i];
    return NULL;
}

const struct kernels *kernels_choose(const char *name) {
    const struct row *row = choose(name);
    return row ? row->table : NULL;
}

const struct products *products_bf16(const char *name) {
    const struct row *row = choose(name);
    return row && row->runs_bf16() && (name || row->gains()) ? row->bf16 : NULL;
}

const struct products *products_of_matrices(const char *name) {
    const struct row *row = choose(name);
    return row ? row->matrices : NULL;
}
