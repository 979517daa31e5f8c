/* Numbers as people read them. See number.h. */
#include "out/number.h"

#include <math.h>

void put_fixed(struct buffer *b, double value, int decimals) {
    long long scale = 1;
    for (int i = 0; i < decimals; i++)
        scale *= 10;
    if (!(fabs(value) < 1e12)) { /* NAN, too */
        buffer_text(b, "\xE2\x80\x93");
        return;
    }
    const long long whole = llround(fabs(value) * (double)scale);
    buffer_format(b, "%s%lld", value < 0 && whole ? "-" : "", whole / scale);
    if (decimals)
        buffer_format(b, ".%0*lld", decimals, whole % scale);
}

void put_column(struct buffer *b, double value, int decimals, int width) {
    struct buffer text = {0};
    if (isnan(value))
        buffer_text(&text, "-"); /* one byte wide, as the columns are counted */
    else
        put_fixed(&text, value, decimals);
    buffer_format(b, "%*s", width, text.data ? text.data : "");
    b->failed = b->failed || text.failed;
    buffer_free(&text);
}

void put_estimate(struct buffer *b, double value, double low, double high, int decimals) {
    enum { WIDTH = 6 };
    put_column(b, value, decimals, WIDTH);
    buffer_text(b, " (");
    put_column(b, low, decimals, WIDTH);
    buffer_text(b, " to ");
    put_column(b, high, decimals, WIDTH);
    buffer_text(b, ")");
}

void put_count(struct buffer *b, size_t count, const char *one, const char *many) {
    buffer_format(b, "%zu %s", count, count == 1 ? one : many);
}
