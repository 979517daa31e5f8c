/* DeepFloyd's caption cleaning, step by step as diffusers' IFPipeline._clean_caption, whose regular
 * expression stands above each matcher; twice, as there.
 *
 * What is done otherwise: HTML is read by the rules of caption_html.c, with the names of entities
 * that are common (in lower case, as the text is by then), and of the library ftfy's repairs those
 * that do not guess encodings: quotes, ligatures, full-width letters, line breaks, control
 * characters, composition. */
#include "text/clean_caption.h"

#include "text/caption.h"
#include "text/caption_text.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { CHARACTERS_MAX = 10000 };

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The first of several ASCII words that stands at c[i]. */
static size_t one_of(const int32_t *c, size_t n, size_t i, const char *const *words, size_t count) {
    for (size_t k = 0; k < count; k++)
        if (caption_word(c, n, i, words[k]))
            return strlen(words[k]);
    return NO_MATCH;
}

static const char *const extensions[] = {"png", "jpg", "jpeg", "bmp", "webp",
                                         "eps", "pdf", "apk",  "mp4"};

/* ---- addresses ------------------------------------------------------------------------------- */

static bool is_host_character(int32_t c) {
    return caption_is_ascii_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

static bool is_path_character(int32_t c) {
    return caption_is_word(c) || c == '/' || c == '-';
}

/* [\w/-]*\b\/?(?!@) from `at` on: its end; 0 if it does not match. */
static size_t path_end(const int32_t *c, size_t n, size_t at) {
    for (size_t end = caption_run(c, n, at, is_path_character); end + 1 > at; end--) {
        if (!caption_boundary(c, n, end))
            continue;
        if (end < n && c[end] == '/' && !(end + 1 < n && c[end + 1] == '@'))
            return end + 1;
        if (!(end < n && c[end] == '@'))
            return end;
    }
    return 0;
}

/* [a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b\/?(?!@) */
static size_t host(const int32_t *c, size_t n, size_t i) {
    static const char *const domains[] = {"com", "co", "ru", "net", "org", "edu", "gov", "it"};
    for (size_t dot = caption_run(c, n, i, is_host_character); dot > i + 1; dot--) {
        const size_t at = dot - 1; /* of the point */
        if (c[at] != '.')
            continue;
        for (size_t k = 0; k < COUNT(domains); k++) {
            const size_t length = caption_word(c, n, dot, domains[k]);
            const size_t end = length ? path_end(c, n, dot + length) : 0;
            if (end)
                return end - i;
        }
    }
    return NO_MATCH;
}

/* :(?:\/{1,3}|[a-zA-Z0-9%]) at c[i]: its length. */
static size_t scheme_end(const int32_t *c, size_t n, size_t i) {
    size_t slashes = 0;
    if (i + 1 >= n || c[i] != ':')
        return NO_MATCH;
    while (slashes < 3 && i + 1 + slashes < n && c[i + 1 + slashes] == '/')
        slashes++;
    if (slashes)
        return 1 + slashes;
    const int32_t next = c[i + 1];
    return caption_is_ascii_letter(next) || (next >= '0' && next <= '9') || next == '%' ? 2 : 0;
}

/* \b(?:SCHEME:(?:\/{1,3}|[a-zA-Z0-9%])|HOST) */
static size_t address(const int32_t *c, size_t n, size_t i, const char *scheme, bool secure) {
    if (!caption_boundary(c, n, i))
        return NO_MATCH;
    size_t length = caption_word(c, n, i, scheme);
    length += length && secure && i + length < n && c[i + length] == 's';
    const size_t end = length ? scheme_end(c, n, i + length) : NO_MATCH;
    return end ? length + end : host(c, n, i);
}

static size_t http_address(const int32_t *c, size_t n, size_t i) {
    return address(c, n, i, "http", true);
}

static size_t www_address(const int32_t *c, size_t n, size_t i) {
    return address(c, n, i, "www", false);
}

/* @[\w\d]+\b */
static size_t nickname(const int32_t *c, size_t n, size_t i) {
    const size_t end = c[i] == '@' ? caption_run(c, n, i + 1, caption_is_word) : 0;
    return end > i + 1 ? end - i : NO_MATCH;
}

/* \d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3} */
static size_t ip_address(const int32_t *c, size_t n, size_t i) {
    size_t at = i;
    for (int part = 0; part < 4; part++) {
        size_t end = caption_run(c, n, at, caption_is_digit);
        if (part == 3 && end > at + 3)
            end = at + 3;
        if (end == at || end > at + 3)
            return NO_MATCH;
        if (part < 3 && (end >= n || c[end++] != '.'))
            return NO_MATCH;
        at = end;
    }
    return at - i;
}

/* [\S]+\.(?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4) */
static bool is_no_space(int32_t c) {
    return !caption_is_space(c);
}

static size_t filename(const int32_t *c, size_t n, size_t i) {
    for (size_t end = caption_run(c, n, i, is_no_space); end > i + 1; end--)
        if (c[end - 1] == '.' && one_of(c, n, end, extensions, COUNT(extensions)))
            return end + one_of(c, n, end, extensions, COUNT(extensions)) - i;
    return NO_MATCH;
}

/* ---- characters ------------------------------------------------------------------------------ */

/* The blocks from CJK Strokes to CJK Unified Ideographs. */
static bool is_cjk(int32_t c) {
    return c >= 0x31c0 && c <= 0x9fff;
}

static bool is_dash(int32_t c) {
    static const int32_t dashes[] = {0x2d,   0x58a,  0x5be,  0x1400, 0x1806, 0x2e17,
                                     0x2e1a, 0x2e3a, 0x2e3b, 0x2e40, 0x301c, 0x3030,
                                     0x30a0, 0xfe31, 0xfe32, 0xfe58, 0xfe63, 0xff0d};
    for (size_t i = 0; i < COUNT(dashes); i++)
        if (c == dashes[i])
            return true;
    return c >= 0x2010 && c <= 0x2015;
}

static size_t dashes(const int32_t *c, size_t n, size_t i) {
    return caption_run(c, n, i, is_dash) - i;
}

static bool is_double_quote(int32_t c) {
    return c == '`' || c == 0xb4 || c == 0xab || c == 0xbb || c == 0x201c || c == 0x201d ||
           c == 0xa8;
}

static bool is_single_quote(int32_t c) {
    return c == 0x2018 || c == 0x2019;
}

static bool is_quote(int32_t c) {
    return c == '"' || c == '\'';
}

static size_t quotes(const int32_t *c, size_t n, size_t i) { /* ["']{2,} */
    const size_t length = caption_run(c, n, i, is_quote) - i;
    return length >= 2 ? length : NO_MATCH;
}

static bool is_point(int32_t c) {
    return c == '.';
}

static size_t points(const int32_t *c, size_t n, size_t i) { /* [\.]{2,} */
    const size_t length = caption_run(c, n, i, is_point) - i;
    return length >= 2 ? length : NO_MATCH;
}

static bool is_bad_punctuation(int32_t c) {
    static const int32_t bad[] = {'#',  0xae, 0x2022, 0xa9, 0x2122, '&', '@', 0xb7, 0xba,
                                  0xbd, 0xbe, 0xbf,   0xa1, 0xa7,   '~', ')', '(',  ']',
                                  '[',  '}',  '{',    '|',  '\\',   '/', '*'};
    for (size_t i = 0; i < COUNT(bad); i++)
        if (c == bad[i])
            return true;
    return false;
}

static size_t bad_punctuation(const int32_t *c, size_t n, size_t i) {
    return caption_run(c, n, i, is_bad_punctuation) - i;
}

static size_t quot_entity(const int32_t *c, size_t n, size_t i) { /* &quot;? */
    const size_t length = caption_word(c, n, i, "&quot");
    return length ? length + caption_word(c, n, i + length, ";") : NO_MATCH;
}

static size_t amp_entity(const int32_t *c, size_t n, size_t i) { /* &amp */
    return caption_word(c, n, i, "&amp");
}

static size_t person(const int32_t *c, size_t n, size_t i) {
    return caption_word(c, n, i, "<person>");
}

static size_t escaped_newline(const int32_t *c, size_t n, size_t i) { /* \\n */
    return caption_word(c, n, i, "\\n");
}

static size_t spaces(const int32_t *c, size_t n, size_t i) { /* \s+ */
    return caption_run(c, n, i, caption_is_space) - i;
}

/* \s+SIGN\s+ */
static size_t lonely(const int32_t *c, size_t n, size_t i, int32_t sign) {
    const size_t at = caption_run(c, n, i, caption_is_space);
    if (at == i || at >= n || c[at] != sign)
        return NO_MATCH;
    const size_t end = caption_run(c, n, at + 1, caption_is_space);
    return end > at + 1 ? end - i : NO_MATCH;
}

static size_t lonely_point(const int32_t *c, size_t n, size_t i) { /* \s+\.\s+ */
    return lonely(c, n, i, '.');
}

static size_t lonely_colon(const int32_t *c, size_t n, size_t i) { /* \b\s+\:\s+ */
    return caption_boundary(c, n, i) ? lonely(c, n, i, ':') : NO_MATCH;
}

static bool is_joiner(int32_t c) { /* (?:\-|\_) */
    return c == '-' || c == '_';
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* \d:\d\d\s+$ */
static size_t article(const int32_t *c, size_t n, size_t i) {
    if (n - i < 5 || !caption_is_digit(c[i]) || c[i + 1] != ':' || !caption_is_digit(c[i + 2]) ||
        !caption_is_digit(c[i + 3]) || !caption_is_space(c[i + 4]))
        return NO_MATCH;
    return caption_run(c, n, i + 4, caption_is_space) == n ? n - i : NO_MATCH;
}

/* The length of a run of at least `least` and at most `most` digits that ends a word; 0 if none. */
static size_t number(const int32_t *c, size_t n, size_t i, size_t least, size_t most) {
    const size_t end = caption_run(c, n, i, caption_is_digit), length = end - i;
    return length >= least && length <= most && caption_boundary(c, n, end) ? length : NO_MATCH;
}

static size_t short_tag(const int32_t *c, size_t n, size_t i) { /* #\d{1,3}\b */
    const size_t length = c[i] == '#' ? number(c, n, i + 1, 1, 3) : NO_MATCH;
    return length ? length + 1 : NO_MATCH;
}

static size_t long_tag(const int32_t *c, size_t n, size_t i) { /* #\d{5,}\b */
    const size_t length = c[i] == '#' ? number(c, n, i + 1, 5, n) : NO_MATCH;
    return length ? length + 1 : NO_MATCH;
}

static size_t long_number(const int32_t *c, size_t n, size_t i) { /* \b\d{6,}\b */
    return caption_boundary(c, n, i) ? number(c, n, i, 6, n) : NO_MATCH;
}

/* The ends of the runs of letters and digits by turns, from i on; at most `count` of them. */
static void turns(const int32_t *c, size_t n, size_t i, bool letters, size_t *ends, size_t count) {
    for (size_t k = 0; k < count; k++, letters = !letters) {
        ends[k] = caption_run(c, n, i, letters ? caption_is_ascii_letter : caption_is_digit);
        i = ends[k];
    }
}

static size_t code_1(const int32_t *c, size_t n, size_t i) { /* \b[a-zA-Z]{1,3}\d{3,15}\b */
    size_t end[2];
    turns(c, n, i, true, end, 2);
    const size_t letters = end[0] - i, digits = end[1] - end[0];
    return caption_boundary(c, n, i) && letters >= 1 && letters <= 3 && digits >= 3 &&
                   digits <= 15 && caption_boundary(c, n, end[1])
               ? end[1] - i
               : NO_MATCH;
}

static size_t code_2(const int32_t *c, size_t n, size_t i) { /* \b[a-zA-Z]+\d+[a-zA-Z]+\b */
    size_t end[3];
    turns(c, n, i, true, end, 3);
    return caption_boundary(c, n, i) && end[0] > i && end[1] > end[0] && end[2] > end[1] &&
                   caption_boundary(c, n, end[2])
               ? end[2] - i
               : NO_MATCH;
}

static size_t code_3(const int32_t *c, size_t n, size_t i) { /* \b\d+[a-zA-Z]+\d+\b */
    size_t end[3];
    turns(c, n, i, false, end, 3);
    return caption_boundary(c, n, i) && end[0] > i && end[1] > end[0] && end[2] > end[1] &&
                   caption_boundary(c, n, end[2])
               ? end[2] - i
               : NO_MATCH;
}

static bool is_code_character(int32_t c) { /* [a-zA-Z\d] */
    return caption_is_ascii_letter(c) || caption_is_digit(c);
}

/* \b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b */
static size_t code_4(const int32_t *c, size_t n, size_t i) {
    size_t end[5];
    turns(c, n, i, false, end, 5);
    const size_t last = caption_run(c, n, end[4], is_code_character);
    return caption_boundary(c, n, i) && end[1] > end[0] && end[2] > end[1] && end[3] > end[2] &&
                   end[4] > end[3] && caption_boundary(c, n, last)
               ? last - i
               : NO_MATCH;
}

/* \d+\.?\d* from i on: its end. */
static size_t decimal(const int32_t *c, size_t n, size_t i) {
    const size_t whole = caption_run(c, n, i, caption_is_digit);
    if (whole == i || whole >= n || c[whole] != '.')
        return whole;
    return caption_run(c, n, whole + 1, caption_is_digit);
}

/* \b\d+\.?\d*[xх×]\d+\.?\d*\b */
static size_t dimensions(const int32_t *c, size_t n, size_t i) {
    const size_t sign = decimal(c, n, i);
    if (!caption_boundary(c, n, i) || sign == i || sign >= n ||
        (c[sign] != 'x' && c[sign] != 0x445 && c[sign] != 0xd7))
        return NO_MATCH;
    const size_t whole = caption_run(c, n, sign + 1, caption_is_digit);
    const size_t end = decimal(c, n, sign + 1);
    if (whole == sign + 1)
        return NO_MATCH;
    return caption_boundary(c, n, end)     ? end - i
           : caption_boundary(c, n, whole) ? whole - i
                                           : NO_MATCH;
}

/* ---- words of shops -------------------------------------------------------------------------- */

/* (WORD\s+)? at `at`: behind it, or `at`. */
static size_t optional_word(const int32_t *c, size_t n, size_t at, const char *word) {
    const size_t length = caption_word(c, n, at, word);
    const size_t end = caption_run(c, n, at + length, caption_is_space);
    return length && end > at + length ? end : at;
}

/* (worldwide\s+)?(free\s+)?shipping */
static size_t shipping(const int32_t *c, size_t n, size_t i) {
    const size_t at = optional_word(c, n, optional_word(c, n, i, "worldwide"), "free");
    const size_t length = at < n ? caption_word(c, n, at, "shipping") : NO_MATCH;
    return length ? at + length - i : NO_MATCH;
}

/* A white space and then the word, at `at`: the length. */
static size_t spaced_word(const int32_t *c, size_t n, size_t at, const char *word) {
    const size_t length = at < n && caption_is_space(c[at]) ? caption_word(c, n, at + 1, word) : 0;
    return length ? length + 1 : NO_MATCH;
}

/* (free\s)?download(\sfree)? */
static size_t download(const int32_t *c, size_t n, size_t i) {
    size_t at = i + caption_word(c, n, i, "free");
    at = at > i && at < n && caption_is_space(c[at]) ? at + 1 : i;
    const size_t length = at < n ? caption_word(c, n, at, "download") : NO_MATCH;
    return length ? at + length + spaced_word(c, n, at + length, "free") - i : NO_MATCH;
}

/* \bclick\b\s(?:for|on)\s\w+ */
static size_t click(const int32_t *c, size_t n, size_t i) {
    size_t at = i + caption_word(c, n, i, "click");
    if (at == i || !caption_boundary(c, n, i))
        return NO_MATCH;
    const size_t on = spaced_word(c, n, at, "on"), length = on ? on : spaced_word(c, n, at, "for");
    at += length;
    if (!length || at >= n || !caption_is_space(c[at]))
        return NO_MATCH;
    const size_t end = caption_run(c, n, at + 1, caption_is_word);
    return end > at + 1 ? end - i : NO_MATCH;
}

/* \b(?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4)(\simage[s]?)? */
static size_t file_type(const int32_t *c, size_t n, size_t i) {
    const size_t length = one_of(c, n, i, extensions, COUNT(extensions));
    if (!length || !caption_boundary(c, n, i))
        return NO_MATCH;
    const size_t image = spaced_word(c, n, i + length, "image"), end = i + length + image;
    return length + image + (image && end < n && c[end] == 's');
}

/* \bpage\s+\d+\b */
static size_t page(const int32_t *c, size_t n, size_t i) {
    const size_t length = caption_boundary(c, n, i) ? caption_word(c, n, i, "page") : NO_MATCH;
    const size_t at = caption_run(c, n, i + length, caption_is_space);
    const size_t digits = length && at > i + length ? number(c, n, at, 1, n) : NO_MATCH;
    return digits ? at + digits - i : NO_MATCH;
}

/* ---- repairs --------------------------------------------------------------------------------- */

/* ftfy's table of ligatures, in lower case. */
static const char *ligature(int32_t c) {
    static const char *const letters[] = {"ff", "fi", "fl", "ffi", "ffl", "st", "st"};
    return c >= 0xfb00 && c <= 0xfb06 ? letters[c - 0xfb00]
           : c == 0x133               ? "ij"
           : c == 0x149               ? "'n"
           : c == 0x1c9               ? "lj"
           : c == 0x1cc               ? "nj"
           : c == 0x1f3               ? "dz"
           : c == 0x1c6               ? "d\xc5\xbe"
                                      : NULL;
}

/* One character as ftfy leaves it; 0: it goes. */
static int32_t repaired(int32_t c) {
    if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b))
        return '\'';
    if (c >= 0x201c && c <= 0x201f)
        return '"';
    if (c >= 0xff01 && c <= 0xff5e) /* full width */
        return c - 0xff01 + '!';
    if (c == 0x3000)
        return ' ';
    if (c == 0x85 || c == 0x2028 || c == 0x2029 || c == '\r')
        return '\n';
    if (c < ' ' && c != '\t' && c != '\n' && c != '\f')
        return 0;
    if (c == 0x7f || c == 0xfeff || (c >= 0x206a && c <= 0x206f) || (c >= 0xfff9 && c <= 0xfffc))
        return 0;
    return c;
}

static int compose(dl_context *cx, struct caption_text *t) {
    struct buffer text = {0};
    int32_t *composed = NULL;
    size_t count = 0, made = 0;
    for (size_t i = 0; i < t->count; i++)
        utf8_put(&text, t->c[i]);
    int status = buffer_check(cx, &text, "caption");
    if (status == DL_OK && text.length)
        status = normalize_nfc(cx, text.data, text.length, &composed, &count);
    for (size_t i = 0; i < count && status == DL_OK; i++)
        caption_put(t, &made, composed[i]);
    caption_turn(t, made);
    buffer_free(&text);
    free(composed);
    return status;
}

/* ftfy.fix_text without its guesses at encodings; references are decoded where there is no <. */
static int repair(dl_context *cx, struct caption_text *t) {
    size_t made = 0;
    bool tags = false;
    for (size_t i = 0; i < t->count; i++)
        tags = tags || t->c[i] == '<';
    if (!tags)
        caption_unescape(t);
    for (size_t i = 0; i < t->count; i++) {
        const char *letters = ligature(t->c[i]);
        const int32_t c = repaired(t->c[i]);
        if (t->c[i] == '\r' && i + 1 < t->count && t->c[i + 1] == '\n')
            continue;
        for (size_t at = 0, size; letters && letters[at]; at += size)
            caption_put(t, &made, utf8_at(letters + at, strlen(letters) - at, &size));
        if (!letters && c)
            caption_put(t, &made, c);
    }
    caption_turn(t, made);
    return compose(cx, t);
}

/* ---- the ends -------------------------------------------------------------------------------- */

/* (\D[,\./])\b becomes \1 and a space. */
static void space_punctuation(struct caption_text *t) {
    const int32_t *c = t->c;
    size_t made = 0;
    for (size_t i = 0; i < t->count;) {
        const bool sign =
            i + 1 < t->count && (c[i + 1] == ',' || c[i + 1] == '.' || c[i + 1] == '/');
        if (!sign || caption_is_digit(c[i]) || !caption_boundary(c, t->count, i + 2)) {
            caption_put(t, &made, c[i++]);
            continue;
        }
        caption_put(t, &made, c[i]);
        caption_put(t, &made, c[i + 1]);
        caption_put(t, &made, ' ');
        i += 2;
    }
    caption_turn(t, made);
}

static bool is_any(int32_t c, const char *set) {
    return c > 0 && c < 0x80 && strchr(set, (int)c);
}

/* Quotes around all, a sign before or behind all, and a text that is but .something. */
static void trim(struct caption_text *t) {
    if (t->count >= 3 && is_quote(t->c[0]) && is_quote(t->c[t->count - 1])) {
        t->count -= 2;
        memmove(t->c, t->c + 1, t->count * sizeof *t->c);
    }
    if (t->count && is_any(t->c[0], "'_,-:;"))
        memmove(t->c, t->c + 1, --t->count * sizeof *t->c);
    if (t->count && is_any(t->c[t->count - 1], "'_,-:+"))
        t->count--;
    if (t->count >= 2 && t->c[0] == '.' && caption_run(t->c, t->count, 1, is_no_space) == t->count)
        t->count = 0;
    caption_strip(t);
}

/* ---- all of it ------------------------------------------------------------------------------- */

struct step {
    caption_matcher match;
    const char *replacement;
};

static void run_steps(struct caption_text *t, const struct step *steps, size_t count) {
    for (size_t i = 0; i < count; i++)
        caption_replace(t, steps[i].match, steps[i].replacement);
}

/* strip().lower() */
static int lower(dl_context *cx, struct caption_text *t) {
    struct buffer text = {0}, out = {0};
    size_t made = 0, size;
    for (size_t i = 0; i < t->count; i++)
        utf8_put(&text, t->c[i]);
    if (text.length)
        caption_lower_strip(&out, text.data, text.length);
    out.failed = out.failed || text.failed;
    for (size_t at = 0; at < out.length; at += size)
        caption_put(t, &made, utf8_at(out.data + at, out.length - at, &size));
    caption_turn(t, made);
    int status = buffer_check(cx, &out, "caption");
    buffer_free(&text);
    buffer_free(&out);
    return status;
}

static void split_joined(struct caption_text *t) { /* this-is-my-cute-cat */
    size_t joiners = 0;
    for (size_t i = 0; i < t->count; i++)
        joiners += is_joiner(t->c[i]);
    if (joiners > 3)
        caption_map(t, is_joiner, ' ');
}

static int clean_once(dl_context *cx, struct caption_text *t) {
    static const struct step addresses[] = {
        {person, "person"}, {http_address, ""}, {www_address, ""}};
    static const struct step signs[] = {
        {quot_entity, ""},      {amp_entity, ""}, {ip_address, " "}, {article, ""},
        {escaped_newline, " "}, {short_tag, ""},  {long_tag, ""},    {long_number, ""},
        {filename, ""},         {quotes, "\""},   {points, " "},     {bad_punctuation, " "},
        {lonely_point, " "}};
    static const struct step words[] = {{code_1, ""},     {code_2, ""},        {code_3, ""},
                                        {shipping, ""},   {download, ""},      {click, ""},
                                        {file_type, ""},  {page, ""},          {code_4, " "},
                                        {dimensions, ""}, {lonely_colon, ": "}};
    static const struct step end[] = {{spaces, " "}};
    DL_TRY(caption_unquote(cx, t));
    DL_TRY(lower(cx, t));
    run_steps(t, addresses, COUNT(addresses));
    caption_strip_html(t);
    caption_replace(t, nickname, "");
    caption_map(t, is_cjk, 0);
    caption_replace(t, dashes, "-");
    caption_map(t, is_double_quote, '"');
    caption_map(t, is_single_quote, '\'');
    run_steps(t, signs, COUNT(signs));
    split_joined(t);
    DL_TRY(repair(cx, t));
    caption_unescape(t);
    caption_unescape(t);
    run_steps(t, words, COUNT(words));
    space_punctuation(t);
    run_steps(t, end, COUNT(end));
    trim(t);
    return DL_OK;
}

int clean_caption(dl_context *cx, struct buffer *out, const char *text, size_t length) {
    struct caption_text t = {0};
    size_t characters = 0, size;
    for (size_t at = 0; at < length; at++)
        characters += ((unsigned char)text[at] & 0xc0) != 0x80;
    if (characters > CHARACTERS_MAX)
        return fail(cx, DL_USAGE,
                    "--clean-caption: the prompt has %zu characters, at most %d are "
                    "cleaned",
                    characters, CHARACTERS_MAX);
    t.capacity = 4 * characters + 64; /* lower case, ligatures and spaces behind signs add some */
    int status = allocate(cx, "caption", t.capacity, sizeof *t.c, (void **)&t.c);
    if (status == DL_OK)
        status = allocate(cx, "caption", t.capacity, sizeof *t.other, (void **)&t.other);
    for (size_t at = 0; at < length && status == DL_OK; at += size)
        t.c[t.count++] = utf8_at(text + at, length - at, &size);
    for (int round = 0; round < 2 && status == DL_OK; round++)
        status = clean_once(cx, &t);
    for (size_t i = 0; i < t.count && status == DL_OK; i++)
        utf8_put(out, t.c[i]);
    free(t.c);
    free(t.other);
    return status;
}
