/* Reading tables of scores. See table.h. */
#include "stats/table.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- cells -------------------------------------------------------------------------------- */

static const char *skip_spaces(const char *text) {
    return text + strspn(text, " \t\r\n");
}

static const char *skip_digits(const char *text) {
    return text + strspn(text, "0123456789");
}

/* Behind a number [+-]digits[.digits][e[+-]digits] with a digit before or behind the point, or
 * NULL.
 */
static const char *skip_number(const char *text) {
    const char *at = text + (*text == '+' || *text == '-'), *digits = at;
    at = skip_digits(at);
    size_t count = (size_t)(at - digits);
    if (*at == '.') {
        const char *end = skip_digits(at + 1);
        count += (size_t)(end - at) - 1;
        at = end;
    }
    if (count == 0)
        return NULL;
    if (*at == 'e' || *at == 'E') {
        const char *exponent = at + 1 + (at[1] == '+' || at[1] == '-');
        const char *end = skip_digits(exponent);
        return end > exponent ? end : NULL;
    }
    return at;
}

bool parse_score(const char *text, double *out) {
    char copy[64]; /* a longer text is no score */
    const char *start = skip_spaces(text), *end = skip_number(start);
    if (!end || *skip_spaces(end) || (size_t)(end - start) >= sizeof copy)
        return false;
    memcpy(copy, start, (size_t)(end - start));
    copy[end - start] = '\0';
    char *point = strchr(copy, '.');
    if (point) /* strtod reads the locale's decimal point */
        *point = localeconv()->decimal_point[0];
    *out = strtod(copy, NULL);
    return isfinite(*out);
}

/* Cuts spaces and the fraction .0 from a seed, in place: files that pandas wrote have 0.0 for 0. */
static void normalise_seed(char *text) {
    const char *start = skip_spaces(text), *digits = start + (*start == '-');
    const char *end = skip_digits(digits);
    size_t length = strlen(start);
    if (end > digits && *end == '.' && !*skip_spaces(end + 1 + strspn(end + 1, "0")))
        length = (size_t)(end - start);
    while (length && strchr(" \t\r\n", start[length - 1]))
        length--;
    memmove(text, start, length);
    text[length] = '\0';
}

/* ---- columns ------------------------------------------------------------------------------ */

struct layer_column {
    int layer;
    size_t column;
};

/* A layer's number: digits with spaces around them. */
static bool is_layer(const char *header, int *layer) {
    enum { DIGITS_MAX = 9 };
    const char *start = skip_spaces(header), *end = skip_digits(start);
    if (end == start || end - start > DIGITS_MAX || *skip_spaces(end))
        return false;
    *layer = (int)strtol(start, NULL, 10);
    return true;
}

static int by_layer(const void *a, const void *b) {
    const struct layer_column *x = a, *y = b;
    return (x->layer > y->layer) - (x->layer < y->layer);
}

/* The column of this name, CSV_NONE or one only. */
static int one_column(dl_context *cx, const struct score_table *t, const char *name, size_t *out) {
    *out = csv_column(&t->csv, name);
    struct csv rest = t->csv; /* the columns behind the first of this name */
    if (*out == CSV_NONE)
        return DL_OK;
    rest.cells += *out + 1;
    rest.columns -= *out + 1;
    if (csv_column(&rest, name) != CSV_NONE)
        return fail(cx, DL_USAGE, "%s: has two columns `%s`", t->name, name);
    return DL_OK;
}

/* Finds the layers' columns, in rising order. */
static int find_layers(dl_context *cx, struct score_table *t, struct layer_column *columns) {
    for (size_t i = 0; i < t->csv.columns; i++) {
        struct layer_column *c = &columns[t->layers];
        c->column = i;
        t->layers += is_layer(csv_header(&t->csv, i), &c->layer);
    }
    qsort(columns, t->layers, sizeof *columns, by_layer);
    DL_TRY(allocate(cx, t->name, t->layers, sizeof *t->layer, (void **)&t->layer));
    for (size_t i = 0; i < t->layers; i++) {
        t->layer[i] = columns[i].layer;
        if (i && columns[i].layer == columns[i - 1].layer)
            return fail(cx, DL_USAGE, "%s: has two columns of layer %d", t->name, columns[i].layer);
    }
    return DL_OK;
}

static int read_scores(dl_context *cx, struct score_table *t, const struct layer_column *columns) {
    size_t count = t->rows * t->layers; /* at most the cells of the file */
    DL_TRY(allocate(cx, t->name, count, sizeof *t->scores, (void **)&t->scores));
    for (size_t i = 0; i < count; i++) {
        const char *cell = csv_cell(&t->csv, i / t->layers, columns[i % t->layers].column);
        double *score = &t->scores[i];
        if (!parse_score(cell, score)) {
            *score = (double)NAN;
            t->missing++;
        } else {
            t->outside += *score < 0.0 || *score > t->scale;
        }
    }
    return DL_OK;
}

/* ---- prompts ------------------------------------------------------------------------------ */

/* What rows are sorted by. */
struct row_key {
    const char *prompt, *seed;
    size_t row;
};

static int by_key(const void *a, const void *b) {
    const struct row_key *x = a, *y = b;
    const int prompt = strcmp(x->prompt, y->prompt), seed = strcmp(x->seed, y->seed);
    return prompt ? prompt : seed ? seed : (x->row > y->row) - (x->row < y->row);
}

/* The rows of a table sorted by prompt, then (if wanted) seed, then place in the file. */
static int sort_rows(dl_context *cx, const struct score_table *t, bool seeds,
                     struct row_key **out) {
    DL_TRY(allocate(cx, t->name, t->rows, sizeof **out, (void **)out));
    for (size_t i = 0; i < t->rows; i++)
        (*out)[i] = (struct row_key){table_prompt(t, i), seeds ? table_seed(t, i) : "", i};
    qsort(*out, t->rows, sizeof **out, by_key);
    return DL_OK;
}

/* Numbers the different prompts in the order in which they first appear. */
static int number_prompts(dl_context *cx, struct score_table *t) {
    struct row_key *sorted;
    DL_TRY(allocate(cx, t->name, t->rows, sizeof *t->prompt, (void **)&t->prompt));
    DL_TRY(allocate(cx, t->name, t->rows, sizeof *t->first_row, (void **)&t->first_row));
    DL_TRY(sort_rows(cx, t, false, &sorted));
    for (size_t i = 0, first = 0; i < t->rows; i++) { /* first: the prompt's first row, for now */
        first = i && strcmp(sorted[i].prompt, sorted[i - 1].prompt) == 0 ? first : sorted[i].row;
        t->prompt[sorted[i].row] = first;
    }
    free(sorted);
    for (size_t row = 0; row < t->rows; row++) {
        const size_t first = t->prompt[row];
        if (first == row)
            t->first_row[t->prompts] = row;
        t->prompt[row] = first == row ? t->prompts++ : t->prompt[first];
    }
    return DL_OK;
}

/* ---- tables ------------------------------------------------------------------------------- */

static int read_columns(dl_context *cx, struct score_table *t, struct layer_column *columns) {
    DL_TRY(one_column(cx, t, "prompt", &t->prompt_column));
    DL_TRY(one_column(cx, t, "seed", &t->seed_column));
    if (t->prompt_column == CSV_NONE)
        return fail(cx, DL_USAGE, "%s: has no column `prompt`", t->name);
    for (size_t row = 0; t->seed_column != CSV_NONE && row < t->rows; row++)
        normalise_seed(t->csv.cells[(row + 1) * t->csv.columns + t->seed_column]);
    DL_TRY(find_layers(cx, t, columns));
    DL_TRY(read_scores(cx, t, columns));
    return number_prompts(cx, t);
}

/* Makes the table of the CSV that it holds. */
static int read_table(dl_context *cx, struct score_table *t) {
    struct layer_column *columns;
    t->rows = t->csv.rows;
    DL_TRY(allocate(cx, t->name, t->csv.columns + 1, sizeof *columns, (void **)&columns));
    int status = read_columns(cx, t, columns);
    free(columns);
    return status;
}

int table_read(dl_context *cx, const char *path, double scale, struct score_table *out) {
    memset(out, 0, sizeof *out);
    out->name = path;
    out->scale = scale;
    DL_TRY(csv_read(cx, path, &out->csv));
    return read_table(cx, out);
}

int table_parse(dl_context *cx, const char *name, const char *text, size_t size, double scale,
                struct score_table *out) {
    memset(out, 0, sizeof *out);
    out->name = name;
    out->scale = scale;
    DL_TRY(csv_parse(cx, name, text, size, &out->csv));
    return read_table(cx, out);
}

void table_free(struct score_table *table) {
    csv_free(&table->csv);
    free(table->layer);
    free(table->scores);
    free(table->prompt);
    free(table->first_row);
    memset(table, 0, sizeof *table);
}

int table_need_layers(dl_context *cx, const struct score_table *table) {
    if (table->layers)
        return DL_OK;
    return fail(cx, DL_USAGE,
                "%s: has no layers; an annotation file has a column for each, whose header is the "
                "layer's number",
                table->name);
}

const char *table_prompt(const struct score_table *table, size_t row) {
    return csv_cell(&table->csv, row, table->prompt_column);
}

const char *table_seed(const struct score_table *table, size_t row) {
    return table->seed_column == CSV_NONE ? "" : csv_cell(&table->csv, row, table->seed_column);
}

/* ---- joining ------------------------------------------------------------------------------ */

/* strcmp without the spaces around both. */
static int compare_trimmed(const char *a, const char *b) {
    a = skip_spaces(a);
    b = skip_spaces(b);
    while (*a && *a == *b) {
        a++;
        b++;
    }
    const int x = *skip_spaces(a) ? (unsigned char)*a : 0,
              y = *skip_spaces(b) ? (unsigned char)*b : 0;
    return x - y;
}

struct property {
    const char *prompt, *value;
    size_t row;
};

static int by_prompt(const void *a, const void *b) {
    const struct property *x = a, *y = b;
    const int prompt = compare_trimmed(x->prompt, y->prompt);
    return prompt ? prompt : (x->row > y->row) - (x->row < y->row);
}

/* Fills the gaps in values (P) from the column of another table. */
static int join(dl_context *cx, const struct score_table *t, const struct score_table *set,
                size_t column, const char **values) {
    struct property *sorted;
    DL_TRY(allocate(cx, set->name, set->rows, sizeof *sorted, (void **)&sorted));
    for (size_t i = 0; i < set->rows; i++)
        sorted[i] = (struct property){table_prompt(set, i), csv_cell(&set->csv, i, column), i};
    qsort(sorted, set->rows, sizeof *sorted, by_prompt);
    for (size_t p = 0; p < t->prompts; p++) {
        const char *prompt = table_prompt(t, t->first_row[p]);
        size_t low = 0, high = set->rows;
        while (low < high) { /* the first that is not before the prompt */
            const size_t middle = low + (high - low) / 2;
            if (compare_trimmed(sorted[middle].prompt, prompt) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        const bool found = low < set->rows && compare_trimmed(sorted[low].prompt, prompt) == 0;
        if (found && !values[p] && sorted[low].value[0])
            values[p] = sorted[low].value;
    }
    free(sorted);
    return DL_OK;
}

int table_property(dl_context *cx, const struct score_table *table, const struct score_table *sets,
                   size_t set_count, const char *column, const char ***out) {
    DL_TRY(allocate(cx, table->name, table->prompts, sizeof **out, (void **)out));
    const size_t own = csv_column(&table->csv, column);
    int status = own == CSV_NONE ? DL_OK : join(cx, table, table, own, *out);
    for (size_t i = 0; i < set_count && status == DL_OK; i++) {
        const size_t theirs = csv_column(&sets[i].csv, column);
        if (theirs != CSV_NONE)
            status = join(cx, table, &sets[i], theirs, *out);
    }
    if (status != DL_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

static int by_first(const void *a, const void *b) {
    const struct row_pair *x = a, *y = b;
    return (x->a > y->a) - (x->a < y->a);
}

/* The rows of both, each sorted by what they are matched by, merged. */
static size_t merge(const struct row_key *a, size_t rows_a, const struct row_key *b, size_t rows_b,
                    struct row_pair *out) {
    size_t count = 0;
    for (size_t i = 0, j = 0; i < rows_a && j < rows_b;) {
        const int prompt = strcmp(a[i].prompt, b[j].prompt);
        const int order = prompt ? prompt : strcmp(a[i].seed, b[j].seed);
        if (order == 0)
            out[count++] = (struct row_pair){a[i].row, b[j].row};
        i += order <= 0;
        j += order >= 0;
    }
    return count;
}

int table_match(dl_context *cx, const struct score_table *a, const struct score_table *b,
                struct row_pair **out, size_t *count) {
    const bool seeds = a->seed_column != CSV_NONE && b->seed_column != CSV_NONE;
    struct row_key *sorted_a = NULL, *sorted_b = NULL;
    *out = NULL;
    *count = 0;
    int status = sort_rows(cx, a, seeds, &sorted_a);
    if (status == DL_OK)
        status = sort_rows(cx, b, seeds, &sorted_b);
    if (status == DL_OK)
        status = allocate(cx, a->name, a->rows, sizeof **out, (void **)out);
    if (status == DL_OK) {
        *count = merge(sorted_a, a->rows, sorted_b, b->rows, *out);
        qsort(*out, *count, sizeof **out, by_first);
    }
    free(sorted_a);
    free(sorted_b);
    return status;
}
