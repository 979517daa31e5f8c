/* Controls beside the lens: which there are, and what emerges in them. See report.h. (Their curves
 * stand in the plots of the questions, their distances in report_distances.c.) */
#include "study/report.h"

#include <math.h>

static void put_name(struct buffer *b, const struct side *side) {
    buffer_text(b, "<th scope=\"row\">");
    if (side->about)
        buffer_format(b, "<a href=\"" CONTROLS_FOLDER "/%s/index.html\">%s</a></th>", side->name,
                      side->name);
    else
        buffer_format(b, "%s</th>", side->name);
}

/* Every control with what it changes and how many pictures there are. */
static void put_list(struct buffer *b, const struct sides *sides) {
    buffer_text(b, "<div class=\"scroll\"><table class=\"figures\"><thead><tr><th>control</th>"
                   "<th>what it is</th><th>pictures</th></tr></thead>\n<tbody>\n");
    for (size_t i = 1; i < sides->count; i++) {
        const struct grid *g = &sides->items[i].study->record.grid;
        size_t made = 0;
        for (size_t c = 0; c < grid_count(g); c++)
            made += g->cells[c].made ? 1 : 0;
        buffer_text(b, "<tr>");
        put_name(b, &sides->items[i]);
        buffer_format(b, "<td>%s</td><td>%zu of %zu</td></tr>\n", sides->items[i].about, made,
                      grid_count(g));
    }
    buffer_text(b, "</tbody></table></div>\n");
}

static void put_row(struct buffer *b, const struct side *side, const struct summary *s) {
    const struct layer_summary *last = &s->layer[s->layers - 1];
    buffer_text(b, "<tr>");
    put_name(b, side);
    buffer_format(b, "<td>%zu</td><td>%zu</td><td>%zu</td><td>%zu</td>", s->complete,
                  s->complete - s->never, s->never, s->unstable);
    cell_number(b, s->median_layer, 1);
    cell_number(b, last->mean, 3);
    buffer_text(b, "<td>");
    put_fixed(b, last->low, 3);
    buffer_text(b, " to ");
    put_fixed(b, last->high, 3);
    buffer_text(b, "</td></tr>\n");
}

static void put_emergence(struct buffer *b, const struct sides *sides) {
    enum { COLUMNS = 8 };
    const struct study *lens = sides->items[0].study;
    buffer_text(b, "<h3>What emerges</h3>\n<div class=\"scroll\"><table class=\"figures\"><thead>"
                   "<tr><th>run</th><th>rows</th><th>emerge</th><th>never</th><th>unstable</th>"
                   "<th>median layer</th><th>last layer</th><th>95 % interval</th></tr></thead>\n"
                   "<tbody>\n");
    for (size_t i = 0; i < lens->question_count; i++) {
        buffer_format(b, "<tr><th scope=\"rowgroup\" colspan=\"%d\"><strong>", COLUMNS);
        buffer_html(b, lens->questions[i].name);
        buffer_text(b, "</strong></th></tr>\n");
        for (size_t k = 0; k < sides->count; k++) {
            const struct study_question *q =
                side_question(&sides->items[k], lens->questions[i].name);
            if (q)
                put_row(b, &sides->items[k], &q->summary);
        }
    }
    buffer_text(b,
                "</tbody></table></div>\n<p class=\"hint\">A row is a prompt and a seed, complete "
                "where no cell is missing. Last layer: mean score of the run\xE2\x80\x99s last "
                "layer, with its interval by bootstrap over prompts.</p>\n");
}

void report_controls(const struct sides *sides, struct buffer *b) {
    buffer_text(b, "<section id=\"controls\">\n<h2>Controls beside the lens</h2>\n<p "
                   "class=\"finding\">The same prompts, seeds and layers with one thing changed, "
                   "made, annotated and analysed as the lens\xE2\x80\x99 own pictures. Each has a "
                   "report of its own, with its pictures.</p>\n");
    put_list(b, sides);
    if (sides->items[0].study->question_count)
        put_emergence(b, sides);
    buffer_text(b, "</section>\n");
}
