/* The order of nouns as text and as JSON. See order.h. */
#include "out/json_writer.h"
#include "out/number.h"
#include "stats/order.h"

#include <math.h>

/* ---- text --------------------------------------------------------------------------------- */

static void put_p(struct buffer *b, const char *name, double p) {
    if (isnan(p))
        buffer_format(b, "%s -", name);
    else
        buffer_format(b, p < 0.0001 ? "%s %.1e" : "%s %.4f", name, p);
}

static void put_ps(struct buffer *b, double p, double p_holm) {
    put_p(b, "; p", p);
    put_p(b, ", Holm's p", p_holm);
    buffer_text(b, "\n");
}

static void put_rule(struct buffer *b, const char *name, const struct rule_count *r) {
    buffer_format(b, "  %-28s %4zu of %zu", name, r->k, r->n);
    if (r->n)
        buffer_format(b, " = %.3f (%.3f to %.3f)", (double)r->k / (double)r->n, r->low, r->high);
    put_ps(b, r->p, r->p_holm);
}

static void put_question(struct buffer *b, const struct order_question *q, size_t number) {
    buffer_format(b, "\n%zu. first noun: ", number);
    buffer_utf8(b, q->first);
    buffer_text(b, "\n   second noun: ");
    buffer_utf8(b, q->second);
    buffer_text(b, "\n  ");
    put_count(b, q->prompts, "prompt", "prompts");
    buffer_format(b, ", %zu undecided\n", q->undecided);
    put_rule(b, "the first noun comes first", &q->linear);
    if (q->head.n) {
        put_rule(b, "the head comes first", &q->head);
        buffer_format(b, "  %-28s %4zu, only the head: %zu", "right with only the order",
                      q->only_linear, q->only_head);
        put_ps(b, q->rules_p, q->rules_holm);
    }
    buffer_text(b, "  prompts with one noun only, by layer:\n");
    for (size_t i = 0; i < q->layers; i++) {
        const struct order_layer *l = &q->layer[i];
        buffer_format(b, "  %5d  first %3zu, second %3zu", l->layer, l->only_first, l->only_second);
        put_ps(b, l->p, l->p_holm);
    }
}

void order_print(struct buffer *b, const struct order *o) {
    buffer_text(b, "order: which noun comes first, the one written first or the head?\n"
                   "  Binomial tests of prompts, McNemar's tests of pairs; Holm's correction over "
                   "the questions,\n  and over the layers of each.\n");
    for (size_t i = 0; i < o->question_count; i++)
        put_question(b, &o->questions[i], i + 1);
    for (size_t i = 0; i < o->pair_count; i++) {
        const struct order_pair *p = &o->pairs[i];
        buffer_format(b, "%s  %zu and %zu: ", i ? "" : "\nthe same prompts in two questions\n",
                      p->a + 1, p->b + 1);
        put_count(b, p->shared, "prompt", "prompts");
        buffer_format(b,
                      " decided in both; the first noun first only in %zu: %zu, only in %zu: %zu",
                      p->a + 1, p->only_a, p->b + 1, p->only_b);
        put_ps(b, p->p, p->p_holm);
    }
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void put_ps_json(struct buffer *b, double p, double p_holm) {
    write_json_member(b, "p", p);
    write_json_member(b, "p_holm", p_holm);
    buffer_text(b, "}");
}

static void put_rule_json(struct buffer *b, const char *key, const struct rule_count *r) {
    buffer_format(b, ",\"%s\":{\"k\":%zu,\"n\":%zu", key, r->k, r->n);
    write_json_pair(b, "ci95", r->low, r->high);
    put_ps_json(b, r->p, r->p_holm);
}

static void put_question_json(struct buffer *b, const struct order_question *q) {
    buffer_text(b, "{\"first\":");
    write_json_string(b, q->first);
    buffer_text(b, ",\"second\":");
    write_json_string(b, q->second);
    buffer_format(b, ",\"prompts\":%zu,\"undecided\":%zu", q->prompts, q->undecided);
    put_rule_json(b, "linear", &q->linear);
    put_rule_json(b, "head", &q->head);
    buffer_format(b, ",\"rules\":{\"only_linear\":%zu,\"only_head\":%zu", q->only_linear,
                  q->only_head);
    put_ps_json(b, q->rules_p, q->rules_holm);
    buffer_text(b, ",\"layers\":[");
    for (size_t i = 0; i < q->layers; i++) {
        const struct order_layer *l = &q->layer[i];
        buffer_format(b, "%s{\"layer\":%d,\"only_first\":%zu,\"only_second\":%zu", i ? "," : "",
                      l->layer, l->only_first, l->only_second);
        put_ps_json(b, l->p, l->p_holm);
    }
    buffer_text(b, "]}");
}

void order_json(struct buffer *b, const struct order *o) {
    buffer_text(b, "{\"compare\":\"order\",\"questions\":[");
    for (size_t i = 0; i < o->question_count; i++) {
        buffer_text(b, i ? "," : "");
        put_question_json(b, &o->questions[i]);
    }
    buffer_text(b, "],\"pairs\":[");
    for (size_t i = 0; i < o->pair_count; i++) {
        const struct order_pair *p = &o->pairs[i];
        buffer_format(b, "%s{\"a\":%zu,\"b\":%zu,\"shared\":%zu,\"only_a\":%zu,\"only_b\":%zu",
                      i ? "," : "", p->a, p->b, p->shared, p->only_a, p->only_b);
        put_ps_json(b, p->p, p->p_holm);
    }
    buffer_text(b, "]}");
}
