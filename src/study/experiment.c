/* A lens over a prompt set, into a folder. See experiment.h. */
#include "study/experiment.h"

#include "base/file.h"
#include "study/prompts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const experiment_files[] = {"prompts.csv", "experiment.json", "annotations", NULL};

struct experiment {
    dl_context *cx;
    const dl_options *options;
    const dl_experiment *how;
    struct prompt_set set;
};

static int write_table(struct experiment *e, const char *folder) {
    struct buffer text = {0};
    char *path = path_join(folder, "prompts.csv");
    prompt_set_write(&e->set, &text);
    int status = path ? buffer_check(e->cx, &text, path) : fail_memory(e->cx, "prompts.csv", 0);
    if (status == DL_OK)
        status = file_write(e->cx, path, text.data, text.length);
    buffer_free(&text);
    free(path);
    return status;
}

/* The last step of a run: what an experiment has beside the pictures. A shard gets no report: it is
 * no result by itself. */
static int finish(void *user, const struct run_folder *folder) {
    struct experiment *e = user;
    DL_TRY(write_table(e, folder->path));
    if (e->how->shards)
        return DL_OK;
    return present(e->cx, folder->manifest, folder->grid, folder->path);
}

static int check_shard(dl_context *cx, const dl_experiment *how) {
    enum { SHARDS_MAX = 100000 };
    if (how->shards < 0 || how->shards > SHARDS_MAX || how->shard < 0 || how->shard > how->shards ||
        (how->shards && !how->shard))
        return fail(cx, DL_USAGE, "--shard %d/%d: must be I/N with I from 1 to N, N at most %d",
                    how->shard, how->shards, SHARDS_MAX);
    return DL_OK;
}

/* "experiment-out/colors", of a shard "experiment-out/colors-2-of-4". */
static void name_folder(const struct experiment *e, char out[128]) {
    int n = snprintf(out, 128, "experiment-out/%s", e->set.name);
    if (e->how->shards)
        snprintf(out + n, 128 - (size_t)n, "-%d-of-%d", e->how->shard, e->how->shards);
}

int experiment_run(dl_context *cx, const dl_model *model, const dl_options *options,
                   const dl_experiment *how, dl_run_result *result) {
    static const uint64_t seeds[] = {0, 1, 2, 3}; /* as in the paper */
    struct experiment e = {.cx = cx, .options = options, .how = how};
    dl_options chosen = *options;
    char base[128];
    memset(result, 0, sizeof *result);
    int status = check_shard(cx, how);
    if (status == DL_OK)
        status = prompt_set_read(cx, how->prompts, &e.set);
    if (status == DL_OK) {
        if (e.set.skipped)
            tell(cx, DL_LOG_WARNING, "%s: %zu rows without a prompt are left out", how->prompts,
                 e.set.skipped);
        if (!chosen.layers)
            chosen.layers = e.set.layers;
        if (!chosen.seeds) {
            chosen.seeds = seeds;
            chosen.seed_count = sizeof seeds / sizeof seeds[0];
        }
        name_folder(&e, base);
        const struct run_plan plan = {
            .base = base,
            .shard = (size_t)how->shard,
            .shards = (size_t)how->shards,
            .times_apart = true,
            .own_files = experiment_files,
            .finish = finish,
            .user = &e,
        };
        status = lens_run(cx, model, &chosen, e.set.prompts, e.set.count, &how->run, &plan, result);
    }
    if (result->report && how->shards) {
        free(result->report);
        result->report = NULL;
    }
    prompt_set_free(&e.set);
    return status;
}
