/* Unicode as the tokenizers need it.
 *
 * Normalization form C: decompose every character canonically, put each run of combining marks in
 * the order of their combining classes (stable), then compose. utf8proc does all three, but orders
 * marks by exchanging neighbours, which takes a megabyte of marks quadratic time; so the marks are
 * ordered here, by counting, before utf8proc composes. */
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int32_t utf8_at(const char *text, size_t length, size_t *size) {
    utf8proc_int32_t code_point;
    utf8proc_ssize_t read =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &code_point);
    *size = read > 0 ? (size_t)read : 1;
    return code_point; /* -1 where it is not valid */
}

size_t utf8_valid(const char *text, size_t length) {
    size_t size, i = 0;
    for (; i < length; i += size) {
        if (utf8_at(text + i, length - i, &size) <= 0)
            break;
    }
    return i;
}

int utf8_check(dl_context *cx, const char *text, size_t length) {
    size_t valid = utf8_valid(text, length);
    if (valid == length)
        return DL_OK;
    if (text[valid] == '\0')
        return fail(cx, DL_USAGE, "text: holds a NUL at byte %zu of %zu", valid, length);
    return fail(cx, DL_USAGE, "text: not UTF-8 at byte %zu of %zu (0x%02x)", valid, length,
                (unsigned char)text[valid]);
}

void utf8_put(struct buffer *out, int32_t code_point) {
    utf8proc_uint8_t bytes[4];
    buffer_bytes(out, bytes, (size_t)utf8proc_encode_char(code_point, bytes));
}

void utf8_repair(struct buffer *out, const char *bytes, size_t length) {
    for (size_t i = 0; i < length;) {
        size_t valid = utf8_valid(bytes + i, length - i);
        buffer_bytes(out, bytes + i, valid);
        i += valid;
        if (i < length) {
            utf8_put(out, 0xfffd);
            i++;
        }
    }
}

/* ---- character classes --------------------------------------------------------------------- */

bool is_space(int32_t c) {
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

bool is_letter(int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_number(int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool is_word(int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
           category == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d;
}

void put_lower(struct buffer *out, int32_t c) {
    enum { CAPITAL_I_WITH_DOT = 0x130, DOT_ABOVE = 0x307 };
    if (c == CAPITAL_I_WITH_DOT) {
        utf8_put(out, 'i');
        utf8_put(out, DOT_ABOVE);
    } else {
        utf8_put(out, utf8proc_tolower(c));
    }
}

/* ---- normalization form C ------------------------------------------------------------------ */

/* Marks that Unicode 10 and later added. The reference (the Rust library "tokenizers") composes by
 * the tables of Unicode 9, where these have no combining class: they stay where they are, and
 * nothing moves or composes across them. */
static const struct {
    int32_t first, last;
} NEWER_MARKS[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
    {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10d27},
    {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
    {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
    {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f},
    {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
};

static bool is_newer_mark(int32_t c) {
    if (utf8proc_get_property(c)->combining_class == 0)
        return false;
    for (size_t i = 0; i < sizeof NEWER_MARKS / sizeof *NEWER_MARKS; i++) {
        if (c >= NEWER_MARKS[i].first && c <= NEWER_MARKS[i].last)
            return true;
    }
    return false;
}

static size_t combining_class(int32_t c) {
    return is_newer_mark(c) ? 0 : (size_t)utf8proc_get_property(c)->combining_class & 0xff;
}

/* Sorts n marks by combining class, keeping the order of equals: counting sort. */
static void sort_marks(int32_t *marks, size_t n, int32_t *scratch) {
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++)
        start[combining_class(marks[i]) + 1]++;
    for (size_t c = 1; c < 257; c++)
        start[c] += start[c - 1];
    for (size_t i = 0; i < n; i++)
        scratch[start[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, scratch, n * sizeof *marks);
}

/* Canonical ordering: every run of characters whose class is not 0. */
static void order_marks(int32_t *text, size_t count, int32_t *scratch) {
    for (size_t i = 0, end; i < count; i = end + 1) {
        for (end = i; end < count && combining_class(text[end]) != 0; end++)
            continue;
        if (end - i > 1)
            sort_marks(text + i, end - i, scratch);
    }
}

/* Canonical decomposition of the whole text into out; the number of code points. */
static size_t decompose(const char *text, size_t length, int32_t *out, size_t capacity) {
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    size_t count = 0, size;
    for (size_t i = 0; i < length; i += size) {
        int32_t c = utf8_at(text + i, length - i, &size);
        utf8proc_ssize_t n = utf8proc_decompose_char(
            c, out + count, (utf8proc_ssize_t)(capacity - count), options, NULL);
        if (n > 0 && (size_t)n <= capacity - count)
            count += (size_t)n;
    }
    return count;
}

/* Canonical composition in place, stretch by stretch between newer marks; the number left. */
static size_t compose(int32_t *text, size_t count) {
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    size_t kept = 0;
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && !is_newer_mark(text[end]); end++)
            continue;
        utf8proc_ssize_t n =
            utf8proc_normalize_utf32(text + begin, (utf8proc_ssize_t)(end - begin), options);
        size_t composed = n > 0 ? (size_t)n : 0;
        memmove(text + kept, text + begin, composed * sizeof *text);
        kept += composed;
    }
    return kept;
}

int normalize_nfc(dl_context *cx, const char *text, size_t length, int32_t **out, size_t *count) {
    /* A character of two bytes decomposes into three code points at most, a longer one into four:
     * twice the bytes are enough. */
    size_t capacity = 2 * length + 4;
    void *memory, *scratch;
    DL_TRY(allocate(cx, "normalizing the text", capacity, sizeof **out, &memory));
    int status = allocate(cx, "normalizing the text", capacity, sizeof **out, &scratch);
    if (status != DL_OK) {
        free(memory);
        return status;
    }
    *out = memory;
    *count = decompose(text, length, *out, capacity);
    order_marks(*out, *count, scratch);
    *count = compose(*out, *count);
    free(scratch);
    return DL_OK;
}
