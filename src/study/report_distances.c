/* How far the layers are from the last one, of every run on the page. See report.h; what the
 * numbers are: sides.h. */
#include "study/report.h"

#include "out/plot.h"

#include <math.h>
#include <stdlib.h>

enum measure { MEASURE_PICTURE, MEASURE_RELATIVE, MEASURE_COSINE, MEASURES };

static const struct running_mean *measure_of(const struct side *side, size_t layer,
                                             enum measure measure) {
    const struct mean_distance *d = &side->distances[layer];
    return measure == MEASURE_PICTURE    ? &d->picture
           : measure == MEASURE_RELATIVE ? &d->relative
                                         : &d->cosine;
}

static bool is_known(const struct sides *sides, enum measure measure) {
    const size_t layers = sides->items[0].study->record.grid.layer_count;
    for (size_t i = 0; i < sides->count; i++)
        for (size_t l = 0; l < layers; l++)
            if (measure_of(&sides->items[i], l, measure)->n)
                return true;
    return false;
}

/* ---- plots ----------------------------------------------------------------------------------- */

/* One curve for each run over the layers; `x`, then a row for each run, (1 + runs, layers). */
static void plot_values(struct plots *p, const struct sides *sides, enum measure measure,
                        const char *name, const char *title, const char *label, double *x) {
    const struct study *lens = sides->items[0].study;
    const size_t layers = lens->record.settings.layer_count;
    struct svg_curve curves[SIDES_MAX];
    struct buffer csv = {0};
    double highest = 0;
    buffer_text(&csv, "run,layer,relative_layer,n,mean,sd\n");
    for (size_t l = 0; l < layers; l++)
        x[l] = grid_layer(&lens->record.grid, l);
    for (size_t i = 0; i < sides->count; i++) {
        double *y = x + (i + 1) * layers;
        for (size_t l = 0; l < layers; l++) {
            const struct running_mean *m = measure_of(&sides->items[i], l, measure);
            y[l] = running_mean(m);
            highest = fmax(highest, y[l]);
            csv_text(&csv, sides->items[i].name, false);
            csv_number(&csv, x[l], false);
            csv_number(&csv, x[l] / lens->blocks, false);
            csv_number(&csv, (double)m->n, false);
            csv_number(&csv, y[l], false);
            csv_number(&csv, running_deviation(m), true);
        }
        curves[i] = (struct svg_curve){sides->items[i].name, layers, x, y, NULL, NULL};
    }
    const struct svg_lines plot = {.title = title,
                                   .x_label = "layer",
                                   .y_label = label,
                                   .curves = curves,
                                   .curve_count = sides->count,
                                   .x_high = lens->blocks,
                                   .y_high = plot_top(highest),
                                   .ticks = x,
                                   .tick_count = layers,
                                   .relative = true};
    plots_lines(p, name, &plot, &csv);
}

static void put_plots(struct plots *p, const struct sides *sides) {
    const size_t layers = sides->items[0].study->record.settings.layer_count;
    double *values = NULL;
    if (p->status == DL_OK)
        p->status =
            allocate(p->cx, "plot", (1 + sides->count) * layers, sizeof *values, (void **)&values);
    if (p->status != DL_OK)
        return;
    buffer_text(p->page, "<div class=\"pair\"><figure>");
    plot_values(p, sides, MEASURE_PICTURE, "distance-picture",
                "Distance of the pictures from the last layer\xE2\x80\x99s, by layer",
                "levels of 255", values);
    buffer_text(p->page, "<figcaption>Pictures: root mean square difference from the last "
                         "layer\xE2\x80\x99s of the same prompt and seed, mean over prompts and "
                         "seeds.</figcaption></figure>\n");
    if (is_known(sides, MEASURE_RELATIVE)) {
        buffer_text(p->page, "<figure>");
        plot_values(p, sides, MEASURE_RELATIVE, "distance-conditioning",
                    "Distance of the conditionings from the ordinary one, by layer",
                    "share of its size", values);
        buffer_text(p->page, "<figcaption>Conditionings: difference from the prompt\xE2\x80\x99s "
                             "ordinary one as a share of that one\xE2\x80\x99s size (Frobenius "
                             "norms over all tokens), mean over prompts.</figcaption></figure>\n");
    }
    buffer_text(p->page, "</div>\n");
    free(values);
}

/* ---- the table ------------------------------------------------------------------------------- */

static void put_rows(struct buffer *b, const struct sides *sides, enum measure measure) {
    static const char *const titles[MEASURES] = {"pictures: levels of 255",
                                                 "conditionings: relative difference",
                                                 "conditionings: mean cosine of their tokens"};
    static const int decimals[MEASURES] = {1, 3, 3};
    const size_t layers = sides->items[0].study->record.grid.layer_count;
    if (!is_known(sides, measure))
        return;
    buffer_format(b, "<tr><th scope=\"rowgroup\" colspan=\"%zu\"><strong>%s</strong></th></tr>\n",
                  layers + 1, titles[measure]);
    for (size_t i = 0; i < sides->count; i++) {
        buffer_text(b, "<tr><th scope=\"row\">");
        buffer_html(b, sides->items[i].name);
        buffer_text(b, "</th>");
        for (size_t l = 0; l < layers; l++)
            cell_number(b, running_mean(measure_of(&sides->items[i], l, measure)),
                        decimals[measure]);
        buffer_text(b, "</tr>\n");
    }
}

void report_distances(struct plots *p, const struct sides *sides) {
    const struct grid *g = &sides->items[0].study->record.grid;
    struct buffer *b = p->page;
    if (g->layer_count < 2 && sides->count < 2)
        return;
    buffer_text(b, "<section id=\"distances\">\n<h2>Distance from the last layer</h2>\n");
    put_plots(p, sides);
    buffer_text(b, "<div class=\"scroll\"><table class=\"figures distances\">");
    report_layer_names(b, g, "mean");
    for (enum measure m = MEASURE_PICTURE; m < MEASURES; m++)
        put_rows(b, sides, m);
    buffer_text(b, "</tbody></table></div>\n<p class=\"hint\">The same with standard deviations "
                   "in <a href=\"distances.csv\">distances.csv</a>.</p>\n</section>\n");
}
