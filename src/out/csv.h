/* CSV (RFC 4180): fields separated by commas, rows by LF, CRLF or CR; a field in double quotes may
 * hold commas, newlines and doubled quotes. A byte order mark is dropped. As most readers do, lines
 * with nothing in them are skipped and rows shorter than the header are filled with empty fields;
 * a longer row, a quote inside an unquoted field, text behind a closing quote, an unclosed quote
 * and a NUL are errors with the line number. */
#ifndef DLENS_OUT_CSV_H
#define DLENS_OUT_CSV_H

#include "out/buffer.h"

enum { CSV_BYTES_MAX = 256 << 20, CSV_COLUMNS_MAX = 4096 };

struct csv {
    size_t rows, columns; /* rows without the header */
    char **cells;         /* (rows + 1, columns), the header first; into `text` */
    size_t *lines;        /* (rows + 1) the line in the file on which each begins, from 1 */
    char *text;
};

/* Reads a file. DL_USAGE where it is missing, too large, or not CSV; an empty file has no header
 * and is an error. Freed with csv_free. */
int csv_read(dl_context *cx, const char *path, struct csv *out);

/* The same from memory; `name` stands in messages. */
int csv_parse(dl_context *cx, const char *name, const char *text, size_t size, struct csv *out);
void csv_free(struct csv *csv);

#define CSV_NONE ((size_t)-1)

/* Index of the first column with this header (spaces around it and ASCII case are ignored), or
 * CSV_NONE. */
size_t csv_column(const struct csv *csv, const char *header);

const char *csv_header(const struct csv *csv, size_t column);
const char *csv_cell(const struct csv *csv, size_t row, size_t column); /* row from 0 */
size_t csv_line(const struct csv *csv, size_t row);                     /* for messages */

/* Appends one row, quoting where needed, with LF at its end. */
void csv_row(struct buffer *out, const char *const *cells, size_t count);

/* The same cell by cell; the last one ends the row. A number is empty where it is NAN. */
void csv_text(struct buffer *out, const char *text, bool is_last);
void csv_number(struct buffer *out, double value, bool is_last);

#endif
