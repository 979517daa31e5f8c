/* Byte pair encoding: a word, split into its smallest pieces, is put together again by a ranked
 * list of merges (Sennrich et al. 2016, arXiv 1508.07909). */
#ifndef DLENS_TEXT_BPE_H
#define DLENS_TEXT_BPE_H

#include "text/vocabulary.h"

struct merge {
    int32_t left, right; /* ids of two neighbours */
    int32_t result;      /* id of the piece that replaces them */
    int32_t rank;        /* the smallest goes first */
};

struct bpe {
    struct merge *merges; /* (count), sorted by left and right after bpe_sort */
    size_t count, capacity;
};

/* The next merge in rank order, given as its two pieces. `path` and `line` (from 1) are for
 * messages. DL_MODEL if a piece or their concatenation is not in the vocabulary. */
int bpe_add(dl_context *cx, struct bpe *bpe, const struct vocabulary *v, const char *path,
            size_t line, const char *left, size_t left_length, const char *right,
            size_t right_length);

/* Ends the list. Of equal pairs the last counts. */
void bpe_sort(struct bpe *bpe);

/* Merges ids (*count) in place. Time is n log n for n ids. */
int bpe_apply(dl_context *cx, const struct bpe *bpe, int32_t *ids, size_t *count);

void bpe_free(struct bpe *bpe);

#endif
