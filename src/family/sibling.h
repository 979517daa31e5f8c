/* Where the later stages of a pixel cascade lie when nobody says so: beside the first, under a name
 * that differs in the stage's number (IF-I-XL-v1.0, IF-II-L-v1.0). */
#ifndef DLENS_FAMILY_SIBLING_H
#define DLENS_FAMILY_SIBLING_H

#include "base/context.h"

/* How well folder `name` suits as stage `number` (2 or 3) beside the first stage `first`: 0 not at
 * all; else the name is the first's but for its number, a "1" or "I" between other characters,
 * and what stands behind it: most if that is the same, less if it names size L, least else. */
int sibling_rank(const char *first, const char *name, int number);

/* The folder beside `path`, a model of `pipeline` by its model_index.json, that suits best as stage
 * `number`; of equal ones the first by name; `other` is a name that suits as well (NULL: none).
 * *out is freed with free(), NULL where there is none. DL_FAILED without memory. */
int sibling_find(dl_context *cx, const char *path, int number, const char *pipeline,
                 const char *other, char **out);

#endif
