/* Annotation: a judge answers the questions of an experiment about its pictures.
 *
 *     p = softmax over the candidates c of scale cosine(picture, c)      c[0] is right for the
 * prompt probability = p[0];   score = 1 where p[0] is the largest, else 0
 *
 *     OUT/annotations/Q.csv               scores: prompt, a column per layer, seed
 *     OUT/annotations/probability/Q.csv   probabilities, in the same form
 *     OUT/annotations/best/Q.csv          probabilities of the likeliest candidate but "nothing
 *                                         recognisable", in the same form
 *     OUT/annotations/control/Q.csv       the last layer's pictures, asked about another prompt:
 * score and probability of an answer that is wrong OUT/annotations/noise/Q.csv         the same of
 * pictures of noise, means over them OUT/annotations/reliability.json    what these say of the
 * judge (reliability.h) OUT/annotations/embeddings.safetensors   `image` (prompts,seeds,layers,P)
 * as the judge sees each picture, NaN where there is none; `noise` (N,P)
 *
 * Embeddings are kept so that a stopped annotation goes on, and that other questions cost no second
 * look at the pictures; everything else is computed from them anew. Prompts that a question does
 * not ask have no row. */
#ifndef DLENS_STUDY_ANNOTATE_H
#define DLENS_STUDY_ANNOTATE_H

#include "lens/run.h"
#include "study/questions.h"

enum { NOISE_PICTURES = 16 };

/* Annotates the pictures that are there. DL_CANCELLED where progress (may be NULL) says so: what
 * was looked at is kept. */
int annotate(dl_context *cx, const dl_judge *judge, const struct questions *questions,
             const struct prompt_set *set, const struct run_folder *folder, dl_progress_fn progress,
             void *progress_user);

#endif
