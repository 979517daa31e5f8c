/* Controls beside the lens: `lens --controls shuffled,norm-none,...`. Each is a run of its own,
 * with the same prompts, seeds, layers and sampling and one thing changed, in OUT/controls/NAME,
 * resumed as any; the lens' report then shows their pictures under its own, with their distances
 * (distance.h), and OUT/controls.csv has the numbers.
 *
 *     shuffled, padding, random          see controls.h
 *     norm-none, norm-block, norm-match  what a layer's state passes through, see enum dl_norm
 *
 * Pictures of a control are measured against the lens' last layer, not against its own: what is
 * asked is how much of the ordinary picture is there without what the control takes away. */
#ifndef DLENS_LENS_BESIDE_H
#define DLENS_LENS_BESIDE_H

#include "lens/manifest.h"
#include "out/beside.h"

#define CONTROLS_FOLDER "controls"
#define CONTROLS_FILE   "controls.csv"

/* A list joined by commas, or "all". DL_USAGE for what is no control or is there twice. */
enum { VARIANT_COUNT = 6 };
int controls_parse(dl_context *cx, const char *list, bool chosen[VARIANT_COUNT]);
const char *controls_name(size_t variant);

/* Runs the chosen ones, one after another, beside the run in `folder`; adds to *result's counts. */
int controls_run(dl_context *cx, const dl_model *model, const dl_options *options,
                 const char *const *prompts, size_t prompt_count, const dl_run *run,
                 const char *folder, const bool chosen[VARIANT_COUNT], dl_run_result *result);

/* What the report shows: the run's own distances, and those of the controls in its folder that are
 * of the same prompts and settings. A folder that is no such run, or damaged, is left out. */
struct beside;

/* *out is freed with beside_free, also after failure. The grid's distances are measured. */
int beside_read(dl_context *cx, const struct grid *grid, const struct cJSON *manifest,
                const char *folder, struct beside **out);
void beside_free(struct beside *beside); /* NULL is allowed */

/* Of one prompt; NULL where nothing is known. */
const struct report_beside *beside_of(const struct beside *beside, size_t prompt);

/* Writes FOLDER/controls.csv; nothing where there are no controls. Columns: control (`lens` for the
 * run's own pictures), prompt, seed, layer, distance, conditioning, cosine. */
int beside_write(dl_context *cx, const struct beside *beside, const char *folder);

#endif
