/* Which noun comes first. See order.h. */
#include "stats/order.h"

#include "stats/exact.h"
#include "stats/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is known of a prompt of a question; verdict and head: 0 or 1, or UNDECIDED. */
enum { UNDECIDED = -1 };
struct prompt_order {
    long lead;    /* pictures in which noun 0 comes first less those in which noun 1 does */
    size_t pairs; /* pictures without missing cells */
    int verdict;  /* the noun that comes first */
    int head;     /* the noun that is the head */
};

struct work {
    const struct score_table *first, *second;
    struct row_pair *rows;
    size_t row_count;
    struct prompt_order *prompts; /* (P of first) */
};

/* ---- verdicts ----------------------------------------------------------------------------- */

/* 1 where noun 0 comes first in a picture, -1 where noun 1 does, 0 where neither. */
static int lead(const struct score_table *t, int first, int second) {
    const int behind = (int)t->layers; /* never */
    const int a = first == EMERGES_NEVER ? behind : first;
    const int b = second == EMERGES_NEVER ? behind : second;
    return (a < b) - (a > b);
}

static void judge(struct work *w) {
    for (size_t i = 0; i < w->row_count; i++) {
        const struct score_table *a = w->first, *b = w->second;
        struct prompt_order *prompt = &w->prompts[a->prompt[w->rows[i].a]];
        const int x = emergence(a->scores + w->rows[i].a * a->layers, a->layers, a->scale);
        const int y = emergence(b->scores + w->rows[i].b * b->layers, b->layers, b->scale);
        if (x == EMERGES_UNKNOWN || y == EMERGES_UNKNOWN)
            continue;
        prompt->lead += lead(a, x, y);
        prompt->pairs++;
    }
    for (size_t p = 0; p < w->first->prompts; p++) {
        const long sum = w->prompts[p].lead;
        w->prompts[p].verdict = sum > 0 ? 0 : sum < 0 ? 1 : UNDECIDED;
        w->prompts[p].head = UNDECIDED;
    }
}

static bool same_text(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

/* Which noun is the head, where the prompts say it. */
static int find_heads(dl_context *cx, struct work *w, const struct score_table *sets,
                      size_t set_count) {
    static const char *const columns[] = {"head", "noun_0", "noun_1"};
    const char **texts[3] = {0};
    int status = DL_OK;
    for (size_t i = 0; i < 3 && status == DL_OK; i++)
        status = table_property(cx, w->first, sets, set_count, columns[i], &texts[i]);
    for (size_t p = 0; p < w->first->prompts && status == DL_OK; p++) {
        const bool is_0 = same_text(texts[0][p], texts[1][p]);
        const bool is_1 = same_text(texts[0][p], texts[2][p]);
        w->prompts[p].head = is_0 == is_1 ? UNDECIDED : is_0 ? 0 : 1;
    }
    for (size_t i = 0; i < 3; i++)
        free(texts[i]);
    return status;
}

/* ---- one question ------------------------------------------------------------------------- */

static void count_verdicts(const struct work *w, struct order_question *q) {
    for (size_t i = 0; i < w->first->prompts; i++) {
        const struct prompt_order *p = &w->prompts[i];
        q->prompts += p->pairs > 0;
        q->undecided += p->pairs > 0 && p->verdict == UNDECIDED;
        if (p->verdict == UNDECIDED)
            continue;
        q->linear.n++;
        q->linear.k += p->verdict == 0;
        if (p->head == UNDECIDED)
            continue;
        q->head.n++;
        q->head.k += p->verdict == p->head;
        q->only_linear += p->verdict == 0 && p->head == 1;
        q->only_head += p->verdict == 1 && p->head == 1;
    }
    q->linear.p = binomial_test(q->linear.k, q->linear.n, 0.5);
    q->head.p = binomial_test(q->head.k, q->head.n, 0.5);
    q->rules_p = mcnemar_test(q->only_linear, q->only_head);
    binomial_interval(q->linear.k, q->linear.n, &q->linear.low, &q->linear.high);
    binomial_interval(q->head.k, q->head.n, &q->head.low, &q->head.high);
}

/* Per prompt: the scores of either noun at a layer, summed over the pictures that have both; and
 * the number of these. */
enum { SUM_FIRST, SUM_SECOND, PICTURES, SUMS };

static void count_layer(const struct work *w, size_t layer, double *sums, struct order_layer *out) {
    const struct score_table *a = w->first, *b = w->second;
    memset(sums, 0, a->prompts * SUMS * sizeof *sums);
    out->layer = a->layer[layer];
    for (size_t i = 0; i < w->row_count; i++) {
        const double x = a->scores[w->rows[i].a * a->layers + layer];
        const double y = b->scores[w->rows[i].b * b->layers + layer];
        double *prompt = sums + a->prompt[w->rows[i].a] * SUMS;
        if (isnan(x) || isnan(y))
            continue;
        prompt[SUM_FIRST] += x;
        prompt[SUM_SECOND] += y;
        prompt[PICTURES] += 1.0;
    }
    for (size_t p = 0; p < a->prompts; p++) {
        const double *prompt = sums + p * SUMS, half = prompt[PICTURES] / 2.0;
        const bool first = prompt[SUM_FIRST] >= half * a->scale;
        const bool second = prompt[SUM_SECOND] >= half * b->scale;
        out->only_first += first && !second;
        out->only_second += second && !first;
    }
    out->p = mcnemar_test(out->only_first, out->only_second);
}

/* Corrects the p values found at `offset` bytes into each of `count` elements of `size` bytes, and
 * puts them behind it. */
static int correct(dl_context *cx, void *elements, size_t count, size_t size, size_t offset) {
    double *p;
    char *field = (char *)elements + offset;
    DL_TRY(allocate(cx, "Holm's correction", count, sizeof *p, (void **)&p));
    for (size_t i = 0; i < count; i++)
        memcpy(&p[i], field + i * size, sizeof *p);
    int status = holm(cx, p, count);
    for (size_t i = 0; i < count; i++)
        memcpy(field + i * size + sizeof *p, &p[i], sizeof *p);
    free(p);
    return status;
}

static int count_layers(dl_context *cx, const struct work *w, struct order_question *q) {
    double *sums;
    q->layers = w->first->layers;
    DL_TRY(allocate(cx, "layers", q->layers, sizeof *q->layer, (void **)&q->layer));
    DL_TRY(allocate(cx, "layers", w->first->prompts, SUMS * sizeof *sums, (void **)&sums));
    for (size_t i = 0; i < q->layers; i++)
        count_layer(w, i, sums, &q->layer[i]);
    free(sums);
    return correct(cx, q->layer, q->layers, sizeof *q->layer, offsetof(struct order_layer, p));
}

static int answer(dl_context *cx, struct work *w, const struct score_table *sets, size_t set_count,
                  struct order_question *q) {
    const struct score_table *a = w->first, *b = w->second;
    q->first = a->name;
    q->second = b->name;
    DL_TRY(table_need_layers(cx, a));
    DL_TRY(table_need_layers(cx, b));
    if (a->layers != b->layers || memcmp(a->layer, b->layer, a->layers * sizeof *a->layer) != 0)
        return fail(cx, DL_USAGE,
                    "%s: its layers are not those of %s; name the files of the first and of the "
                    "second noun in turn, both of one encoder",
                    b->name, a->name);
    DL_TRY(table_match(cx, a, b, &w->rows, &w->row_count));
    DL_TRY(allocate(cx, a->name, a->prompts, sizeof *w->prompts, (void **)&w->prompts));
    judge(w);
    DL_TRY(find_heads(cx, w, sets, set_count));
    count_verdicts(w, q);
    return count_layers(cx, w, q);
}

/* ---- two questions ------------------------------------------------------------------------ */

/* Prompts of the same text, each once. */
static int compare_verdicts(dl_context *cx, const struct work *a, const struct work *b,
                            struct order_pair *out) {
    struct row_pair *rows;
    bool *seen = NULL;
    size_t count;
    int status = table_match(cx, a->first, b->first, &rows, &count);
    if (status == DL_OK)
        status = allocate(cx, "prompts", a->first->prompts, sizeof *seen, (void **)&seen);
    for (size_t i = 0; i < count && status == DL_OK; i++) {
        const size_t p = a->first->prompt[rows[i].a];
        const int x = a->prompts[p].verdict;
        const int y = b->prompts[b->first->prompt[rows[i].b]].verdict;
        if (seen[p] || x == UNDECIDED || y == UNDECIDED)
            continue;
        seen[p] = true;
        out->shared++;
        out->only_a += x == 0 && y == 1;
        out->only_b += x == 1 && y == 0;
    }
    out->p = mcnemar_test(out->only_a, out->only_b);
    free(rows);
    free(seen);
    return status;
}

static int compare_questions(dl_context *cx, const struct work *work, struct order *out) {
    const size_t n = out->question_count;
    DL_TRY(allocate(cx, "questions", n * (n - 1) / 2, sizeof *out->pairs, (void **)&out->pairs));
    for (size_t a = 0; a < n; a++)
        for (size_t b = a + 1; b < n; b++) {
            struct order_pair *pair = &out->pairs[out->pair_count];
            *pair = (struct order_pair){.a = a, .b = b};
            DL_TRY(compare_verdicts(cx, &work[a], &work[b], pair));
            out->pair_count += pair->shared > 0;
        }
    return correct(cx, out->pairs, out->pair_count, sizeof *out->pairs,
                   offsetof(struct order_pair, p));
}

static int answer_all(dl_context *cx, struct work *work, const struct score_table *sets,
                      size_t set_count, struct order *out) {
    struct order_question *q = out->questions;
    const size_t n = out->question_count;
    for (size_t i = 0; i < n; i++)
        DL_TRY(answer(cx, &work[i], sets, set_count, &q[i]));
    DL_TRY(correct(cx, q, n, sizeof *q, offsetof(struct order_question, linear.p)));
    DL_TRY(correct(cx, q, n, sizeof *q, offsetof(struct order_question, head.p)));
    DL_TRY(correct(cx, q, n, sizeof *q, offsetof(struct order_question, rules_p)));
    return compare_questions(cx, work, out);
}

int compare_order(dl_context *cx, const struct score_table *tables, size_t count,
                  const struct score_table *sets, size_t set_count, struct order *out) {
    struct work *work;
    memset(out, 0, sizeof *out);
    if (count == 0 || count % 2)
        return fail(cx, DL_USAGE,
                    "order: %zu annotation files are given; wanted: for each question the file of "
                    "the first noun and that of the second, and prompt sets with the column head",
                    count);
    out->question_count = count / 2;
    DL_TRY(allocate(cx, "questions", count / 2, sizeof *out->questions, (void **)&out->questions));
    DL_TRY(allocate(cx, "questions", count / 2, sizeof *work, (void **)&work));
    for (size_t i = 0; i < count / 2; i++) {
        work[i].first = &tables[2 * i];
        work[i].second = &tables[2 * i + 1];
    }
    int status = answer_all(cx, work, sets, set_count, out);
    for (size_t i = 0; i < count / 2; i++) {
        free(work[i].rows);
        free(work[i].prompts);
    }
    free(work);
    return status;
}

void order_free(struct order *order) {
    for (size_t i = 0; i < order->question_count && order->questions; i++)
        free(order->questions[i].layer);
    free(order->questions);
    free(order->pairs);
    memset(order, 0, sizeof *order);
}
