/* lens --skip-each; see sweep.h. */
#include "app/sweep.h"

#include "base/file.h"
#include "base/json.h"
#include "lens/manifest.h"
#include "out/buffer.h"
#include "out/flags.h"
#include "out/png.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 24 };

struct sweep {
    dl_context *cx;
    dl_model *model;
    const dl_options *options;
    const char *const *prompts;
    size_t prompt_count;
    const dl_run *run;
    char *base;
    struct buffer csv;
};

/* The folder of the run without block `block` (from 1), or of the whole encoder (0). */
static void run_name(char out[NAME_SIZE], int block) {
    snprintf(out, NAME_SIZE, block ? "skip-%02d" : "whole", block);
}

static int run_without(struct sweep *s, int block) {
    char name[NAME_SIZE], spec[NAME_SIZE];
    dl_options options = *s->options;
    dl_run run = *s->run;
    dl_run_result result = {0};
    run_name(name, block);
    snprintf(spec, sizeof spec, "%d", block);
    options.skip_layers = block ? spec : NULL;
    char *folder = path_join(s->base, name);
    run.folder = folder;
    run.controls = block ? NULL : s->run->controls; /* they stand beside the whole encoder */
    int status =
        folder ? dl_lens_run(s->cx, s->model, &options, s->prompts, s->prompt_count, &run, &result)
               : fail_memory(s->cx, name, 0);
    dl_free(result.report);
    dl_free(result.manifest);
    free(folder);
    return status;
}

/* BASE/NAME/FILE as a picture. */
static int read_picture(struct sweep *s, int block, const char *file, struct image *out) {
    char name[NAME_SIZE];
    run_name(name, block);
    char *folder = path_join(s->base, name), *path = folder ? path_join(folder, file) : NULL;
    int status =
        path ? png_read(s->cx, path, DL_FAILED, out) : fail_memory(s->cx, file, strlen(file));
    free(folder);
    free(path);
    return status;
}

/* One line: a picture of the manifest, with the block left out, beside the whole encoder's. */
static int compare_picture(struct sweep *s, int block, const cJSON *image) {
    const cJSON *file = cJSON_GetObjectItemCaseSensitive(image, "file");
    struct image whole = {0}, part = {0};
    if (!cJSON_IsString(file))
        return fail(s->cx, DL_FAILED, "%s/whole/manifest.json: an image without file", s->base);
    int status = read_picture(s, 0, file->valuestring, &whole);
    if (status == DL_OK)
        status = read_picture(s, block, file->valuestring, &part);
    if (status == DL_OK && (whole.width != part.width || whole.height != part.height))
        status = fail(s->cx, DL_FAILED, "%s: %s has two sizes", s->base, file->valuestring);
    if (status == DL_OK) {
        /* the seed as its folder has it: a double does not hold every one */
        const char *seed = strstr(file->valuestring, "/seed-");
        seed = seed ? seed + strlen("/seed-") : "";
        buffer_format(&s->csv, "%d,%d,%.*s,%d,%.4f\n", block, manifest_number(image, "prompt"),
                      (int)strcspn(seed, "/"), seed, manifest_number(image, "layer"),
                      image_distance(whole.rgb, part.rgb, whole.width, whole.height));
    }
    image_free(&whole);
    image_free(&part);
    return status;
}

static int write_table(struct sweep *s, int blocks, char **csv) {
    char *path = path_join(s->base, "whole/manifest.json");
    cJSON *manifest = NULL;
    const cJSON *image;
    int status = path ? json_read(s->cx, path, MANIFEST_BYTES_MAX, &manifest)
                      : fail_memory(s->cx, "manifest.json", 0);
    buffer_text(&s->csv, "block,prompt,seed,layer,distance\n");
    for (int block = 1; block <= blocks && status == DL_OK; block++)
        cJSON_ArrayForEach(
            image, cJSON_GetObjectItemCaseSensitive(manifest, "images")) if (status == DL_OK)
            status = compare_picture(s, block, image);
    if (status == DL_OK)
        status = buffer_check(s->cx, &s->csv, "skip-each.csv");
    *csv = status == DL_OK ? path_join(s->base, "skip-each.csv") : NULL;
    if (status == DL_OK)
        status = *csv ? file_write(s->cx, *csv, s->csv.data, s->csv.length)
                      : fail_memory(s->cx, "skip-each.csv", 0);
    cJSON_Delete(manifest);
    free(path);
    return status;
}

int sweep_blocks(dl_context *cx, dl_model *model, const dl_options *options,
                 const char *const *prompts, size_t prompt_count, const dl_run *run, char **csv) {
    struct sweep s = {cx, model, options, prompts, prompt_count, run, NULL, {0}};
    char words[48], name[96];
    dl_model_info info;
    *csv = NULL;
    if (options->skip_layers)
        return fail(cx, DL_USAGE,
                    "--skip-each: leaves the blocks out itself, without --skip-layer");
    if (run->latents_file)
        return fail(cx, DL_USAGE, "--skip-each: makes several runs, --latents holds one");
    dl_model_describe(model, &info);
    slug(words, prompts[0]);
    snprintf(name, sizeof name, "lens-out/%s-skip-each", words);
    s.base = strdup(run->folder ? run->folder : name);
    int status = s.base ? DL_OK : fail_memory(cx, "folder", sizeof name);
    for (int block = 0; block <= info.layers && status == DL_OK; block++)
        status = run_without(&s, block);
    if (status == DL_OK)
        status = write_table(&s, info.layers, csv);
    buffer_free(&s.csv);
    free(s.base);
    return status;
}
