/* What people see of a run: contact sheets and the report, made from the pictures on disk. */
#include "lens/run.h"

#include "base/file.h"
#include "lens/beside.h"
#include "lens/controls.h"
#include "lens/looks.h"
#include "out/buffer.h"
#include "out/html.h"
#include "out/png.h"
#include "out/sheet.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Thumbnails are smaller where there are many, so that memory and the page stay in bounds: halved
 * with each fourfold number. */
static int thumbnail_side(size_t pictures) {
    int side = REPORT_THUMBNAIL;
    for (size_t most = 400; pictures > most && side > 32; most *= 4)
        side /= 2;
    return side;
}

/* What the norms are called on a sheet, in the table of settings and in the page's explanation:
 * "the hidden state behind each layer was ... and given to the image model". */
static const char *const norm_notes[NORM_COUNT] = {
    [DL_NORM_FINAL] = "",
    [DL_NORM_NONE] = " \xC2\xB7 without the final norm",
    [DL_NORM_BLOCK] = " \xC2\xB7 with the next block's norm",
    [DL_NORM_MATCH] = " \xC2\xB7 scaled to the last layer"};
static const char *const norm_settings[NORM_COUNT] = {
    [DL_NORM_FINAL] = "final layer norm",
    [DL_NORM_NONE] = "raw hidden state",
    [DL_NORM_BLOCK] = "the next block's own norm",
    [DL_NORM_MATCH] = "raw hidden state, scaled to the last layer's size"};
static const char *const control_settings[CONTROL_COUNT] = {
    "", "the prompt's tokens in another order", "no tokens but padding",
    "a text encoder of random weights"};
static const char *const norm_passages[NORM_COUNT] = {
    [DL_NORM_FINAL] = "passed through the encoder\xE2\x80\x99s final layer norm",
    [DL_NORM_NONE] = "taken as it is, without the encoder\xE2\x80\x99s final layer norm,",
    [DL_NORM_BLOCK] = "passed through the layer norm with which the next block begins",
    [DL_NORM_MATCH] =
        "scaled, token by token, to the size that the last layer\xE2\x80\x99s conditioning has,"};

struct presentation {
    dl_context *cx;
    const cJSON *manifest, *model; /* the whole, and its part of that name */
    const struct grid *grid;
    const char *folder;
    struct image *thumbnails;  /* (cells) */
    char (*row_labels)[32];    /* (seeds) */
    char (*column_labels)[16]; /* (layers) */
    const char **rows, **columns;
    int *layers; /* (layers) */
    struct looks *looks;
    struct beside *beside;
};

static int load_thumbnails(struct presentation *p) {
    const struct grid *g = p->grid;
    const size_t count = grid_count(g);
    DL_TRY(allocate(p->cx, "thumbnails", count, sizeof *p->thumbnails, (void **)&p->thumbnails));
    for (size_t i = 0; i < count; i++) {
        struct image full = {0};
        if (!g->cells[i].made)
            continue;
        int status = cell_read(p->cx, p->folder, &g->cells[i], &full);
        if (status == DL_OK)
            status = image_thumbnail(p->cx, full.rgb, full.width, full.height,
                                     thumbnail_side(count), &p->thumbnails[i]);
        image_free(&full);
        DL_TRY(status);
    }
    return DL_OK;
}

static int make_labels(struct presentation *p) {
    const struct grid *g = p->grid;
    DL_TRY(
        allocate(p->cx, "labels", g->seed_count, sizeof *p->row_labels, (void **)&p->row_labels));
    DL_TRY(allocate(p->cx, "labels", g->layer_count, sizeof *p->column_labels,
                    (void **)&p->column_labels));
    DL_TRY(allocate(p->cx, "labels", g->seed_count, sizeof *p->rows, (void **)&p->rows));
    DL_TRY(allocate(p->cx, "labels", g->layer_count, sizeof *p->columns, (void **)&p->columns));
    DL_TRY(allocate(p->cx, "labels", g->layer_count, sizeof *p->layers, (void **)&p->layers));
    for (size_t s = 0; s < g->seed_count; s++) {
        snprintf(p->row_labels[s], sizeof p->row_labels[s], "seed %" PRIu64, g->settings->seeds[s]);
        p->rows[s] = p->row_labels[s];
    }
    for (size_t l = 0; l < g->layer_count; l++) {
        p->layers[l] = grid_layer(g, l);
        if (p->layers[l] < 0)
            strcpy(p->column_labels[l], "native");
        else
            snprintf(p->column_labels[l], sizeof p->column_labels[l], "%d", p->layers[l]);
        p->columns[l] = p->column_labels[l];
    }
    return DL_OK;
}

/* ---- contact sheets -------------------------------------------------------------------------- */

static void sheet_name(const struct grid *grid, size_t prompt, char out[32]) {
    if (grid->prompt_count > 1)
        snprintf(out, 32, "sheet-%zu.png", prompt);
    else
        strcpy(out, "sheet.png");
}

static int write_sheet(struct presentation *p, size_t prompt) {
    const struct grid *g = p->grid;
    const struct settings *s = g->settings;
    const size_t count = g->seed_count * g->layer_count;
    struct sheet_cell *cells = NULL;
    struct image image = {0};
    char subtitle[512], name[32];
    DL_TRY(allocate(p->cx, "sheet", count, sizeof *cells, (void **)&cells));
    for (size_t i = 0; i < count; i++) {
        const struct image *t = &p->thumbnails[prompt * count + i];
        cells[i] = (struct sheet_cell){t->rgb, t->width, t->height};
    }
    snprintf(subtitle, sizeof subtitle,
             "Diffusion Lens \xC2\xB7 %s, %d layers \xC2\xB7 %s, %zu steps, guidance %g%s",
             path_name(manifest_text(p->model, "path")), manifest_number(p->model, "layers"),
             s->sampler, s->steps, s->guidance, norm_notes[s->norm]);
    const struct sheet sheet = {
        .title = g->prompts[prompt],
        .subtitle = subtitle,
        .rows = g->seed_count,
        .columns = g->layer_count,
        .row_labels = p->rows,
        .column_labels = p->columns,
        .column_caption = "layer",
        .cells = cells,
    };
    sheet_name(g, prompt, name);
    char *path = path_join(p->folder, name);
    int status = path ? sheet_make(p->cx, &sheet, &image) : fail_memory(p->cx, name, 0);
    if (status == DL_OK) {
        const char *const text[] = {"Software", "dlens " DLENS_VERSION, "prompt",
                                    g->prompts[prompt], NULL};
        status = png_write(p->cx, path, image.rgb, image.width, image.height, text);
    }
    image_free(&image);
    free(path);
    free(cells);
    return status;
}

/* ---- report ---------------------------------------------------------------------------------- */

/* argv as a line that a shell reads back: words with anything but plain characters in single
 * quotes. */
static void quote_command(const cJSON *command, struct buffer *out) {
    const cJSON *argument;
    cJSON_ArrayForEach(argument, command) {
        const char *word = cJSON_IsString(argument) ? argument->valuestring : "?";
        const bool plain =
            word[0] && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789_-./:=,+@%") == strlen(word);
        buffer_text(out, argument != command->child ? " " : "");
        if (plain) {
            buffer_text(out, word);
            continue;
        }
        buffer_text(out, "'");
        for (const char *c = word; *c; c++)
            if (*c == '\'')
                buffer_text(out, "'\\''");
            else
                buffer_bytes(out, c, 1);
        buffer_text(out, "'");
    }
}

/* The tokens of one prompt, an entry of the manifest, for the page. One that the tokenizer puts
 * around the prompt is written in angle brackets, at an end. */
static int report_tokens(struct presentation *p, size_t prompt, const cJSON *entry,
                         struct report_prompt *out, char *sheet) {
    const cJSON *token, *tokens = cJSON_GetObjectItemCaseSensitive(entry, "tokens");
    const cJSON *cut = cJSON_GetObjectItemCaseSensitive(entry, "cut");
    const size_t count = (size_t)cJSON_GetArraySize(tokens);
    struct report_token *list = NULL;
    size_t i = 0;
    DL_TRY(allocate(p->cx, "tokens", count, sizeof *list, (void **)&list));
    cJSON_ArrayForEach(token, tokens) {
        const char *piece = manifest_text(token, "piece");
        const bool framing = (i == 0 || i + 1 == count) && piece[0] == '<';
        list[i++] = (struct report_token){manifest_number(token, "id"), piece, framing};
    }
    sheet_name(p->grid, prompt, sheet);
    *out = (struct report_prompt){p->grid->prompts[prompt],
                                  list,
                                  count,
                                  cJSON_IsString(cut) ? cut->valuestring : NULL,
                                  sheet,
                                  looks_of(p->looks, prompt),
                                  beside_of(p->beside, prompt)};
    return DL_OK;
}

static void report_cells(const struct presentation *p, struct report_cell *cells) {
    const struct grid *g = p->grid;
    const size_t count = grid_count(g);
    for (size_t i = 0; i < count; i++) {
        const struct cell *c = &g->cells[i];
        const struct image *t = &p->thumbnails[i];
        cells[i] = (struct report_cell){t->rgb,
                                        t->width,
                                        t->height,
                                        c->made ? c->file : NULL,
                                        g->times_apart ? -1 : c->seconds,
                                        c->flags,
                                        c->flag_count};
    }
}

/* The rows of the page's table of settings, and their texts. */
struct setting_rows {
    char steps[24], guidance[32], size[64], eta[32], reuse[40];
    struct buffer skipped;     /* "2, 5" */
    const char *pairs[2 * 16]; /* key, value, ..., NULL */
    size_t count;
};

static void add_setting(struct setting_rows *rows, const char *key, const char *value) {
    rows->pairs[rows->count++] = key;
    rows->pairs[rows->count++] = value;
}

static void list_settings(const struct presentation *p, struct setting_rows *rows) {
    const struct settings *s = p->grid->settings;
    snprintf(rows->steps, sizeof rows->steps, "%zu", s->steps);
    snprintf(rows->guidance, sizeof rows->guidance, "%g", s->guidance);
    snprintf(rows->size, sizeof rows->size, "%zu x %zu pixels", s->width, s->height);
    snprintf(rows->eta, sizeof rows->eta, "%g", s->eta);
    add_setting(rows, "Sampler", s->sampler);
    if (s->eta > 0)
        add_setting(rows, "eta", rows->eta);
    add_setting(rows, "Steps", rows->steps);
    snprintf(rows->reuse, sizeof rows->reuse, "whole steps: every %zu", s->reuse);
    if (s->reuse > 1)
        add_setting(rows, "Reuse", rows->reuse);
    if (s->precision)
        add_setting(rows, "Precision", s->precision);
    if (s->activations)
        add_setting(rows, "Activations held", s->activations);
    add_setting(rows, "Guidance scale", rows->guidance);
    add_setting(rows, "Size", rows->size);
    add_setting(rows, "Negative prompt", s->negative[0] ? s->negative : "(empty)");
    add_setting(rows, "Conditioning", norm_settings[s->norm]);
    if (s->control != DL_CONTROL_NONE)
        add_setting(rows, "Control", control_settings[s->control]);
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(p->manifest, "options"), *block;
    cJSON_ArrayForEach(block, cJSON_GetObjectItemCaseSensitive(options, "skip_layers"))
        buffer_format(&rows->skipped, "%s%d", rows->skipped.length ? ", " : "", block->valueint);
    if (rows->skipped.length)
        add_setting(rows, "Blocks left out", rows->skipped.data);
}

/* Writes the page once all its parts are there. */
static int write_page(struct presentation *p, const struct report_prompt *prompts,
                      const struct report_cell *cells) {
    const struct grid *g = p->grid;
    const struct settings *s = g->settings;
    struct setting_rows settings = {.count = 0};
    struct buffer command = {0};
    list_settings(p, &settings);
    quote_command(cJSON_GetObjectItemCaseSensitive(p->manifest, "command"), &command);
    const struct report report = {
        .version = DLENS_VERSION,
        .model = path_name(manifest_text(p->model, "path")),
        .family = manifest_text(p->model, "family"),
        .encoder = manifest_text(p->model, "encoder"),
        .encoder_layers = manifest_number(p->model, "layers"),
        .prompts = prompts,
        .prompt_count = g->prompt_count,
        .seeds = s->seeds,
        .seed_count = g->seed_count,
        .layers = p->layers,
        .layer_count = g->layer_count,
        .cells = cells,
        .width = (int)s->width,
        .height = (int)s->height,
        .settings = settings.pairs,
        .command = command.data,
        .complete = grid_complete(g),
        .passage = norm_passages[s->norm],
    };
    char *path = path_join(p->folder, "index.html");
    int status = buffer_check(p->cx, &command, "report");
    if (status == DL_OK)
        status = buffer_check(p->cx, &settings.skipped, "report");
    if (status == DL_OK)
        status = path ? report_write(p->cx, path, &report) : fail_memory(p->cx, "index.html", 0);
    free(path);
    buffer_free(&settings.skipped);
    buffer_free(&command);
    return status;
}

static int write_report(struct presentation *p) {
    const struct grid *g = p->grid;
    const size_t count = grid_count(g);
    struct report_prompt *prompts = NULL;
    struct report_cell *cells = NULL;
    char(*sheets)[32] = NULL;
    int status = allocate(p->cx, "report", g->prompt_count, sizeof *prompts, (void **)&prompts);
    if (status == DL_OK)
        status = allocate(p->cx, "report", g->prompt_count, sizeof *sheets, (void **)&sheets);
    if (status == DL_OK)
        status = allocate(p->cx, "report", count, sizeof *cells, (void **)&cells);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(p->manifest, "prompts");
    const cJSON *entry = list ? list->child : NULL;
    for (size_t i = 0; i < g->prompt_count && status == DL_OK; i++) {
        status = report_tokens(p, i, entry, &prompts[i], sheets[i]);
        entry = entry ? entry->next : NULL;
    }
    if (status == DL_OK) {
        report_cells(p, cells);
        status = write_page(p, prompts, cells);
    }
    for (size_t i = 0; prompts && i < g->prompt_count; i++)
        free((void *)(uintptr_t)prompts[i].tokens);
    free(prompts);
    free(sheets);
    free(cells);
    return status;
}

static int present_parts(dl_context *cx, const cJSON *manifest, const struct grid *grid,
                         const char *folder, bool with_page) {
    struct presentation p = {
        .cx = cx,
        .manifest = manifest,
        .model = cJSON_GetObjectItemCaseSensitive(manifest, "model"),
        .grid = grid,
        .folder = folder,
    };
    int status = make_labels(&p);
    if (status == DL_OK)
        status = load_thumbnails(&p);
    for (size_t i = 0; i < grid->prompt_count && status == DL_OK; i++)
        status = write_sheet(&p, i);
    if (status == DL_OK && with_page)
        status = looks_read(cx, grid, folder, p.thumbnails, p.layers, &p.looks);
    if (status == DL_OK && with_page)
        status = beside_read(cx, grid, manifest, folder, &p.beside);
    if (status == DL_OK && with_page)
        status = beside_write(cx, p.beside, folder);
    if (status == DL_OK && with_page)
        status = write_report(&p);
    looks_free(p.looks);
    beside_free(p.beside);
    for (size_t i = 0; p.thumbnails && i < grid_count(grid); i++)
        image_free(&p.thumbnails[i]);
    free(p.thumbnails);
    free(p.row_labels);
    free(p.column_labels);
    free(p.rows);
    free(p.columns);
    free(p.layers);
    return status;
}

int present(dl_context *cx, const cJSON *manifest, const struct grid *grid, const char *folder) {
    return present_parts(cx, manifest, grid, folder, true);
}

int present_sheets(dl_context *cx, const cJSON *manifest, const struct grid *grid,
                   const char *folder) {
    return present_parts(cx, manifest, grid, folder, false);
}

size_t present_memory(const struct grid *grid) {
    /* bytes a pixel of a sheet: drawn, filtered and compressed for the PNG; and of a picture in the
     * page: compressed, as text, in a buffer that grows */
    enum { SHEET_BYTES = 8, PAGE_BYTES = 2 };
    const int side = thumbnail_side(grid_count(grid));
    int width = (int)grid->settings->width, height = (int)grid->settings->height;
    if (width > side || height > side)
        image_fit(width, height, side, side, &width, &height);
    const double pixels = (double)grid_count(grid) * width * height;
    const double sheet = sheet_pixels(grid->seed_count, grid->layer_count, width, height);
    return (size_t)(3 * pixels + fmax(SHEET_BYTES * sheet, PAGE_BYTES * pixels));
}
