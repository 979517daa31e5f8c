/* The judge: a CLIP model that says how well a picture and a text match, and which of several
 * texts a picture shows (zero-shot classification).
 *
 *     image = unit(project(vision tower(picture)))         (P)
 *     text  = unit(project(text tower(text)))              (P)
 *     cosine = image . text;  logit = exp(logit_scale) cosine;  probability = softmax(logits)
 *
 * A judge is opened once, texts are embedded once, and then any number of pictures:
 *
 *     dl_judge *judge;
 *     DL_TRY(judge_open(cx, "clip-vit-base-patch32", &judge));
 *     size_t P = judge_size(judge);
 *     judge_texts(cx, judge, texts, M, text);                texts: M strings; text (M,P)
 *     judge_pictures(cx, judge, images, N, image);           image (N,P)
 *     judge_cosines(cosine, image, N, text, M, P);           cosine (N,M)
 *     judge_probabilities(judge, p, cosine, N, M);           p (N,M), every row sums to 1
 *
 * Rows of `text` may be put together as a question needs them; an embedding depends neither on the
 * texts or pictures beside it nor on the number of threads.
 *
 * Source: Radford et al. 2021, arXiv 2103.00020, section 3.1; files and numbers as in
 * transformers' CLIPModel, CLIPImageProcessor and CLIPTokenizer.
 *
 * P size of an embedding   N pictures   M texts */
#ifndef DLENS_JUDGE_JUDGE_H
#define DLENS_JUDGE_JUDGE_H

#include "out/image.h"

/* Opens a CLIPModel's folder in transformers layout: config.json, model.safetensors (or shards),
 * preprocessor_config.json, and the files of the tokenizer. *out is read-only from then on, may be
 * used by several contexts at once, and is freed with judge_close. DL_MODEL for files that are
 * missing, damaged, unsupported, or do not fit each other. */
int judge_open(dl_context *cx, const char *dir, dl_judge **out);
void judge_close(dl_judge *judge); /* NULL is allowed */

/* P, the length of an embedding. */
size_t judge_size(const dl_judge *judge);

/* The sides in pixels of the square pictures that the vision tower takes. */
size_t judge_side(const dl_judge *judge);

/* exp(logit_scale): what cosines are multiplied with before the softmax. */
double judge_scale(const dl_judge *judge);

/* The folder as it was opened; lives as long as the judge. */
const char *judge_path(const dl_judge *judge);

/* out (M,P): the texts' embeddings, each of length 1. A text that is too long for the model is cut
 * as transformers cuts it, with a warning to the log. Nothing may be live in the arena. DL_USAGE
 * for a text that is not UTF-8. */
int judge_texts(dl_context *cx, const dl_judge *judge, const char *const *texts, size_t M,
                float *out);

/* out (N,P): the embeddings of pictures of any sizes, each of length 1. They are resized and
 * cropped as preprocessor_config.json says. Nothing may be live in the arena. */
int judge_pictures(dl_context *cx, const dl_judge *judge, const struct image *images, size_t N,
                   float *out);

/* The same for one PNG file. DL_USAGE where it cannot be read; other formats are named. */
int judge_file(dl_context *cx, const dl_judge *judge, const char *path, float *out);

/* cosine (N,M) = image (N,P) text (M,P)^T, both of unit rows. */
void judge_cosines(float *cosine, const float *image, size_t N, const float *text, size_t M,
                   size_t P);

/* p (N,M) = softmax over the M texts of exp(logit_scale) cosine (N,M). p may be cosine. */
void judge_probabilities(const dl_judge *judge, float *p, const float *cosine, size_t N, size_t M);

#endif
