/* Controls beside the lens: `lens --controls shuffled,norm-none,...`. Each is a run of its own,
 * with the same prompts, seeds, layers and sampling and one thing changed, in OUT/controls/NAME,
 * resumed as any; the lens' report then shows their pictures under its own, with their distances
 * (distance.h), and OUT/controls.csv has the numbers. Beside an experiment each is an experiment
 * (study/sides.h).
 *
 *     shuffled, padding, random          see controls.h
 *     norm-none, norm-block, norm-match  what a layer's state passes through, see enum dl_norm
 *
 * `--skip-each` makes runs without one of the encoder's blocks in the same way, in
 * OUT/skip-each/block-01, ...: each a row of the report, and OUT/skip-each.csv.
 *
 * Pictures of a control are measured against the lens' last layer, not against its own: what is
 * asked is how much of the ordinary picture is there without what the control takes away. */
#ifndef DLENS_LENS_BESIDE_H
#define DLENS_LENS_BESIDE_H

#include "lens/manifest.h"
#include "out/beside.h"

struct record;
struct run_plan;

#define CONTROLS_FOLDER "controls"
#define CONTROLS_FILE   "controls.csv"
#define SKIP_FOLDER     "skip-each"
#define SKIP_FILE       "skip-each.csv"

/* A list joined by commas, or "all". DL_USAGE for what is no control or is there twice. */
enum { VARIANT_COUNT = 6 };
int controls_parse(dl_context *cx, const char *list, bool chosen[VARIANT_COUNT]);
const char *controls_name(size_t variant);
const char *controls_about(size_t variant); /* "the prompt's tokens in another order" */

/* FOLDER/controls/NAME in fresh memory (free), and from VARIANT_COUNT on FOLDER/skip-each/block-01,
 * ...; NULL when memory is short. */
char *control_folder(const char *folder, size_t variant);

/* The same where a run has begun there, that is, has a manifest; else *path is NULL. */
int control_begun(dl_context *cx, const char *folder, size_t variant, char **path);

/* Runs the chosen ones, and those without one of the first `blocks` blocks each, one after another,
 * beside the run in `folder` and by its plan; adds to *result's counts. */
int controls_run(dl_context *cx, const dl_model *model, const dl_options *options,
                 const char *const *prompts, size_t prompt_count, const dl_run *run,
                 const struct run_plan *plan, const char *folder, const bool chosen[VARIANT_COUNT],
                 size_t blocks, dl_run_result *result);

/* Whether a run that was read is the control of this number to the lens of these settings and this
 * manifest: the same model, prompts and options, but for what the control changes. Of a shard it
 * is not asked which one. */
int control_belongs(dl_context *cx, const struct cJSON *manifest, const struct settings *lens,
                    const struct record *record, size_t variant, bool *is);

/* What the report shows: the run's own distances, and those of the controls in its folder that are
 * of the same prompts and settings. A folder that is no such run, or damaged, is left out. */
struct beside;

/* *out is freed with beside_free, also after failure. The grid's distances are measured. */
int beside_read(dl_context *cx, const struct grid *grid, const struct cJSON *manifest,
                const char *folder, struct beside **out);
void beside_free(struct beside *beside); /* NULL is allowed */

/* Of one prompt; NULL where nothing is known. */
const struct report_beside *beside_of(const struct beside *beside, size_t prompt);

/* Writes FOLDER/controls.csv and FOLDER/skip-each.csv; nothing where there is nothing to tell.
 * Columns: control (`lens` for the run's own pictures), prompt, seed, layer, distance,
 * conditioning, cosine; and block, prompt, seed, layer, distance (from the lens' picture of this
 * layer), from_last (from its last layer's), conditioning, cosine. */
int beside_write(dl_context *cx, const struct beside *beside, const char *folder);

#endif
