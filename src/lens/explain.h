/* Other ways of looking, side by side with the lens: what `lens --explain` writes beside each
 * picture and each prompt, and what the report shows of it.
 *
 *     P-slug/explain.safetensors                the text encoder (reading.h):
 *         attention.K    [h,n,n]     block K = 1..L; row: who looks, column: at whom
 *         nearest.ids    [L+1,n,k]   i64, the nearest first
 *         nearest.cosine [L+1,n,k]
 *         cosine, cka    [L+1,L+1]
 *       metadata: prompt; tokens, the n pieces as a JSON list; nearest, the k nearest pieces of
 *       every token of every layer as a JSON list of lists of lists
 *     P-slug/seed-S/layer-NN.heat.safetensors   the UNet's attention to the words (heat.h):
 *         heat           [G,h,w]
 *         tokens         [G]         i64, how many tokens each group has
 *       metadata: prompt; words and special, the names of the groups as JSON lists: words first
 *
 * A picture's heat maps are written before the picture, so that what is resumed lacks none.
 *
 * n tokens of the prompt   k pieces   G groups of tokens   h, w sides of the latents */
#ifndef DLENS_LENS_EXPLAIN_H
#define DLENS_LENS_EXPLAIN_H

#include "lens/heat.h"
#include "lens/manifest.h"
#include "lens/reading.h"

struct explainer {
    dl_context *cx;
    const dl_model *model;
    struct grid *grid;  /* borrowed: settings, prompts and files */
    const char *folder; /* borrowed */
    struct words words; /* of prompt `prompt` */
    size_t prompt;
    struct attention_tap tap;
    struct heat heat; /* of the running picture */
};

/* Freed with explainer_end. A picture of the grid without heat maps, and the first of a prompt
 * without readings, are to be made again: they are no longer `made`. */
void explainer_begin(dl_context *cx, const dl_model *model, struct grid *grid, const char *folder,
                     struct explainer *out);
void explainer_end(struct explainer *explainer);

/* Writes the readings of a prompt; before its pictures. */
int explain_prompt(struct explainer *explainer, size_t prompt, const struct encoding *encoding);

/* The tap for a picture's request; then, with the picture made, its heat maps are written. */
const struct attention_tap *explain_picture_begin(struct explainer *explainer);
int explain_picture(struct explainer *explainer, uint64_t seed, int layer);

/* The file of a picture's heat maps, "DIR/layer-04.heat.safetensors" for DIR/layer-04.png, and of
 * its prompt's readings, relative to the folder as the picture's is; NULL when memory is short. */
char *explain_heat_file(const char *picture);
char *explain_prompt_file(const char *picture);

#endif
