/* JSON numbers and strings. See json_writer.h. */
#include "out/json_writer.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void write_json_number(struct buffer *b, double value) {
    char text[40];
    if (!isfinite(value)) {
        buffer_text(b, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    char *point = strchr(text, localeconv()->decimal_point[0]);
    if (point)
        *point = '.';
    buffer_text(b, text);
}

void write_json_string(struct buffer *b, const char *text) {
    buffer_text(b, "\"");
    for (const char *start = text; *start; start = text) {
        const uint32_t c = utf8_next(&text);
        if (c == '"' || c == '\\')
            buffer_format(b, "\\%c", (int)c);
        else if (c < 0x20 || c == 0x7F || c == 0xFFFD)
            buffer_format(b, "\\u%04x", (unsigned)c);
        else
            buffer_bytes(b, start, (size_t)(text - start));
    }
    buffer_text(b, "\"");
}

void write_json_member(struct buffer *b, const char *key, double value) {
    buffer_format(b, ",\"%s\":", key);
    write_json_number(b, value);
}

void write_json_pair(struct buffer *b, const char *key, double first, double second) {
    buffer_format(b, ",\"%s\":[", key);
    write_json_number(b, first);
    buffer_text(b, ",");
    write_json_number(b, second);
    buffer_text(b, "]");
}
