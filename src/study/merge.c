/* Putting the shards of an experiment together. See dl_merge.
 *
 * Nothing is made here: pictures are copied, tables united, sheets and report written from them, so
 * neither the model nor the judge is needed. What a shard does not make (another shard's pictures)
 * is empty in its tables, so that each cell is filled by one part. */
#include "study/experiment.h"

#include "base/file.h"
#include "lens/record.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct merge {
    dl_context *cx;
    struct record *parts; /* (count) in the order of their shards */
    size_t count;
    cJSON *manifest; /* of the whole */
    struct grid grid;
    char *folder;
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
    return DL_OK;
}

static int finish(struct merge *m) {
    DL_TRY(dir_make(m->cx, m->folder));
    DL_TRY(manifest_write(m->cx, m->manifest, &m->grid, m->folder));
    DL_TRY(copy_pictures(m));
    DL_TRY(copy_common(m, "prompts.csv"));
    DL_TRY(manifest_write(m->cx, m->manifest, &m->grid, m->folder));
    return present(m->cx, m->manifest, &m->grid, m->folder);
}

int experiment_merge(dl_context *cx, const char *const *parts, size_t count, const dl_run *run,
                     dl_run_result *result) {
    static const struct run_plan plan = {.own_files = experiment_files};
    struct merge m = {.cx = cx, .count = count};
    memset(result, 0, sizeof *result);
    if (!count || !run->folder)
        return fail(cx, DL_USAGE,
                    count ? "--output: the folder of the whole is not given"
                          : "PART: no part is given");
    int status = begin(&m, parts);
    if (status == DL_OK)
        status = choose_folder(cx, m.manifest, &m.grid, run, &plan, &m.folder);
    if (status == DL_OK)
        status = finish(&m);
    if (status == DL_OK) {
        result->report = path_join(m.folder, "index.html");
        result->manifest = path_join(m.folder, "manifest.json");
        result->made = m.copied;
        result->found = grid_count(&m.grid) - m.copied;
        if (!result->report || !result->manifest)
            status = fail_memory(cx, "result", 0);
    }
    grid_free(&m.grid);
    cJSON_Delete(m.manifest);
    for (size_t i = 0; m.parts && i < count; i++)
        record_close(&m.parts[i]);
    free(m.parts);
    free(m.folder);
    return status;
}
