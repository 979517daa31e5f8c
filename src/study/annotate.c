/* Answering questions about the pictures of a run. See annotate.h.
 *
 * P size of the judge's embeddings */
#include "study/annotate.h"

#include "study/answers.h"
#include "study/embeddings.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct annotation {
    dl_context *cx;
    const dl_judge *judge;
    const struct questions *questions;
    const struct prompt_set *set;
    const struct run_folder *folder;
    struct embeddings seen;
    float *concepts;        /* (concepts,P) */
    struct answer *answers; /* (layers) scratch: one row */
};

/* ---- one answer ------------------------------------------------------------------------------ */

/* What the judge says of a picture (P) when asked as for `prompt`. */
static struct answer ask(const struct annotation *a, const struct question *q, size_t prompt,
                         const float *picture) {
    const size_t P = a->seen.size, n = q->first[prompt + 1] - q->first[prompt];
    const size_t *candidates = q->candidates + q->first[prompt];
    float p[CANDIDATES_MAX];
    size_t best = 0;
    if (isnan(picture[0]) || !n)
        return (struct answer){-1, 0, 0};
    for (size_t i = 0; i < n; i++)
        judge_cosines(&p[i], picture, 1, a->concepts + candidates[i] * P, 1, P);
    judge_probabilities(a->judge, p, p, 1, n);
    for (size_t i = 1; i < n; i++)
        best = p[i] > p[best] ? i : best;
    float recognised = p[0]; /* the last candidate is "nothing recognisable" */
    for (size_t i = 1; i + 1 < n; i++)
        recognised = fmaxf(recognised, p[i]);
    return (struct answer){best == 0, (double)p[0], (double)recognised};
}

static bool is_asked(const struct question *q, size_t prompt) {
    return q->first[prompt + 1] > q->first[prompt];
}

static const float *picture_at(const struct annotation *a, size_t prompt, size_t seed,
                               size_t layer) {
    const struct grid *g = a->folder->grid;
    return a->seen.image + (size_t)(grid_at(g, prompt, seed, layer) - g->cells) * a->seen.size;
}

/* ---- the tables ------------------------------------------------------------------------------ */

static int write_answers(struct annotation *a, const struct question *q) {
    const struct grid *g = a->folder->grid;
    struct buffer text[TABLE_BEST + 1] = {{0}};
    int status = DL_OK;
    for (enum answer_table t = TABLE_SCORE; t <= TABLE_BEST; t++)
        answer_header(&text[t], g);
    for (size_t p = 0; p < g->prompt_count; p++)
        for (size_t s = 0; is_asked(q, p) && s < g->seed_count; s++) {
            for (size_t l = 0; l < g->layer_count; l++)
                a->answers[l] = ask(a, q, p, picture_at(a, p, s, l));
            for (enum answer_table t = TABLE_SCORE; t <= TABLE_BEST; t++)
                answer_row(&text[t], g, t, p, s, a->answers);
        }
    for (enum answer_table t = TABLE_SCORE; t <= TABLE_BEST; t++) {
        if (status == DL_OK)
            status = answer_write(a->cx, a->folder->path, t, q->name, &text[t]);
        buffer_free(&text[t]);
    }
    return status;
}

/* Whether any question's right answer for this prompt is the concept. */
static bool is_right(const struct questions *questions, size_t prompt, size_t concept) {
    for (size_t i = 0; i < questions->count; i++) {
        const struct question *q = &questions->items[i];
        if (is_asked(q, prompt) && q->candidates[q->first[prompt]] == concept)
            return true;
    }
    return false;
}

/* The next prompt that asks for what this one does not show; CSV_NONE. */
static size_t other_prompt(const struct annotation *a, const struct question *q, size_t prompt) {
    enum { SEARCHED = 1000 };
    const size_t count = a->set->count;
    for (size_t i = 1; i < count && i < SEARCHED; i++) {
        const size_t other = (prompt + i) % count;
        if (is_asked(q, other) && !is_right(a->questions, prompt, q->candidates[q->first[other]]))
            return other;
    }
    return CSV_NONE;
}

static void put_answer(struct buffer *out, const char *const *before, size_t count,
                       const struct answer *answer) {
    char score[32], probability[32];
    const char *cells[5];
    memcpy(cells, before, count * sizeof *cells);
    answer_number(score, TABLE_SCORE, answer);
    answer_number(probability, TABLE_PROBABILITY, answer);
    cells[count] = score;
    cells[count + 1] = probability;
    csv_row(out, cells, count + 2);
}

/* The last layer's pictures, asked about another prompt. */
static int write_control(struct annotation *a, const struct question *q) {
    const struct grid *g = a->folder->grid;
    const size_t last = g->settings->layer_count - 1;
    struct buffer text = {0};
    csv_row(&text, (const char *const[]){"prompt", "seed", "asked", "score", "probability"}, 5);
    for (size_t p = 0; p < g->prompt_count; p++) {
        const size_t other = is_asked(q, p) ? other_prompt(a, q, p) : CSV_NONE;
        for (size_t s = 0; other != CSV_NONE && s < g->seed_count; s++) {
            char seed[24];
            snprintf(seed, sizeof seed, "%" PRIu64, g->settings->seeds[s]);
            const char *const before[] = {g->prompts[p], seed, g->prompts[other]};
            const struct answer answer = ask(a, q, other, picture_at(a, p, s, last));
            put_answer(&text, before, 3, &answer);
        }
    }
    int status = answer_write(a->cx, a->folder->path, TABLE_CONTROL, q->name, &text);
    buffer_free(&text);
    return status;
}

/* Pictures of noise: means over them. */
static int write_noise(struct annotation *a, const struct question *q) {
    const struct grid *g = a->folder->grid;
    struct buffer text = {0};
    csv_row(&text, (const char *const[]){"prompt", "score", "probability"}, 3);
    for (size_t p = 0; p < g->prompt_count; p++) {
        double score = 0, probability = 0;
        char cells[2][32];
        for (size_t n = 0; is_asked(q, p) && n < NOISE_PICTURES; n++) {
            const struct answer answer = ask(a, q, p, a->seen.noise + n * a->seen.size);
            score += answer.score;
            probability += answer.probability;
        }
        snprintf(cells[0], sizeof cells[0], "%.4f", score / NOISE_PICTURES);
        snprintf(cells[1], sizeof cells[1], "%.6f", probability / NOISE_PICTURES);
        if (is_asked(q, p))
            csv_row(&text, (const char *const[]){g->prompts[p], cells[0], cells[1]}, 3);
    }
    int status = answer_write(a->cx, a->folder->path, TABLE_NOISE, q->name, &text);
    buffer_free(&text);
    return status;
}

int annotate(dl_context *cx, const dl_judge *judge, const struct questions *questions,
             const struct prompt_set *set, const struct run_folder *folder, dl_progress_fn progress,
             void *progress_user) {
    struct annotation a = {
        .cx = cx, .judge = judge, .questions = questions, .set = set, .folder = folder};
    answers_sweep(folder->path);
    int status = embeddings_make(cx, judge, folder, progress, progress_user, &a.seen);
    if (status == DL_OK)
        status = allocate(cx, "concepts", questions->concepts.count,
                          judge_size(judge) * sizeof *a.concepts, (void **)&a.concepts);
    if (status == DL_OK)
        status = allocate(cx, "answers", folder->grid->layer_count, sizeof *a.answers,
                          (void **)&a.answers);
    if (status == DL_OK)
        status = concepts_embed(&questions->concepts, judge, a.concepts);
    for (size_t i = 0; i < questions->count && status == DL_OK; i++) {
        status = write_answers(&a, &questions->items[i]);
        if (status == DL_OK)
            status = write_control(&a, &questions->items[i]);
        if (status == DL_OK)
            status = write_noise(&a, &questions->items[i]);
    }
    if (status == DL_OK)
        status = reliability_write(cx, folder->path);
    embeddings_free(&a.seen);
    free(a.concepts);
    free(a.answers);
    return status;
}
