/* Reading prompts, noise, seeds and sizes. */
#include "app/inputs.h"

#include "base/file.h"
#include "lens/controls.h"
#include "lens/select.h"
#include "out/csv.h"
#include "store/store.h"
#include "text/unicode.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PROMPT_BYTES_MAX = 64 << 20, PROMPTS_MAX = 100000 };

/* ---- prompts --------------------------------------------------------------------------------- */

/* A prompt from line `line` of `name`. */
static int check_text(dl_context *cx, const char *name, size_t line, const char *text,
                      size_t length) {
    const size_t valid = utf8_valid(text, length);
    if (valid == length)
        return DL_OK;
    if (text[valid] == '\0')
        return fail(cx, DL_USAGE, "%s: line %zu: holds a NUL byte; prompts are text", name, line);
    return fail(cx, DL_USAGE, "%s: line %zu: byte %zu of the prompt (0x%02x) is not UTF-8", name,
                line, valid, (unsigned char)text[valid]);
}

static int add_prompt(dl_context *cx, struct prompt_list *list, const char *text, size_t length) {
    if (list->count == PROMPTS_MAX)
        return fail(cx, DL_USAGE, "--prompts: more than %d prompts", PROMPTS_MAX);
    if ((list->count & (list->count + 1)) == 0) { /* full at 2^n - 1: double */
        char **grown = realloc(list->texts, (2 * list->count + 1) * sizeof *grown);
        if (!grown)
            return fail_memory(cx, "prompts", 2 * list->count * sizeof *grown);
        list->texts = grown;
    }
    char *copy = malloc(length + 1);
    if (!copy)
        return fail_memory(cx, "prompt", length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    list->texts[list->count++] = copy;
    return DL_OK;
}

/* One prompt a line; empty lines are left out. */
static int add_lines(dl_context *cx, struct prompt_list *list, const char *name, const char *text,
                     size_t size) {
    size_t line = 1;
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* byte order mark */
        text += 3;
        size -= 3;
    }
    for (size_t start = 0; start < size; line++) {
        const char *newline = memchr(text + start, '\n', size - start);
        const size_t end = newline ? (size_t)(newline - text) : size;
        size_t length = end - start;
        if (length && text[start + length - 1] == '\r')
            length--;
        DL_TRY(check_text(cx, name, line, text + start, length));
        if (length)
            DL_TRY(add_prompt(cx, list, text + start, length));
        start = end + 1;
    }
    return DL_OK;
}

/* Reads a stream, of unknown length, to its end. */
static int read_stream(dl_context *cx, FILE *stream, const char *name, char **data, size_t *size) {
    size_t capacity = 1 << 16, n = 0;
    char *text = malloc(capacity);
    while (text && !feof(stream) && !ferror(stream)) {
        if (n == capacity) {
            char *grown = capacity < PROMPT_BYTES_MAX ? realloc(text, 2 * capacity) : NULL;
            if (!grown) {
                free(text);
                return fail(cx, DL_USAGE, "%s: prompts of more than %d bytes", name,
                            PROMPT_BYTES_MAX);
            }
            text = grown;
            capacity *= 2;
        }
        n += fread(text + n, 1, capacity - n, stream);
    }
    if (!text)
        return fail_memory(cx, "prompts", capacity);
    if (ferror(stream)) {
        free(text);
        return fail(cx, DL_USAGE, "%s: cannot read: %s", name, strerror(errno));
    }
    *data = text;
    *size = n;
    return DL_OK;
}

/* A file, a pipe (`--prompts <(...)`) or, by the name -, standard input. */
static int read_prompts(dl_context *cx, const char *path, char **data, size_t *size) {
    if (strcmp(path, "-") == 0)
        return read_stream(cx, stdin, "standard input", data, size);
    if (file_exists(path))
        return file_read(cx, DL_USAGE, path, PROMPT_BYTES_MAX, data, size);
    FILE *pipe = dir_exists(path) ? NULL : fopen(path, "rb");
    if (!pipe)
        return fail(cx, DL_USAGE, "%s: cannot open: %s", path,
                    dir_exists(path) ? "is a folder" : strerror(errno));
    int status = read_stream(cx, pipe, path, data, size);
    fclose(pipe);
    return status;
}

static int add_csv(dl_context *cx, struct prompt_list *list, const char *path) {
    struct csv csv;
    DL_TRY(csv_read(cx, path, &csv));
    const size_t column = csv_column(&csv, "prompt");
    int status = DL_OK;
    if (column == CSV_NONE)
        status = fail(cx, DL_USAGE, "%s: has no column `prompt`", path);
    for (size_t row = 0; row < csv.rows && status == DL_OK; row++) {
        const char *text = csv_cell(&csv, row, column);
        status = check_text(cx, path, csv_line(&csv, row), text, strlen(text));
        if (status == DL_OK && text[0])
            status = add_prompt(cx, list, text, strlen(text));
    }
    csv_free(&csv);
    return status;
}

static bool ends_in_csv(const char *path) {
    const size_t n = strlen(path);
    return n >= 4 && strcasecmp(path + n - 4, ".csv") == 0;
}

int prompts_read(dl_context *cx, const struct options *options, struct prompt_list *out) {
    const char *file = options->prompts_file, *name;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < options->argument_count; i++) {
        const char *text = options->arguments[i];
        if (strcmp(text, "-") == 0 && !file)
            file = "-"; /* `dlens lens -` is --prompts - */
        else
            DL_TRY(add_prompt(cx, out, text, strlen(text)));
    }
    name = !file ? "PROMPT" : strcmp(file, "-") == 0 ? "standard input" : file;
    if (file && ends_in_csv(file)) {
        DL_TRY(add_csv(cx, out, file));
    } else if (file) {
        char *text = NULL;
        size_t size = 0;
        DL_TRY(read_prompts(cx, file, &text, &size));
        int status = add_lines(cx, out, name, text, size);
        free(text);
        DL_TRY(status);
    }
    if (!out->count)
        return fail(cx, DL_USAGE, "%s: no prompt is given%s", name,
                    file ? "" : "; write it in quotes, or see --help");
    return DL_OK;
}

void prompts_free(struct prompt_list *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->texts[i]);
    free(list->texts);
    memset(list, 0, sizeof *list);
}

/* ---- options --------------------------------------------------------------------------------- */

static int read_seeds(dl_context *cx, const struct options *options, struct inputs *out) {
    size_t count = 1;
    if (options->seed_list)
        DL_TRY(parse_seeds(cx, options->seed_list, &out->seeds, &count));
    else
        DL_TRY(allocate(cx, "seeds", 1, sizeof *out->seeds, (void **)&out->seeds));
    if (options->seed_count) {
        if (count > 1)
            return fail(cx, DL_USAGE, "--seeds %ld: --seed names several seeds already",
                        options->seed_count);
        const uint64_t first = out->seeds[0];
        count = (size_t)options->seed_count;
        if (first > UINT64_MAX - (count - 1))
            return fail(cx, DL_USAGE, "--seeds %ld: beyond the largest seed", options->seed_count);
        free(out->seeds);
        DL_TRY(allocate(cx, "seeds", count, sizeof *out->seeds, (void **)&out->seeds));
        for (size_t i = 0; i < count; i++)
            out->seeds[i] = first + i;
    }
    out->options.seeds = out->seeds;
    out->options.seed_count = count;
    return DL_OK;
}

/* Takes tensor `noise` and, where --size says nothing, its size. */
static int take_noise(dl_context *cx, const dl_model_info *info, const char *path,
                      const struct store *store, struct inputs *out) {
    const struct tensor *t = store_find(store, "noise");
    const size_t channels = (size_t)info->noise_channels, scale = (size_t)info->noise_scale;
    if (!t || t->dtype != DTYPE_F32 || t->ndim != 4 || t->shape[0] != 1 || t->shape[1] != channels)
        return fail(cx, DL_USAGE, "%s: must hold a tensor `noise`, F32, [1,%zu,H,W]", path,
                    channels);
    if (!tensor_count(t) || t->shape[2] > 65536 || t->shape[3] > 65536)
        return fail(cx, DL_USAGE, "%s: tensor noise is %zu x %zu; sides must be from 1 to 65536",
                    path, t->shape[2], t->shape[3]);
    const int height = (int)(t->shape[2] * scale), width = (int)(t->shape[3] * scale);
    if (!out->options.width) {
        out->options.width = width;
        out->options.height = height;
    }
    if (out->options.width != width || out->options.height != height)
        return fail(cx, DL_USAGE, "%s: its noise is for %dx%d pixels, --size says %dx%d", path,
                    width, height, out->options.width, out->options.height);
    DL_TRY(allocate(cx, "noise", tensor_count(t), sizeof(float), (void **)&out->noise));
    memcpy(out->noise, t->data, tensor_count(t) * sizeof(float));
    for (size_t i = 0; i < tensor_count(t); i++)
        if (!isfinite(out->noise[i]))
            return fail(cx, DL_USAGE, "%s: tensor noise: value %zu is %g; all must be finite", path,
                        i, (double)out->noise[i]);
    out->options.noise = out->noise;
    return DL_OK;
}

static int read_noise(dl_context *cx, const dl_model *model, const char *path, struct inputs *out) {
    dl_model_info info;
    struct store *store;
    dl_model_describe(model, &info);
    if (store_open_file(cx, path, &store) != DL_OK)
        return cx->status = DL_USAGE; /* an unreadable input, not an unusable model */
    int status = take_noise(cx, &info, path, store, out);
    store_close(store);
    return status;
}

static int read_words(dl_context *cx, const struct options *o, dl_options *out) {
    out->norm = o->norm ? norm_find(o->norm) : DL_NORM_FINAL;
    if (out->norm == NORM_COUNT)
        return fail(cx, DL_USAGE, "--norm %s: must be final, none, block or match", o->norm);
    const int control = o->control ? control_find(o->control) : DL_CONTROL_NONE;
    if (control == CONTROL_COUNT)
        return fail(cx, DL_USAGE, "--control %s: must be shuffled, padding, random or none",
                    o->control);
    out->control = control;
    if (o->progress && strcmp(o->progress, "auto") != 0 && strcmp(o->progress, "on") != 0 &&
        strcmp(o->progress, "off") != 0)
        return fail(cx, DL_USAGE, "--progress %s: must be auto, on or off", o->progress);
    if (o->size)
        DL_TRY(parse_size(cx, o->size, &out->width, &out->height));
    return DL_OK;
}

int inputs_read(dl_context *cx, const dl_model *model, const struct options *options,
                struct inputs *out) {
    memset(out, 0, sizeof *out);
    dl_options_init(&out->options);
    if (options->layers)
        out->options.layers = options->layers;
    out->options.skip_layers = options->skip_layers;
    out->options.steps = (int)options->steps;
    out->options.sampler = options->sampler;
    out->options.timesteps = options->timesteps;
    out->options.cache = options->cache;
    out->options.guidance = options->guidance;
    out->options.eta = options->eta;
    out->options.reuse = (int)options->reuse;
    out->options.negative = options->negative;
    out->options.native = options->native;
    DL_TRY(read_words(cx, options, &out->options));
    DL_TRY(read_seeds(cx, options, out));
    return options->noise ? read_noise(cx, model, options->noise, out) : DL_OK;
}

void inputs_free(struct inputs *inputs) {
    free(inputs->seeds);
    free(inputs->noise);
    memset(inputs, 0, sizeof *inputs);
}

int limit_memory(dl_context *cx, dl_model *model, const struct options *options,
                 const dl_options *run, size_t prompts, dl_plan *plan) {
    size_t limit = 0;
    if (options->max_memory)
        DL_TRY(parse_bytes(cx, options->max_memory, &limit));
    return dl_limit_memory(cx, model, run, prompts, limit, plan);
}

int check_memory(dl_context *cx, dl_model *model, const struct options *options,
                 const dl_options *run) {
    return limit_memory(cx, model, options, run, SIZE_MAX, NULL);
}
