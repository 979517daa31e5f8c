/* The part of the report that shows other ways of looking, of one prompt: where each word is
 * attended to, what the encoder's states are nearest to, its own attention, how alike its layers
 * are. (What the numbers are: lens/heat.h, lens/reading.h.)
 *
 * G groups of tokens, the first W of them words   n tokens   k pieces   L blocks   h heads
 * l layers of the run */
#ifndef DLENS_OUT_LOOKS_H
#define DLENS_OUT_LOOKS_H

#include "out/buffer.h"
#include "out/image.h"

/* Pointers are the caller's. What is NULL is not shown. */
struct report_look {
    size_t groups, words;           /* G, W */
    const char *const *names;       /* (G) */
    const struct image *heat;       /* (W,l) pictures with the word's map laid over; empty: none */
    const double *shares;           /* (G,l) of the attention, NAN: none */
    const int *layers;              /* (l) numbers; -1: native */
    size_t layer_count;             /* l */
    uint64_t seed;                  /* of these pictures */
    size_t tokens, pieces;          /* n, k */
    const char *const *tokens_text; /* (n) */
    const char *const *nearest;     /* (L+1,n,k) */
    const float *nearest_cosine;    /* (L+1,n,k) */
    size_t blocks, heads;           /* L, h */
    const float *attention;         /* (L,h,n,n) */
    const float *cosine, *cka;      /* (L+1,L+1) */
};

/* The colour of a value from 0 to 1 (clamped; NAN is grey): dark blue, green, yellow. */
void look_colour(double value, uint8_t rgb[3]);

/* Appends the part; DL_FAILED without memory. */
int looks_put(dl_context *cx, struct buffer *b, const struct report_look *look);

#endif
