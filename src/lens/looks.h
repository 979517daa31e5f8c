/* What the report shows of `lens --explain`, read back from the files beside the pictures
 * (explain.h). A file that is missing or damaged is not shown. */
#ifndef DLENS_LENS_LOOKS_H
#define DLENS_LENS_LOOKS_H

#include "lens/manifest.h"
#include "out/looks.h"

struct looks; /* of all prompts */

/* *out is freed with looks_free. thumbnails (cells of the grid): the
 * pictures that maps are laid over, empty ones where there are none; layers (grid layers): their
 * numbers. All are borrowed and must live as long. */
int looks_read(dl_context *cx, const struct grid *grid, const char *folder,
               const struct image *thumbnails, const int *layers, struct looks **out);
void looks_free(struct looks *looks); /* NULL is allowed */

/* NULL where the prompt has none (or looks is NULL). */
const struct report_look *looks_of(const struct looks *looks, size_t prompt);

#endif
