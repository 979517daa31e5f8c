/* Threads: how many are worth waking, which one of the running parallel loop this is, and the loop
 * that products and attention are. */
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

/* Tasks that do not depend on each other, each the work of one thread from beginning to end. */
struct task_loop {
    const void *job; /* what they have in common */
    size_t tasks;
    double work;         /* of all */
    size_t scratch_size; /* of the struct of what one thread needs, at most that of 24 pointers */
    void (*take)(dl_context *cx, const void *job, void *scratch); /* fills it in from the arena */
    void (*run)(const void *job, void *scratch, size_t index);
    void (*enter)(void), (*leave)(void); /* of each thread, around its tasks; NULL: nothing */
};

/* Runs them, on as many threads as are worth waking; in plan mode counts memory and work. */
void run_tasks(dl_context *cx, const struct task_loop *loop);

#endif
