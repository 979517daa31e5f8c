/* A model's folder rewritten with its weights in another dtype.
 *
 * Every folder of the model that holds weights is a part of it (text_encoder, unet, vae, ...), also
 * those that nothing here reads (safety_checker): what is written is again a whole model. Each
 * part's weights, in one file or in shards, of any variant, become one file STEM.safetensors; small
 * files are copied. Everything is planned and checked first, then made under another name
 * (folder.h), so that the new folder is complete or absent. */
#include "convert/convert.h"

#include "base/file.h"
#include "convert/folder.h"
#include "convert/weights.h"
#include "family/family.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 64 };

struct conversion {
    const dl_convert_options *options;
    enum dtype to;
    char *source;
    struct part parts[PARTS_MAX];
    size_t count;
    struct listing files;
    struct place place;
    size_t tensors, done; /* of all parts */
};

/* ---- what is asked --------------------------------------------------------------------------- */

static int read_dtype(dl_context *cx, const char *word, enum dtype *out) {
    static const struct {
        const char *name;
        enum dtype dtype;
    } names[] = {{"f32", DTYPE_F32}, {"f16", DTYPE_F16}, {"bf16", DTYPE_BF16}, {"int8", DTYPE_I8}};
    for (size_t i = 0; word && i < sizeof names / sizeof *names; i++)
        if (strcmp(word, names[i].name) == 0) {
            *out = names[i].dtype;
            return DL_OK;
        }
    return fail(cx, DL_USAGE, "--to %s: must be f32, f16, bf16 or int8",
                word ? word : "is missing");
}

static int find_source(dl_context *cx, struct conversion *c, const char *model) {
    if (file_exists(model))
        return fail(cx, DL_MODEL,
                    "%s: is a single file; this version converts folders in diffusers layout. "
                    "diffusers makes one of it: StableDiffusionPipeline.from_single_file('FILE')"
                    ".save_pretrained('NEW')",
                    model);
    DL_TRY(model_locate(cx, model, &c->source));
    char *index = path_join(c->source, "model_index.json");
    if (!index)
        return fail_memory(cx, c->source, 0);
    int status = file_exists(index) ? DL_OK
                                    : fail(cx, DL_MODEL,
                                           "%s: no model_index.json; convert reads folders in "
                                           "diffusers layout",
                                           c->source);
    free(index);
    return status;
}

/* ---- the parts ------------------------------------------------------------------------------- */

static const char *const stems[] = {"model", "diffusion_pytorch_model"};

/* The folder NAME of the model, with these weights if it has them. */
static int add_part(dl_context *cx, struct conversion *c, const char *dir, const char *name,
                    const char *stem, bool *added) {
    bool there;
    DL_TRY(store_find_weights(cx, dir, stem, &there));
    if (!there)
        return DL_OK;
    if (c->count == PARTS_MAX)
        return fail(cx, DL_MODEL, "%s: more than %d folders with weights", c->source, PARTS_MAX);
    struct part *p = &c->parts[c->count++];
    p->name = strdup(name);
    p->stem = stem;
    *added = true;
    return p->name ? store_open(cx, dir, stem, &p->store) : fail_memory(cx, name, 0);
}

static int add_folder(dl_context *cx, struct conversion *c, const char *name) {
    char *dir = path_join(c->source, name);
    bool added = false;
    int status = dir ? DL_OK : fail_memory(cx, name, 0);
    for (size_t i = 0; status == DL_OK && i < sizeof stems / sizeof *stems && dir_exists(dir); i++)
        status = add_part(cx, c, dir, name, stems[i], &added);
    if (status == DL_OK && !added && store_foreign(dir))
        tell(cx, DL_LOG_WARNING, "%s: no safetensors; its weights are left out", dir);
    free(dir);
    return status;
}

static int by_name(const void *a, const void *b) {
    const struct part *p = a, *q = b;
    const int order = strcmp(p->name, q->name);
    return order ? order : strcmp(p->stem, q->stem);
}

static bool has_part(const struct conversion *c, const char *name) {
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->parts[i].name, name) == 0)
            return true;
    return false;
}

/* Of what model_index.json names, the components that make pictures must have weights to convert;
 * others, as safety_checker, may be missing. */
static int check_index(dl_context *cx, const struct conversion *c) {
    static const char *const needed[] = {"text_encoder", "unet", "vae"};
    struct config index;
    DL_TRY(config_open(cx, c->source, "model_index.json", &index));
    int status = DL_OK;
    for (size_t i = 0; i < sizeof needed / sizeof *needed && status == DL_OK; i++)
        if (index_class(&index, needed[i]) && !has_part(c, needed[i]))
            status =
                fail(cx, DL_MODEL, "%s/%s: no safetensors weights, which model_index.json asks for",
                     c->source, needed[i]);
    const int read = config_end(&index);
    return status != DL_OK ? status : read;
}

static int open_parts(dl_context *cx, struct conversion *c) {
    DIR *folder = opendir(c->source);
    int status = DL_OK;
    for (struct dirent *e = folder ? readdir(folder) : NULL; e && status == DL_OK;
         e = readdir(folder))
        if (e->d_name[0] != '.')
            status = add_folder(cx, c, e->d_name);
    if (folder)
        closedir(folder);
    DL_TRY(status);
    if (!c->count)
        return fail(cx, DL_MODEL, "%s: no folder in it holds safetensors weights", c->source);
    qsort(c->parts, c->count, sizeof *c->parts, by_name);
    return check_index(cx, c);
}

/* "text_encoder, unet, vae" */
static void list_parts(const struct conversion *c, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < c->count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", c->parts[i].name);
}

/* Marks the parts that --parts names; all where it is not given. */
static int choose_parts(dl_context *cx, struct conversion *c) {
    const char *list = c->options->parts, *word = list ? list : "";
    for (size_t i = 0; i < c->count; i++)
        c->parts[i].convert = !list;
    for (; list; word += strcspn(word, ",") + 1) {
        const size_t length = strcspn(word, ",");
        bool known = false;
        for (size_t i = 0; i < c->count; i++)
            if (strlen(c->parts[i].name) == length && strncmp(c->parts[i].name, word, length) == 0)
                c->parts[i].convert = known = true;
        if (!known) {
            char names[512];
            list_parts(c, names, sizeof names);
            return fail(cx, DL_USAGE, "--parts: no part %.*s in %s; it has %s", (int)length, word,
                        c->source, names);
        }
        if (!word[length])
            break;
    }
    return DL_OK;
}

/* ---- work ------------------------------------------------------------------------------------ */

/* Headers of files, ends of blocks. */
enum { SLACK = 2 << 20 };

static int plan(dl_context *cx, struct conversion *c) {
    size_t bytes = c->files.bytes;
    for (size_t i = 0; i < c->count; i++) {
        DL_TRY(part_plan(cx, &c->parts[i], c->to));
        c->tensors += c->parts[i].count;
        bytes += c->parts[i].after + SLACK;
    }
    return place_has_room(cx, &c->place, bytes);
}

/* A part_step. */
static int step(dl_context *cx, void *user) {
    struct conversion *c = user;
    const dl_progress progress = {.stage = "convert", .step = ++c->done, .steps = c->tensors};
    if (c->options->progress && c->options->progress(c->options->user, &progress))
        return fail(cx, DL_CANCELLED, "convert: interrupted; nothing was written");
    return DL_OK;
}

static int write_part(dl_context *cx, struct conversion *c, struct part *p) {
    char *dir = path_join(c->place.working, p->name), name[64];
    snprintf(name, sizeof name, "%s.safetensors", p->stem);
    char *path = dir ? path_join(dir, name) : NULL;
    int status = path ? dir_make(cx, dir) : fail_memory(cx, p->name, 0);
    if (status == DL_OK)
        status = part_write(cx, p, path, step, c);
    free(path);
    free(dir);
    return status;
}

static int write_all(dl_context *cx, struct conversion *c) {
    DL_TRY(place_begin(cx, &c->place));
    int status = listing_copy(cx, &c->files, c->source, c->place.working);
    for (size_t i = 0; i < c->count && status == DL_OK; i++)
        status = write_part(cx, c, &c->parts[i]);
    if (status == DL_OK)
        status = place_finish(cx, &c->place);
    if (status != DL_OK)
        place_abandon(&c->place);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int report(dl_context *cx, struct conversion *c, dl_converted *result) {
    DL_TRY(allocate(cx, "result", c->count, sizeof *result->parts, (void **)&result->parts));
    for (size_t i = 0; i < c->count; i++) {
        const struct part *p = &c->parts[i];
        result->parts[i] = (dl_converted_part){
            .from = dtype_name(p->from),
            .to = dtype_name(p->to),
            .tensors = p->count,
            .changed = p->tensors,
            .before = p->before,
            .after = p->after,
            .largest_error = p->largest_error,
        };
        snprintf(result->parts[i].name, sizeof result->parts[i].name, "%s", p->name);
        result->before += p->before;
        result->after += p->after;
    }
    result->count = c->count;
    return DL_OK;
}

static int convert(dl_context *cx, struct conversion *c, const char *model) {
    DL_TRY(read_dtype(cx, c->options->to, &c->to));
    if (!c->options->output || !c->options->output[0])
        return fail(cx, DL_USAGE, "--output: the folder of the new model is not given");
    DL_TRY(find_source(cx, c, model));
    DL_TRY(open_parts(cx, c));
    DL_TRY(choose_parts(cx, c));
    DL_TRY(place_choose(cx, c->source, c->options->output, c->options->overwrite, &c->place));
    DL_TRY(listing_read(cx, c->source, &c->files));
    DL_TRY(plan(cx, c));
    return write_all(cx, c);
}

int convert_model(dl_context *cx, const char *model, const dl_convert_options *options,
                  dl_converted *result) {
    struct conversion *c;
    memset(result, 0, sizeof *result);
    DL_TRY(allocate(cx, "conversion", 1, sizeof *c, (void **)&c));
    c->options = options;
    int status = convert(cx, c, model);
    if (status == DL_OK)
        status = report(cx, c, result);
    for (size_t i = 0; i < c->count; i++)
        part_free(&c->parts[i]);
    listing_free(&c->files);
    place_free(&c->place);
    free(c->source);
    free(c);
    return status;
}
