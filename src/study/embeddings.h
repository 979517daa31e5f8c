/* How a judge sees the pictures of a run: their embeddings, kept in a file beside them.
 *
 * P size of an embedding */
#ifndef DLENS_STUDY_EMBEDDINGS_H
#define DLENS_STUDY_EMBEDDINGS_H

#include "study/annotate.h"

#define EMBEDDINGS_FILE "annotations/embeddings.safetensors"

struct embeddings {
    size_t shape[3]; /* prompts, seeds, layers */
    size_t size;     /* P */
    float *image;    /* (cells,P), NaN where there is none */
    float *noise;    /* (NOISE_PICTURES,P) of pictures of noise, of the run's size */
};

/* Looks at what has no embedding yet. Freed with embeddings_free, also after failure. */
int embeddings_make(dl_context *cx, const dl_judge *judge, const struct run_folder *folder,
                    dl_progress_fn progress, void *progress_user, struct embeddings *out);
void embeddings_free(struct embeddings *e);

/* Reads FOLDER's file as that of the run of this identity (manifest_identity); *found is false
 * where there is none, or it is another's. */
int embeddings_read(dl_context *cx, const char *folder, const char *identity,
                    const struct grid *grid, struct embeddings *out, bool *found);
int embeddings_write(dl_context *cx, const char *folder, const char *identity,
                     const struct embeddings *e);

/* Takes over what `part` has seen and this has not. DL_USAGE, naming `folder`, where its judge is
 * another: it sees noise otherwise than this does, beyond what another kind of machine changes. */
int embeddings_unite(dl_context *cx, const char *folder, struct embeddings *united,
                     const struct embeddings *part);

#endif
