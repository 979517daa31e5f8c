/* lens --skip-each: which block of the text encoder matters to the picture? One run with nothing
 * left out, BASE/whole, and one for each block, BASE/skip-01, ...: each a lens of its own, with its
 * report, resumed as any. BASE/skip-each.csv then tells how far each picture is from the whole
 * encoder's of the same prompt, seed and layer: `block,prompt,seed,layer,distance`, the root mean
 * square over pixels and channels in 8-bit levels. */
#ifndef DLENS_APP_SWEEP_H
#define DLENS_APP_SWEEP_H

#include "app/commands.h"

/* run: its folder is BASE (NULL: lens-out/SLUG-skip-each); the rest holds for each run. *csv: the
 * path of the table, freed with free(). */
int sweep_blocks(dl_context *cx, dl_model *model, const dl_options *options,
                 const char *const *prompts, size_t prompt_count, const dl_run *run, char **csv);

#endif
