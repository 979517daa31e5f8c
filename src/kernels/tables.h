/* The tables that this build holds; dispatch.c chooses among them. */
#ifndef DLENS_KERNELS_TABLES_H
#define DLENS_KERNELS_TABLES_H

#include "kernels/kernels.h"

extern const struct kernels kernels_ref;
extern const struct products products_ref_bf16;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2, kernels_avx512;
extern const struct products products_avx512_bf16, products_amx, products_amx_f32;
#endif
#if defined(__aarch64__)
extern const struct kernels kernels_neon;
#endif

#endif
