/* Distances and controls in the report; see beside.h. */
#include "out/beside.h"

#include "out/number.h"
#include "out/page.h"
#include "out/png.h"

#include <inttypes.h>
#include <math.h>

static void put_layers(struct buffer *b, const struct report_beside *beside) {
    buffer_text(b, "<tr><th scope=\"col\">layer</th>");
    for (size_t l = 0; l < beside->layer_count; l++)
        if (beside->layers[l] < 0)
            buffer_text(b, "<th scope=\"col\">native</th>");
        else
            buffer_format(b, "<th scope=\"col\">%d</th>", beside->layers[l]);
    buffer_text(b, "</tr>\n");
}

static bool any_number(const double *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i]))
            return true;
    return false;
}

/* The mean over the seeds that have one; NAN: none has. */
static double mean_distance(const struct report_beside *beside, const struct report_row *row,
                            size_t layer) {
    double sum = 0;
    size_t count = 0;
    for (size_t s = 0; s < beside->seed_count; s++) {
        const double d = row->distance[s * beside->layer_count + layer];
        if (isnan(d))
            continue;
        sum += d;
        count++;
    }
    return count ? sum / (double)count : NAN;
}

/* The lens' own pictures stand above: their distances alone. */
static void put_means(struct buffer *b, const struct report_beside *beside,
                      const struct report_row *row) {
    buffer_text(b, "<tr><th scope=\"row\">picture</th>");
    for (size_t l = 0; l < beside->layer_count; l++) {
        buffer_text(b, "<td>");
        put_fixed(b, mean_distance(beside, row, l), 1);
        buffer_text(b, "</td>");
    }
    buffer_text(b, "</tr>\n");
}

static int put_linked_picture(dl_context *cx, struct buffer *b, const struct report_beside *beside,
                              const struct report_row *row, size_t seed, size_t layer) {
    const size_t i = seed * beside->layer_count + layer;
    const struct image *image = &row->pictures[i];
    if (image->rgb) {
        buffer_text(b, "<a");
        if (row->files && row->files[i]) {
            buffer_text(b, " href=\"");
            buffer_url(b, row->files[i]);
            buffer_text(b, "\"");
        }
        buffer_format(b, "><img width=\"%d\" height=\"%d\" src=\"", image->width, image->height);
        DL_TRY(png_data_uri(cx, b, image->rgb, image->width, image->height));
        page_text(b, "\" alt=\"", row->name, "");
        buffer_format(b, ", layer %d, seed %" PRIu64 "\"></a>", beside->layers[layer],
                      beside->seeds[seed]);
    }
    return DL_OK;
}

static int put_pictures(dl_context *cx, struct buffer *b, const struct report_beside *beside,
                        const struct report_row *row) {
    for (size_t s = 0; s < beside->seed_count; s++) {
        buffer_format(b, "<tr><th scope=\"row\">seed %" PRIu64 "</th>", beside->seeds[s]);
        for (size_t l = 0; l < beside->layer_count; l++) {
            buffer_text(b, "<td>");
            DL_TRY(put_linked_picture(cx, b, beside, row, s, l));
            buffer_text(b, "<small>");
            put_fixed(b, row->distance[s * beside->layer_count + l], 1);
            buffer_text(b, "</small></td>");
        }
        buffer_text(b, "</tr>\n");
    }
    return DL_OK;
}

static void put_conditioning(struct buffer *b, const struct report_beside *beside,
                             const struct report_row *row) {
    if (!any_number(row->relative, beside->layer_count))
        return;
    buffer_text(b, "<tr><th scope=\"row\">conditioning</th>");
    for (size_t l = 0; l < beside->layer_count; l++) {
        buffer_text(b, "<td>");
        put_fixed(b, row->relative[l], 2);
        buffer_text(b, "<small>");
        put_fixed(b, row->cosine[l], 2);
        buffer_text(b, "</small></td>");
    }
    buffer_text(b, "</tr>\n");
}

/* The name of a row, linked with its own report. */
static void put_name(struct buffer *b, const struct report_row *row, const char *before) {
    if (row->page) {
        buffer_text(b, "<a href=\"");
        buffer_url(b, row->page);
        buffer_text(b, "\">");
    }
    page_text(b, before, row->name, row->page ? "</a>" : "");
}

static void put_row_title(struct buffer *b, const struct report_beside *beside,
                          const struct report_row *row) {
    buffer_format(b, "<tr><th scope=\"rowgroup\" colspan=\"%zu\"><strong>",
                  beside->layer_count + 1);
    put_name(b, row, "");
    page_text(b, "</strong>: ", row->about, "</th></tr>\n");
}

/* ---- without a block ------------------------------------------------------------------------- */

/* The pictures of one layer, a seed below the other, each with its numbers. */
static int put_stack(dl_context *cx, struct buffer *b, const struct report_beside *beside,
                     const struct report_row *row, size_t layer) {
    buffer_text(b, "<td>");
    for (size_t s = 0; s < beside->seed_count; s++) {
        const size_t i = s * beside->layer_count + layer;
        if (!row->pictures[i].rgb)
            continue;
        DL_TRY(put_linked_picture(cx, b, beside, row, s, layer));
        buffer_text(b, "<small>");
        put_fixed(b, row->moved ? row->moved[i] : row->distance[i], 1);
        if (row->moved) {
            buffer_text(b, " \xC2\xB7 ");
            put_fixed(b, row->distance[i], 1);
        }
        buffer_text(b, "</small>");
    }
    if (!isnan(row->relative[layer])) {
        buffer_text(b, "<small>");
        put_fixed(b, row->relative[layer], 2);
        buffer_text(b, "</small>");
    }
    buffer_text(b, "</td>");
    return DL_OK;
}

/* A table row for each block; the layers' numbers come again now and then. */
static int put_blocks(dl_context *cx, struct buffer *b, const struct report_beside *beside) {
    enum { ROWS_PER_HEAD = 8 };
    buffer_text(b, "<h2>Without each block in turn</h2>\n<div class=\"scroll\">\n"
                   "<table class=\"looks beside blocks\">\n<thead>");
    put_layers(b, beside);
    buffer_text(b, "</thead>\n<tbody>\n");
    for (size_t i = 0; i < beside->block_count; i++) {
        const struct report_row *row = &beside->blocks[i];
        if (i && i % ROWS_PER_HEAD == 0)
            put_layers(b, beside);
        buffer_text(b, "<tr><th scope=\"row\">");
        put_name(b, row, i ? "without " : "");
        buffer_text(b, "</th>");
        for (size_t l = 0; l < beside->layer_count; l++)
            DL_TRY(put_stack(cx, b, beside, row, l));
        buffer_text(b, "</tr>\n");
    }
    buffer_text(
        b, "</tbody>\n</table>\n</div>\n<p class=\"hint\">Below each picture, one for "
           "each seed: root mean square difference, in levels of 255, from the whole "
           "encoder\xE2\x80\x99s picture of the same layer and, behind the dot, from its last "
           "layer\xE2\x80\x99s (of the whole encoder the latter alone). The last line is the "
           "conditioning\xE2\x80\x99s difference from the prompt\xE2\x80\x99s ordinary one as a "
           "share of that one\xE2\x80\x99s size. All numbers: <a "
           "href=\"skip-each.csv\">skip-each.csv</a>.</p>\n");
    return DL_OK;
}

int beside_put(dl_context *cx, struct buffer *b, const struct report_beside *beside) {
    page_text(b, "<h2>",
              beside->row_count > 1 ? "Controls beside the lens" : "Distance from the last layer",
              "</h2>\n<div class=\"scroll\">\n<table class=\"looks beside\">\n");
    buffer_text(b, "<thead>");
    put_layers(b, beside);
    buffer_text(b, "</thead>\n<tbody>\n");
    for (size_t i = 0; i < beside->row_count; i++) {
        const struct report_row *row = &beside->rows[i];
        if (beside->row_count > 1)
            put_row_title(b, beside, row);
        if (row->pictures)
            DL_TRY(put_pictures(cx, b, beside, row));
        else
            put_means(b, beside, row);
        put_conditioning(b, beside, row);
    }
    buffer_text(
        b,
        "</tbody>\n</table>\n</div>\n<p class=\"hint\">Picture: root mean square difference from "
        "the lens\xE2\x80\x99 last layer, in levels of 255. Conditioning: its difference from the "
        "prompt\xE2\x80\x99s ordinary one as a share of that one\xE2\x80\x99s size (Frobenius "
        "norms over all tokens); below it the mean cosine of their tokens.</p>\n");
    if (beside->block_count)
        DL_TRY(put_blocks(cx, b, beside));
    return buffer_check(cx, b, "report");
}
