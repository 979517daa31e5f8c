/* A lens over a prompt set, into a folder. See experiment.h. */
#include "study/experiment.h"

#include "base/file.h"
#include "base/json.h"
#include "study/annotate.h"
#include "study/answers.h"
#include "study/embeddings.h"
#include "study/report.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const experiment_files[] = {"prompts.csv", "experiment.json", "annotations", NULL};

struct experiment {
    dl_context *cx;
    const dl_options *options;
    const dl_experiment *how;
    struct prompt_set set;
    struct questions questions;
    dl_judge *judge; /* NULL: nobody annotates */
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

/* ---- experiment.json ------------------------------------------------------------------------- */

static cJSON *columns_json(const struct prompt_set *set) {
    cJSON *list = cJSON_CreateArray();
    for (size_t c = 0; c < set->table.columns; c++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", csv_header(&set->table, c));
        cJSON_AddStringToObject(o, "kind", column_kind_name(column_kind(set, c)));
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static cJSON *questions_json(const struct questions *questions) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < questions->count; i++) {
        const struct question *q = &questions->items[i];
        char chance[32];
        cJSON *o = cJSON_CreateObject();
        snprintf(chance, sizeof chance, "%.6f", q->chance);
        cJSON_AddStringToObject(o, "name", q->name);
        cJSON_AddStringToObject(o, "wording", q->wording);
        cJSON_AddNumberToObject(o, "asked", (double)q->asked);
        cJSON_AddItemToObject(o, "chance", cJSON_CreateRaw(chance));
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

/* The judge as it was named, not where it was found: the same on every machine. */
static cJSON *judge_json(const struct experiment *e) {
    char scale[32];
    if (!e->judge)
        return cJSON_CreateNull();
    cJSON *o = cJSON_CreateObject();
    snprintf(scale, sizeof scale, "%.6g", judge_scale(e->judge));
    cJSON_AddItemToObject(o, "path", json_text(e->how->judge ? e->how->judge : "default"));
    cJSON_AddNumberToObject(o, "size", (double)judge_size(e->judge));
    cJSON_AddItemToObject(o, "scale", cJSON_CreateRaw(scale));
    cJSON_AddNumberToObject(o, "noise_pictures", NOISE_PICTURES);
    return o;
}

/* experiment.json of a folder; NULL where there is none that can be read. */
static cJSON *read_facts(struct experiment *e, const char *folder) {
    enum { FACTS_MAX = 1 << 24 };
    cJSON *facts = NULL;
    char *path = path_join(folder, "experiment.json");
    if (path && file_exists(path) && json_read(e->cx, path, FACTS_MAX, &facts) != DL_OK)
        facts = NULL;
    free(path);
    return facts;
}

/* Whether a judge that was read is this one: as text, in which numbers have the digits written. */
static bool same_judge(const cJSON *its, const cJSON *now) {
    char *text = cJSON_PrintUnformatted(now);
    cJSON *again = text ? cJSON_Parse(text) : NULL;
    const bool same = cJSON_Compare(its, again, true);
    cJSON_Delete(again);
    cJSON_free(text);
    return same;
}

static bool same_names(const cJSON *a, const cJSON *b) {
    if (cJSON_GetArraySize(a) != cJSON_GetArraySize(b))
        return false;
    for (int i = 0; i < cJSON_GetArraySize(a); i++)
        if (!cJSON_Compare(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(a, i), "name"),
                           cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(b, i), "name"),
                           true))
            return false;
    return true;
}

/* A run_plan's check: answers that are there are of this judge, to these questions. Pictures that
 * nobody has annotated yet may be by anyone. */
static int check_answers(void *user, const char *folder, bool *same, char what[256]) {
    struct experiment *e = user;
    cJSON *old = read_facts(e, folder), *judge = judge_json(e);
    cJSON *questions = questions_json(&e->questions);
    const cJSON *its = cJSON_GetObjectItemCaseSensitive(old, "judge");
    if (cJSON_IsObject(its)) {
        const bool judge_is = same_judge(its, judge);
        *same =
            judge_is && same_names(cJSON_GetObjectItemCaseSensitive(old, "questions"), questions);
        snprintf(what, 256, "%s", judge_is ? "questions" : "judge");
    }
    cJSON_Delete(old);
    cJSON_Delete(judge);
    cJSON_Delete(questions);
    return DL_OK;
}

static void remove_file(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    if (path && unlink(path) != 0)
        rmdir(path); /* a folder, if it is empty */
    free(path);
}

/* Tables of questions that an earlier annotation of this folder asked, and this one does not. */
static void remove_old_tables(struct experiment *e, const char *folder) {
    static const char *const whole[] = {EMBEDDINGS_FILE,     "annotations/reliability.json",
                                        "annotations/best",  "annotations/control",
                                        "annotations/noise", "annotations/probability",
                                        "annotations"};
    cJSON *old = read_facts(e, folder);
    const cJSON *question;
    cJSON_ArrayForEach(question, cJSON_GetObjectItemCaseSensitive(old, "questions")) {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(question, "name");
        bool asked = !cJSON_IsString(name) || strchr(name->valuestring, '/');
        for (size_t i = 0; !asked && i < e->questions.count; i++)
            asked = strcmp(e->questions.items[i].name, name->valuestring) == 0;
        for (enum answer_table t = TABLE_SCORE; !asked && t < TABLE_KINDS; t++) {
            char *file = answer_file(t, name->valuestring);
            if (file)
                remove_file(folder, file);
            free(file);
        }
    }
    for (size_t i = 0; old && !e->judge && i < sizeof whole / sizeof *whole; i++)
        remove_file(folder, whole[i]);
    cJSON_Delete(old);
}

static int write_facts(struct experiment *e, const char *folder) {
    char *path = path_join(folder, "experiment.json"), *text = NULL;
    cJSON *o = cJSON_CreateObject();
    remove_old_tables(e, folder);
    cJSON_AddNumberToObject(o, "schema", 1);
    cJSON_AddStringToObject(o, "name", e->set.name);
    cJSON_AddItemToObject(o, "columns", columns_json(&e->set));
    cJSON_AddItemToObject(o, "judge", judge_json(e));
    cJSON_AddItemToObject(o, "questions", questions_json(&e->questions));
    text = cJSON_Print(o);
    int status = path && text ? file_write(e->cx, path, text, strlen(text))
                              : fail_memory(e->cx, "experiment.json", 0);
    cJSON_free(text);
    cJSON_Delete(o);
    free(path);
    return status;
}

/* ---- the run --------------------------------------------------------------------------------- */

/* What an experiment has beside the pictures, of which a part may be missing where it was stopped.
 */
static int annotate_run(struct experiment *e, const struct run_folder *folder) {
    DL_TRY(write_table(e, folder->path));
    DL_TRY(write_facts(e, folder->path));
    if (!e->judge || folder->stopped)
        return DL_OK;
    return annotate(e->cx, e->judge, &e->questions, &e->set, folder, e->options->progress,
                    e->options->progress_user);
}

/* The last step of a run, the experiment's or a control's; once more the experiment's when its
 * controls are there. A shard gets no report: it is no result by itself. */
static int finish(void *user, const struct run_folder *folder) {
    struct experiment *e = user;
    int status = folder->again ? DL_OK : annotate_run(e, folder), presented = DL_OK;
    if (e->how->shards || (status != DL_OK && status != DL_CANCELLED))
        return status;
    if (!folder->again)
        presented = present_sheets(e->cx, folder->manifest, folder->grid, folder->path);
    if (presented == DL_OK)
        presented = study_report(e->cx, folder->path);
    return status ? status : presented;
}

/* The judge that is bundled knows the bundled models' world only. */
static void warn_of_judge(struct experiment *e, const dl_model *model) {
    size_t end = strlen(model->path);
    while (end && model->path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && model->path[start - 1] != '/')
        start--;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(end - start < 60 ? end - start : 60),
             model->path + start);
    char *bundled = bundled_model(name);
    if (!bundled)
        tell(e->cx, DL_LOG_WARNING,
             "--judge: not given; the bundled judge knows the bundled models' pictures only, and "
             "its "
             "answers about this model's mean little");
    free(bundled);
}

/* The judge is opened and the questions are made before work begins, so that what is wrong with
 * them is told at once. */
static int prepare_annotation(struct experiment *e, const dl_model *model) {
    char *dir = NULL;
    if (e->how->judge && strcmp(e->how->judge, "none") == 0)
        return DL_OK;
    DL_TRY(questions_make(e->cx, &e->set, e->how->questions, &e->questions));
    if (!e->questions.count)
        return DL_OK;
    if (!e->how->judge)
        warn_of_judge(e, model);
    int status = judge_locate(e->cx, e->how->judge, &dir);
    if (status == DL_OK)
        status = judge_open(e->cx, dir, &e->judge);
    free(dir);
    return status;
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

/* Options that nobody has said are the paper's. */
static void choose_options(const struct experiment *e, dl_options *options) {
    static const uint64_t seeds[] = {0, 1, 2, 3};
    if (!options->layers)
        options->layers = e->set.layers;
    if (!options->seeds) {
        options->seeds = seeds;
        options->seed_count = sizeof seeds / sizeof seeds[0];
    }
}

static int run(struct experiment *e, const dl_model *model, dl_run_result *result) {
    dl_options options = *e->options;
    char base[128];
    if (e->set.skipped)
        tell(e->cx, DL_LOG_WARNING, "%s: %zu rows without a prompt are left out", e->how->prompts,
             e->set.skipped);
    choose_options(e, &options);
    name_folder(e, base);
    const struct run_plan plan = {
        .base = base,
        .shard = (size_t)e->how->shard,
        .shards = (size_t)e->how->shards,
        .times_apart = true,
        .own_files = experiment_files,
        .check = check_answers,
        .finish = finish,
        .user = e,
    };
    int status =
        lens_run(e->cx, model, &options, e->set.prompts, e->set.count, &e->how->run, &plan, result);
    if (e->how->shards) { /* the page was not made */
        free(result->report);
        result->report = NULL;
    }
    return status;
}

int experiment_run(dl_context *cx, const dl_model *model, const dl_options *options,
                   const dl_experiment *how, dl_run_result *result) {
    struct experiment e = {.cx = cx, .options = options, .how = how};
    memset(result, 0, sizeof *result);
    int status = check_shard(cx, how);
    if (status == DL_OK && how->run.skip_each)
        status = fail(cx, DL_USAGE, "skip_each: an experiment has none, a lens has");
    if (status == DL_OK)
        status = prompt_set_read(cx, how->prompts, &e.set);
    if (status == DL_OK)
        status = prepare_annotation(&e, model);
    if (status == DL_OK)
        status = run(&e, model, result);
    judge_close(e.judge);
    questions_free(&e.questions);
    prompt_set_free(&e.set);
    return status;
}
