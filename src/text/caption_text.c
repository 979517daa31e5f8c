/* Matching and replacing in captions. See caption_text.h. */
#include "text/caption_text.h"

#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

bool caption_is_word(int32_t c) {
    return c == '_' || is_letter(c) || is_number(c);
}

bool caption_is_digit(int32_t c) {
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}

bool caption_is_space(int32_t c) {
    return is_space(c) || (c >= 0x1c && c <= 0x1f);
}

bool caption_is_ascii_letter(int32_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool caption_boundary(const int32_t *c, size_t count, size_t i) {
    const bool before = i > 0 && caption_is_word(c[i - 1]);
    return before != (i < count && caption_is_word(c[i]));
}

size_t caption_word(const int32_t *c, size_t count, size_t i, const char *word) {
    const size_t length = strlen(word);
    if (length > count - i)
        return NO_MATCH;
    for (size_t k = 0; k < length; k++)
        if (c[i + k] != word[k])
            return NO_MATCH;
    return length;
}

size_t caption_run(const int32_t *c, size_t count, size_t i, bool (*is)(int32_t c)) {
    while (i < count && is(c[i]))
        i++;
    return i;
}

void caption_put(struct caption_text *t, size_t *made, int32_t c) {
    if (*made < t->capacity)
        t->other[(*made)++] = c;
}

void caption_turn(struct caption_text *t, size_t made) {
    int32_t *old = t->c;
    t->c = t->other;
    t->other = old;
    t->count = made;
}

void caption_replace(struct caption_text *t, caption_matcher match, const char *replacement) {
    size_t made = 0;
    for (size_t i = 0; i < t->count;) {
        const size_t length = match(t->c, t->count, i);
        if (!length) {
            caption_put(t, &made, t->c[i++]);
            continue;
        }
        for (const char *r = replacement; *r; r++)
            caption_put(t, &made, *r);
        i += length;
    }
    caption_turn(t, made);
}

void caption_map(struct caption_text *t, bool (*is)(int32_t c), int32_t with) {
    size_t made = 0;
    for (size_t i = 0; i < t->count; i++) {
        const int32_t c = is(t->c[i]) ? with : t->c[i];
        if (c)
            caption_put(t, &made, c);
    }
    caption_turn(t, made);
}

void caption_strip(struct caption_text *t) {
    size_t first = 0;
    while (first < t->count && caption_is_space(t->c[first]))
        first++;
    while (t->count > first && caption_is_space(t->c[t->count - 1]))
        t->count--;
    t->count -= first;
    memmove(t->c, t->c + first, t->count * sizeof *t->c);
}
