/* Numbers as people read them. See number.h. */
#include "out/number.h"

void put_count(struct buffer *b, size_t count, const char *one, const char *many) {
    buffer_format(b, "%zu %s", count, count == 1 ? one : many);
}
