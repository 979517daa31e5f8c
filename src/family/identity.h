/* What tells one model from another: for runs that are resumed and encodings that are kept. */
#ifndef DLENS_FAMILY_IDENTITY_H
#define DLENS_FAMILY_IDENTITY_H

#include "family/family.h"

/* A number that another model has otherwise: of every tensor of these components (NULL: all) name,
 * type, shape and samples of its values, evenly spaced, and the components' configurations and
 * vocabularies. Where the model lies does not matter. A change of a few values between the samples
 * is not seen: hashing all would read the whole model at every start. */
int model_identity(dl_context *cx, const dl_model *model, const char *const *components,
                   uint64_t *out);

#endif
