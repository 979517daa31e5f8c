/* Putting the shards of an experiment together. See dl_merge.
 *
 * Nothing is made here: pictures are copied, tables united, sheets and report written from them, so
 * neither the model nor the judge is needed. What a shard does not make (another shard's pictures)
 * is empty in its tables, so that each cell is filled by one part. A control is put together as the
 * experiment is, of the folders PART/controls/NAME. */
#include "study/experiment.h"

#include "base/file.h"
#include "base/json.h"
#include "lens/beside.h"
#include "lens/record.h"
#include "study/answers.h"
#include "study/embeddings.h"
#include "study/report.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct merge {
    dl_context *cx;
    struct record *parts; /* (count) in the order of their shards */
    size_t count;
    cJSON *manifest; /* of the whole */
    struct grid grid;
    struct claim claim;
    const char *folder; /* of the claim */
    size_t copied;
};

/* ---- do the parts belong together? ----------------------------------------------------------- */

/* Opens every folder and puts it in its place. */
static int open_parts(struct merge *m, const char *const *folders) {
    for (size_t i = 0; i < m->count; i++) {
        struct record part;
        int status = record_open(m->cx, folders[i], &part);
        if (status == DL_OK && !part.shards)
            status = fail(m->cx, DL_USAGE, "%s: is no shard, but made in one piece", folders[i]);
        if (status == DL_OK && part.shards != m->count)
            status = fail(m->cx, DL_USAGE,
                          "%s: is shard %zu of %zu; %zu parts are given, all shards are needed",
                          folders[i], part.shard, part.shards, m->count);
        if (status == DL_OK && m->parts[part.shard - 1].folder)
            status = fail(m->cx, DL_USAGE, "%s and %s: are both shard %zu of %zu",
                          m->parts[part.shard - 1].folder, folders[i], part.shard, part.shards);
        if (status != DL_OK) {
            record_close(&part);
            return status;
        }
        m->parts[part.shard - 1] = part;
    }
    return DL_OK;
}

/* "shard" is where parts differ; the rest says that they are of one experiment. */
static int check_belonging(struct merge *m) {
    const struct record *first = &m->parts[0];
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(first->manifest, "version");
    char what[256];
    bool same;
    for (size_t i = 1; i < m->count; i++) {
        struct record *part = &m->parts[i];
        cJSON_DeleteItemFromObjectCaseSensitive(part->manifest, "shard");
        DL_TRY(manifest_same(m->cx, m->manifest, part->manifest, &same, what));
        if (same && memcmp(part->settings.seeds, first->settings.seeds,
                           first->settings.seed_count * sizeof *first->settings.seeds) != 0) {
            same = false;
            strcpy(what, "seeds");
        }
        if (!same)
            return fail(m->cx, DL_USAGE, "%s: is of another experiment than %s (%s)", part->folder,
                        first->folder, what);
        if (!cJSON_Compare(version, cJSON_GetObjectItemCaseSensitive(part->manifest, "version"),
                           true))
            return fail(m->cx, DL_USAGE, "%s: was made by another version than %s", part->folder,
                        first->folder);
    }
    return DL_OK;
}

/* Every part has made what is its own. */
static int check_completeness(struct merge *m) {
    for (size_t i = 0; i < m->count; i++) {
        const struct grid *grid = &m->parts[i].grid;
        const char *missing = NULL;
        size_t count = 0;
        for (size_t c = 0; c < grid_count(grid); c++)
            if (!grid->cells[c].elsewhere && !grid->cells[c].made) {
                missing = missing ? missing : grid->cells[c].file;
                count++;
            }
        if (count)
            return fail(m->cx, DL_FAILED,
                        "%s: %zu pictures are missing or damaged, the first is %s; run this shard "
                        "again, it makes only those",
                        m->parts[i].folder, count, missing);
    }
    return DL_OK;
}

/* ---- putting together ------------------------------------------------------------------------ */

static int copy_file(dl_context *cx, const char *from_dir, const char *to_dir, const char *name) {
    char *from = path_join(from_dir, name), *to = path_join(to_dir, name), *data = NULL;
    size_t size;
    int status = from && to ? DL_OK : fail_memory(cx, name, 0);
    if (status == DL_OK)
        status = file_read(cx, DL_FAILED, from, SIZE_MAX - 1, &data, &size);
    if (status == DL_OK)
        status = dir_make_above(cx, to);
    if (status == DL_OK)
        status = file_write(cx, to, data, size);
    free(data);
    free(from);
    free(to);
    return status;
}

/* Distances of conditionings, of every prompt from the first part that has encoded it. */
static void take_conditionings(struct merge *m) {
    for (size_t i = 0; i < m->grid.prompt_count * m->grid.layer_count; i++)
        for (size_t part = 0; part < m->count && isnan(m->grid.conditionings[i].relative); part++)
            m->grid.conditionings[i] = m->parts[part].grid.conditionings[i];
}

static int copy_pictures(struct merge *m) {
    for (size_t i = 0; i < m->count; i++)
        for (size_t c = 0; c < grid_count(&m->grid); c++) {
            const struct cell *from = &m->parts[i].grid.cells[c];
            struct cell *to = &m->grid.cells[c];
            if (from->elsewhere)
                continue;
            to->seconds = from->seconds;
            if (to->made)
                continue;
            DL_TRY(copy_file(m->cx, m->parts[i].folder, m->folder, from->file));
            m->copied++;
        }
    folder_take_files(m->cx, &m->grid, m->folder);
    return grid_complete(&m->grid)
               ? DL_OK
               : fail(m->cx, DL_FAILED, "%s: pictures were lost while they were copied", m->folder);
}

/* Files that are the same in all parts. */
static int copy_common(struct merge *m, const char *name) {
    char *first = path_join(m->parts[0].folder, name), *mine = NULL, *its = NULL;
    size_t size = 0, its_size = 0;
    int status = first ? file_read(m->cx, DL_FAILED, first, SIZE_MAX - 1, &mine, &size)
                       : fail_memory(m->cx, name, 0);
    for (size_t i = 1; i < m->count && status == DL_OK; i++) {
        char *path = path_join(m->parts[i].folder, name);
        status = path ? file_read(m->cx, DL_FAILED, path, SIZE_MAX - 1, &its, &its_size)
                      : fail_memory(m->cx, name, 0);
        if (status == DL_OK && (size != its_size || memcmp(mine, its, size) != 0))
            status = fail(m->cx, DL_USAGE, "%s: differs from that of %s", path, m->parts[0].folder);
        free(its);
        free(path);
        its = NULL;
    }
    free(mine);
    free(first);
    return status == DL_OK ? copy_file(m->cx, m->parts[0].folder, m->folder, name) : status;
}

/* ---- annotations ----------------------------------------------------------------------------- */

static int not_annotated(struct merge *m, size_t part) {
    return fail(m->cx, DL_FAILED, "%s: is not annotated to its end; run this shard again",
                m->parts[part].folder);
}

/* The text of a united table: header and rows as they stand, every row by its cells. */
static int write_united(struct merge *m, enum answer_table table, const char *question,
                        const struct csv *csv) {
    struct buffer text = {0};
    for (size_t row = 0; row <= csv->rows; row++)
        csv_row(&text, (const char *const *)&csv->cells[row * csv->columns], csv->columns);
    int status = answer_write(m->cx, m->folder, table, question, &text);
    buffer_free(&text);
    return status;
}

/* One table from all parts. `tables` (parts) is scratch. */
static int unite_table(struct merge *m, enum answer_table table, const char *question,
                       struct csv *tables) {
    char *name = answer_file(table, question);
    int status = name ? DL_OK : fail_memory(m->cx, question, 0);
    memset(tables, 0, m->count * sizeof *tables);
    for (size_t i = 0; i < m->count && status == DL_OK; i++) {
        char *path = path_join(m->parts[i].folder, name);
        status = !path               ? fail_memory(m->cx, name, 0)
                 : file_exists(path) ? csv_read(m->cx, path, &tables[i])
                                     : not_annotated(m, i);
        if (status == DL_OK && i > 0)
            status = answer_unite(m->cx, path, &tables[0], &tables[i]);
        free(path);
    }
    const struct csv *whole = &tables[0];
    for (size_t i = 0; status == DL_OK && i < (whole->rows + 1) * whole->columns; i++)
        if (!whole->cells[i][0])
            status =
                fail(m->cx, DL_FAILED, "%s:%zu: no part has an answer here; run its shard again",
                     name, whole->lines[i / whole->columns]);
    if (status == DL_OK)
        status = write_united(m, table, question, whole);
    for (size_t i = 0; i < m->count; i++)
        csv_free(&tables[i]);
    free(name);
    return status;
}

/* What every part knows: it is taken from the first. */
static int copy_noise(struct merge *m, const char *question) {
    char *name = answer_file(TABLE_NOISE, question);
    int status = name ? copy_file(m->cx, m->parts[0].folder, m->folder, name)
                      : fail_memory(m->cx, question, 0);
    free(name);
    return status;
}

static int unite_embeddings(struct merge *m) {
    struct embeddings whole = {0}, part = {0};
    char identity[16];
    int status = DL_OK;
    manifest_identity(m->manifest, identity);
    for (size_t i = 0; i < m->count && status == DL_OK; i++) {
        struct embeddings *into = i ? &part : &whole;
        bool found;
        status = embeddings_read(m->cx, m->parts[i].folder, identity, &m->grid, into, &found);
        if (status == DL_OK && !found)
            status = not_annotated(m, i);
        if (status == DL_OK && i)
            status = embeddings_unite(m->cx, m->parts[i].folder, &whole, &part);
        embeddings_free(&part);
    }
    for (size_t i = 0; status == DL_OK && i < grid_count(&m->grid); i++)
        if (isnan(whole.image[i * whole.size]))
            status = fail(m->cx, DL_FAILED, "%s: no part has annotated it; run its shard again",
                          m->grid.cells[i].file);
    if (status == DL_OK)
        status = embeddings_write(m->cx, m->folder, identity, &whole);
    embeddings_free(&whole);
    return status;
}

static int unite_question(struct merge *m, const cJSON *question, struct csv *tables) {
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(question, "name");
    if (!cJSON_IsString(name) || !name->valuestring[0] || strchr(name->valuestring, '/'))
        return fail(m->cx, DL_USAGE, "%s/experiment.json: a question has no name",
                    m->parts[0].folder);
    for (enum answer_table t = TABLE_SCORE; t < TABLE_NOISE; t++)
        DL_TRY(unite_table(m, t, name->valuestring, tables));
    return copy_noise(m, name->valuestring);
}

/* The tables of all questions that experiment.json lists, if a judge was asked. */
static int unite_annotations(struct merge *m) {
    enum { FACTS_MAX = 1 << 24 };
    struct csv *tables = NULL;
    char *path = path_join(m->folder, "experiment.json");
    cJSON *facts = NULL;
    const cJSON *question;
    int status =
        path ? json_read(m->cx, path, FACTS_MAX, &facts) : fail_memory(m->cx, "experiment.json", 0);
    const bool judged = cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(facts, "judge"));
    if (status == DL_OK)
        status = allocate(m->cx, "tables", m->count, sizeof *tables, (void **)&tables);
    if (status == DL_OK && judged)
        status = unite_embeddings(m);
    cJSON_ArrayForEach(question, cJSON_GetObjectItemCaseSensitive(facts, "questions")) {
        if (status == DL_OK && judged)
            status = unite_question(m, question, tables);
    }
    if (status == DL_OK && judged)
        status = reliability_write(m->cx, m->folder);
    cJSON_Delete(facts);
    free(tables);
    free(path);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int begin(struct merge *m, const char *const *folders) {
    DL_TRY(allocate(m->cx, "parts", m->count, sizeof *m->parts, (void **)&m->parts));
    DL_TRY(open_parts(m, folders));
    const struct record *first = &m->parts[0];
    m->manifest = cJSON_Duplicate(first->manifest, true);
    if (!m->manifest)
        return fail_memory(m->cx, "manifest.json", 0);
    cJSON_DeleteItemFromObjectCaseSensitive(m->manifest, "shard");
    DL_TRY(check_belonging(m));
    DL_TRY(check_completeness(m));
    DL_TRY(grid_init(m->cx, &m->grid, &first->settings, first->prompts, first->prompt_count));
    m->grid.times_apart = true;
    take_conditionings(m);
    return DL_OK;
}

/* Everything but the report. */
static int put_together(struct merge *m) {
    m->folder = m->claim.folder;
    DL_TRY(manifest_write(m->cx, m->manifest, &m->grid, m->folder));
    DL_TRY(copy_pictures(m));
    DL_TRY(copy_common(m, "prompts.csv"));
    DL_TRY(copy_common(m, "experiment.json"));
    DL_TRY(unite_annotations(m));
    DL_TRY(manifest_write(m->cx, m->manifest, &m->grid, m->folder));
    return present_sheets(m->cx, m->manifest, &m->grid, m->folder);
}

static void end(struct merge *m) {
    grid_free(&m->grid);
    cJSON_Delete(m->manifest);
    for (size_t i = 0; m->parts && i < m->count; i++)
        record_close(&m->parts[i]);
    free(m->parts);
    release_folder(&m->claim);
}

/* ---- controls -------------------------------------------------------------------------------- */

/* The folders of a control in the experiment's parts, folders (count), where it has begun there;
 * the others are NULL. */
static int find_control(struct merge *m, size_t variant, char **folders, size_t *found) {
    *found = 0;
    for (size_t i = 0; i < m->count; i++) {
        DL_TRY(control_begun(m->cx, m->parts[i].folder, variant, &folders[i]));
        *found += folders[i] ? 1 : 0;
    }
    return DL_OK;
}

/* Opens a control of the experiment m: no part may lack it. */
static int begin_control(struct merge *m, size_t variant, char **folders, struct merge *control) {
    bool belongs;
    for (size_t i = 0; i < m->count; i++)
        if (!folders[i])
            return fail(m->cx, DL_FAILED,
                        "%s: lacks the control %s, which another part has; run this shard again "
                        "with --controls %s",
                        m->parts[i].folder, controls_name(variant), controls_name(variant));
    *control = (struct merge){.cx = m->cx, .count = m->count};
    DL_TRY(begin(control, (const char *const *)folders));
    DL_TRY(control_belongs(m->cx, m->manifest, &m->parts[0].settings, &control->parts[0], variant,
                           &belongs));
    if (!belongs)
        return fail(m->cx, DL_USAGE, "%s: is no control of %s", control->parts[0].folder,
                    m->parts[0].folder);
    return DL_OK;
}

/* Opens all that there are, controls (VARIANT_COUNT); of the others `count` stays 0. */
static int begin_controls(struct merge *m, struct merge *controls) {
    char **folders = NULL;
    int status = allocate(m->cx, "parts", m->count, sizeof *folders, (void **)&folders);
    for (size_t v = 0; v < VARIANT_COUNT && status == DL_OK; v++) {
        size_t found;
        status = find_control(m, v, folders, &found);
        if (status == DL_OK && found)
            status = begin_control(m, v, folders, &controls[v]);
        for (size_t i = 0; i < m->count; i++) {
            free(folders[i]);
            folders[i] = NULL;
        }
    }
    free(folders);
    return status;
}

static int merge_control(struct merge *control, const struct run_plan *plan, char *folder) {
    /* it lies inside the experiment's folder, which has been accepted */
    const dl_run run = {.folder = folder, .overwrite = 1};
    if (!folder)
        return fail_memory(control->cx, CONTROLS_FOLDER, 0);
    DL_TRY(
        choose_folder(control->cx, control->manifest, &control->grid, &run, plan, &control->claim));
    DL_TRY(put_together(control));
    return study_report(control->cx, control->folder);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int merge_all(struct merge *m, struct merge *controls, const char *const *parts,
                     const dl_run *run) {
    static const struct run_plan plan = {.own_files = experiment_files};
    DL_TRY(begin(m, parts));
    DL_TRY(begin_controls(m, controls));
    for (size_t i = 0; i < m->count; i++)
        if (path_same(run->folder, parts[i]))
            return fail(m->cx, DL_USAGE, "--output %s: is one of the parts; choose another folder",
                        run->folder);
    DL_TRY(choose_folder(m->cx, m->manifest, &m->grid, run, &plan, &m->claim));
    DL_TRY(put_together(m));
    for (size_t v = 0; v < VARIANT_COUNT; v++) {
        if (!controls[v].count)
            continue;
        char *folder = control_folder(m->folder, v);
        int status = merge_control(&controls[v], &plan, folder);
        free(folder);
        DL_TRY(status);
    }
    return study_report(m->cx, m->folder);
}

static void count_pictures(const struct merge *m, dl_run_result *result) {
    result->made += m->copied;
    result->found += grid_count(&m->grid) - m->copied;
}

int experiment_merge(dl_context *cx, const char *const *parts, size_t count, const dl_run *run,
                     dl_run_result *result) {
    struct merge m = {.cx = cx, .count = count}, controls[VARIANT_COUNT] = {{0}};
    memset(result, 0, sizeof *result);
    if (!count || !run->folder)
        return fail(cx, DL_USAGE,
                    count ? "--output: the folder of the whole is not given"
                          : "PART: no part is given");
    int status = merge_all(&m, controls, parts, run);
    if (status == DL_OK) {
        result->report = path_join(m.folder, "index.html");
        result->manifest = path_join(m.folder, "manifest.json");
        count_pictures(&m, result);
        if (!result->report || !result->manifest)
            status = fail_memory(cx, "result", 0);
    }
    for (size_t v = 0; v < VARIANT_COUNT; v++) {
        if (status == DL_OK && controls[v].count)
            count_pictures(&controls[v], result);
        end(&controls[v]);
    }
    end(&m);
    return status;
}
