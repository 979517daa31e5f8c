/* Pictures that are the same: equal conditioning, seed and settings make equal pictures, which need
 * be made once. Prompts of equal tokens are so at every layer; layers k-1 and k where block k is
 * left out; the family's own conditioning and the last layer where the family norms as the lens
 * does.
 *
 * A picture is kept only as long as one like it is still to come. */
#ifndef DLENS_LENS_TWINS_H
#define DLENS_LENS_TWINS_H

#include "lens/settings.h"

/* What a picture is made from, of what differs between the pictures of a run. */
struct view {
    const float *states; /* (T,D) raw; they live as long as the view */
    size_t values;       /* T D */
    enum dl_norm norm;   /* which norm comes next */
    size_t block;        /* and of which block, where it is a block's own */
    uint64_t seed;
    const char *prompt; /* NULL where no part of the model reads it */
};

bool view_equal(const struct view *a, const struct view *b);

enum { TWINS_MAX = 256, TWINS_BYTES = 64 << 20 };

/* Kept pictures, at most so many and so many bytes; zero it before its use. */
struct twins {
    struct twin {
        struct view view;
        struct sample sample;
        size_t bytes;
    } items[TWINS_MAX];
    size_t count, bytes;
};

/* The kept picture of this view, or NULL. */
const struct sample *twins_find(struct twins *twins, const struct view *view);

/* Takes over the sample, which is then empty, unless there is no room for it,
 * as where memory is limited. */
void twins_keep(const dl_context *cx, struct twins *twins, const struct view *view,
                struct sample *sample, size_t pixel_bytes);

/* Frees the kept picture of this view, all of them. */
void twins_drop(struct twins *twins, const struct view *view);
void twins_free(struct twins *twins);

#endif
