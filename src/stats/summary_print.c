/* A summary as text and as JSON. See summary.h. */
#include "out/json_writer.h"
#include "out/number.h"
#include "stats/summary.h"

#include <math.h>

/* ---- text --------------------------------------------------------------------------------- */

enum { BAR = 32 };

/* The mean as a bar from 0 to 1 with its interval: ====--#--. */
static void put_bar(struct buffer *b, const struct layer_summary *s) {
    buffer_text(b, "  |");
    for (int i = 0; i < BAR; i++) {
        const double left = (double)i / BAR, right = (double)(i + 1) / BAR;
        const bool here = s->mean > left && s->mean <= right;
        const bool inside = s->low < right && s->high > left;
        buffer_text(b, here ? "#" : inside ? "-" : s->mean > right ? "=" : " ");
    }
    buffer_text(b, "|\n");
}

static void put_layer(struct buffer *b, const struct layer_summary *s) {
    buffer_format(b, "  %5d %7zu", s->layer, s->n);
    if (s->n) {
        buffer_text(b, "  ");
        put_column(b, s->mean, 3, 6);
        buffer_text(b, "  ");
        put_column(b, s->low, 3, 6);
        buffer_text(b, " to ");
        put_column(b, s->high, 3, 6);
        buffer_format(b, " %8zu", s->emerged);
    } else {
        buffer_format(b, "  %6s  %16s %8zu", "-", "-", s->emerged);
    }
    put_bar(b, s);
}

void summary_print(struct buffer *b, const struct summary *s) {
    buffer_utf8(b, s->name);
    buffer_text(b, "\n  ");
    put_count(b, s->prompts, "prompt, ", "prompts, ");
    put_count(b, s->rows, "row", "rows");
    buffer_format(b, ", scores 0 to %g", s->scale);
    if (s->missing)
        buffer_format(b, "; %zu of %zu cells %s no number and left out", s->missing,
                      s->rows * s->layers, s->missing == 1 ? "is" : "are");
    buffer_format(b, "\n  layer  scores    mean   95 %% interval    emerge  |0%*s1|\n", BAR - 2,
                  "");
    for (size_t i = 0; i < s->layers; i++)
        put_layer(b, &s->layer[i]);
    buffer_text(b, "  emergence of ");
    put_count(b, s->complete, "row", "rows");
    buffer_format(b, ": %zu never, %zu unstable", s->never, s->unstable);
    if (!isnan(s->median_layer))
        buffer_format(b, "; median layer %g", s->median_layer);
    buffer_text(b, "\n");
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void put_layer_json(struct buffer *b, const struct layer_summary *s) {
    buffer_format(b, "{\"layer\":%d,\"n\":%zu", s->layer, s->n);
    write_json_member(b, "mean", s->mean);
    write_json_pair(b, "ci95", s->low, s->high);
    buffer_text(b, "}");
}

void summary_json(struct buffer *b, const struct summary *s) {
    buffer_text(b, "{\"file\":");
    write_json_string(b, s->name);
    buffer_format(b, ",\"prompts\":%zu,\"rows\":%zu,\"missing\":%zu,\"layers\":[", s->prompts,
                  s->rows, s->missing);
    for (size_t i = 0; i < s->layers; i++) {
        buffer_text(b, i ? "," : "");
        put_layer_json(b, &s->layer[i]);
    }
    buffer_format(b, "],\"emergence\":{\"n\":%zu,\"never\":%zu,\"unstable\":%zu,\"median_layer\":",
                  s->complete, s->never, s->unstable);
    write_json_number(b, s->median_layer);
    buffer_text(b, ",\"by_layer\":{");
    for (size_t i = 0; i < s->layers; i++)
        buffer_format(b, "%s\"%d\":%zu", i ? "," : "", s->layer[i].layer, s->layer[i].emerged);
    buffer_text(b, "}}}");
}
