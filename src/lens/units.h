/* What drives a unit of the text encoder: the prompts of a set that it answers most to (activation
 * maximisation over a data set; D. Erhan et al. 2009, by search in place of ascent).
 *
 * A unit is a coordinate of a block's output (of the residual stream behind it), or one of the
 * feed-forward layer's activations in the block. Its answer to a prompt is its largest value over
 * the prompt's tokens: without padding, and without the start token, whose state in a causal
 * encoder is the same for all prompts. */
#ifndef DLENS_LENS_UNITS_H
#define DLENS_LENS_UNITS_H

#include "lens/lens.h"

struct unit {
    size_t block; /* from 1 */
    bool inner;   /* of the feed-forward layer; otherwise of the block's output */
    size_t index; /* from 0 */
};

enum { UNITS_MAX = 1 << 16 };

/* "4.out.17", "4.ff.3", a range of the last number "4.ff.0:16" (end excluded) or all of them
 * "4.ff"; joined by commas. *out is freed with free(). DL_USAGE with the part at fault. */
int units_parse(dl_context *cx, const char *spec, const struct text_encoder *encoder,
                struct unit **out, size_t *count);

/* "4.ff.3" */
void unit_name(char out[64], const struct unit *unit);

struct answer {
    float value; /* -inf where a prompt has no token of its own */
    size_t token;
};

/* answers (count,prompts), made with encoder blocks left out as `settings` says. */
int units_answer(dl_context *cx, const dl_model *model, const struct settings *settings,
                 const char *const *prompts, size_t prompt_count, const struct unit *units,
                 size_t count, struct answer *answers);

#endif
