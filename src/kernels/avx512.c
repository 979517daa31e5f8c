/* The kernel table for AVX-512 (F, BW, DQ, VL): 16 lanes, 32 registers, a tile of 14 x 32. */
#include "kernels/tables.h"

#if defined(__x86_64__)
#include "kernels/avx512.h"

#include <math.h>
#include <string.h>

#define TABLE   kernels_avx512
#define NAME    "avx512"
#define ROWS    14
#define FEW     5
#define VECTORS 5
#define GROUP   1

#include "kernels/simd.inc"
#endif
