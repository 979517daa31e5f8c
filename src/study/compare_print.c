/* A comparison of two runs as text and as JSON. See compare.h. */
#include "study/compare.h"

#include "out/json_writer.h"
#include "out/number.h"

#include <math.h>

/* A column of a table. */
static void put_cell(struct buffer *b, double value, int decimals, int width) {
    buffer_text(b, " ");
    put_column(b, value, decimals, width);
}

static void print_question(struct buffer *b, const struct compared_question *q) {
    buffer_text(b, "\n");
    buffer_utf8(b, q->name);
    buffer_text(b, "  (");
    put_count(b, q->prompts, "prompt", "prompts");
    buffer_text(b, q->interpolated ? "; b is interpolated to a's relative layers)\n" : ")\n");
    buffer_text(b, "  layer relative prompts   mean a   mean b   b - a      95 % interval\n");
    for (size_t i = 0; i < q->layers; i++) {
        const struct compared_layer *l = &q->layer[i];
        buffer_format(b, "  %5d", l->layer);
        put_cell(b, l->relative, 2, 8);
        buffer_format(b, " %7zu", l->n);
        put_cell(b, l->a, 3, 8);
        put_cell(b, l->b, 3, 8);
        put_cell(b, l->difference, 3, 8);
        put_cell(b, l->low, 3, 8);
        buffer_text(b, " to");
        put_cell(b, l->high, 3, 6);
        buffer_text(b, "\n");
    }
    for (int rows = 0; rows < ROWS_COUNTED_KINDS; rows++) {
        const struct compared_emergence *e = &q->emergence[rows];
        buffer_format(b, "  emergence (%s), ", rows_names[rows]);
        put_count(b, e->n, "prompt", "prompts");
        buffer_text(b, ": b - a");
        put_cell(b, e->difference, 3, 1);
        buffer_text(b, " relative layers (");
        put_fixed(b, e->low, 3);
        buffer_text(b, " to ");
        put_fixed(b, e->high, 3);
        buffer_text(b, "), Wilcoxon p");
        put_cell(b, e->test.p, 4, 1);
        buffer_text(b, ", Holm");
        put_cell(b, e->p_holm, 4, 1);
        buffer_text(b, "\n");
    }
}

void compare_print(struct buffer *b, const struct runs_compared *c) {
    buffer_text(b, "a: ");
    buffer_utf8(b, c->a.record.folder);
    buffer_text(b, "\nb: ");
    buffer_utf8(b, c->b.record.folder);
    buffer_text(b, "\n");
    put_count(b, c->prompt_count, "prompt", "prompts");
    buffer_text(b, " in both\n");
    for (size_t i = 0; i < c->question_count; i++)
        print_question(b, &c->questions[i]);
    if (c->picture_layers)
        buffer_text(b, "\npictures of the same prompt and seed\n  layer a layer b   pairs identical"
                       " mean PSNR (dB) of the others  least\n");
    for (size_t i = 0; i < c->picture_layers; i++) {
        const struct compared_pictures *p = &c->pictures[i];
        buffer_format(b, "  %7d %7d %7zu %9zu", p->layer_a, p->layer_b, p->n, p->identical);
        put_cell(b, p->psnr, 2, 29);
        put_cell(b, isfinite(p->least) ? p->least : NAN, 2, 6);
        buffer_text(b, "\n");
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_emergence(struct buffer *b, const struct compared_emergence *e, const char *rows) {
    buffer_format(b, "{\"rows\":\"%s\",\"n\":%zu", rows, e->n);
    write_json_member(b, "a", e->a);
    write_json_member(b, "b", e->b);
    write_json_member(b, "difference", e->difference);
    write_json_pair(b, "ci95", e->low, e->high);
    write_json_member(b, "wilcoxon", e->test.statistic);
    write_json_member(b, "effect", e->test.effect);
    write_json_member(b, "p", e->test.p);
    write_json_member(b, "p_holm", e->p_holm);
    buffer_text(b, "}");
}

static void put_question(struct buffer *b, const struct compared_question *q) {
    buffer_text(b, "{\"question\":");
    write_json_string(b, q->name);
    buffer_format(b, ",\"prompts\":%zu,\"interpolated\":%s,\"layers\":[", q->prompts,
                  q->interpolated ? "true" : "false");
    for (size_t i = 0; i < q->layers; i++) {
        const struct compared_layer *l = &q->layer[i];
        buffer_format(b, "%s{\"layer\":%d", i ? "," : "", l->layer);
        write_json_member(b, "relative", l->relative);
        buffer_format(b, ",\"n\":%zu", l->n);
        write_json_member(b, "a", l->a);
        write_json_member(b, "b", l->b);
        write_json_member(b, "difference", l->difference);
        write_json_pair(b, "ci95", l->low, l->high);
        buffer_text(b, "}");
    }
    buffer_text(b, "],\"emergence\":[");
    for (int rows = 0; rows < ROWS_COUNTED_KINDS; rows++) {
        buffer_text(b, rows ? "," : "");
        put_emergence(b, &q->emergence[rows], rows_names[rows]);
    }
    buffer_text(b, "]}");
}

void compare_json(struct buffer *b, const struct runs_compared *c) {
    buffer_text(b, "{\"a\":");
    write_json_string(b, c->a.record.folder);
    buffer_text(b, ",\"b\":");
    write_json_string(b, c->b.record.folder);
    buffer_format(b, ",\"prompts\":%zu,\"questions\":[", c->prompt_count);
    for (size_t i = 0; i < c->question_count; i++) {
        buffer_text(b, i ? "," : "");
        put_question(b, &c->questions[i]);
    }
    buffer_text(b, "],\"pictures\":[");
    for (size_t i = 0; i < c->picture_layers; i++) {
        const struct compared_pictures *p = &c->pictures[i];
        buffer_format(b, "%s{\"layer_a\":%d,\"layer_b\":%d,\"n\":%zu,\"identical\":%zu",
                      i ? "," : "", p->layer_a, p->layer_b, p->n, p->identical);
        write_json_member(b, "psnr", p->psnr);
        write_json_member(b, "least", p->least); /* null where all are identical */
        buffer_text(b, "}");
    }
    buffer_text(b, "]}\n");
}
