/* Chooses the table of functions for this processor, once per context. */
#include "kernels/tables.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
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
    return __builtin_cpu_supports("avx512bf16");
}
#endif

static bool always(void) {
    return true;
}

static const struct {
    const struct kernels *table;
    bool (*runs)(void);
} tables[] = {
/* fastest first */
#if defined(__x86_64__)
    {&kernels_avx512, has_avx512},
    {&kernels_avx2, has_avx2},
#endif
#if defined(__aarch64__)
    {&kernels_neon, always}, /* part of the base architecture */
#endif
    {&kernels_ref, always},
};

const struct kernels *kernels_choose(const char *name) {
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if ((!name || strcmp(name, tables[i].table->name) == 0) && tables[i].runs())
            return tables[i].table;
    return NULL;
}

const struct products *products_bf16(const struct kernels *kernels) {
#if defined(__x86_64__)
    if (kernels == &kernels_avx512 && has_avx512_bf16())
        return &products_avx512_bf16;
#endif
    return kernels == &kernels_ref ? &products_ref_bf16 : NULL;
}
