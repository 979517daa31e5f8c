/* Small changes to English captions: articles, words exchanged. See caption.h. */
#include "study/caption.h"

#include <string.h>

static int lower(char c) {
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

static bool is_letter(char c) {
    return (lower(c) >= 'a' && lower(c) <= 'z') || (unsigned char)c >= 0x80;
}

const char *article(const char *word) {
    const int first = lower(word[0]);
    const bool vowel = first && strchr("aeio", first);
    /* an umbrella, an urn; a unicorn, a used car, a ukulele */
    const bool short_u = first == 'u' && strchr("mnrgpbdl", lower(word[1])) &&
                         !(lower(word[1]) == 'n' && lower(word[2]) == 'i');
    return vowel || short_u ? "an" : "a";
}

/* Ends in s as plurals do: flowers, but not bus, grass or octopus. */
static bool is_plural(const char *noun) {
    const size_t n = strlen(noun);
    return n > 3 && lower(noun[n - 1]) == 's' && !strchr("us", lower(noun[n - 2]));
}

void put_noun(struct buffer *out, const char *noun) {
    if (!is_plural(noun))
        buffer_format(out, "%s ", article(noun));
    buffer_text(out, noun);
}

/* ---- exchanging words ------------------------------------------------------------------------ */

/* Where `word` stands in `text` by itself; NULL: nowhere. */
static const char *find_word(const char *text, const char *word) {
    const size_t n = strlen(word);
    for (const char *at = text; n && *at; at++) {
        size_t same = 0;
        while (same < n && lower(at[same]) == lower(word[same]))
            same++;
        if (same == n && (at == text || !is_letter(at[-1])) && !is_letter(at[n]))
            return at;
    }
    return NULL;
}

/* Takes an article off the end of what is written and puts the one that `word` needs. */
static void correct_article(struct buffer *out, const char *word) {
    const char *end = out->data ? out->data + out->length : NULL;
    size_t n = 0;
    if (out->failed || !end)
        return;
    if (out->length >= 2 && lower(end[-2]) == 'a' && end[-1] == ' ')
        n = 2;
    else if (out->length >= 3 && lower(end[-3]) == 'a' && lower(end[-2]) == 'n' && end[-1] == ' ')
        n = 3;
    if (!n || (out->length > n && is_letter(end[-(ptrdiff_t)n - 1])))
        return;
    const bool capital = end[-(ptrdiff_t)n] == 'A';
    out->length -= n;
    buffer_format(out, "%s ", article(word));
    if (capital && !out->failed)
        out->data[out->length - strlen(article(word)) - 1] = 'A';
}

/* A word at the start of a caption that began with a capital gets one as well. */
static void put_word(struct buffer *out, const char *word, bool capital) {
    const size_t at = out->length;
    correct_article(out, word);
    const size_t start = out->length;
    buffer_text(out, word);
    if (capital && at == 0 && !out->failed && word[0] >= 'a' && word[0] <= 'z')
        out->data[start] = (char)(word[0] - 'a' + 'A');
}

bool put_exchanged(struct buffer *out, const char *text, const char *from, const char *to,
                   bool back) {
    const char *at = find_word(text, from), *other = back ? find_word(text, to) : NULL;
    const size_t from_size = strlen(from), to_size = strlen(to);
    const bool capital = text[0] >= 'A' && text[0] <= 'Z';
    struct buffer made = {0};
    if (!at || (back && !other))
        return false;
    const bool later = back && other < at;
    const char *first = later ? other : at, *second = later ? at : other;
    const size_t first_size = later ? to_size : from_size,
                 second_size = later ? from_size : to_size;
    if (back && first + first_size > second)
        return false;
    buffer_bytes(&made, text, (size_t)(first - text));
    put_word(&made, later ? from : to, capital);
    text = first + first_size;
    if (back) {
        buffer_bytes(&made, text, (size_t)(second - text));
        put_word(&made, later ? to : from, capital);
        text = second + second_size;
    }
    buffer_text(&made, text);
    out->failed = out->failed || made.failed;
    buffer_bytes(out, made.data, made.length);
    buffer_free(&made);
    return true;
}
