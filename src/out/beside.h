/* The part of the report that tells how far everything is from the last layer: the lens itself, the
 * controls beside it, and the lens without each of the encoder's blocks, of one prompt. (What the
 * numbers are: lens/distance.h.)
 *
 * s seeds   l layers of the run */
#ifndef DLENS_OUT_BESIDE_H
#define DLENS_OUT_BESIDE_H

#include "out/buffer.h"
#include "out/image.h"

/* Pointers are the caller's; distances are NAN where there are none. */
struct report_row {
    const char *name;                /* "shuffled" */
    const char *about;               /* "the prompt's tokens in another order" */
    const char *page;                /* path of its own report relative to the page; NULL: none */
    const struct image *pictures;    /* (s,l) thumbnails, empty: not made; NULL: none are shown */
    const char *const *files;        /* (s,l) of them, relative to the page; may hold NULL */
    const double *distance;          /* (s,l) of pictures */
    const double *moved;             /* (s,l) from the lens' of the same layer; NULL: not told */
    const double *relative, *cosine; /* (l) of conditionings */
};

struct report_beside {
    const int *layers; /* (l) numbers; -1: native */
    size_t layer_count;
    const uint64_t *seeds; /* (s) */
    size_t seed_count;
    const struct report_row *rows; /* (row_count) the lens itself, then the controls */
    size_t row_count;
    const struct report_row
        *blocks; /* (block_count) the whole encoder, then without a block each */
    size_t block_count;
};

/* Appends the part; DL_FAILED without memory. */
int beside_put(dl_context *cx, struct buffer *b, const struct report_beside *beside);

#endif
