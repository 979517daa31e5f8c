/* Lower case with the one rule of Unicode that looks at a letter's neighbours, the final sigma, and
 * stripping of white space.
 * Source: The Unicode Standard, section 3.13, table 3-17; CPython, Objects/unicodectype.c. */
#include "text/caption.h"

#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

enum { CAPITAL_SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2 };

/* What str.strip() takes off: White_Space and the four separators of ASCII. */
static bool is_python_space(int32_t c) {
    return is_space(c) || (c >= 0x1c && c <= 0x1f);
}

/* Property Cased: letters of these categories, and whatever else has a partner in the other case.
 */
static bool is_cased(int32_t c) {
    const utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT || utf8proc_isupper(c) || utf8proc_islower(c);
}

/* Property Case_Ignorable: marks, modifiers, format characters, and punctuation inside words. */
static bool is_case_ignorable(int32_t c) {
    static const int32_t inside_words[] = {'\'',   '.',    ':',    0xb7,   0x387,  0x55f,
                                           0x5f4,  0x2018, 0x2019, 0x2024, 0x2027, 0xfe13,
                                           0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
    for (size_t i = 0; i < sizeof inside_words / sizeof *inside_words; i++)
        if (c == inside_words[i])
            return true;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return false;
    }
}

/* Whether the character behind text[0..length), case-ignorable ones passed over, is cased. */
static bool cased_follows(const char *text, size_t length) {
    for (size_t at = 0, size; at < length; at += size) {
        const int32_t c = utf8_at(text + at, length - at, &size);
        if (!is_case_ignorable(c))
            return is_cased(c);
    }
    return false;
}

void caption_lower_strip(struct buffer *out, const char *text, size_t length) {
    bool after_cased = false; /* the last character that is not case-ignorable was cased */
    size_t end = out->length; /* of what is no trailing space */
    const size_t start = out->length;
    for (size_t at = 0, size; at < length; at += size) {
        const int32_t c = utf8_at(text + at, length - at, &size);
        if (is_python_space(c) && out->length == start)
            continue;
        if (c == CAPITAL_SIGMA && after_cased &&
            !cased_follows(text + at + size, length - at - size))
            utf8_put(out, FINAL_SIGMA);
        else
            put_lower(out, c);
        if (!is_case_ignorable(c))
            after_cased = is_cased(c);
        if (!is_python_space(c))
            end = out->length;
    }
    if (!out->failed && out->length > end) {
        out->length = end;
        out->data[end] = '\0';
    }
}
