/* URLs' and HTML's ways of writing characters, taken out of captions.
 * Source: RFC 3986, section 2.1; HTML Living Standard, sections 13.2.5 and 13.5. */
#include "text/caption_text.h"

#include "out/buffer.h"
#include "text/unicode.h"

#include <string.h>

/* ---- %XX ------------------------------------------------------------------------------------- */

static int hex_digit(int32_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The byte that %XX at c[i] stands for; -1: none. */
static int escaped_byte(const int32_t *c, size_t count, size_t i) {
    if (c[i] != '%' || count - i < 3 || hex_digit(c[i + 1]) < 0 || hex_digit(c[i + 2]) < 0)
        return -1;
    return hex_digit(c[i + 1]) * 16 + hex_digit(c[i + 2]);
}

int caption_unquote(dl_context *cx, struct caption_text *t) {
    struct buffer bytes = {0};
    size_t made = 0, size;
    for (size_t i = 0; i < t->count;) {
        bytes.length = 0;
        for (int byte; i < t->count && (byte = escaped_byte(t->c, t->count, i)) >= 0; i += 3) {
            const char one = (char)byte;
            buffer_bytes(&bytes, &one, 1);
        }
        if (bytes.length) { /* as UTF-8, what is none replaced */
            struct buffer text = {0};
            utf8_repair(&text, bytes.data, bytes.length);
            for (size_t at = 0; at < text.length; at += size)
                caption_put(t, &made, utf8_at(text.data + at, text.length - at, &size));
            bytes.failed = bytes.failed || text.failed;
            buffer_free(&text);
        } else {
            caption_put(t, &made, t->c[i] == '+' ? ' ' : t->c[i]);
            i++;
        }
    }
    int status = buffer_check(cx, &bytes, "caption");
    buffer_free(&bytes);
    caption_turn(t, made);
    return status;
}

/* ---- character references -------------------------------------------------------------------- */

/* Names in lower case, as captions have been put into it. Those of Latin-1 need no semicolon. */
static const struct {
    const char *name;
    int32_t c;
} entities[] = {
    {"amp", '&'},       {"lt", '<'},        {"gt", '>'},        {"quot", '"'},
    {"nbsp", 0xa0},     {"iexcl", 0xa1},    {"cent", 0xa2},     {"pound", 0xa3},
    {"curren", 0xa4},   {"yen", 0xa5},      {"brvbar", 0xa6},   {"sect", 0xa7},
    {"uml", 0xa8},      {"copy", 0xa9},     {"ordf", 0xaa},     {"laquo", 0xab},
    {"not", 0xac},      {"shy", 0xad},      {"reg", 0xae},      {"macr", 0xaf},
    {"deg", 0xb0},      {"plusmn", 0xb1},   {"sup2", 0xb2},     {"sup3", 0xb3},
    {"acute", 0xb4},    {"micro", 0xb5},    {"para", 0xb6},     {"middot", 0xb7},
    {"cedil", 0xb8},    {"sup1", 0xb9},     {"ordm", 0xba},     {"raquo", 0xbb},
    {"frac14", 0xbc},   {"frac12", 0xbd},   {"frac34", 0xbe},   {"iquest", 0xbf},
    {"times", 0xd7},    {"szlig", 0xdf},    {"agrave", 0xe0},   {"aacute", 0xe1},
    {"acirc", 0xe2},    {"atilde", 0xe3},   {"auml", 0xe4},     {"aring", 0xe5},
    {"aelig", 0xe6},    {"ccedil", 0xe7},   {"egrave", 0xe8},   {"eacute", 0xe9},
    {"ecirc", 0xea},    {"euml", 0xeb},     {"igrave", 0xec},   {"iacute", 0xed},
    {"icirc", 0xee},    {"iuml", 0xef},     {"eth", 0xf0},      {"ntilde", 0xf1},
    {"ograve", 0xf2},   {"oacute", 0xf3},   {"ocirc", 0xf4},    {"otilde", 0xf5},
    {"ouml", 0xf6},     {"divide", 0xf7},   {"oslash", 0xf8},   {"ugrave", 0xf9},
    {"uacute", 0xfa},   {"ucirc", 0xfb},    {"uuml", 0xfc},     {"yacute", 0xfd},
    {"thorn", 0xfe},    {"yuml", 0xff}, /* from here on only with one */
    {"apos", '\''},     {"oelig", 0x153},   {"scaron", 0x161},  {"fnof", 0x192},
    {"circ", 0x2c6},    {"tilde", 0x2dc},   {"alpha", 0x3b1},   {"beta", 0x3b2},
    {"gamma", 0x3b3},   {"delta", 0x3b4},   {"epsilon", 0x3b5}, {"lambda", 0x3bb},
    {"mu", 0x3bc},      {"pi", 0x3c0},      {"sigma", 0x3c3},   {"omega", 0x3c9},
    {"ensp", 0x2002},   {"emsp", 0x2003},   {"thinsp", 0x2009}, {"zwnj", 0x200c},
    {"zwj", 0x200d},    {"ndash", 0x2013},  {"mdash", 0x2014},  {"lsquo", 0x2018},
    {"rsquo", 0x2019},  {"sbquo", 0x201a},  {"ldquo", 0x201c},  {"rdquo", 0x201d},
    {"bdquo", 0x201e},  {"dagger", 0x2020}, {"bull", 0x2022},   {"hellip", 0x2026},
    {"permil", 0x2030}, {"prime", 0x2032},  {"lsaquo", 0x2039}, {"rsaquo", 0x203a},
    {"euro", 0x20ac},   {"trade", 0x2122},  {"larr", 0x2190},   {"uarr", 0x2191},
    {"rarr", 0x2192},   {"darr", 0x2193},   {"harr", 0x2194},   {"minus", 0x2212},
    {"infin", 0x221e},  {"asymp", 0x2248},  {"ne", 0x2260},     {"le", 0x2264},
    {"ge", 0x2265},     {"spades", 0x2660}, {"clubs", 0x2663},  {"hearts", 0x2665},
    {"diams", 0x2666},
};
enum { ENTITIES = sizeof entities / sizeof *entities, WITHOUT_SEMICOLON = 4 + 66 };

/* The character of &#N; or &#xN;: what Windows wrote where Unicode has control characters is
 * mended, what is none is U+FFFD. */
static int32_t numbered(int32_t n) {
    static const int32_t windows[32] = {
        0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
        0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};
    if (n >= 0x80 && n < 0xa0)
        return windows[n - 0x80];
    return n == 0 || n > 0x10ffff || (n >= 0xd800 && n < 0xe000) ? 0xfffd : n;
}

static size_t numeric_reference(const int32_t *c, size_t count, size_t i, int32_t *out) {
    const bool hex = i + 2 < count && (c[i + 2] == 'x' || c[i + 2] == 'X');
    const int base = hex ? 16 : 10;
    size_t at = i + (hex ? 3 : 2);
    const size_t first = at;
    int32_t n = 0;
    for (; at < count && hex_digit(c[at]) >= 0 && hex_digit(c[at]) < base; at++)
        n = n > 0x10ffff ? n : n * base + hex_digit(c[at]);
    if (at == first)
        return NO_MATCH;
    *out = numbered(n);
    return at + (at < count && c[at] == ';') - i;
}

/* The character reference at c[i], an &: its length, 0 if there is none. */
static size_t reference(const int32_t *c, size_t count, size_t i, int32_t *out) {
    size_t best = NO_MATCH;
    if (i + 1 < count && c[i + 1] == '#')
        return numeric_reference(c, count, i, out);
    for (size_t e = 0; e < ENTITIES; e++) {
        const size_t length = caption_word(c, count, i + 1, entities[e].name);
        const bool closed = length && i + 1 + length < count && c[i + 1 + length] == ';';
        if (!length || (!closed && e >= WITHOUT_SEMICOLON) || length + 1 + closed <= best)
            continue;
        best = length + 1 + closed;
        *out = entities[e].c;
    }
    return best;
}

/* Puts the reference's character, or the & itself; the length taken. */
static size_t put_reference(struct caption_text *t, size_t *made, size_t i) {
    int32_t c = 0;
    const size_t length = reference(t->c, t->count, i, &c);
    caption_put(t, made, length ? c : '&');
    return length ? length : 1;
}

void caption_unescape(struct caption_text *t) {
    size_t made = 0;
    for (size_t i = 0; i < t->count;) {
        if (t->c[i] == '&')
            i += put_reference(t, &made, i);
        else
            caption_put(t, &made, t->c[i++]);
    }
    caption_turn(t, made);
}

/* ---- tags ------------------------------------------------------------------------------------ */

/* Where `text` stands at or behind i; count if nowhere. */
static size_t find(const int32_t *c, size_t count, size_t i, const char *text) {
    while (i < count && !caption_word(c, count, i, text))
        i++;
    return i;
}

/* The end of the tag that begins before i, quoted attributes passed over; 0 if it has none. */
static size_t tag_end(const int32_t *c, size_t count, size_t i) {
    int32_t quote = 0;
    for (; i < count; i++) {
        if (quote)
            quote = c[i] == quote ? 0 : quote;
        else if ((c[i] == '"' || c[i] == '\'') && c[i - 1] == '=')
            quote = c[i];
        else if (c[i] == '>')
            return i + 1;
    }
    return 0;
}

/* The end of an element whose tag ends at `end`, if its content is no text; else `end`. */
static size_t silent_end(const int32_t *c, size_t count, size_t i, size_t end) {
    static const char *const silent[] = {"script", "style", "template"};
    for (size_t k = 0; k < sizeof silent / sizeof *silent; k++) {
        const size_t length = caption_word(c, count, i + 1, silent[k]);
        if (!length || caption_is_word(c[i + 1 + length]))
            continue;
        while (end < count &&
               !(caption_word(c, count, end, "</") && caption_word(c, count, end + 2, silent[k])))
            end++;
        const size_t close = end < count ? tag_end(c, count, end + 1) : count;
        return close ? close : count;
    }
    return end;
}

/* The length of the markup at c[i], a <; 0 where it is plain text, as it is when it has no end. */
static size_t markup(const int32_t *c, size_t count, size_t i) {
    const int32_t next = i + 1 < count ? c[i + 1] : 0;
    size_t end = 0;
    if (caption_word(c, count, i, "<!--")) {
        end = find(c, count, i + 4, "-->");
        return end < count ? end + 3 - i : NO_MATCH;
    }
    if (caption_is_ascii_letter(next))
        end = tag_end(c, count, i + 1);
    else if (next == '/' || next == '!' || next == '?')
        end = find(c, count, i + 2, ">") + 1;
    if (end == 0 || end > count)
        return NO_MATCH;
    return silent_end(c, count, i, end) - i;
}

/* The end of the plain text that begins with the < at c[i]: of a tag whose quotes are not closed,
 * what follows up to the next >. */
static size_t plain_end(const int32_t *c, size_t count, size_t i) {
    if (i + 1 >= count || !caption_is_ascii_letter(c[i + 1]))
        return i + 1;
    const size_t close = find(c, count, i + 1, ">");
    return close < count ? close + 1 : i + 1;
}

static bool is_name(int32_t c) {
    return caption_is_ascii_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

/* A reference in HTML text, put as Python's html.parser and Beautiful Soup have it: it must be
 * followed by something; an unknown name stays, without its semicolon. The length taken. */
static size_t put_html_reference(struct caption_text *t, size_t *made, size_t i) {
    const int32_t *c = t->c;
    int32_t character = 0;
    size_t end = caption_run(c, t->count, i + 1, is_name), known;
    if (i + 1 < t->count && c[i + 1] == '#') {
        known = numeric_reference(c, t->count, i, &character);
        const bool ends = known && c[i + known - 1] == ';';
        if (known && (ends || (i + known < t->count && hex_digit(c[i + known]) < 0))) {
            caption_put(t, made, character);
            return known;
        }
    }
    if (end == i + 1 || !caption_is_ascii_letter(c[i + 1]) || end == t->count) {
        if (end != t->count || end != i + 2) /* but of two characters at the end, the & goes */
            caption_put(t, made, '&');
        return 1;
    }
    known = reference(c, t->count, i, &character);
    const bool closed = c[end] == ';';
    if (known && i + known - (c[i + known - 1] == ';') == end) {
        caption_put(t, made, character);
    } else {
        for (size_t k = i; k < end; k++)
            caption_put(t, made, c[k]);
    }
    return end + closed - i;
}

void caption_strip_html(struct caption_text *t) {
    size_t made = 0;
    for (size_t i = 0; i < t->count;) {
        const size_t length = t->c[i] == '<' ? markup(t->c, t->count, i) : NO_MATCH;
        if (length)
            i += length;
        else if (t->c[i] == '<')
            for (const size_t end = plain_end(t->c, t->count, i); i < end; i++)
                caption_put(t, &made, t->c[i]);
        else if (t->c[i] == '&')
            i += put_html_reference(t, &made, i);
        else
            caption_put(t, &made, t->c[i++]);
    }
    caption_turn(t, made);
}
