/* Reading what users write: layers, seeds, sizes, amounts of memory. Strict: the whole text must
 * be understood, or the option and the part at fault are named (DL_USAGE). */
#ifndef DLENS_LENS_SELECT_H
#define DLENS_LENS_SELECT_H

#include "base/context.h"

/* `all`, `last`, numbers (negative ones count from the end), slices start:end:step with Python's
 * meaning on range(layers + 1), or a mix joined by commas. *out: the layers, rising, each once;
 * freed by the caller with free(). option: what messages name, as "--layers". */
int parse_layers(dl_context *cx, const char *option, const char *spec, int layers, int **out,
                 size_t *count);

/* "N[,N...]", each 0 to 2^64 - 1; freed by the caller with free(). */
int parse_seeds(dl_context *cx, const char *spec, uint64_t **out, size_t *count);

/* "512x768": width and height in pixels, each 1 to 65536. */
int parse_size(dl_context *cx, const char *spec, int *width, int *height);

/* "300M": a whole or decimal number of bytes with k, K, M, G or T for powers of 1024, with or
 * without a following B or iB. */
int parse_bytes(dl_context *cx, const char *spec, size_t *bytes);

#endif
