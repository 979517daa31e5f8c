/* Threads: which one of the running parallel loop this is. Without OpenMP there is one. */
#ifndef DLENS_KERNELS_THREADS_H
#define DLENS_KERNELS_THREADS_H

#include <stddef.h>

#ifdef _OPENMP
#include <omp.h>
static inline size_t thread_index(void) {
    return (size_t)omp_get_thread_num();
}
#else
static inline size_t thread_index(void) {
    return 0;
}
#endif

#endif
