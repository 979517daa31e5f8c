/* Numbers as people read them, in texts, tables and pages. */
#ifndef DLENS_OUT_NUMBER_H
#define DLENS_OUT_NUMBER_H

#include "out/buffer.h"

/* Appends how many there are and what they are or do: "0 rows", "1 row", "1 is unstable". */
void put_count(struct buffer *b, size_t count, const char *one, const char *many);

#endif
