/* An experiment: a lens over a prompt set, annotated. Into one folder, resumed where it stopped, as
 * a whole or in shards that are merged later.
 *
 *     OUT/...                          what a lens writes (lens/run.h); times stand in times.csv
 *     OUT/prompts.csv                  the prompt set, with all its columns
 *     OUT/experiment.json              columns, questions, judge
 *     OUT/annotations/...              answers (study/annotate.h)
 *     OUT/controls/NAME/...            controls: each an experiment with the same prompts, seeds,
 *                                      layers, judge and questions (lens/beside.h)
 *     OUT/index.html, plots/, ...      the report (study/report.h) */
#ifndef DLENS_STUDY_EXPERIMENT_H
#define DLENS_STUDY_EXPERIMENT_H

#include "lens/run.h"

/* Names in the folder that a run does not know, ended by NULL. */
extern const char *const experiment_files[];

/* See dl_experiment_run. */
int experiment_run(dl_context *cx, const dl_model *model, const dl_options *options,
                   const dl_experiment *experiment, dl_run_result *result);

/* See dl_merge. */
int experiment_merge(dl_context *cx, const char *const *parts, size_t count, const dl_run *run,
                     dl_run_result *result);

#endif
