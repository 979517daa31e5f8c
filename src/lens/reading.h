/* What can be read off the text encoder itself, beside the lens, for one prompt:
 *
 *     attention   of every block and head: how much each token attends to each
 *     nearest     every token at every layer read as words: the pieces v whose embeddings E_v are
 *                 nearest to the state behind the final norm, by cosine
 *                     cos(norm(H_l[t]), E_v)
 *                 (a logit lens over the input embeddings: encoders have no output words)
 *     cosine      of the conditionings c of two layers, mean over the tokens
 *     cka         linear CKA (Kornblith et al. 2019, arXiv 1905.00414, section 3):
 *                     |Y'X|^2 / (|X'X| |Y'Y|), X and Y (n,D) the conditionings of two layers with
 *                 their means over the tokens taken off, |.| Frobenius. With few tokens it is
 *                 biased upwards: compare layers, not prompts of different length.
 *
 * The prompt's own tokens alone, the special ones included, padding not. A block that is left out
 * attends to nothing: zeros.
 *
 * L blocks   n tokens   h heads   D width   V vocabulary   k pieces for each token */
#ifndef DLENS_LENS_READING_H
#define DLENS_LENS_READING_H

#include "lens/lens.h"

enum { READING_PIECES = 5 };

struct reading {
    size_t layers, heads, tokens, pieces; /* L, h, n, k */
    float *attention;                     /* (L,h,n,n) */
    int64_t *nearest;                     /* (L+1,n,k) ids, the nearest first; -1: none */
    float *nearest_cosine;                /* (L+1,n,k) */
    float *cosine, *cka;                  /* (L+1,L+1); cka NaN where it is not defined */
};

/* Of an encoding whose first n tokens are the prompt's. Freed with reading_free, also after
 * failure. Nothing may be live in the arena. */
int reading_make(dl_context *cx, const dl_model *model, const struct settings *settings,
                 const struct encoding *encoding, size_t n, struct reading *out);
void reading_free(struct reading *reading);

#endif
