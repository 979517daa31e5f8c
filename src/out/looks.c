/* The report's other ways of looking; see looks.h. Everything is text, tables and small PNGs. */
#include "out/looks.h"

#include "out/number.h"
#include "out/png.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_SIZE = 24 };

/* matplotlib's viridis at five places: its lightness rises evenly, in print and for the colour
 * blind, too. */
static const uint8_t ramp[5][3] = {
    {68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}};

void look_colour(double value, uint8_t rgb[3]) {
    const double place = isnan(value) ? 0 : fmin(fmax(value, 0), 1) * 4;
    const size_t i = place >= 4 ? 3 : (size_t)place;
    for (int c = 0; c < 3; c++) {
        const double mixed = ramp[i][c] + (place - (double)i) * (ramp[i + 1][c] - ramp[i][c]);
        rgb[c] = isnan(value) ? 128 : (uint8_t)lround(mixed);
    }
}

static void put_text(struct buffer *b, const char *before, const char *text, const char *after) {
    buffer_text(b, before);
    buffer_html(b, text);
    buffer_text(b, after);
}

/* A piece without the marks that say where words begin and end. */
static void put_piece(struct buffer *b, const char *piece) {
    struct buffer shown = {0};
    size_t length = strlen(piece);
    if (length > 4 && strcmp(piece + length - 4, "</w>") == 0)
        length -= 4;
    if (length > 3 && strncmp(piece, "\xE2\x96\x81", 3) == 0) {
        piece += 3;
        length -= 3;
    }
    buffer_bytes(&shown, piece, length);
    buffer_html(b, shown.data ? shown.data : "");
    buffer_free(&shown);
}

static void layer_label(char out[LABEL_SIZE], int layer) {
    if (layer < 0)
        snprintf(out, LABEL_SIZE, "native");
    else
        snprintf(out, LABEL_SIZE, "%d", layer);
}

static void open_part(struct buffer *b, const char *title, const char *about, bool open) {
    buffer_format(b, "<details class=\"look\"%s><summary>%s</summary>\n<p>%s</p>\n",
                  open ? " open" : "", title, about);
}

/* ---- attention of the picture to the words --------------------------------------------------- */

static void put_heat_head(struct buffer *b, const struct report_look *l) {
    buffer_format(b,
                  "<div class=\"scroll\"><table class=\"looks\" style=\"--n:%zu\">\n<thead><tr>"
                  "<th scope=\"col\">layer</th>",
                  l->layer_count);
    for (size_t i = 0; i < l->layer_count; i++) {
        char label[LABEL_SIZE];
        layer_label(label, l->layers[i]);
        buffer_format(b, "<th scope=\"col\">%s</th>", label);
    }
    buffer_text(b, "</tr></thead>\n<tbody>\n");
}

static int put_heat_cell(dl_context *cx, struct buffer *b, const struct report_look *l, size_t g,
                         size_t i) {
    const struct image *image = g < l->words ? &l->heat[g * l->layer_count + i] : NULL;
    const double share = l->shares[g * l->layer_count + i];
    char label[LABEL_SIZE];
    buffer_text(b, "<td>");
    if (image && image->rgb) {
        layer_label(label, l->layers[i]);
        buffer_format(b, "<img width=\"%d\" height=\"%d\" alt=\"layer %s: ", image->width,
                      image->height, label);
        put_text(b, "", l->names[g], "\" src=\"");
        DL_TRY(png_data_uri(cx, b, image->rgb, image->width, image->height));
        buffer_text(b, "\">");
    }
    if (!isnan(share))
        buffer_format(b, "<small>%.1f%%</small>", 100 * share);
    buffer_text(b, "</td>");
    return DL_OK;
}

static int put_heat(dl_context *cx, struct buffer *b, const struct report_look *l) {
    open_part(
        b, "Where the picture looks at each word",
        "Attention of the image model to each word (its cross-attention, averaged over heads, "
        "levels and steps, as in DAAM, <a href=\"https://arxiv.org/abs/2210.04885\">"
        "arXiv:2210.04885</a>), bright where it is strongest in that picture, laid over the "
        "picture. Below each, the share of all attention that the word has; what the tokens "
        "around the prompt have stands at the end.",
        true);
    put_heat_head(b, l);
    for (size_t g = 0; g < l->groups; g++) {
        put_text(b, "<tr><th scope=\"row\">", l->names[g], "</th>");
        for (size_t i = 0; i < l->layer_count; i++)
            DL_TRY(put_heat_cell(cx, b, l, g, i));
        buffer_text(b, "</tr>\n");
    }
    buffer_format(b,
                  "</tbody></table></div>\n<p class=\"hint\">pictures of seed %" PRIu64 "</p>\n"
                  "</details>\n",
                  l->seed);
    return DL_OK;
}

/* ---- nearest pieces -------------------------------------------------------------------------- */

/* The nearest piece, the others in the title; fainter where it is far. */
static void put_nearest_cell(struct buffer *b, const struct report_look *l, size_t at) {
    const float cosine = l->nearest_cosine[at];
    buffer_format(b, "<td style=\"opacity:%.2f\" title=\"", 0.45 + 0.55 * fmin(fmax(cosine, 0), 1));
    for (size_t i = 0; i < l->pieces; i++) {
        put_text(b, i ? ", " : "", l->nearest[at + i], "");
        buffer_text(b, " ");
        put_fixed(b, (double)l->nearest_cosine[at + i], 2);
    }
    buffer_text(b, "\">");
    put_piece(b, l->nearest[at]);
    buffer_text(b, "</td>");
}

static void put_nearest(struct buffer *b, const struct report_look *l) {
    open_part(b, "What each token has become",
              "The vocabulary\xE2\x80\x99s piece that is nearest (by cosine) to each token\xE2\x80"
              "\x99s state behind the final norm; faint where it is far. The next ones show on "
              "hovering.",
              false);
    buffer_text(b, "<div class=\"scroll\"><table class=\"looks words\"><thead><tr>"
                   "<th scope=\"col\">layer</th>");
    for (size_t s = 0; s <= l->blocks; s++)
        buffer_format(b, "<th scope=\"col\">%zu</th>", s);
    buffer_text(b, "</tr></thead>\n<tbody>\n");
    for (size_t t = 0; t < l->tokens; t++) {
        buffer_text(b, "<tr><th scope=\"row\">");
        put_piece(b, l->tokens_text[t]);
        buffer_text(b, "</th>");
        for (size_t s = 0; s <= l->blocks; s++)
            put_nearest_cell(b, l, (s * l->tokens + t) * l->pieces);
        buffer_text(b, "</tr>\n");
    }
    buffer_text(b, "</tbody></table></div>\n</details>\n");
}

/* ---- the encoder's attention ----------------------------------------------------------------- */

/* Appends an <img> of a picture, with text (escaped) as its alternative. */
static int put_image(dl_context *cx, struct buffer *b, const struct image *image,
                     const char *alternative, int scale) {
    buffer_format(b, "<img class=\"pixels\" width=\"%d\" height=\"%d\" alt=\"%s\" src=\"",
                  image->width * scale, image->height * scale, alternative);
    DL_TRY(png_data_uri(cx, b, image->rgb, image->width, image->height));
    buffer_text(b, "\">");
    return DL_OK;
}

/* The heads of a block side by side, a pixel for each pair of tokens. */
static int put_block(dl_context *cx, struct buffer *b, const struct report_look *l, size_t block) {
    const size_t n = l->tokens, width = l->heads * (n + 1) - 1;
    const int scale = n < 10 ? 6 : n < 20 ? 4 : n < 40 ? 2 : 1;
    struct image strip;
    char alternative[64];
    DL_TRY(image_make(cx, (int)width, (int)n, &strip));
    for (size_t a = 0; a < l->heads; a++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                look_colour((double)l->attention[((block * l->heads + a) * n + i) * n + j],
                            strip.rgb + 3 * (i * width + a * (n + 1) + j));
    snprintf(alternative, sizeof alternative, "attention of block %zu, %zu heads", block + 1,
             l->heads);
    int status = put_image(cx, b, &strip, alternative, scale);
    image_free(&strip);
    return status;
}

static int put_attention(dl_context *cx, struct buffer *b, const struct report_look *l) {
    open_part(b, "The encoder\xE2\x80\x99s own attention",
              "One row for each block, its heads from left to right. In each square a line is a "
              "token that looks, a column one that is looked at; yellow is all of the attention.",
              false);
    buffer_text(b, "<div class=\"scroll\"><table class=\"looks strips\"><tbody>\n");
    for (size_t k = 0; k < l->blocks; k++) {
        buffer_format(b, "<tr><th scope=\"row\">block %zu</th><td>", k + 1);
        DL_TRY(put_block(cx, b, l, k));
        buffer_text(b, "</td></tr>\n");
    }
    buffer_text(b, "</tbody></table></div>\n</details>\n");
    return DL_OK;
}

/* ---- similarity of layers -------------------------------------------------------------------- */

static int put_matrix(dl_context *cx, struct buffer *b, const float *values, size_t side,
                      const char *name) {
    const int scale = side < 12 ? 20 : side < 24 ? 12 : side < 60 ? 6 : 2;
    struct image image;
    DL_TRY(image_make(cx, (int)side, (int)side, &image));
    for (size_t i = 0; i < side * side; i++)
        look_colour((double)values[i], image.rgb + 3 * i);
    buffer_text(b, "<figure>");
    int status = put_image(cx, b, &image, name, scale);
    buffer_format(b, "<figcaption>%s</figcaption></figure>\n", name);
    image_free(&image);
    return status;
}

static void put_last_row(struct buffer *b, const float *values, size_t side, const char *name) {
    buffer_format(b, "<tr><th scope=\"row\">%s</th>", name);
    for (size_t s = 0; s < side; s++) {
        buffer_text(b, "<td>");
        put_fixed(b, (double)values[(side - 1) * side + s], 3);
        buffer_text(b, "</td>");
    }
    buffer_text(b, "</tr>\n");
}

static int put_similarity(dl_context *cx, struct buffer *b, const struct report_look *l) {
    const size_t side = l->blocks + 1;
    open_part(
        b, "How alike the layers are",
        "The conditionings of every two layers, from layer 0 at the top left: cosine, mean "
        "over the tokens, and linear CKA (<a href=\"https://arxiv.org/abs/1905.00414\">"
        "arXiv:1905.00414</a>); yellow is 1, dark blue 0 and below. The table tells how alike "
        "each layer and the last are.",
        false);
    buffer_text(b, "<div class=\"matrices\">\n");
    DL_TRY(put_matrix(cx, b, l->cosine, side, "cosine"));
    DL_TRY(put_matrix(cx, b, l->cka, side, "linear CKA"));
    buffer_text(b, "</div>\n<div class=\"scroll\"><table class=\"looks numbers\"><thead><tr>"
                   "<th scope=\"col\">layer</th>");
    for (size_t s = 0; s < side; s++)
        buffer_format(b, "<th scope=\"col\">%zu</th>", s);
    buffer_text(b, "</tr></thead>\n<tbody>\n");
    put_last_row(b, l->cosine, side, "cosine");
    put_last_row(b, l->cka, side, "linear CKA");
    buffer_text(b, "</tbody></table></div>\n</details>\n");
    return DL_OK;
}

int looks_put(dl_context *cx, struct buffer *b, const struct report_look *l) {
    buffer_text(b, "<h2>Other ways of looking</h2>\n");
    if (l->heat)
        DL_TRY(put_heat(cx, b, l));
    if (l->nearest)
        put_nearest(b, l);
    if (l->attention)
        DL_TRY(put_attention(cx, b, l));
    return l->cosine ? put_similarity(cx, b, l) : DL_OK;
}
