/* A growing text with sticky failure, and the escapes of what is written: UTF-8, HTML, URL,
 * base64. See buffer.h. */
#include "out/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_free(struct buffer *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}

int buffer_check(dl_context *cx, const struct buffer *b, const char *what) {
    return b->failed ? fail_memory(cx, what, b->capacity) : DL_OK;
}

/* Makes room for `more` bytes and a NUL behind what is there. The capacity doubles, so that
 * appending n bytes one by one costs O(n). */
static bool reserve(struct buffer *b, size_t more) {
    size_t need, capacity = b->capacity ? b->capacity : 256;
    if (b->failed || !size_add(b->length, more, &need) || !size_add(need, 1, &need)) {
        b->failed = true;
        return false;
    }
    if (need <= b->capacity)
        return true;
    while (capacity < need)
        if (!size_mul(capacity, 2, &capacity))
            capacity = need;
    char *data = realloc(b->data, capacity);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void buffer_bytes(struct buffer *b, const void *data, size_t size) {
    if (!reserve(b, size))
        return;
    if (size)
        memcpy(b->data + b->length, data, size);
    b->length += size;
    b->data[b->length] = '\0';
}

void buffer_text(struct buffer *b, const char *text) {
    buffer_bytes(b, text, strlen(text));
}

void buffer_format(struct buffer *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        b->failed = true;
        return;
    }
    if (!reserve(b, (size_t)length))
        return;
    va_start(args, format);
    vsnprintf(b->data + b->length, (size_t)length + 1, format, args);
    va_end(args);
    b->length += (size_t)length;
}

/* ---- UTF-8 -------------------------------------------------------------------------------- */

/* Unicode, table 3-7: the first byte tells the length and the range of the second byte, which
 * rules out overlong forms, surrogates and what lies above U+10FFFF. */
uint32_t utf8_next(const char **text) {
    const unsigned char *s = (const unsigned char *)*text;
    const uint32_t replacement = 0xFFFD;
    unsigned char low = 0x80, high = 0xBF;
    int more;
    uint32_t c = s[0];
    if (c == 0)
        return 0;
    *text += 1;
    if (c < 0x80)
        return c;
    if (c < 0xC2 || c > 0xF4)
        return replacement;
    more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : low;
    high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : high;
    c &= 0x3Fu >> more;
    for (int i = 1; i <= more; i++) {
        if (s[i] < low || s[i] > high)
            return replacement; /* the NUL at the end stops here as well */
        c = c << 6 | (s[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *text += more;
    return c;
}

static void put_code_point(struct buffer *b, uint32_t c) {
    unsigned char s[4];
    if (c < 0x80) {
        s[0] = (unsigned char)c;
        buffer_bytes(b, s, 1);
    } else if (c < 0x800) {
        s[0] = (unsigned char)(0xC0 | c >> 6);
        s[1] = (unsigned char)(0x80 | (c & 0x3F));
        buffer_bytes(b, s, 2);
    } else if (c < 0x10000) {
        s[0] = (unsigned char)(0xE0 | c >> 12);
        s[1] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
        s[2] = (unsigned char)(0x80 | (c & 0x3F));
        buffer_bytes(b, s, 3);
    } else {
        s[0] = (unsigned char)(0xF0 | c >> 18);
        s[1] = (unsigned char)(0x80 | (c >> 12 & 0x3F));
        s[2] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
        s[3] = (unsigned char)(0x80 | (c & 0x3F));
        buffer_bytes(b, s, 4);
    }
}

/* C0 and C1 controls, which neither PNG's text chunks nor HTML allow. */
static bool is_control(uint32_t c) {
    return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
}

void buffer_utf8(struct buffer *b, const char *text) {
    for (uint32_t c = utf8_next(&text); c; c = utf8_next(&text))
        if (!is_control(c))
            put_code_point(b, c);
}

/* ---- HTML, URLs, base64 ------------------------------------------------------------------- */

void buffer_html(struct buffer *b, const char *text) {
    for (uint32_t c = utf8_next(&text); c; c = utf8_next(&text)) {
        if (c == '&')
            buffer_text(b, "&amp;");
        else if (c == '<')
            buffer_text(b, "&lt;");
        else if (c == '>')
            buffer_text(b, "&gt;");
        else if (c == '"')
            buffer_text(b, "&quot;");
        else if (c == '\'')
            buffer_text(b, "&#39;");
        else if (!is_control(c))
            put_code_point(b, c);
    }
}

/* RFC 3986: unreserved characters stand for themselves. */
void buffer_url(struct buffer *b, const char *path) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    for (; *path; path++) {
        if (strchr(plain, *path))
            buffer_bytes(b, path, 1);
        else
            buffer_format(b, "%%%02X", (unsigned)(unsigned char)*path);
    }
}

/* RFC 4648, section 4. */
void buffer_base64(struct buffer *b, const void *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *s = data;
    size_t length;
    if (!size_add(size / 3, 1, &length) || !size_mul(length, 4, &length) || !reserve(b, length)) {
        b->failed = true;
        return;
    }
    char *out = b->data + b->length;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)s[i] << 16;
        bits |= left > 1 ? (uint32_t)s[i + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)s[i + 2] : 0;
        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        *out++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[bits & 63] : '=';
    }
    *out = '\0';
    b->length = (size_t)(out - b->data);
}
