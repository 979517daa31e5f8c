/* Public functions about experiments. */
#include "study/compare.h"
#include "study/experiment.h"
#include "study/prompts.h"
#include "study/report.h"

int dl_experiment_run(dl_context *cx, dl_model *model, const dl_options *options,
                      const dl_experiment *experiment, dl_run_result *result) {
    return experiment_run(cx, model, options, experiment, result);
}

int dl_experiment_set(size_t index, dl_prompt_set *set) {
    if (!builtin_set_name(index))
        return DL_USAGE;
    *set = (dl_prompt_set){builtin_set_name(index), builtin_set_summary(index),
                           builtin_set_layers(index)};
    return DL_OK;
}

int dl_merge(dl_context *cx, const char *const *parts, size_t count, const dl_run *run,
             dl_run_result *result) {
    return experiment_merge(cx, parts, count, run, result);
}

int dl_report(dl_context *cx, const char *folder) {
    return study_report(cx, folder);
}

int dl_compare(dl_context *cx, const char *a, const char *b, uint64_t seed, const char *page,
               const char *folder, char **json) {
    struct runs_compared compared;
    struct buffer text = {0};
    if (json)
        *json = NULL;
    int status = compare_runs(cx, a, b, seed, &compared);
    if (status == DL_OK)
        status = compare_write(cx, &compared, page, folder);
    if (status == DL_OK && json) {
        compare_json(&text, &compared);
        status = buffer_check(cx, &text, "JSON");
    }
    compare_free(&compared);
    if (status == DL_OK && json)
        *json = text.data;
    else
        buffer_free(&text);
    return status;
}
