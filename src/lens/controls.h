/* Baselines: what does the diffusion model make of a conditioning that lacks what is looked for?
 *
 *     shuffled   the prompt's tokens in another order, the special ones and the padding in place:
 *                the same words without their syntax
 *     padding    the encoding of the empty prompt: no words at all
 *     random     the prompt through an encoder of the same shape whose weights are drawn: normal,
 *                with each tensor's own mean and standard deviation. What a layer shows then comes
 *                from the architecture and from the diffusion model alone
 *
 * Whatever is drawn is drawn from a fixed seed, the same in every run. The negative prompt and the
 * family's own conditioning (native) keep the ordinary encoder and tokens.
 *
 * T tokens */
#ifndef DLENS_LENS_CONTROLS_H
#define DLENS_LENS_CONTROLS_H

#include "lens/settings.h"

/* ids (T) of the padded prompt become those of the control. DL_CONTROL_NONE and _RANDOM leave them
 * as they are. mask (T) follows. */
int control_tokens(dl_context *cx, const dl_model *model, enum dl_control control,
                   const struct tokens *tokens, int32_t *ids, unsigned char *mask);

/* The model to encode a control's prompts with: the model itself, or a copy that has a random
 * encoder. Its files lie in a folder under $TMPDIR (/tmp) for a moment and then only in memory.
 * Closed with control_close, also after failure. */
struct control_model {
    const dl_model *model;
    dl_model copy;
};
int control_open(dl_context *cx, const dl_model *model, enum dl_control control,
                 struct control_model *out);
void control_close(struct control_model *control);

/* "none", "shuffled", "padding", "random"; control_find: CONTROL_COUNT for no such name (or NULL).
 */
enum { CONTROL_COUNT = 4 };
const char *control_name(enum dl_control control);
int control_find(const char *name);

#endif
