/* Arithmetic of sizes that fit: what is large is checked before (size_mul, size_add). */
#ifndef DLENS_BASE_SIZE_H
#define DLENS_BASE_SIZE_H

#include <stddef.h>

static inline size_t min(size_t a, size_t b) {
    return a < b ? a : b;
}

/* a / b, rounded up; b > 0. */
static inline size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

/* The least multiple of b that is at least a. */
static inline size_t round_up(size_t a, size_t b) {
    return ceil_div(a, b) * b;
}

#endif
