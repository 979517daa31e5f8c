/* A model's folder rewritten with its weights in another dtype. */
#ifndef DLENS_CONVERT_CONVERT_H
#define DLENS_CONVERT_CONVERT_H

#include "base/context.h"

/* See dl_convert in dlens.h. */
int convert_model(dl_context *cx, const char *model, const dl_convert_options *options,
                  dl_converted *result);

#endif
