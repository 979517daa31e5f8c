/* The table of functions of one instruction set, and its choice. */
#ifndef DLENS_KERNELS_KERNELS_H
#define DLENS_KERNELS_KERNELS_H

struct kernels {
    const char *name; /* "ref", "avx2", "avx512", "neon" */
};

/* The table called `name`, or with NULL the fastest that this processor can run. NULL if there is
 * no such table or the processor lacks the instructions. */
const struct kernels *kernels_choose(const char *name);

#endif
