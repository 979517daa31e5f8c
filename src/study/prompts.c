/* Reading prompt sets: files as users have them, and the built-in ones. See prompts.h. */
#include "study/prompts.h"

#include "base/file.h"
#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LAYERS "0::4,-1" /* every fourth and the last, as in the paper */

/* The file's name without folder and ending, as a name of folders: "two_colors" of
 * data/two_colors.csv. */
static void name_file(char out[64], const char *path) {
    const char *slash = strrchr(path, '/');
    snprintf(out, 64, "%.60s", slash ? slash + 1 : path);
    char *dot = strrchr(out, '.');
    if (dot && dot != out)
        *dot = '\0';
    for (char *c = out; *c; c++)
        if (*c <= ' ' || *c == 0x7F)
            *c = '-';
}

/* Closes the gaps that rows without a prompt leave. */
static void drop_empty_rows(struct prompt_set *set) {
    struct csv *t = &set->table;
    size_t kept = 0;
    for (size_t row = 0; row < t->rows; row++) {
        const char *prompt = csv_cell(t, row, set->column);
        if (!prompt[strspn(prompt, " \t\r\n")])
            continue;
        if (kept != row) {
            memcpy(&t->cells[(kept + 1) * t->columns], &t->cells[(row + 1) * t->columns],
                   t->columns * sizeof *t->cells);
            t->lines[kept + 1] = t->lines[row + 1];
        }
        kept++;
    }
    set->skipped = t->rows - kept;
    t->rows = kept;
}

/* The table is there: finds the prompts and sees that all is text. */
static int take_prompts(dl_context *cx, const char *what, struct prompt_set *set) {
    const struct csv *t = &set->table;
    set->column = csv_column(t, "prompt");
    if (set->column == CSV_NONE)
        return fail(cx, DL_USAGE, "%s: has no column `prompt`", what);
    for (size_t i = 0; i < t->columns; i++)
        for (size_t k = 0; k < i; k++)
            if (csv_header(t, i)[0] && strcmp(csv_header(t, i), csv_header(t, k)) == 0)
                return fail(cx, DL_USAGE, "%s: has two columns `%s`", what, csv_header(t, i));
    drop_empty_rows(set);
    if (!t->rows)
        return fail(cx, DL_USAGE, "%s: holds no prompt", what);
    for (size_t i = 0; i < (t->rows + 1) * t->columns; i++) {
        const size_t length = strlen(t->cells[i]), valid = utf8_valid(t->cells[i], length);
        if (valid < length)
            return fail(cx, DL_USAGE, "%s:%zu: column %s is not UTF-8 at byte %zu", what,
                        t->lines[i / t->columns], csv_header(t, i % t->columns), valid);
    }
    DL_TRY(allocate(cx, "prompts", t->rows, sizeof *set->prompts, (void **)&set->prompts));
    for (size_t row = 0; row < t->rows; row++)
        set->prompts[row] = csv_cell(t, row, set->column);
    set->count = t->rows;
    return DL_OK;
}

static int read_builtin(dl_context *cx, size_t index, struct prompt_set *out) {
    struct buffer text = {0};
    const char *name = builtin_set_name(index);
    builtin_set_write(index, &text);
    int status = buffer_check(cx, &text, "prompt set");
    if (status == DL_OK)
        status = csv_parse(cx, name, text.data, text.length, &out->table);
    buffer_free(&text);
    snprintf(out->name, sizeof out->name, "%s", name);
    out->layers = builtin_set_layers(index);
    return status;
}

static int unknown(dl_context *cx, const char *what) {
    char names[256] = "";
    for (size_t i = 0; builtin_set_name(i); i++) {
        strncat(names, i ? ", " : "", sizeof names - strlen(names) - 1);
        strncat(names, builtin_set_name(i), sizeof names - strlen(names) - 1);
    }
    return fail(cx, DL_USAGE, "%s: no such file, and no built-in set; those are %s", what, names);
}

int prompt_set_read(dl_context *cx, const char *what, struct prompt_set *out) {
    size_t index = 0;
    memset(out, 0, sizeof *out);
    while (builtin_set_name(index) && strcmp(builtin_set_name(index), what) != 0)
        index++;
    if (builtin_set_name(index)) {
        DL_TRY(read_builtin(cx, index, out));
    } else if (file_exists(what) || dir_exists(what) || strchr(what, '/') || strchr(what, '.')) {
        name_file(out->name, what);
        out->layers = DEFAULT_LAYERS;
        DL_TRY(csv_read(cx, what, &out->table));
    } else {
        return unknown(cx, what);
    }
    return take_prompts(cx, what, out);
}

void prompt_set_free(struct prompt_set *set) {
    csv_free(&set->table);
    free(set->prompts);
    memset(set, 0, sizeof *set);
}

void prompt_set_write(const struct prompt_set *set, struct buffer *out) {
    const struct csv *t = &set->table;
    for (size_t row = 0; row <= t->rows; row++)
        csv_row(out, (const char *const *)&t->cells[row * t->columns], t->columns);
}
