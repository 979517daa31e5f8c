/* The pictures of a report: thumbnails, one PNG for each prompt with a row for each seed and a
 * column for each layer, and the data that the page's script reads. See report.h.
 *
 * N pictures of e x e pixels: PNGs of e^2 bytes each are expected, and e is chosen so that they
 * fit; where they turn out larger, e shrinks until they do. */
#include "study/report.h"

#include "out/json_writer.h"
#include "out/png.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EMBED_BYTES = 12 << 20, SIDE_MAX = 96, SIDE_MIN = 8 };

struct gallery {
    dl_context *cx;
    const struct study *study;
    struct image *thumbnails; /* (cells) */
    int width, height;        /* of each */
};

/* ---- thumbnails ------------------------------------------------------------------------------ */

static int load_thumbnails(struct gallery *g) {
    const struct grid *grid = &g->study->record.grid;
    const size_t count = grid_count(grid);
    DL_TRY(allocate(g->cx, "thumbnails", count, sizeof *g->thumbnails, (void **)&g->thumbnails));
    for (size_t i = 0; i < count; i++) {
        struct image full = {0};
        if (!grid->cells[i].made)
            continue;
        int status = cell_read(g->cx, g->study->record.folder, &grid->cells[i], &full);
        if (status == DL_OK)
            status = image_resize(g->cx, full.rgb, full.width, full.height, g->width, g->height,
                                  &g->thumbnails[i]);
        image_free(&full);
        DL_TRY(status);
    }
    return DL_OK;
}

static void choose_size(struct gallery *g, double side) {
    const struct settings *s = g->study->record.grid.settings;
    const int limit = side > SIDE_MAX ? SIDE_MAX : side < SIDE_MIN ? SIDE_MIN : (int)side;
    const int width = (int)s->width, height = (int)s->height;
    if (width <= limit && height <= limit) {
        g->width = width;
        g->height = height;
    } else {
        image_fit(width, height, limit, limit, &g->width, &g->height);
    }
}

static int shrink_thumbnails(struct gallery *g) {
    for (size_t i = 0; i < grid_count(&g->study->record.grid); i++) {
        struct image *t = &g->thumbnails[i], small = {0};
        if (!t->rgb)
            continue;
        DL_TRY(image_resize(g->cx, t->rgb, t->width, t->height, g->width, g->height, &small));
        image_free(t);
        *t = small;
    }
    return DL_OK;
}

/* All thumbnails of a prompt as one picture, white where there is none. */
static int join_thumbnails(const struct gallery *g, size_t prompt, struct image *out) {
    const struct grid *grid = &g->study->record.grid;
    const size_t w = (size_t)g->width, h = (size_t)g->height;
    const size_t row = 3 * w * grid->layer_count;
    DL_TRY(image_make(g->cx, g->width * (int)grid->layer_count, g->height * (int)grid->seed_count,
                      out));
    for (size_t s = 0; s < grid->seed_count; s++)
        for (size_t l = 0; l < grid->layer_count; l++) {
            const struct image *t =
                &g->thumbnails[(prompt * grid->seed_count + s) * grid->layer_count + l];
            for (size_t y = 0; t->rgb && y < h; y++)
                memcpy(out->rgb + (s * h + y) * row + 3 * w * l, t->rgb + 3 * w * y, 3 * w);
        }
    return DL_OK;
}

/* The pictures of all prompts, as a JSON array of data URIs. */
static int put_sprites(const struct gallery *g, struct buffer *b) {
    buffer_text(b, "[");
    for (size_t p = 0; p < g->study->record.prompt_count; p++) {
        struct image joined = {0};
        int status = join_thumbnails(g, p, &joined);
        buffer_text(b, p ? ",\n\"" : "\n\"");
        if (status == DL_OK)
            status = png_data_uri(g->cx, b, joined.rgb, joined.width, joined.height);
        buffer_text(b, "\"");
        image_free(&joined);
        DL_TRY(status);
    }
    buffer_text(b, "]");
    return DL_OK;
}

/* The same, smaller until it fits. */
static int put_bounded_sprites(struct gallery *g, struct buffer *b) {
    const double most = EMBED_BYTES / 3.0 * 4.0; /* base64 */
    const size_t start = b->length;
    for (;;) {
        DL_TRY(put_sprites(g, b));
        const double size = (double)(b->length - start);
        const int side = g->width > g->height ? g->width : g->height;
        if (b->failed || size <= most || side <= SIDE_MIN)
            return DL_OK;
        b->length = start;
        choose_size(g, fmin(side - 1, side * sqrt(most / size) * 0.97));
        DL_TRY(shrink_thumbnails(g));
    }
}

/* ---- data ------------------------------------------------------------------------------------ */

static void put_strings(struct buffer *b, const char *key, const char *const *texts, size_t count) {
    buffer_format(b, ",\n\"%s\":[", key);
    for (size_t i = 0; i < count; i++) {
        buffer_text(b, i ? "," : "");
        write_json_string(b, texts[i]);
    }
    buffer_text(b, "]");
}

static void put_run(struct buffer *b, const struct study *s) {
    const struct grid *g = &s->record.grid;
    char identity[16];
    manifest_identity(s->record.manifest, identity);
    buffer_text(b, "{\"identity\":");
    write_json_string(b, identity);
    buffer_format(b, ",\"blocks\":%d,\"layers\":[", s->blocks);
    for (size_t l = 0; l < g->layer_count; l++)
        buffer_format(b, l ? ",%d" : "%d", grid_layer(g, l));
    buffer_text(b, "],\"seeds\":[");
    for (size_t i = 0; i < g->seed_count; i++) /* as text: a number of 64 bits */
        buffer_format(b, "%s\"%" PRIu64 "\"", i ? "," : "", g->settings->seeds[i]);
    buffer_text(b, "]");
    put_strings(b, "prompts", g->prompts, g->prompt_count);
    put_strings(b, "signs", signature_names, SIGNATURES);
    put_strings(b, "measures", signature_measures, SIGNATURES);
}

/* Every picture: its file, where it is there, and its signatures. */
static void put_cells(struct buffer *b, const struct study *s) {
    const struct grid *g = &s->record.grid;
    buffer_text(b, ",\n\"files\":[");
    for (size_t i = 0; i < grid_count(g); i++) {
        buffer_text(b, i ? "," : "");
        write_json_string(b, g->cells[i].made ? g->cells[i].file : "");
    }
    buffer_text(b, "],\n\"flags\":[");
    for (size_t i = 0; i < grid_count(g); i++)
        buffer_format(b, i ? ",%u" : "%u", s->signs[i]);
    buffer_text(b, "]");
}

static bool is_asked(const struct study *s, const struct study_question *q, size_t prompt) {
    const size_t row = s->record.grid.seed_count * s->record.grid.layer_count;
    for (size_t i = prompt * row; i < (prompt + 1) * row; i++)
        if (!isnan(q->scores[i]))
            return true;
    return false;
}

static void put_question(struct buffer *b, const struct study *s, const struct study_question *q) {
    const struct grid *g = &s->record.grid;
    buffer_text(b, "{\"name\":");
    write_json_string(b, q->name);
    buffer_text(b, ",\"ask\":[");
    for (size_t p = 0; p < g->prompt_count; p++) {
        struct buffer wording = {0};
        buffer_text(b, p ? "," : "");
        if (is_asked(s, q, p)) {
            study_wording(s, q, p, &wording);
            b->failed = b->failed || wording.failed;
            write_json_string(b, wording.data ? wording.data : "");
        } else {
            buffer_text(b, "null");
        }
        buffer_free(&wording);
    }
    buffer_text(b, "],\"score\":[");
    for (size_t i = 0; i < grid_count(g); i++) {
        buffer_text(b, i ? "," : "");
        write_json_number(b, q->scores[i]);
    }
    buffer_text(b, "],\"rows\":[");
    for (size_t i = 0; i < g->prompt_count * g->seed_count; i++)
        buffer_format(b, i ? ",%u" : "%u",
                      (q->first[i] == EMERGES_NEVER ? (unsigned)SIGN_NEVER : 0) |
                          (q->unstable[i] ? (unsigned)SIGN_UNSTABLE : 0));
    buffer_text(b, "]}");
}

/* JSON inside <script>: no "<" that could end it. */
static void put_safe(struct buffer *b, const struct buffer *json) {
    size_t from = 0;
    for (size_t i = 0; i < json->length; i++)
        if (json->data[i] == '<') {
            buffer_bytes(b, json->data + from, i - from);
            buffer_text(b, "\\u003c");
            from = i + 1;
        }
    buffer_bytes(b, json->data ? json->data + from : "", json->length - from);
    b->failed = b->failed || json->failed;
}

static int put_data(struct gallery *g, struct buffer *b) {
    const struct study *s = g->study;
    struct buffer json = {0};
    put_run(&json, s);
    put_cells(&json, s);
    buffer_text(&json, ",\n\"questions\":[");
    for (size_t i = 0; i < s->question_count; i++) {
        buffer_text(&json, i ? ",\n" : "\n");
        put_question(&json, s, &s->questions[i]);
    }
    buffer_text(&json, "],\n\"sprites\":");
    int status = put_bounded_sprites(g, &json);
    buffer_format(&json, ",\n\"width\":%d,\"height\":%d,\"full\":%zu}", g->width, g->height,
                  s->record.grid.settings->width);
    buffer_text(b, "<script type=\"application/json\" id=\"data\">\n");
    put_safe(b, &json);
    buffer_text(b, "\n</script>\n");
    buffer_free(&json);
    return status;
}

/* ---- the section ----------------------------------------------------------------------------- */

/* The controls; the script fills in what depends on the data. */
static const char *const controls[] = {
    "<section id=\"gallery\">\n<h2>The pictures</h2>\n",
    "<noscript><p class=\"note\">This part needs JavaScript.</p></noscript>\n",
    "<div class=\"filters\" role=\"group\" aria-label=\"Filters\">\n",
    "<label class=\"wide\">Layer <output id=\"layer-name\"></output>"
    "<input type=\"range\" id=\"layer\" min=\"0\" step=\"1\"></label>\n",
    "<label>Prompt contains <input type=\"search\" id=\"find\" autocomplete=\"off\"></label>\n",
    "<label>Seed <select id=\"seed\"></select></label>\n",
    "<label>Question <select id=\"question\"></select></label>\n",
    "<label>Show <select id=\"flag\"></select></label>\n",
    "<button id=\"annotate\">Annotate by hand</button>\n",
    "</div>\n<p class=\"hint\" id=\"shown\" aria-live=\"polite\"></p>\n",
    "<div id=\"grid\"></div>\n",
    "<p class=\"hint keys\"><kbd>\xE2\x86\x90</kbd> <kbd>\xE2\x86\x92</kbd> layer \xC2\xB7 "
    "<kbd>/</kbd> filter \xC2\xB7 <kbd>Enter</kbd> or click: zoom \xC2\xB7 in the zoom "
    "<kbd>\xE2\x86\x91</kbd> <kbd>\xE2\x86\x93</kbd> next picture, <kbd>Esc</kbd> back</p>\n",
    "</section>\n<dialog id=\"zoom\" aria-label=\"Picture\"></dialog>\n",
    "<dialog id=\"work\" aria-label=\"Annotation\"></dialog>\n",
    NULL,
};

int report_pictures(dl_context *cx, const struct study *s, struct buffer *b) {
    const struct grid *grid = &s->record.grid;
    struct gallery g = {.cx = cx, .study = s};
    choose_size(&g, sqrt((double)EMBED_BYTES / (double)grid_count(grid)));
    int status = load_thumbnails(&g);
    for (size_t i = 0; controls[i]; i++)
        buffer_text(b, controls[i]);
    if (status == DL_OK)
        status = put_data(&g, b);
    for (size_t i = 0; g.thumbnails && i < grid_count(grid); i++)
        image_free(&g.thumbnails[i]);
    free(g.thumbnails);
    return status;
}
