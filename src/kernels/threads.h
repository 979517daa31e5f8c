/* Threads: how many are worth waking, and which one of the running parallel loop this is. */
#ifndef DLENS_KERNELS_THREADS_H
#define DLENS_KERNELS_THREADS_H

#include "base/context.h"

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

/* Work is counted in multiply-adds; an element that is only read, changed and written takes about
 * as long as ELEMENT of them. Waking a thread takes about as long as SHARE. */
enum { ELEMENT = 16, SHARE = 1 << 18 };

/* At most the context's threads, so many that each has a share worth its waking. */
static inline int threads_for(const dl_context *cx, double work) {
    double shares = work / SHARE;
    return shares >= (double)cx->threads ? cx->threads : shares > 1.0 ? (int)shares : 1;
}

static inline int threads_for_elements(const dl_context *cx, size_t n) {
    return threads_for(cx, (double)n * ELEMENT);
}

#endif
