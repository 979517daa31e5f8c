/* Reading an experiment's folder for its report. See report_data.h. */
#include "study/report_data.h"

#include "base/file.h"
#include "base/json.h"
#include "study/answers.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FACTS_MAX = 1 << 24, QUESTIONS_MAX = 1000 };

static const double recognised_from = 0.5;

const char *const signature_names[SIGNATURES] = {"blank", "noise", "incoherent", "never",
                                                 "unstable"};
const char *const signature_measures[SIGNATURES] = {
    "the standard deviation of every colour channel is below 2 of 255 levels",
    "neighbouring pixels differ almost as much as distant ones: Geary\xE2\x80\x99s ratio above 0.6 "
    "(white noise 1, photographs below 0.2); or, averaged to at most 64 blocks a side, more than "
    "0.4 "
    "of the luminance\xE2\x80\x99s energy is at a quarter cycle per block and above (white noise "
    "0.8, "
    "photographs below 0.25)",
    "the judge recognises nothing: for no question does any answer but \xE2\x80\x9Cnothing "
    "recognisable\xE2\x80\x9D reach a probability of 0.5",
    "what is asked for is not there in the last layer\xE2\x80\x99s picture (score below half)",
    "it appears and disappears: score at least half at some layer, below at a later one, and at "
    "least half again"};

/* ---- tables ---------------------------------------------------------------------------------- */

static int read_table(dl_context *cx, const char *folder, const char *name, char **path,
                      struct score_table *out, bool *found) {
    memset(out, 0, sizeof *out);
    *path = path_join(folder, name);
    if (!*path)
        return fail_memory(cx, name, 0);
    *found = file_exists(*path);
    return *found ? table_read(cx, *path, 1, out) : DL_OK;
}

static int compare_prompts(const void *a, const void *b) {
    const struct study_prompt *x = a, *y = b;
    const int order = strcmp(x->text, y->text);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int sort_prompts(dl_context *cx, struct study *s) {
    const size_t count = s->record.prompt_count;
    DL_TRY(allocate(cx, "prompts", count, sizeof *s->by_text, (void **)&s->by_text));
    for (size_t i = 0; i < count; i++)
        s->by_text[i] = (struct study_prompt){s->record.prompts[i], i};
    qsort(s->by_text, count, sizeof *s->by_text, compare_prompts);
    return DL_OK;
}

/* The first prompt of this text, or behind the last smaller one, in by_text. */
static size_t find_text(const struct study *s, const char *text) {
    size_t low = 0, high = s->record.prompt_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (strcmp(s->by_text[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first place (prompt and seed) of a row's prompt and seed that is not taken; CSV_NONE. *seed
 * is where the last one was found: rows mostly stand in this order. */
static size_t find_place(const struct study *s, const struct score_table *t, size_t row,
                         const bool *taken, size_t *seed) {
    const struct grid *g = &s->record.grid;
    const char *text = table_prompt(t, row);
    char number[24];
    for (size_t k = find_text(s, text);
         k < g->prompt_count && strcmp(s->by_text[k].text, text) == 0; k++)
        for (size_t i = 1; i <= g->seed_count; i++) {
            const size_t at = (*seed + i) % g->seed_count;
            const size_t place = s->by_text[k].index * g->seed_count + at;
            snprintf(number, sizeof number, "%" PRIu64, g->settings->seeds[at]);
            if (taken[place] ||
                (t->seed_column != CSV_NONE && strcmp(table_seed(t, row), number) != 0))
                continue;
            *seed = at;
            return place;
        }
    return CSV_NONE;
}

/* The place of every row, *out (R), CSV_NONE where the run has none; freed by the caller. */
static int find_places(dl_context *cx, const struct study *s, const struct score_table *t,
                       size_t **out) {
    const size_t places = s->record.prompt_count * s->record.grid.seed_count;
    bool *taken = NULL;
    *out = NULL;
    DL_TRY(allocate(cx, "rows", places, sizeof *taken, (void **)&taken));
    int status = allocate(cx, "rows", t->rows, sizeof **out, (void **)out);
    for (size_t row = 0, seed = s->record.grid.seed_count - 1; status == DL_OK && row < t->rows;
         row++) {
        const size_t place = row < places ? find_place(s, t, row, taken, &seed) : CSV_NONE;
        (*out)[row] = place;
        if (place != CSV_NONE)
            taken[place] = true;
    }
    free(taken);
    return status;
}

/* The scores of a table in the places of the run's pictures. */
static void place_scores(const struct grid *g, const struct score_table *t, const size_t *places,
                         double *scores) {
    for (size_t i = 0; i < grid_count(g); i++)
        scores[i] = NAN;
    for (size_t l = 0; l < g->layer_count; l++)
        for (size_t i = 0; i < t->layers; i++)
            for (size_t row = 0; t->layer[i] == grid_layer(g, l) && row < t->rows; row++)
                if (places[row] != CSV_NONE)
                    scores[places[row] * g->layer_count + l] = t->scores[row * t->layers + i];
}

/* Means over seeds of the table's layers, emergence of every row. */
static void place_rows(const struct grid *g, struct study_question *q, const size_t *places) {
    const struct score_table *t = &q->table;
    for (size_t i = 0; i < g->prompt_count * g->seed_count; i++)
        q->first[i] = EMERGES_UNKNOWN;
    for (size_t row = 0; row < t->rows; row++) {
        const double *scores = t->scores + row * t->layers;
        if (places[row] == CSV_NONE)
            continue;
        const int first = emergence(scores, t->layers, t->scale);
        q->first[places[row]] = first;
        q->unstable[places[row]] =
            first != EMERGES_UNKNOWN && emergence_is_unstable(scores, t->layers, t->scale);
    }
    for (size_t p = 0; p < g->prompt_count; p++)
        for (size_t i = 0; i < t->layers; i++) {
            double sum = 0;
            size_t n = 0;
            for (size_t l = 0; l < g->layer_count; l++)
                for (size_t s = 0; grid_layer(g, l) == t->layer[i] && s < g->seed_count; s++) {
                    const double x = q->scores[(p * g->seed_count + s) * g->layer_count + l];
                    sum += isnan(x) ? 0 : x / t->scale;
                    n += isnan(x) ? 0 : 1;
                }
            q->by_prompt[p * t->layers + i] = n ? sum / (double)n : NAN;
        }
}

static int read_question(dl_context *cx, struct study *s, const cJSON *fact, uint64_t seed) {
    const struct grid *g = &s->record.grid;
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(fact, "name");
    const cJSON *wording = cJSON_GetObjectItemCaseSensitive(fact, "wording");
    if (!cJSON_IsString(name) || !name->valuestring[0] || strchr(name->valuestring, '/'))
        return fail(cx, DL_USAGE, "%s/experiment.json: a question has no name", s->record.folder);
    for (size_t i = 0; i < s->question_count; i++)
        if (strcmp(s->questions[i].name, name->valuestring) == 0)
            return fail(cx, DL_USAGE, "%s/experiment.json: names the question %s twice",
                        s->record.folder, name->valuestring);
    struct study_question *q = &s->questions[s->question_count];
    char *file = answer_file(TABLE_SCORE, name->valuestring);
    bool found = false;
    *q = (struct study_question){.name = name->valuestring, .wording = ""};
    if (cJSON_IsString(wording))
        q->wording = wording->valuestring;
    int status = file ? read_table(cx, s->record.folder, file, &q->path, &q->table, &found)
                      : fail_memory(cx, q->name, 0);
    free(file);
    s->question_count++; /* freed with the others, whatever happens */
    DL_TRY(status);
    if (!found || !q->table.layers || !q->table.rows) {
        table_free(&q->table);
        free(q->path);
        s->question_count--;
        return DL_OK;
    }
    q->table.name = q->name;
    DL_TRY(summarise(cx, &q->table, seed, &q->summary));
    const size_t rows = g->prompt_count * g->seed_count;
    DL_TRY(allocate(cx, "scores", grid_count(g), sizeof(double), (void **)&q->scores));
    DL_TRY(allocate(cx, "scores", g->prompt_count, q->table.layers * sizeof(double),
                    (void **)&q->by_prompt));
    DL_TRY(allocate(cx, "scores", rows, sizeof *q->first, (void **)&q->first));
    DL_TRY(allocate(cx, "scores", rows, sizeof *q->unstable, (void **)&q->unstable));
    size_t *places;
    DL_TRY(find_places(cx, s, &q->table, &places));
    place_scores(g, &q->table, places, q->scores);
    place_rows(g, q, places);
    free(places);
    return DL_OK;
}

/* ---- signatures ------------------------------------------------------------------------------ */

/* Raises the best probability of every picture by a question's; NAN: nobody has looked. */
static int take_best(dl_context *cx, const struct study *s, const char *question, double *best,
                     double *scratch) {
    char *file = answer_file(TABLE_BEST, question), *path = NULL;
    struct score_table table;
    bool found = false;
    int status = file ? read_table(cx, s->record.folder, file, &path, &table, &found)
                      : fail_memory(cx, question, 0);
    size_t *places = NULL;
    if (status == DL_OK && found)
        status = find_places(cx, s, &table, &places);
    if (status == DL_OK && found) {
        place_scores(&s->record.grid, &table, places, scratch);
        for (size_t i = 0; i < grid_count(&s->record.grid); i++)
            best[i] = isnan(best[i]) ? scratch[i] : fmax(best[i], scratch[i]);
    }
    if (file && path)
        table_free(&table);
    free(places);
    free(path);
    free(file);
    return status;
}

static int sign_pictures(dl_context *cx, struct study *s) {
    const struct grid *g = &s->record.grid;
    const size_t count = grid_count(g);
    double *best = NULL, *scratch = NULL;
    int status = allocate(cx, "signatures", count, sizeof *s->signs, (void **)&s->signs);
    if (status == DL_OK)
        status = allocate(cx, "signatures", count, sizeof *best, (void **)&best);
    if (status == DL_OK)
        status = allocate(cx, "signatures", count, sizeof *scratch, (void **)&scratch);
    for (size_t i = 0; status == DL_OK && i < count; i++)
        best[i] = NAN;
    for (size_t i = 0; status == DL_OK && i < s->question_count; i++)
        status = take_best(cx, s, s->questions[i].name, best, scratch);
    for (size_t i = 0; status == DL_OK && i < count; i++) {
        const struct cell *c = &g->cells[i];
        for (size_t f = 0; f < c->flag_count; f++)
            s->signs[i] |= strcmp(c->flags[f], "blank") == 0 ? SIGN_BLANK : SIGN_NOISE;
        s->signs[i] |= c->made && best[i] < recognised_from ? SIGN_INCOHERENT : 0;
    }
    free(best);
    free(scratch);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* A JSON file of the folder; *out NULL where there is none. */
static int read_facts(dl_context *cx, const char *folder, const char *name, cJSON **out) {
    char *path = path_join(folder, name), *text = NULL;
    const char *end;
    size_t size;
    *out = NULL;
    int status = path ? DL_OK : fail_memory(cx, name, 0);
    if (status == DL_OK && file_exists(path)) {
        status = file_read(cx, DL_USAGE, path, FACTS_MAX, &text, &size);
        if (status == DL_OK)
            status = json_parse(cx, path, text, size + 1, true, &end, out);
        if (status == DL_OK && !*out)
            status = fail(cx, DL_USAGE, "%s: is not JSON", path);
    }
    free(text);
    free(path);
    return status;
}

static int read_questions(dl_context *cx, struct study *s, uint64_t seed) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(s->facts, "questions"), *fact;
    const int count = cJSON_GetArraySize(list);
    if (count > QUESTIONS_MAX)
        return fail(cx, DL_USAGE, "%s/experiment.json: %d questions; at most %d are read",
                    s->record.folder, count, QUESTIONS_MAX);
    DL_TRY(allocate(cx, "questions", (size_t)count, sizeof *s->questions, (void **)&s->questions));
    cJSON_ArrayForEach(fact, list) DL_TRY(read_question(cx, s, fact, seed));
    return DL_OK;
}

int study_open(dl_context *cx, const char *folder, uint64_t seed, struct study *s) {
    bool found;
    memset(s, 0, sizeof *s);
    DL_TRY(record_open(cx, folder, &s->record));
    DL_TRY(sort_prompts(cx, s));
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(s->record.manifest, "model");
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(model, "layers");
    s->blocks = cJSON_IsNumber(layers) ? layers->valueint : 1;
    DL_TRY(read_facts(cx, folder, "experiment.json", &s->facts));
    DL_TRY(read_facts(cx, folder, "annotations/reliability.json", &s->reliability));
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(s->facts, "name");
    s->name = cJSON_IsString(name) ? name->valuestring : NULL;
    DL_TRY(read_table(cx, folder, "prompts.csv", &s->set_path, &s->set, &found));
    DL_TRY(read_questions(cx, s, seed));
    return sign_pictures(cx, s);
}

void study_close(struct study *s) {
    for (size_t i = 0; i < s->question_count; i++) {
        struct study_question *q = &s->questions[i];
        summary_free(&q->summary);
        table_free(&q->table);
        free(q->path);
        free(q->scores);
        free(q->by_prompt);
        free(q->first);
        free(q->unstable);
    }
    free(s->questions);
    free(s->by_text);
    free(s->signs);
    table_free(&s->set);
    free(s->set_path);
    cJSON_Delete(s->facts);
    cJSON_Delete(s->reliability);
    record_close(&s->record);
    memset(s, 0, sizeof *s);
}

/* The value of a prompt's column of this name (length bytes); NULL. */
static const char *column_value(const struct study *s, const char *name, size_t length,
                                size_t prompt) {
    for (size_t c = 0; prompt < s->set.rows && c < s->set.csv.columns; c++) {
        const char *header = csv_header(&s->set.csv, c);
        if (strlen(header) == length && memcmp(header, name, length) == 0)
            return csv_cell(&s->set.csv, prompt, c);
    }
    return NULL;
}

void study_wording(const struct study *s, const struct study_question *q, size_t prompt,
                   struct buffer *out) {
    const char *at = q->wording;
    while (*at) {
        const char *open = strchr(at, '{'), *close = open ? strchr(open, '}') : NULL;
        const char *value =
            close ? column_value(s, open + 1, (size_t)(close - open) - 1, prompt) : NULL;
        if (!value) {
            buffer_text(out, at);
            return;
        }
        buffer_bytes(out, at, (size_t)(open - at));
        buffer_text(out, value);
        at = close + 1;
    }
}

const cJSON *study_reliability(const struct study *s, const char *question) {
    const cJSON *item;
    cJSON_ArrayForEach(item, s->reliability) {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "question");
        if (cJSON_IsString(name) && strcmp(name->valuestring, question) == 0)
            return item;
    }
    return NULL;
}
