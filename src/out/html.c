/* The report page: one section per prompt (tokens, viewer, plot, table of pictures), then how to
 * read it, the settings and the command. See html.h.
 *
 * Whatever comes from outside (prompts, tokens, paths, settings) passes buffer_html or buffer_url.
 * The page's content security policy forbids every connection; pictures are data URIs, and the
 * script replaces them by the PNG files beside the page where these are larger.
 *
 * N pictures in all, e the longer side of those embedded: an RGB PNG takes at most about 3 e^2
 * bytes and base64 adds a third, so 4 e^2 N <= EMBED_BYTES keeps the page small whatever N is. */
#include "out/html.h"

#include "base/file.h"
#include "out/buffer.h"
#include "out/flags.h"
#include "out/page.h"
#include "out/plot.h"
#include "out/png.h"
#include "out/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EMBED_BYTES = 18 << 20, EMBED_LEAST = 16, LONG_PROMPT = 90 };

/* What is known before writing. */
struct page {
    dl_context *cx;
    const struct report *r;
    struct buffer out;
    size_t cells, made; /* pictures asked for, and there */
    int side;           /* e */
    double *distance;   /* (prompts,seeds,layers) from the last layer's picture; NAN: none */
    size_t last;        /* index of the last layer in r->layers */
    char label[80];     /* of the plots' upright axis */
};

static const struct report_cell *cell_at(const struct page *p, size_t prompt, size_t seed,
                                         size_t layer) {
    const struct report *r = p->r;
    return &r->cells[(prompt * r->seed_count + seed) * r->layer_count + layer];
}

static void put(struct buffer *b, const char *before, const char *text, const char *after) {
    page_text(b, before, text, after);
}

/* ---- names of layers ---------------------------------------------------------------------- */

static void layer_name(char out[64], const struct page *p, int layer) {
    if (layer < 0)
        snprintf(out, 64, "Native conditioning");
    else
        snprintf(out, 64, "Layer %d of %d", layer, p->r->encoder_layers);
}

static void layer_about(char out[64], const struct page *p, int layer) {
    if (layer < 0)
        snprintf(out, 64, "what the model itself would use");
    else if (layer == 0)
        snprintf(out, 64, "the embeddings, before the first block");
    else
        snprintf(out, 64, "after block %d%s", layer,
                 layer == p->r->encoder_layers ? ", the last: the ordinary picture" : "");
}

/* ---- head --------------------------------------------------------------------------------- */

static void put_header(struct page *p) {
    struct buffer *b = &p->out;
    page_begin(b, p->r->version, p->r->prompts[0].text, NULL);
    if (p->r->prompt_count > 1) {
        buffer_text(b, "<select class=\"prompts\" aria-label=\"Prompt\">");
        for (size_t i = 0; i < p->r->prompt_count; i++)
            put(b, "<option>", p->r->prompts[i].text, "</option>\n");
        buffer_text(b, "</select>");
    }
    page_main(b);
    if (!p->r->complete)
        buffer_format(
            b,
            "<p class=\"note\" role=\"status\"><strong>This run is not finished:</strong> "
            "%zu of %zu pictures are there. Running the same command again makes the "
            "rest.</p>\n",
            p->made, p->cells);
}

/* ---- prompt and tokens -------------------------------------------------------------------- */

/* CLIP marks the end of a word with </w>, SentencePiece its beginning with U+2581, byte-level BPE
 * with U+0120: marks that say where spaces are and that only clutter the chip. A piece without its
 * end mark is drawn joined to the next. */
static void put_token(struct buffer *b, const struct report_token *t, bool word_ends_marked) {
    static const char word_end[] = "</w>", word_start[] = "\xE2\x96\x81";
    const char *text = t->piece;
    size_t length = strlen(text);
    bool ends = length > 4 && !strcmp(text + length - 4, word_end);
    struct buffer shown = {0};
    if (!strncmp(text, word_start, 3) && length > 3) {
        text += 3;
        length -= 3;
    }
    buffer_bytes(&shown, text, ends ? length - 4 : length);
    bool joined = word_ends_marked && !ends && !t->special;
    buffer_format(b, "<li%s title=\"",
                  t->special ? " class=\"special\""
                  : joined   ? " class=\"part\""
                             : "");
    buffer_html(b, t->piece);
    put(b, "\">", shown.data ? shown.data : "", "");
    buffer_format(b, "<small>%" PRId32 "</small></li>\n", t->id);
    buffer_free(&shown);
}

static void put_tokens(struct buffer *b, const struct report_prompt *prompt) {
    bool marked = false;
    if (!prompt->token_count)
        return;
    for (size_t i = 0; i < prompt->token_count; i++)
        marked = marked || strstr(prompt->tokens[i].piece, "</w>");
    buffer_text(b, "<ol class=\"tokens\" aria-label=\"Tokens\">\n");
    for (size_t i = 0; i < prompt->token_count; i++)
        put_token(b, &prompt->tokens[i], marked);
    buffer_text(b, "</ol>\n");
    if (prompt->cut)
        put(b, "<p class=\"cut\">Too long for the encoder; this part was cut off: \xE2\x80\x9C",
            prompt->cut, "\xE2\x80\x9D</p>\n");
}

static void put_heading(struct page *p, size_t prompt) {
    struct buffer *b = &p->out;
    const struct report *r = p->r;
    const char *text = r->prompts[prompt].text;
    buffer_text(b, "<p class=\"eyebrow\">What ");
    put(b, "", r->model, " sees in each layer of its text encoder");
    if (r->prompt_count > 1)
        buffer_format(b, " \xC2\xB7 prompt %zu of %zu", prompt + 1, r->prompt_count);
    buffer_format(b, "</p>\n<h1%s>", strlen(text) > LONG_PROMPT ? " class=\"long\"" : "");
    if (text[0])
        put(b, "\xE2\x80\x9C", text, "\xE2\x80\x9D</h1>\n");
    else
        buffer_text(b, "(the empty prompt)</h1>\n");
    put_tokens(b, &r->prompts[prompt]);
}

/* ---- viewer ------------------------------------------------------------------------------- */

static void put_seeds(struct page *p, size_t prompt) {
    struct buffer *b = &p->out;
    if (p->r->seed_count == 1)
        return;
    buffer_text(b, "<fieldset class=\"seeds\"><legend>Seed</legend>\n");
    for (size_t i = 0; i < p->r->seed_count; i++)
        buffer_format(
            b,
            "<label><input type=\"radio\" name=\"seed-%zu\" value=\"%zu\"%s><span>%" PRIu64
            "</span></label>\n",
            prompt, i, i ? "" : " checked", p->r->seeds[i]);
    buffer_text(b, "</fieldset>\n");
}

/* The plotted layers leave out the native control, which stands first or last. */
static bool is_plotted(const struct page *p, size_t layer) {
    return p->r->layers[layer] >= 0;
}

static size_t first_plotted(const struct page *p) {
    return (size_t)!is_plotted(p, 0);
}

static size_t count_plotted(const struct page *p) {
    size_t count = 0;
    for (size_t i = 0; i < p->r->layer_count; i++)
        count += is_plotted(p, i);
    return count;
}

/* The plot of one prompt; its arrays lie in *y (freed by the caller). */
static int make_plot(const struct page *p, size_t prompt, struct plot *plot, void **y) {
    const struct report *r = p->r;
    size_t first = first_plotted(p), count = count_plotted(p);
    double largest = 0.0;
    memset(plot, 0, sizeof *plot);
    DL_TRY(allocate(p->cx, "plot", r->seed_count * count, sizeof(double), y));
    double *values = *y;
    for (size_t s = 0; s < r->seed_count; s++)
        for (size_t l = 0; l < count; l++) {
            double d = p->distance[(prompt * r->seed_count + s) * r->layer_count + first + l];
            values[s * count + l] = d;
            largest = isnan(d) ? largest : fmax(largest, d);
        }
    plot->x = r->layers + first;
    plot->y = values;
    plot->count = count;
    plot->lines = r->seed_count;
    plot->x_label = "layer";
    plot->y_label = p->label;
    plot->top = plot_top(largest);
    return DL_OK;
}

static void put_viewer(struct page *p, size_t prompt, const struct plot *plot) {
    struct buffer *b = &p->out;
    size_t count = p->r->layer_count;
    buffer_text(b,
                "<div class=\"viewer\">\n<div><a class=\"big\"><img alt=\"\"><span class=\"none\" "
                "hidden>not made yet</span></a>\n");
    buffer_text(b, "<div class=\"controls\"><button class=\"play\" aria-label=\"Play\"><svg "
                   "viewBox=\"0 0 24 24\"><path d=\"M7 4l13 8-13 8z\"/></svg></button>"
                   "<div class=\"track\">");
    buffer_format(b,
                  "<input type=\"range\" min=\"0\" max=\"%zu\" step=\"1\" value=\"%zu\" "
                  "aria-label=\"Layer\"%s>",
                  count - 1, p->last, count > 1 ? "" : " disabled");
    buffer_format(b, "<div class=\"ends\"><span>%s</span><span>%s</span></div>",
                  is_plotted(p, 0) ? "first layer" : "native",
                  is_plotted(p, count - 1) ? "last layer" : "native");
    buffer_text(b, "</div></div>\n</div>\n<div>\n<div aria-live=\"polite\"><p class=\"name\"></p>"
                   "<p></p></div>\n");
    put_seeds(p, prompt);
    if (plot->count > 1)
        plot_svg(b, plot);
    buffer_text(b, "\n<p class=\"details\"></p>\n</div>\n</div>\n");
}

/* ---- table of pictures -------------------------------------------------------------------- */

static int put_picture(struct page *p, const struct report_cell *cell) {
    struct image small;
    DL_TRY(image_thumbnail(p->cx, cell->rgb, cell->width, cell->height, p->side, &small));
    buffer_format(&p->out, "<img width=\"%d\" height=\"%d\" src=\"", small.width, small.height);
    int status = png_data_uri(p->cx, &p->out, small.rgb, small.width, small.height);
    buffer_text(&p->out, "\"");
    image_free(&small);
    return status;
}

static void put_flags(struct buffer *b, const struct report_cell *cell) {
    if (!cell->flag_count)
        return;
    buffer_text(b, " data-flags=\"");
    for (size_t i = 0; i < cell->flag_count; i++)
        put(b, i ? " " : "", cell->flags[i], "");
    buffer_text(b, "\"");
}

/* <td> with what the script needs to know: distance, its place in the plot, time, flags. */
static void put_cell_data(struct page *p, const struct report_cell *cell, double distance,
                          const struct plot *plot) {
    struct buffer *b = &p->out;
    char time[32];
    buffer_text(b, "<td");
    if (!isnan(distance)) {
        int tenths = (int)lround(distance * 10.0);
        buffer_format(b, " data-distance=\"%d.%d\" data-y=\"%d\"", tenths / 10, tenths % 10,
                      plot_y(plot, distance));
    }
    if (cell->rgb && cell->seconds >= 0.0) {
        duration_text(time, sizeof time, cell->seconds);
        buffer_format(b, " data-seconds=\"made in %s\"", time);
    }
    if (cell->rgb && (p->r->width > p->side || p->r->height > p->side))
        buffer_text(b, " data-full=\"1\"");
    put_flags(b, cell);
    buffer_text(b, ">");
}

static int put_cell(struct page *p, size_t prompt, size_t seed, size_t layer,
                    const struct plot *plot) {
    struct buffer *b = &p->out;
    const struct report *r = p->r;
    const struct report_cell *cell = cell_at(p, prompt, seed, layer);
    double distance = p->distance[(prompt * r->seed_count + seed) * r->layer_count + layer];
    char name[64];
    put_cell_data(p, cell, is_plotted(p, layer) ? distance : NAN, plot);
    if (!cell->rgb) {
        buffer_format(b, "<span class=\"none\" style=\"aspect-ratio:%d/%d\"></span></td>\n",
                      r->width > 0 ? r->width : 1, r->height > 0 ? r->height : 1);
        return DL_OK;
    }
    layer_name(name, p, r->layers[layer]);
    buffer_text(b, "<a");
    if (cell->file) {
        buffer_text(b, " href=\"");
        buffer_url(b, cell->file);
        buffer_text(b, "\"");
    }
    buffer_text(b, ">");
    DL_TRY(put_picture(p, cell));
    buffer_format(b, " alt=\"%s, seed %" PRIu64 "\"></a>", name, r->seeds[seed]);
    for (size_t i = 0; i < cell->flag_count; i++)
        put(b, "<i>", cell->flags[i], "</i>");
    buffer_text(b, "</td>\n");
    return DL_OK;
}

static void put_table_head(struct page *p, const struct plot *plot) {
    struct buffer *b = &p->out;
    buffer_format(
        b, "<table class=\"grid\" style=\"--n:%zu\">\n<thead><tr><th scope=\"col\">layer</th>\n",
        p->r->layer_count);
    for (size_t i = 0; i < p->r->layer_count; i++) {
        char name[64], about[64];
        int layer = p->r->layers[i];
        layer_name(name, p, layer);
        layer_about(about, p, layer);
        buffer_format(b, "<th scope=\"col\" data-name=\"%s\" data-about=\"%s\"", name, about);
        if (is_plotted(p, i))
            buffer_format(b, " data-x=\"%d\"", plot_x(plot, i - first_plotted(p)));
        if (layer < 0)
            buffer_text(b, ">native</th>\n");
        else
            buffer_format(b, ">%d</th>\n", layer);
    }
    buffer_text(b, "</tr></thead>\n<tbody>\n");
}

static int put_table(struct page *p, size_t prompt, const struct plot *plot) {
    struct buffer *b = &p->out;
    const struct report *r = p->r;
    buffer_text(b, "<h2>All layers</h2>\n<div class=\"scroll\">\n");
    put_table_head(p, plot);
    for (size_t s = 0; s < r->seed_count; s++) {
        buffer_format(b, "<tr><th scope=\"row\">seed %" PRIu64 "</th>\n", r->seeds[s]);
        for (size_t l = 0; l < r->layer_count; l++)
            DL_TRY(put_cell(p, prompt, s, l, plot));
        buffer_text(b, "</tr>\n");
    }
    buffer_text(
        b, "</tbody>\n</table>\n</div>\n<p class=\"hint\"><span class=\"keys\"><kbd>\xE2\x86\x90"
           "</kbd> <kbd>\xE2\x86\x92</kbd> layer, <kbd>s</kbd> next seed, <kbd>p</kbd> "
           "play \xC2\xB7 </span>click a picture to look at it above");
    if (r->prompts[prompt].sheet) {
        buffer_text(b, " \xC2\xB7 <a href=\"");
        buffer_url(b, r->prompts[prompt].sheet);
        buffer_text(b, "\">all of them as one PNG</a>");
    }
    buffer_text(b, "</p>\n");
    return DL_OK;
}

static int put_section(struct page *p, size_t prompt) {
    struct plot plot;
    void *y = NULL;
    buffer_format(&p->out, "<section class=\"lens%s\">\n", prompt ? "" : " current");
    put_heading(p, prompt);
    int status = make_plot(p, prompt, &plot, &y);
    if (!status)
        put_viewer(p, prompt, &plot);
    if (!status)
        status = put_table(p, prompt, &plot);
    if (!status && p->r->prompts[prompt].beside)
        status = beside_put(p->cx, &p->out, p->r->prompts[prompt].beside);
    if (!status && p->r->prompts[prompt].look)
        status = looks_put(p->cx, &p->out, p->r->prompts[prompt].look);
    buffer_text(&p->out, "</section>\n");
    free(y);
    return status;
}

/* ---- foot --------------------------------------------------------------------------------- */

static void put_setting(struct buffer *b, const char *key, const char *value) {
    put(b, "<tr><th scope=\"row\">", key, "</th>");
    put(b, "<td>", value[0] ? value : "\xE2\x80\x93", "</td></tr>\n");
}

static void put_settings(struct page *p) {
    struct buffer *b = &p->out;
    const struct report *r = p->r;
    char number[64];
    buffer_text(b, "<div>\n<h2>Settings</h2>\n<table class=\"settings\">\n");
    put_setting(b, "Model", r->model);
    put_setting(b, "Family", r->family);
    snprintf(number, sizeof number, ", %d blocks", r->encoder_layers);
    put(b, "<tr><th scope=\"row\">Text encoder</th><td>", r->encoder, number);
    buffer_text(b, "</td></tr>\n");
    for (size_t i = 0; r->settings && r->settings[i]; i += 2)
        put_setting(b, r->settings[i], r->settings[i + 1]);
    buffer_text(b, "</table>\n</div>\n");
}

static void put_foot(struct page *p) {
    struct buffer *b = &p->out;
    buffer_text(b,
                "<div class=\"about\">\n<div>\n<h2>How to read this</h2>\n<p>A text encoder works "
                "in layers, and an image model usually sees only the last. Here the hidden state "
                "behind each layer was ");
    buffer_html(b, p->r->passage);
    buffer_text(
        b,
        " and given to the image model in place of the last one; everything else, the starting "
        "noise included, stayed the "
        "same. So each picture shows what the encoder has worked out by that layer: where an "
        "object, a colour or a relation first appears, and from which layer on it stays.</p>\n"
        "<p>The plot tells how far each picture is from that of the last layer shown, pixel by "
        "pixel: a flat stretch is a layer that changed little.</p>\n"
        "<p>The method is the Diffusion Lens of Toker, Orgad, Ventura, Arad and Belinkov (2024), "
        "<a href=\"https://arxiv.org/abs/2403.05846\">arXiv:2403.05846</a>.</p>\n");
    if (p->r->command)
        put(b, "<h2>Make it again</h2>\n<div class=\"command\"><pre>", p->r->command,
            "</pre><button class=\"copy\">copy</button></div>\n");
    buffer_text(b, "</div>\n");
    put_settings(p);
    buffer_text(b, "</div>\n");
    page_end(b, p->r->version, lens_js);
}

/* ---- numbers ------------------------------------------------------------------------------ */

/* The distance of each picture from that of the last layer with the same prompt and seed. */
static void measure(struct page *p) {
    const struct report *r = p->r;
    for (size_t i = 0; i < p->cells; i++) {
        const struct report_cell *a = &r->cells[i];
        const struct report_cell *b = &r->cells[i - i % r->layer_count + p->last];
        bool same = a->rgb && b->rgb && a->width == b->width && a->height == b->height;
        p->distance[i] = same ? image_distance(a->rgb, b->rgb, a->width, a->height) : NAN;
        p->made += a->rgb != NULL;
    }
}

static int check(dl_context *cx, const struct report *r, size_t *cells) {
    if (!r->prompt_count || !r->seed_count || !r->layer_count)
        return fail(cx, DL_USAGE, "report: no pictures; expected prompts, seeds and layers");
    if (!size_mul(r->prompt_count, r->seed_count, cells) ||
        !size_mul(*cells, r->layer_count, cells))
        return fail(cx, DL_USAGE, "report: too many pictures");
    for (size_t i = 0; i < *cells; i++)
        if (r->cells[i].rgb && (r->cells[i].width < 1 || r->cells[i].height < 1))
            return fail(cx, DL_USAGE, "report: a picture of %dx%d pixels", r->cells[i].width,
                        r->cells[i].height);
    return DL_OK;
}

static int write_page(struct page *p, const char *path) {
    put_header(p);
    for (size_t i = 0; i < p->r->prompt_count; i++)
        DL_TRY(put_section(p, i));
    put_foot(p);
    DL_TRY(buffer_check(p->cx, &p->out, "report"));
    return file_write(p->cx, path, p->out.data, p->out.length);
}

int report_write(dl_context *cx, const char *path, const struct report *r) {
    struct page p = {0};
    void *distance = NULL;
    p.cx = cx;
    p.r = r;
    DL_TRY(check(cx, r, &p.cells));
    DL_TRY(allocate(cx, "report", p.cells, sizeof(double), &distance));
    p.distance = distance;
    for (size_t i = 0; i < r->layer_count; i++)
        p.last = r->layers[i] >= r->layers[p.last] ? i : p.last;
    snprintf(p.label, sizeof p.label, "distance from layer %d's picture (RMS, of 255)",
             r->layers[p.last]);
    double side = sqrt(EMBED_BYTES / 4.0 / (double)p.cells);
    p.side = side > REPORT_THUMBNAIL ? REPORT_THUMBNAIL
             : side < EMBED_LEAST    ? EMBED_LEAST
                                     : (int)side;
    measure(&p);
    int status = write_page(&p, path);
    buffer_free(&p.out);
    free(distance);
    return status;
}
