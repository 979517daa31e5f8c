/* The folder of a run: is it free, does it hold this run (then it is resumed), another one, or
 * files that are none of ours? */
#include "lens/manifest.h"

#include "base/file.h"
#include "base/json.h"
#include "lens/beside.h"
#include "lens/explain.h"
#include "out/png.h"
#include "store/store.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- is it the same run? --------------------------------------------------------------------- */

/* "steps: 50 there, 20 now", short. */
static void describe_difference(const char *key, const cJSON *there, const cJSON *now,
                                char what[256]) {
    char *old = there ? cJSON_PrintUnformatted(there) : NULL, *new = cJSON_PrintUnformatted(now);
    snprintf(what, 256, "%.30s: %.90s there, %.90s now", key, old ? old : "nothing",
             new ? new : "?");
    cJSON_free(old);
    cJSON_free(new);
}

/* The first entry of `now` that `there` has otherwise; false where all are equal. */
static bool find_difference(const char *part, const cJSON *there, const cJSON *now,
                            char what[256]) {
    if ((!there && !now) || (there && cJSON_Compare(now, there, true)))
        return false;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, now) {
        const cJSON *other =
            entry->string ? cJSON_GetObjectItemCaseSensitive(there, entry->string) : NULL;
        if (entry->string && !cJSON_Compare(entry, other, true)) {
            describe_difference(entry->string, other, entry, what);
            return true;
        }
    }
    snprintf(what, 256, "%s", part);
    return true;
}

/* A model is the same by "weights", wherever it lies: the old path gives way to the new one. */
static void unify_model_path(cJSON *there, const cJSON *now) {
    const cJSON *path = cJSON_GetObjectItemCaseSensitive(now, "path");
    cJSON *copy = cJSON_Duplicate(path, true);
    if (copy && !cJSON_ReplaceItemInObjectCaseSensitive(there, "path", copy))
        cJSON_Delete(copy);
}

/* Printed and parsed again, so that both sides of a comparison have passed through the same text.
 */
static int parse_again(dl_context *cx, const cJSON *manifest, cJSON **out) {
    char *text = cJSON_PrintUnformatted(manifest);
    *out = text ? cJSON_Parse(text) : NULL;
    cJSON_free(text);
    return *out ? DL_OK : fail_memory(cx, "manifest.json", 0);
}

int manifest_same(dl_context *cx, const cJSON *manifest, const cJSON *there, bool *is_same,
                  char what[256]) {
    static const char *const parts[] = {"schema", "model", "options", "prompts", "shard"};
    cJSON *mine = NULL, *its = NULL;
    bool same = true;
    int status = parse_again(cx, manifest, &mine);
    if (status == DL_OK)
        status = parse_again(cx, there, &its);
    if (status == DL_OK)
        unify_model_path(cJSON_GetObjectItemCaseSensitive(its, "model"),
                         cJSON_GetObjectItemCaseSensitive(mine, "model"));
    for (size_t i = 0; status == DL_OK && same && i < sizeof parts / sizeof parts[0]; i++)
        same = !find_difference(parts[i], cJSON_GetObjectItemCaseSensitive(its, parts[i]),
                                cJSON_GetObjectItemCaseSensitive(mine, parts[i]), what);
    cJSON_Delete(mine);
    cJSON_Delete(its);
    *is_same = same;
    return status;
}

static int compare_files(const void *a, const void *b) {
    const struct cell *const *x = a, *const *y = b;
    return strcmp((*x)->file, (*y)->file);
}

/* Times of the pictures that the manifest lists, found by their files. */
static int take_images(dl_context *cx, struct grid *grid, const cJSON *images) {
    const size_t count = grid_count(grid);
    const struct cell **sorted;
    const cJSON *image;
    DL_TRY(allocate(cx, "list of pictures", count, sizeof *sorted, (void **)&sorted));
    for (size_t i = 0; i < count; i++)
        sorted[i] = &grid->cells[i];
    qsort(sorted, count, sizeof *sorted, compare_files);
    cJSON_ArrayForEach(image, images) {
        const cJSON *file = cJSON_GetObjectItemCaseSensitive(image, "file");
        const cJSON *seconds = cJSON_GetObjectItemCaseSensitive(image, "seconds");
        if (!cJSON_IsString(file) || !cJSON_IsNumber(seconds))
            continue;
        const struct cell key = {.file = file->valuestring}, *wanted = &key;
        const struct cell *const *found =
            bsearch(&wanted, sorted, count, sizeof *sorted, compare_files);
        if (found)
            grid->cells[*found - grid->cells].seconds = seconds->valuedouble;
    }
    free(sorted);
    return DL_OK;
}

int folder_take_times(dl_context *cx, struct grid *grid, const char *folder, const cJSON *images) {
    return grid->times_apart ? times_read(cx, grid, folder) : take_images(cx, grid, images);
}

/* Removes what a killed run was writing: beside the manifest and in each seed's folder. */
static void sweep(const struct grid *grid, const char *folder) {
    file_sweep(folder);
    for (size_t i = 0; i < grid_count(grid); i += grid->layer_count) {
        char *path = path_join(folder, grid->cells[i].file);
        if (path) {
            *strrchr(path, '/') = '\0';
            file_sweep(path);
        }
        free(path);
    }
}

/* What is there by its final name is complete; it is read all the same, as a disk may have lost
 * it, and for its flags. */
void folder_take_files(dl_context *cx, struct grid *grid, const char *folder) {
    for (size_t i = 0; i < grid_count(grid); i++) {
        struct cell *cell = &grid->cells[i];
        if (cell->elsewhere)
            continue;
        char *path = path_join(folder, cell->file);
        struct image image = {0};
        if (path && file_exists(path) && png_read(cx, path, DL_FAILED, &image) == DL_OK &&
            image.width == (int)grid->settings->width &&
            image.height == (int)grid->settings->height) {
            cell->made = true;
            cell->flag_count = image_flags(image.rgb, image.width, image.height, cell->flags);
        } else {
            cell->seconds = -1;
        }
        image_free(&image);
        free(path);
    }
}

/* ---- what lies in the folder ----------------------------------------------------------------- */

static bool is_sheet(const char *name) {
    unsigned prompt;
    int end = 0;
    if (strcmp(name, "sheet.png") == 0)
        return true;
    return sscanf(name, "sheet-%u.png%n", &prompt, &end) == 1 && end && !name[end];
}

static bool is_among(const char *name, const char *const *names) {
    while (names && *names && strcmp(name, *names) != 0)
        names++;
    return names && *names;
}

/* A top-level name that a run makes: its own files and its caller's, a prompt's folder, the
 * latents; and what the report of a plain lens adds (study/report.h). Names with a dot in front
 * (what file managers leave) are nobody's. */
static bool is_ours(const struct grid *grid, const char *name, const char *latents_file,
                    const char *const *own_files) {
    static const char *const files[] = {
        "manifest.json", "index.html", CONTROLS_FOLDER,  CONTROLS_FILE,   SKIP_FOLDER,
        SKIP_FILE,       "plots",      "signatures.csv", "distances.csv", NULL};
    const char *latents = latents_file ? strrchr(latents_file, '/') : NULL;
    latents = latents ? latents + 1 : latents_file;
    if (name[0] == '.' || is_among(name, files) || is_among(name, own_files) || is_sheet(name) ||
        (latents && strcmp(name, latents) == 0) ||
        (grid->times_apart && strcmp(name, "times.csv") == 0))
        return true;
    for (size_t p = 0; p < grid->prompt_count; p++) {
        const char *file = grid_at(grid, p, 0, 0)->file;
        const size_t length = strcspn(file, "/");
        if (strlen(name) == length && strncmp(name, file, length) == 0)
            return true;
    }
    return false;
}

/* Final latents of some run, as --latents writes them. */
static bool holds_latents(dl_context *cx, const char *folder, const char *name) {
    struct store *store = NULL;
    char *path = path_join(folder, name);
    const bool is_file = path && file_exists(path) && store_open_file(cx, path, &store) == DL_OK;
    const bool latents = is_file && store_metadata(store, "run");
    if (is_file)
        store_close(store);
    free(path);
    return latents;
}

/* Counts the entries; the first foreign one goes to `what`. */
static size_t count_entries(dl_context *cx, const char *folder, const struct grid *grid,
                            const char *latents_file, const char *const *own_files, bool *foreign,
                            char what[256]) {
    size_t count = 0;
    DIR *dir = opendir(folder);
    *foreign = false;
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        if (e->d_name[0] == '.' || file_is_temporary(e->d_name))
            continue;
        count++;
        if (!*foreign && !is_ours(grid, e->d_name, latents_file, own_files) &&
            !holds_latents(cx, folder, e->d_name)) {
            *foreign = true;
            snprintf(what, 256, "%.250s", e->d_name);
        }
    }
    if (dir)
        closedir(dir);
    return count;
}

/* What the manifest in a folder says: FOLDER_SAME or FOLDER_OTHER. *there is freed by the caller.
 */
static int compare_manifest(dl_context *cx, const char *path, const struct cJSON *manifest,
                            enum folder_state *state, cJSON **there, char what[256]) {
    bool is_same;
    *state = FOLDER_OTHER;
    int status = json_read(cx, path, MANIFEST_BYTES_MAX, there);
    if (status == DL_FAILED)
        return status;
    if (status != DL_OK) {
        snprintf(what, 256, "manifest.json, which cannot be read");
        return DL_OK;
    }
    DL_TRY(manifest_same(cx, manifest, *there, &is_same, what));
    if (is_same)
        *state = FOLDER_SAME;
    return DL_OK;
}

int folder_compare(dl_context *cx, const char *folder, const struct cJSON *manifest,
                   struct grid *grid, const char *latents_file, const char *const *own_files,
                   enum folder_state *state, char what[256]) {
    bool foreign;
    cJSON *there = NULL;
    what[0] = '\0';
    *state = FOLDER_FREE;
    if (file_exists(folder))
        return fail(cx, DL_USAGE, "%s: is a file, not a folder", folder);
    const size_t entries = count_entries(cx, folder, grid, latents_file, own_files, &foreign, what);
    if (!entries)
        return DL_OK;
    char *path = path_join(folder, "manifest.json");
    int status = path ? DL_OK : fail_memory(cx, "manifest.json", 0);
    *state = FOLDER_FOREIGN;
    if (path && !file_exists(path) && !foreign)
        snprintf(what, 256, "pictures without a manifest.json");
    else if (path && file_exists(path))
        status = compare_manifest(cx, path, manifest, state, &there, what);
    if (status == DL_OK && *state == FOLDER_SAME) {
        status =
            folder_take_times(cx, grid, folder, cJSON_GetObjectItemCaseSensitive(there, "images"));
        distance_take(grid, cJSON_GetObjectItemCaseSensitive(there, "conditioning"));
        sweep(grid, folder);
        folder_take_files(cx, grid, folder);
        *state = foreign ? FOLDER_SAME_AND_FOREIGN : FOLDER_SAME;
    }
    cJSON_Delete(there);
    free(path);
    return status;
}

/* ---- overwriting ----------------------------------------------------------------------------- */

/* A name that stays inside the folder. */
static bool is_inside(const char *file) {
    return file[0] && file[0] != '/' && strncmp(file, "../", 3) != 0 && !strstr(file, "/../");
}

static void remove_file(const char *folder, const char *file) {
    char *path = path_join(folder, file);
    if (path)
        unlink(path);
    free(path);
}

/* Removes a file whose name is made for the purpose; NULL is allowed. */
static void remove_made(const char *folder, char *file) {
    if (file)
        remove_file(folder, file);
    free(file);
}

/* Removes FOLDER/FILE with what lies beside it, and then the folders above it inside FOLDER that
 * are left empty. */
static void remove_picture(const char *folder, const char *file) {
    char *name = strdup(file);
    remove_file(folder, file);
    remove_made(folder, explain_heat_file(file));
    remove_made(folder, explain_prompt_file(file));
    for (char *slash = name ? strrchr(name, '/') : NULL; slash; slash = strrchr(name, '/')) {
        *slash = '\0';
        char *path = path_join(folder, name);
        if (path)
            rmdir(path); /* refuses what is not empty */
        free(path);
    }
    free(name);
}

static int clear(dl_context *cx, const char *folder) {
    char *path = path_join(folder, "manifest.json");
    cJSON *there = NULL;
    if (!path)
        return fail_memory(cx, "manifest.json", 0);
    if (file_exists(path) && json_read(cx, path, MANIFEST_BYTES_MAX, &there) == DL_OK) {
        const cJSON *image;
        cJSON_ArrayForEach(image, cJSON_GetObjectItemCaseSensitive(there, "images")) {
            const cJSON *file = cJSON_GetObjectItemCaseSensitive(image, "file");
            if (cJSON_IsString(file) && is_inside(file->valuestring))
                remove_picture(folder, file->valuestring);
        }
        char sheet[32];
        const int prompts = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(there, "prompts"));
        for (int p = 0; p < prompts; p++) {
            snprintf(sheet, sizeof sheet, "sheet-%d.png", p);
            remove_file(folder, sheet);
        }
        remove_file(folder, "sheet.png");
        remove_file(folder, "index.html");
        remove_file(folder, "times.csv");
        remove_file(folder, "signatures.csv");
        remove_file(folder, "distances.csv");
        remove_file(folder, CONTROLS_FILE);
        remove_file(folder, SKIP_FILE);
        remove_file(folder, "manifest.json");
    }
    cJSON_Delete(there);
    free(path);
    return DL_OK;
}

/* What stands beside the run: clears the folder of this number, and says whether it was there. */
static int clear_beside(dl_context *cx, const char *folder, size_t variant, bool *was_there) {
    char *its = control_folder(folder, variant);
    *was_there = its && dir_exists(its);
    int status = its ? DL_OK : fail_memory(cx, CONTROLS_FOLDER, 0);
    if (*was_there)
        status = clear(cx, its);
    if (its)
        rmdir(its); /* refuses what is not empty */
    free(its);
    return status;
}

int folder_clear(dl_context *cx, const char *folder) {
    static const char *const above[] = {CONTROLS_FOLDER, SKIP_FOLDER};
    int status = DL_OK;
    bool was_there = true; /* block after block, as many as there are */
    for (size_t i = 0; (i <= VARIANT_COUNT || was_there) && status == DL_OK; i++)
        status = clear_beside(cx, folder, i, &was_there);
    for (size_t i = 0; i < sizeof above / sizeof *above && status == DL_OK; i++) {
        char *path = path_join(folder, above[i]);
        if (path)
            rmdir(path);
        free(path);
    }
    return status == DL_OK ? clear(cx, folder) : status;
}
