/* Concepts: what a judge is asked about, each by one caption or several that are averaged.
 *
 *     c = unit(mean over its captions of text(caption))        (P)
 *
 * Averaging captions that differ in all but the concept ("a red dog", "a red car", ...) leaves what
 * they have in common: prompt ensembling (Radford et al. 2021, arXiv 2103.00020, section 3.1.4).
 *
 * P size of the judge's embeddings */
#ifndef DLENS_STUDY_CONCEPTS_H
#define DLENS_STUDY_CONCEPTS_H

#include "judge/judge.h"

struct concept {
    char *key;           /* says what it is; no two are equal */
    size_t first, count; /* its captions */
};

struct concepts {
    dl_context *cx;
    struct concept *items; /* (count) */
    size_t count, room;
    char **captions; /* (caption_count) */
    size_t caption_count, caption_room;
    size_t *table; /* (table_size) index + 1 of the concept with this key's hash; 0: free */
    size_t table_size;
    int status; /* sticky: of the first failure */
};

/* Begins with none; freed with concepts_free. */
void concepts_init(struct concepts *c, dl_context *cx);
void concepts_free(struct concepts *c);

/* The concept of this key; a new one gets no captions yet, and *is_new says so (may be NULL). */
size_t concept_find(struct concepts *c, const char *key, bool *is_new);

/* Gives the newest concept one caption more. */
void concept_caption(struct concepts *c, const char *caption);

/* A concept of one caption, which is its key. */
size_t concept_of_caption(struct concepts *c, const char *caption);

/* out (count,P), each row of length 1. */
int concepts_embed(const struct concepts *c, const dl_judge *judge, float *out);

#endif
