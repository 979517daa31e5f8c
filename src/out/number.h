/* Numbers as people read them, in texts, tables and pages. */
#ifndef DLENS_OUT_NUMBER_H
#define DLENS_OUT_NUMBER_H

#include "out/buffer.h"

/* Appends a number with so many decimals (up to 6), trailing zeros and all; a dash for NAN. Does
 * not depend on the locale, and what rounds to zero has no sign. */
void put_fixed(struct buffer *b, double value, int decimals);

/* The same at the right of a column so wide; more where it needs more. */
void put_column(struct buffer *b, double value, int decimals, int width);

/* A value with its interval, each six wide: "  0.12 ( -0.30 to   0.54)". */
void put_estimate(struct buffer *b, double value, double low, double high, int decimals);

/* Appends how many there are and what they are or do: "0 rows", "1 row", "1 is unstable". */
void put_count(struct buffer *b, size_t count, const char *one, const char *many);

#endif
