/* A lens into a folder.
 *
 * The folder is never in a half-written state: the manifest is there before the first picture, and
 * each file is written under a temporary name and renamed. A run that was stopped in any way goes
 * on with the first picture that is not there under its final name. */
#include "lens/run.h"

#include "base/file.h"
#include "base/pages.h"
#include "lens/beside.h"
#include "lens/explain.h"
#include "out/png.h"
#include "store/store.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct folder_run {
    dl_context *cx;
    const dl_model *model;
    const dl_run *run;
    const struct run_plan *plan; /* never NULL */
    struct settings settings;
    struct grid grid;
    cJSON *manifest;
    struct claim claim;
    const char *folder; /* of the claim */
    size_t made;
    time_t written; /* when the manifest was last written; 0: it lacks what no picture tells */
    /* all final latents: (cells, latent_values); NULL unless wanted */
    float *latents;
    size_t latent_values;
    time_t latents_written; /* when their file was last written */
    char identity[16];      /* of the run, in that file */
    bool controls[VARIANT_COUNT];
};

/* ---- latents --------------------------------------------------------------------------------- */

void latents_name(char out[96], size_t prompts, size_t prompt, int layer, uint64_t seed) {
    int n = prompts > 1 ? snprintf(out, 96, "prompt.%zu.", prompt) : 0;
    if (layer < 0)
        n += snprintf(out + n, 96 - (size_t)n, "native");
    else
        n += snprintf(out + n, 96 - (size_t)n, "layer.%d", layer);
    snprintf(out + n, 96 - (size_t)n, ".seed.%" PRIu64, seed);
}

static void name_latents(const struct grid *grid, size_t index, char name[96]) {
    const size_t row = index / grid->layer_count, layer = index % grid->layer_count;
    latents_name(name, grid->prompt_count, row / grid->seed_count, grid_layer(grid, layer),
                 grid->settings->seeds[row % grid->seed_count]);
}

/* A name of a run's other files would put the latents in their place. */
static int check_latents_name(dl_context *cx, const char *path) {
    static const char *const others[] = {".json", ".html", ".png", ".csv"};
    const char *ending = path ? strrchr(path_name(path), '.') : NULL;
    for (size_t i = 0; ending && i < sizeof others / sizeof *others; i++)
        if (strcmp(ending, others[i]) == 0)
            return fail(cx, DL_USAGE,
                        "--latents %s: a safetensors file is written; give it another "
                        "ending than %s",
                        path, ending);
    return DL_OK;
}

/* The latents of an earlier, interrupted part of this run; NULL if there is no such file. */
static struct store *open_latents(struct folder_run *r) {
    const char *path = r->run->latents_file;
    struct store *store;
    if (!file_exists(path) || store_open_file(r->cx, path, &store) != DL_OK)
        return NULL;
    const char *run = store_metadata(store, "run");
    if (run && strcmp(run, r->identity) == 0)
        return store;
    store_close(store);
    return NULL;
}

/* Makes room for all latents and takes over those that are there; a picture whose latents are not
 * to be had is made again. */
static int begin_latents(struct folder_run *r) {
    const struct settings *s = &r->settings;
    const size_t scale = r->model->latent_scale;
    if (!r->run->latents_file)
        return DL_OK;
    manifest_identity(r->manifest, r->identity);
    DL_TRY(file_prepare(r->cx, r->run->latents_file));
    r->latents_written = time(NULL);
    r->latent_values = r->model->latent_channels * (s->width / scale) * (s->height / scale);
    DL_TRY(allocate(r->cx, "latents", grid_count(&r->grid), r->latent_values * sizeof(float),
                    (void **)&r->latents));
    struct store *store = open_latents(r);
    for (size_t i = 0; i < grid_count(&r->grid); i++) {
        char name[96];
        name_latents(&r->grid, i, name);
        const struct tensor *t = store ? store_find(store, name) : NULL;
        if (t && t->dtype == DTYPE_F32 && tensor_count(t) == r->latent_values)
            memcpy(r->latents + i * r->latent_values, t->data, r->latent_values * sizeof(float));
        else
            r->grid.cells[i].made = false;
    }
    store_close(store);
    return DL_OK;
}

static int write_latents(struct folder_run *r) {
    const size_t count = grid_count(&r->grid), scale = r->model->latent_scale;
    const char *const metadata[] = {"dlens", DLENS_VERSION, "run", r->identity, NULL};
    struct tensor *tensors = NULL;
    char(*names)[96] = NULL;
    size_t n = 0;
    if (!r->latents)
        return DL_OK;
    int status = allocate(r->cx, "latents", count, sizeof *tensors, (void **)&tensors);
    if (status == DL_OK)
        status = allocate(r->cx, "latents", count, sizeof *names, (void **)&names);
    for (size_t i = 0; i < count && status == DL_OK; i++) {
        if (!r->grid.cells[i].made)
            continue;
        name_latents(&r->grid, i, names[n]);
        tensors[n] = (struct tensor){
            .name = names[n],
            .dtype = DTYPE_F32,
            .ndim = 4,
            .shape = {1, r->model->latent_channels, r->settings.height / scale,
                      r->settings.width / scale},
            .data = r->latents + i * r->latent_values,
        };
        n++;
    }
    if (status == DL_OK)
        status = store_write(r->cx, r->run->latents_file, tensors, n, metadata);
    free(tensors);
    free(names);
    return status;
}

/* ---- pictures -------------------------------------------------------------------------------- */

int picture_write(dl_context *cx, const dl_model *model, const struct settings *settings,
                  const char *identity, const char *prompt, const dl_picture *picture,
                  const char *path) {
    char layer[16], seed[24], steps[24], guidance[32], reuse[24];
    snprintf(layer, sizeof layer, "%d", picture->layer);
    snprintf(seed, sizeof seed, "%" PRIu64, picture->seed);
    snprintf(steps, sizeof steps, "%zu", settings->steps);
    snprintf(guidance, sizeof guidance, "%g", settings->guidance);
    snprintf(reuse, sizeof reuse, "%zu", settings->reuse);
    const char *text[] = {
        "Software",    "dlens " DLENS_VERSION,
        "prompt",      prompt,
        "negative",    settings->negative,
        "model",       model->path,
        "layer",       picture->layer < 0 ? "native" : layer,
        "seed",        seed,
        "sampler",     settings->sampler,
        "steps",       steps,
        "guidance",    guidance,
        "norm",        norm_name(settings->norm),
        "precision",   settings->precision ? settings->precision : "f32",
        "activations", settings->activations ? settings->activations : "f32",
        NULL,          NULL,
        NULL,          NULL,
        NULL,
    };
    size_t end = sizeof text / sizeof *text - 5;
    if (settings->reuse > 1) {
        text[end++] = "reuse";
        text[end++] = reuse;
    }
    if (identity) {
        text[end++] = "identity";
        text[end++] = identity;
    }
    return png_write(cx, path, picture->rgb, picture->width, picture->height, text);
}

/* The folder of FOLDER/FILE is made, then the picture. */
static int write_cell(struct folder_run *r, const struct cell *cell, const dl_picture *picture) {
    char *path = path_join(r->folder, cell->file);
    if (!path)
        return fail_memory(r->cx, cell->file, 0);
    int status = dir_make_above(r->cx, path);
    if (status == DL_OK)
        status = picture_write(r->cx, r->model, &r->settings, NULL,
                               r->grid.prompts[picture->prompt], picture, path);
    free(path);
    return status;
}

/* What is made is found again by its file, so the manifest may lag behind by a second. Latents are
 * one file, which is written anew now and then: what they lag behind is made again if need be. */
static int keep_record(struct folder_run *r) {
    enum { LATENTS_SECONDS = 30 };
    const time_t now = time(NULL);
    if (now != r->written) {
        DL_TRY(manifest_write(r->cx, r->manifest, &r->grid, r->folder));
        r->written = now;
    }
    if (now - r->latents_written >= LATENTS_SECONDS) {
        DL_TRY(write_latents(r));
        r->latents_written = now;
    }
    return DL_OK;
}

/* Distances that no picture has are written before the first one. */
static int on_measured(void *user, size_t prompt, const struct distance *distances) {
    struct folder_run *r = user;
    memcpy(r->grid.conditionings + prompt * r->grid.layer_count, distances,
           r->grid.layer_count * sizeof *distances);
    r->written = 0;
    return DL_OK;
}

static int on_picture(void *user, const dl_picture *picture) {
    struct folder_run *r = user;
    struct cell *cell = grid_find(&r->grid, picture->prompt, picture->seed, picture->layer);
    if (!r->written && keep_record(r) != DL_OK)
        return 1;
    if (write_cell(r, cell, picture) != DL_OK)
        return 1;
    cell->made = true;
    cell->seconds = picture->seconds;
    cell->flag_count = image_flags(picture->rgb, picture->width, picture->height, cell->flags);
    r->made++;
    if (r->latents)
        memcpy(r->latents + (size_t)(cell - r->grid.cells) * r->latent_values, picture->latents,
               r->latent_values * sizeof *r->latents);
    if (keep_record(r) != DL_OK)
        return 1;
    return r->run->on_picture ? r->run->on_picture(r->run->on_picture_user, picture) : 0;
}

static int is_made(void *user, size_t prompt, int layer, uint64_t seed) {
    struct folder_run *r = user;
    const struct cell *cell = grid_find(&r->grid, prompt, seed, layer);
    return cell->made || cell->elsewhere;
}

/* ---- the folder ------------------------------------------------------------------------------ */

/* Says why a folder is not taken. */
static int refuse_folder(dl_context *cx, const char *folder, enum folder_state state,
                         const char *what) {
    if (state == FOLDER_TAKEN)
        return fail(cx, DL_USAGE, "%s: another process is making a run there", folder);
    if (state == FOLDER_OTHER)
        return fail(cx, DL_USAGE,
                    "%s: holds a run with other settings (%s); choose another folder or give "
                    "--overwrite",
                    folder, what);
    return fail(cx, DL_USAGE,
                "%s: holds files that are not a run's (%s); choose another folder or give "
                "--overwrite",
                folder, what);
}

/* Takes a folder if it may be taken: makes it, and keeps other processes out from before it is
 * looked at until the claim ends. FREE and SAME: it is; otherwise `what` says why not. */
static int try_folder(dl_context *cx, const struct cJSON *manifest, struct grid *grid,
                      const dl_run *run, const struct run_plan *plan, struct claim *claim,
                      enum folder_state *state, char what[256]) {
    *state = FOLDER_TAKEN;
    if (file_exists(claim->folder))
        return fail(cx, DL_USAGE, "%s: is a file, not a folder", claim->folder);
    DL_TRY(dir_make(cx, claim->folder));
    if (!dir_lock(claim->folder, &claim->lock))
        return DL_OK;
    DL_TRY(folder_compare(cx, claim->folder, manifest, grid, run->latents_file, plan->own_files,
                          state, what));
    bool same = true;
    if (plan->check && !run->overwrite &&
        (*state == FOLDER_SAME || *state == FOLDER_SAME_AND_FOREIGN))
        DL_TRY(plan->check(plan->user, claim->folder, &same, what));
    if (!same)
        *state = FOLDER_OTHER;
    if (!run->overwrite)
        return DL_OK;
    if (*state == FOLDER_SAME_AND_FOREIGN)
        *state = FOLDER_SAME;
    if (*state == FOLDER_OTHER || *state == FOLDER_FOREIGN) {
        DL_TRY(folder_clear(cx, claim->folder));
        *state = FOLDER_FREE;
    }
    return DL_OK;
}

int choose_folder(dl_context *cx, const struct cJSON *manifest, struct grid *grid,
                  const dl_run *run, const struct run_plan *plan, struct claim *claim) {
    char what[256], number[16] = "";
    enum folder_state state = FOLDER_TAKEN;
    struct buffer base = {0};
    slug(what, grid->prompts[0]);
    buffer_format(&base, plan->base ? "%s" : "lens-out/%s", plan->base ? plan->base : what);
    int status = buffer_check(cx, &base, "folder");
    bool found = false;
    for (int i = 1; status == DL_OK && !found && i < 10000; i++) {
        const size_t size = base.length + sizeof number;
        release_folder(claim);
        if (i > 1)
            snprintf(number, sizeof number, "-%d", i);
        claim->folder = run->folder ? strdup(run->folder) : malloc(size);
        if (claim->folder && !run->folder)
            snprintf(claim->folder, size, "%s%s", base.data, number);
        status = claim->folder ? try_folder(cx, manifest, grid, run, plan, claim, &state, what)
                               : fail_memory(cx, "folder", size);
        found = state == FOLDER_FREE || state == FOLDER_SAME;
        if (status == DL_OK && !found && run->folder)
            status = refuse_folder(cx, claim->folder, state, what);
    }
    if (status == DL_OK && !found)
        status = fail(cx, DL_FAILED, "%s: no free folder name", base.data);
    buffer_free(&base);
    return status;
}

void release_folder(struct claim *claim) {
    if (claim->lock > 0)
        close(claim->lock);
    free(claim->folder);
    *claim = (struct claim){NULL, -1};
}

static int present_run(struct folder_run *r, bool stopped, bool again) {
    const struct run_folder folder = {r->folder, r->manifest, &r->grid, stopped, again};
    if (r->plan->finish)
        return r->plan->finish(r->plan->user, &folder);
    return present(r->cx, r->manifest, &r->grid, r->folder);
}

/* Manifest, latents, sheets and report of what is there. After a failure it is tried all the same,
 * as far as it goes, and the failure's message is kept. */
static int finish(struct folder_run *r, int status, bool again) {
    char message[MESSAGE_MAX];
    memcpy(message, r->cx->message, sizeof message);
    int written = DL_OK;
    if (!r->grid.times_apart)
        written = distance_pictures(r->cx, &r->grid, r->folder, &r->grid, r->folder);
    if (written == DL_OK)
        written = manifest_write(r->cx, r->manifest, &r->grid, r->folder);
    if (written == DL_OK)
        written = write_latents(r);
    if (written == DL_OK && (status == DL_OK || status == DL_CANCELLED))
        written = present_run(r, status == DL_CANCELLED, again);
    if (status == DL_OK)
        return written;
    memcpy(r->cx->message, message, sizeof message);
    r->cx->status = status;
    return status;
}

/* Sheets and report are made of all pictures at once, when the model's memory is free again. */
static int check_presentation(dl_context *cx, const struct grid *grid) {
    const size_t limit = cx->thrift.limit, needed = resident_memory() + present_memory(grid);
    if (!limit || needed <= limit)
        return DL_OK;
    return fail(cx, DL_FAILED,
                "--max-memory: the sheets and the report of %zu pictures need about %zu MB of "
                "resident memory; %zu MB are allowed; fewer pictures in a folder need less",
                grid_count(grid), needed / 1000000 + 1, limit / 1000000);
}

static int prepare(struct folder_run *r, const dl_options *options, const char *const *prompts,
                   size_t prompt_count) {
    if (!prompt_count)
        return fail(r->cx, DL_USAGE, "PROMPT: none is given");
    if (r->run->controls)
        DL_TRY(controls_parse(r->cx, r->run->controls, r->controls));
    DL_TRY(model_draws(r->cx, r->model));
    DL_TRY(check_latents_name(r->cx, r->run->latents_file));
    DL_TRY(settings_resolve(r->cx, r->model, options, &r->settings));
    if (r->run->controls && r->settings.control != DL_CONTROL_NONE)
        return fail(r->cx, DL_USAGE,
                    "--controls: stand beside an ordinary lens, without --control");
    if (r->run->skip_each && r->settings.skip)
        return fail(r->cx, DL_USAGE,
                    "--skip-each: leaves the blocks out itself, without --skip-layer");
    if (r->run->explain && r->settings.control != DL_CONTROL_NONE)
        return fail(r->cx, DL_USAGE, "--explain: tells nothing of a --control");
    DL_TRY(grid_init(r->cx, &r->grid, &r->settings, prompts, prompt_count));
    DL_TRY(check_presentation(r->cx, &r->grid));
    r->grid.times_apart = r->plan->times_apart;
    if (r->plan->shards)
        grid_shard(&r->grid, r->plan->shard, r->plan->shards);
    DL_TRY(manifest_begin(r->cx, r->model, &r->grid, r->run, r->plan->shard, r->plan->shards,
                          &r->manifest));
    DL_TRY(choose_folder(r->cx, r->manifest, &r->grid, r->run, r->plan, &r->claim));
    r->folder = r->claim.folder;
    DL_TRY(begin_latents(r));
    return manifest_write(r->cx, r->manifest, &r->grid, r->folder);
}

static int fill_result(struct folder_run *r, dl_run_result *result, size_t found) {
    result->report = path_join(r->folder, "index.html");
    result->manifest = path_join(r->folder, "manifest.json");
    result->made += r->made;
    result->found += found;
    return result->report && result->manifest ? DL_OK : fail_memory(r->cx, "result", 0);
}

static size_t count_made(const struct grid *grid) {
    size_t n = 0;
    for (size_t i = 0; i < grid_count(grid); i++)
        n += grid->cells[i].made;
    return n;
}

/* What stands beside it, and the report once more, with what there is of them. */
static int run_beside(struct folder_run *r, const dl_options *options, dl_run_result *result) {
    int status = controls_run(r->cx, r->model, options, r->grid.prompts, r->grid.prompt_count,
                              r->run, r->plan, r->folder, r->controls,
                              r->run->skip_each ? r->model->encoder->layers : 0, result);
    return finish(r, status, true);
}

int lens_run(dl_context *cx, const dl_model *model, const dl_options *options,
             const char *const *prompts, size_t prompt_count, const dl_run *run,
             const struct run_plan *plan, dl_run_result *result) {
    static const struct run_plan plain = {0};
    struct folder_run r = {.cx = cx, .model = model, .run = run, .plan = plan ? plan : &plain};
    memset(result, 0, sizeof *result);
    int status = prepare(&r, options, prompts, prompt_count);
    struct explainer explainer = {0};
    if (status == DL_OK && run->explain)
        explainer_begin(cx, model, &r.grid, r.folder, &explainer);
    if (status == DL_OK) {
        const size_t found = count_made(&r.grid);
        const struct lens_callbacks callbacks = {
            .skip = is_made,
            .measured = on_measured,
            .emit = on_picture,
            .user = &r,
            .progress = options->progress,
            .progress_user = options->progress_user,
            .keep_latents = r.latents != NULL,
            .explainer = run->explain ? &explainer : NULL,
        };
        status = lens(cx, model, &r.settings, prompts, prompt_count, &callbacks);
        status = finish(&r, status, false);
        if (status == DL_OK && (run->controls || run->skip_each))
            status = run_beside(&r, options, result);
        if (status == DL_OK || status == DL_CANCELLED) {
            int filled = fill_result(&r, result, found);
            status = status ? status : filled;
        }
    }
    explainer_end(&explainer);
    cJSON_Delete(r.manifest);
    grid_free(&r.grid);
    settings_free(&r.settings);
    free(r.latents);
    release_folder(&r.claim);
    return status;
}
