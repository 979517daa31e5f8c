/* Writing, uniting and judging the tables of an annotation. See answers.h. */
#include "study/answers.h"

#include "base/file.h"
#include "base/json.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- files ----------------------------------------------------------------------------------- */

static const char *const folders[TABLE_KINDS] = {"", "probability/", "best/", "control/", "noise/"};

char *answer_file(enum answer_table table, const char *question) {
    const size_t size = strlen(question) + 64;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "annotations/%s%s.csv", folders[table], question);
    return path;
}

int answer_write(dl_context *cx, const char *folder, enum answer_table table, const char *question,
                 const struct buffer *text) {
    char *name = answer_file(table, question), *path = name ? path_join(folder, name) : NULL;
    int status = path ? buffer_check(cx, text, path) : fail_memory(cx, question, 0);
    if (status == DL_OK)
        status = dir_make_above(cx, path);
    if (status == DL_OK)
        status = file_write(cx, path, text->data, text->length);
    free(path);
    free(name);
    return status;
}

void answers_sweep(const char *folder) {
    char *annotations = path_join(folder, "annotations");
    for (size_t i = 0; i < TABLE_KINDS && annotations; i++) {
        char *path = path_join(annotations, folders[i]);
        if (path)
            file_sweep(path);
        free(path);
    }
    free(annotations);
}

/* ---- rows ------------------------------------------------------------------------------------ */

void answer_number(char out[32], enum answer_table table, const struct answer *answer) {
    if (answer->score < 0)
        out[0] = '\0';
    else if (table == TABLE_PROBABILITY || table == TABLE_BEST)
        snprintf(out, 32, "%.6f", table == TABLE_BEST ? answer->best : answer->probability);
    else
        snprintf(out, 32, "%d", answer->score);
}

void answer_header(struct buffer *out, const struct grid *grid) {
    char number[16];
    csv_text(out, "prompt", false);
    for (size_t l = 0; l < grid->layer_count; l++) {
        snprintf(number, sizeof number, "%d", grid_layer(grid, l));
        csv_text(out, grid_layer(grid, l) < 0 ? "native" : number, false);
    }
    csv_text(out, "seed", true);
}

void answer_row(struct buffer *out, const struct grid *grid, enum answer_table table, size_t prompt,
                size_t seed, const struct answer *answers) {
    char number[32];
    csv_text(out, grid->prompts[prompt], false);
    for (size_t l = 0; l < grid->layer_count; l++) {
        answer_number(number, table, &answers[l]);
        csv_text(out, number, false);
    }
    snprintf(number, sizeof number, "%" PRIu64, grid->settings->seeds[seed]);
    csv_text(out, number, true);
}

int answer_unite(dl_context *cx, const char *path, struct csv *united, const struct csv *part) {
    if (part->rows != united->rows || part->columns != united->columns)
        return fail(cx, DL_USAGE, "%s: has other rows or columns than that of the first part",
                    path);
    for (size_t i = 0; i < (united->rows + 1) * united->columns; i++) {
        char *const mine = united->cells[i], *const its = part->cells[i];
        if (!mine[0])
            united->cells[i] = its;
        else if (its[0] && strcmp(mine, its) != 0)
            return fail(cx, DL_USAGE, "%s:%zu: \"%.40s\" and \"%.40s\" are in one cell", path,
                        part->lines[i / part->columns], mine, its);
    }
    return DL_OK;
}

/* ---- reliability ----------------------------------------------------------------------------- */

/* Means of answers. */
struct tally {
    size_t n;
    double score, probability; /* sums */
};

/* Adds a cell of each kind, where both are numbers. */
static void count(struct tally *t, const char *score, const char *probability) {
    char *end;
    const double s = strtod(score, &end);
    if (end == score || *end || !isfinite(s))
        return;
    const double p = strtod(probability, &end);
    if (end == probability || *end || !isfinite(p))
        return;
    t->n++;
    t->score += s;
    t->probability += p;
}

static int read_table(dl_context *cx, const char *folder, enum answer_table table,
                      const char *question, struct csv *out) {
    char *name = answer_file(table, question), *path = name ? path_join(folder, name) : NULL;
    memset(out, 0, sizeof *out);
    int status = path ? csv_read(cx, path, out) : fail_memory(cx, question, 0);
    free(path);
    free(name);
    return status;
}

/* The column of the highest layer. */
static size_t last_layer(const struct csv *csv, int *layer) {
    size_t column = CSV_NONE;
    *layer = -1;
    for (size_t c = 0; c < csv->columns; c++) {
        char *end;
        const long number = strtol(csv_header(csv, c), &end, 10);
        if (end != csv_header(csv, c) && !*end && number > *layer && number < 100000) {
            *layer = (int)number;
            column = c;
        }
    }
    return column;
}

static int tally_last(dl_context *cx, const char *folder, const char *question, struct tally *t,
                      int *layer) {
    struct csv scores, probabilities;
    int status = read_table(cx, folder, TABLE_SCORE, question, &scores);
    if (status == DL_OK)
        status = read_table(cx, folder, TABLE_PROBABILITY, question, &probabilities);
    else
        memset(&probabilities, 0, sizeof probabilities);
    const size_t column = status == DL_OK ? last_layer(&scores, layer) : CSV_NONE;
    if (column != CSV_NONE && scores.rows == probabilities.rows && column < probabilities.columns)
        for (size_t row = 0; row < scores.rows; row++)
            count(t, csv_cell(&scores, row, column), csv_cell(&probabilities, row, column));
    csv_free(&scores);
    csv_free(&probabilities);
    return status;
}

/* Control and noise: columns `score` and `probability`. */
static int tally_columns(dl_context *cx, const char *folder, enum answer_table table,
                         const char *question, struct tally *t) {
    struct csv csv;
    DL_TRY(read_table(cx, folder, table, question, &csv));
    const size_t score = csv_column(&csv, "score"), p = csv_column(&csv, "probability");
    for (size_t row = 0; score != CSV_NONE && p != CSV_NONE && row < csv.rows; row++)
        count(t, csv_cell(&csv, row, score), csv_cell(&csv, row, p));
    csv_free(&csv);
    return DL_OK;
}

/* Six digits, so that the text does not depend on the last bit of a sum. */
static cJSON *rounded(double value) {
    char text[32];
    snprintf(text, sizeof text, "%.6f", value);
    return cJSON_CreateRaw(text);
}

static cJSON *tally_json(const struct tally *t) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "n", (double)t->n);
    cJSON_AddItemToObject(o, "rate", t->n ? rounded(t->score / (double)t->n) : cJSON_CreateNull());
    cJSON_AddItemToObject(o, "probability",
                          t->n ? rounded(t->probability / (double)t->n) : cJSON_CreateNull());
    return o;
}

static int judge_question(dl_context *cx, const char *folder, const cJSON *question, cJSON *out) {
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(question, "name");
    struct tally last = {0}, others = {0}, noise = {0};
    int layer;
    if (!cJSON_IsString(name) || !name->valuestring[0] || strchr(name->valuestring, '/'))
        return fail(cx, DL_USAGE, "%s/experiment.json: a question has no name", folder);
    DL_TRY(tally_last(cx, folder, name->valuestring, &last, &layer));
    DL_TRY(tally_columns(cx, folder, TABLE_CONTROL, name->valuestring, &others));
    DL_TRY(tally_columns(cx, folder, TABLE_NOISE, name->valuestring, &noise));
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToArray(out, o);
    cJSON_AddStringToObject(o, "question", name->valuestring);
    cJSON_AddItemToObject(
        o, "asked", cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(question, "asked"), true));
    cJSON_AddItemToObject(
        o, "chance", cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(question, "chance"), true));
    cJSON_AddNumberToObject(o, "layer", layer);
    cJSON_AddItemToObject(o, "last_layer", tally_json(&last));
    cJSON_AddItemToObject(o, "other_prompts", tally_json(&others));
    cJSON_AddItemToObject(o, "noise", tally_json(&noise));
    return DL_OK;
}

int reliability_write(dl_context *cx, const char *folder) {
    enum { FACTS_MAX = 1 << 24 };
    char *facts_path = path_join(folder, "experiment.json"), *text = NULL;
    char *path = path_join(folder, "annotations/reliability.json");
    cJSON *facts = NULL, *out = cJSON_CreateArray();
    const cJSON *question;
    int status = facts_path && path && out ? json_read(cx, facts_path, FACTS_MAX, &facts)
                                           : fail_memory(cx, "reliability.json", 0);
    cJSON_ArrayForEach(question, cJSON_GetObjectItemCaseSensitive(facts, "questions")) {
        if (status == DL_OK)
            status = judge_question(cx, folder, question, out);
    }
    if (status == DL_OK) {
        text = cJSON_Print(out);
        status = text ? file_write(cx, path, text, strlen(text))
                      : fail_memory(cx, "reliability.json", 0);
    }
    cJSON_free(text);
    cJSON_Delete(facts);
    cJSON_Delete(out);
    free(facts_path);
    free(path);
    return status;
}
