/* CSV reading and writing (RFC 4180). See csv.h.
 *
 * The file is read whole. Fields are unquoted in place (they never grow) and end in NUL, so every
 * cell is a pointer into the text. */
#include "out/csv.h"

#include "base/file.h"
#include "out/json_writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CSV_CELLS_MAX = 1 << 24 };

enum ending { END_FIELD, END_ROW, END_TEXT };

struct scanner {
    dl_context *cx;
    const char *name;
    char *at, *end; /* *end is NUL */
    size_t line;
};

/* Steps over a line end (LF, CRLF or CR) at s->at. */
static void skip_line_end(struct scanner *s) {
    s->at += s->at[0] == '\r' && s->at[1] == '\n' ? 2 : 1;
    s->line++;
}

/* Reads a quoted field from behind its opening quote; out receives the text unquoted. Line ends
 * inside are kept as they are. */
static int scan_quoted(struct scanner *s, char **out_end) {
    char *out = s->at;
    size_t opened = s->line;
    while (s->at < s->end && (s->at[0] != '"' || s->at[1] == '"')) {
        bool carriage = s->at[0] == '\r' && s->at[1] != '\n';
        s->line += s->at[0] == '\n' || carriage ? 1 : 0;
        s->at += s->at[0] == '"' ? 1 : 0; /* the first of two quotes */
        *out++ = *s->at++;
    }
    if (s->at == s->end)
        return fail(s->cx, DL_USAGE, "%s:%zu: a quoted field is never closed; expected \"", s->name,
                    opened);
    s->at++;
    *out_end = out;
    if (s->at < s->end && !strchr(",\r\n", *s->at))
        return fail(s->cx, DL_USAGE,
                    "%s:%zu: text behind a closing quote; expected a comma or the end of the line "
                    "(a quote inside a field is written twice)",
                    s->name, s->line);
    return DL_OK;
}

static int scan_plain(struct scanner *s, char **out_end) {
    while (s->at < s->end && !strchr(",\r\n\"", *s->at))
        s->at++;
    *out_end = s->at;
    if (s->at < s->end && *s->at == '"')
        return fail(s->cx, DL_USAGE,
                    "%s:%zu: a quote inside a field that does not begin with one; put the whole "
                    "field in quotes and write the quote twice",
                    s->name, s->line);
    return DL_OK;
}

/* Reads one field and what ends it. *field is its text; the NUL behind it takes the place of the
 * closing quote, comma or line end, which has been passed by then. */
static int scan_field(struct scanner *s, char **field, enum ending *ending) {
    char *end = s->at;
    bool quoted = s->at < s->end && *s->at == '"';
    s->at += quoted ? 1 : 0;
    *field = s->at;
    DL_TRY(quoted ? scan_quoted(s, &end) : scan_plain(s, &end));
    if (s->at == s->end) {
        *ending = END_TEXT;
    } else if (*s->at == ',') {
        *ending = END_FIELD;
        s->at++;
    } else {
        *ending = END_ROW;
        skip_line_end(s);
    }
    *end = '\0';
    return DL_OK;
}

static void skip_empty_lines(struct scanner *s) {
    while (s->at < s->end && (*s->at == '\r' || *s->at == '\n'))
        skip_line_end(s);
}

/* ---- rows --------------------------------------------------------------------------------- */

/* The growing table: `cells` has room for `room` rows of csv->columns. */
struct table {
    struct csv *csv;
    size_t count, room;
};

/* Room for one more row. */
static int grow(struct scanner *s, struct table *t) {
    size_t columns = t->csv->columns, most = CSV_CELLS_MAX / columns;
    size_t room = t->room ? t->room * 2 : 64;
    room = room < most ? room : most;
    if (t->count < t->room)
        return DL_OK;
    if (t->count == most)
        return fail(s->cx, DL_USAGE, "%s:%zu: more than %d million cells", s->name, s->line,
                    CSV_CELLS_MAX / 1000000);
    char **cells = realloc(t->csv->cells, room * columns * sizeof *cells);
    if (!cells)
        return fail_memory(s->cx, s->name, room * columns * sizeof *cells);
    t->csv->cells = cells;
    size_t *lines = realloc(t->csv->lines, room * sizeof *lines);
    if (!lines)
        return fail_memory(s->cx, s->name, room * sizeof *lines);
    t->csv->lines = lines;
    t->room = room;
    return DL_OK;
}

/* The header fixes the number of columns; its fields are collected on the stack first. */
static int scan_header(struct scanner *s, struct table *t) {
    char *fields[CSV_COLUMNS_MAX];
    size_t count = 0, line = s->line;
    enum ending ending = END_FIELD;
    if (s->at == s->end)
        return fail(s->cx, DL_USAGE, "%s: empty; expected a header line with the columns' names",
                    s->name);
    while (ending == END_FIELD) {
        if (count == CSV_COLUMNS_MAX)
            return fail(s->cx, DL_USAGE, "%s:%zu: more than %d columns", s->name, line,
                        CSV_COLUMNS_MAX);
        DL_TRY(scan_field(s, &fields[count++], &ending));
    }
    t->csv->columns = count;
    DL_TRY(grow(s, t));
    memcpy(t->csv->cells, fields, count * sizeof *fields);
    t->csv->lines[t->count++] = line;
    return DL_OK;
}

static int scan_row(struct scanner *s, struct table *t) {
    size_t columns = t->csv->columns, count = 0, line = s->line;
    enum ending ending = END_FIELD;
    DL_TRY(grow(s, t));
    char **row = t->csv->cells + t->count * columns;
    while (ending == END_FIELD) {
        char *field;
        DL_TRY(scan_field(s, &field, &ending));
        if (count == columns)
            return fail(s->cx, DL_USAGE,
                        "%s:%zu: more fields than the header's %zu; a field with a comma needs "
                        "double quotes",
                        s->name, line, columns);
        row[count++] = field;
    }
    while (count < columns)
        row[count++] = s->end; /* the NUL at the end of the text: an empty field */
    t->csv->lines[t->count++] = line;
    return DL_OK;
}

static int scan_text(struct scanner *s, struct csv *csv) {
    struct table t = {csv, 0, 0};
    size_t size = (size_t)(s->end - s->at);
    const char *nul = memchr(s->at, '\0', size);
    if (nul)
        return fail(s->cx, DL_USAGE, "%s: byte %zu is NUL; expected text", s->name,
                    (size_t)(nul - s->at));
    if (size >= 3 && !memcmp(s->at, "\xEF\xBB\xBF", 3))
        s->at += 3; /* byte order mark */
    skip_empty_lines(s);
    DL_TRY(scan_header(s, &t));
    for (skip_empty_lines(s); s->at < s->end; skip_empty_lines(s))
        DL_TRY(scan_row(s, &t));
    csv->rows = t.count - 1;
    return DL_OK;
}

/* Takes over `text`, which ends in a NUL behind its `size` bytes. */
static int scan_owned(dl_context *cx, const char *name, char *text, size_t size, struct csv *out) {
    struct scanner s = {cx, name, text, text + size, 1};
    memset(out, 0, sizeof *out);
    out->text = text;
    int status = scan_text(&s, out);
    if (status)
        csv_free(out);
    return status;
}

int csv_parse(dl_context *cx, const char *name, const char *text, size_t size, struct csv *out) {
    void *copy;
    memset(out, 0, sizeof *out);
    if (size > CSV_BYTES_MAX)
        return fail(cx, DL_USAGE, "%s: %zu bytes; at most %d are read", name, size, CSV_BYTES_MAX);
    DL_TRY(allocate(cx, name, size + 1, 1, &copy));
    if (size)
        memcpy(copy, text, size);
    return scan_owned(cx, name, copy, size, out);
}

int csv_read(dl_context *cx, const char *path, struct csv *out) {
    char *text;
    size_t size;
    memset(out, 0, sizeof *out);
    DL_TRY(file_read(cx, DL_USAGE, path, CSV_BYTES_MAX, &text, &size));
    return scan_owned(cx, path, text, size, out);
}

void csv_free(struct csv *csv) {
    free(csv->cells);
    free(csv->lines);
    free(csv->text);
    memset(csv, 0, sizeof *csv);
}

/* ---- access ------------------------------------------------------------------------------- */

static int lower_ascii(int c) {
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool same_header(const char *a, const char *b) {
    size_t length = strlen(b);
    a += strspn(a, " \t");
    for (size_t i = 0; i < length; i++)
        if (lower_ascii((unsigned char)a[i]) != lower_ascii((unsigned char)b[i]))
            return false;
    return a[length + strspn(a + length, " \t")] == '\0';
}

size_t csv_column(const struct csv *csv, const char *header) {
    for (size_t i = 0; i < csv->columns; i++)
        if (same_header(csv->cells[i], header))
            return i;
    return CSV_NONE;
}

const char *csv_header(const struct csv *csv, size_t column) {
    return csv->cells[column];
}

const char *csv_cell(const struct csv *csv, size_t row, size_t column) {
    return csv->cells[(row + 1) * csv->columns + column];
}

size_t csv_line(const struct csv *csv, size_t row) {
    return csv->lines[row + 1];
}

/* ---- writing ------------------------------------------------------------------------------ */

/* A lone empty field is quoted too: an empty line would be skipped when read. */
static bool needs_quotes(const char *cell, size_t count) {
    return strpbrk(cell, ",\"\r\n") || cell[0] == ' ' || (count == 1 && !cell[0]);
}

void csv_row(struct buffer *out, const char *const *cells, size_t count) {
    for (size_t i = 0; i < count; i++) {
        bool quote = needs_quotes(cells[i], count);
        buffer_text(out, i ? "," : "");
        buffer_text(out, quote ? "\"" : "");
        for (const char *c = cells[i]; *c; c++)
            buffer_bytes(out, quote && *c == '"' ? "\"\"" : c, quote && *c == '"' ? 2 : 1);
        buffer_text(out, quote ? "\"" : "");
    }
    buffer_text(out, "\n");
}

void csv_text(struct buffer *out, const char *text, bool is_last) {
    csv_row(out, (const char *const[]){text, ""}, 2); /* "TEXT,\n" */
    if (out->failed)
        return;
    out->data[--out->length] = '\0';
    if (is_last)
        out->data[out->length - 1] = '\n';
}

void csv_number(struct buffer *out, double value, bool is_last) {
    if (!isnan(value))
        write_json_number(out, value);
    buffer_text(out, is_last ? "\n" : ",");
}
