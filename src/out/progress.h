/* The text of a progress line; printing it, and clearing it, is the caller's business. */
#ifndef DLENS_OUT_PROGRESS_H
#define DLENS_OUT_PROGRESS_H

#include "base/context.h"

struct progress_line {
    const char *stage;    /* "denoise"; UTF-8 */
    const char *detail;   /* "layer 4, seed 0"; NULL or empty: none */
    size_t step, steps;   /* of the running picture; steps 0: none shown */
    size_t image, images; /* pictures finished, and how many there are; images 0: none shown */
    double seconds_left;  /* negative: not known yet */
    bool ascii;           /* the bar in plain ASCII */
};

/* Writes a line of at most `columns` character cells (and at most size-1 bytes) to `out`, always
 * NUL-terminated; parts are left out from the least important where it is narrow. Returns its
 * length in bytes.
 *
 *     denoise  ━━━━━━━━━━━━━━━━────────────  step 12/50  picture 3/13  layer 2, seed 0  1 min 20 s
 * left */
size_t progress_text(char *out, size_t size, int columns, const struct progress_line *p);

/* "0.4 s", "12 s", "3 min 05 s", "2 h 10 min". */
void duration_text(char *out, size_t size, double seconds);

/* Time left when `done` of `total` (parts of) pictures took `elapsed` seconds; -1 before anything
 * is done. */
double seconds_left(double elapsed, double done, double total);

#endif
