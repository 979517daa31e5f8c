/* Added tokens: finding the longest of many strings at each place of a text.
 *
 * The patterns are kept sorted and are followed like a trie (vocabulary.h). Rules and their order
 * as in the Rust library "tokenizers" (added_vocabulary.rs). */
#include "text/added_tokens.h"

#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { CONTENT_MAX = 1024, ADDED_MAX = 8192 };

/* ---- the list ------------------------------------------------------------------------------ */

static struct added_token *find(const struct added_tokens *tokens, const char *content) {
    for (size_t i = 0; i < tokens->count; i++) {
        if (strcmp(tokens->items[i].content, content) == 0)
            return &tokens->items[i];
    }
    return NULL;
}

const struct added_token *added_find(const struct added_tokens *tokens, const char *content) {
    return find(tokens, content);
}

static int check_content(dl_context *cx, const char *content, size_t length) {
    if (length > CONTENT_MAX)
        return fail(cx, DL_MODEL, "added token \"%.60s...\": has %zu bytes, at most %d are allowed",
                    content, length, CONTENT_MAX);
    if (utf8_valid(content, length) != length)
        return fail(cx, DL_MODEL, "added token of %zu bytes: not UTF-8", length);
    return DL_OK;
}

int added_define(dl_context *cx, struct added_tokens *tokens, const struct added_token *token) {
    size_t length = strlen(token->content);
    if (length == 0)
        return DL_OK;
    struct added_token *old = find(tokens, token->content);
    if (old) {
        const char *content = old->content;
        *old = *token;
        old->content = content;
        return DL_OK;
    }
    DL_TRY(check_content(cx, token->content, length));
    if (tokens->count == ADDED_MAX)
        return fail(cx, DL_MODEL, "added tokens: more than %d", ADDED_MAX);
    if (tokens->count == tokens->capacity) {
        size_t capacity = tokens->capacity ? 2 * tokens->capacity : 16;
        struct added_token *items = realloc(tokens->items, capacity * sizeof *items);
        if (!items)
            return fail_memory(cx, "added tokens", capacity * sizeof *items);
        tokens->items = items;
        tokens->capacity = capacity;
    }
    void *copy;
    DL_TRY(allocate(cx, "added tokens", length + 1, 1, &copy));
    memcpy(copy, token->content, length);
    tokens->items[tokens->count] = *token;
    tokens->items[tokens->count++].content = copy;
    return DL_OK;
}

void added_free(struct added_tokens *tokens) {
    for (size_t i = 0; i < tokens->count; i++)
        free((char *)tokens->items[i].content);
    free(tokens->items);
    *tokens = (struct added_tokens){0};
}

/* ---- the matcher --------------------------------------------------------------------------- */

int matcher_add(dl_context *cx, struct matcher *m, const char *pattern, size_t length,
                size_t index) {
    if (length == 0)
        return DL_OK;
    struct piece *patterns = realloc(m->patterns, (m->count + 1) * sizeof *patterns);
    if (!patterns)
        return fail_memory(cx, "added tokens", (m->count + 1) * sizeof *patterns);
    m->patterns = patterns;
    void *copy;
    DL_TRY(allocate(cx, "added tokens", length + 1, 1, &copy));
    memcpy(copy, pattern, length);
    m->patterns[m->count++] = (struct piece){copy, length, (int32_t)index};
    return DL_OK;
}

/* By bytes; of equal patterns the one defined first comes first. */
static int compare_patterns(const void *a, const void *b) {
    const struct piece *p = a, *q = b;
    size_t shorter = p->length < q->length ? p->length : q->length;
    int order = memcmp(p->text, q->text, shorter);
    if (order == 0)
        order = (p->length > q->length) - (p->length < q->length);
    return order ? order : (p->id > q->id) - (p->id < q->id);
}

void matcher_sort(struct matcher *m) {
    if (m->count > 1)
        qsort(m->patterns, m->count, sizeof *m->patterns, compare_patterns);
}

void matcher_free(struct matcher *m) {
    for (size_t i = 0; i < m->count; i++)
        free(m->patterns[i].text);
    free(m->patterns);
    *m = (struct matcher){0};
}

/* The longest pattern at the start of text; NULL if there is none. */
static const struct piece *longest_at(const struct matcher *m, const char *text, size_t length) {
    const struct piece *longest = NULL;
    struct piece_range range = {0, m->count, 0};
    for (size_t i = 0; i < length; i++) {
        if (!narrow(m->patterns, &range, (unsigned char)text[i]))
            break;
        if (m->patterns[range.begin].length == i + 1)
            longest = &m->patterns[range.begin];
    }
    return longest;
}

/* ---- the neighbours of a match ------------------------------------------------------------- */

/* The start of the character that ends before `end` > 0. */
static size_t character_before(const char *text, size_t end) {
    size_t i = end - 1;
    while (i > 0 && ((unsigned char)text[i] & 0xc0) == 0x80)
        i--;
    return i;
}

static bool inside_word(const char *text, size_t length, size_t begin, size_t end) {
    size_t size;
    if (begin > 0) {
        size_t before = character_before(text, begin);
        if (is_word(utf8_at(text + before, begin - before, &size)))
            return true;
    }
    return end < length && is_word(utf8_at(text + end, length - end, &size));
}

static size_t spaces_before(const char *text, size_t begin, size_t lowest) {
    size_t size;
    while (begin > lowest) {
        size_t before = character_before(text, begin);
        if (before < lowest || !is_space(utf8_at(text + before, begin - before, &size)))
            break;
        begin = before;
    }
    return begin;
}

static size_t spaces_after(const char *text, size_t end, size_t length) {
    size_t size;
    while (end < length && is_space(utf8_at(text + end, length - end, &size)))
        end += size;
    return end;
}

/* ---- walking ------------------------------------------------------------------------------- */

/* The next token at or after walk->at. */
static bool find_token(const struct matcher_walk *walk, struct span *found) {
    for (size_t i = walk->at; i < walk->length;) {
        const struct piece *p = longest_at(walk->matcher, walk->text + i, walk->length - i);
        if (!p) {
            i++;
            continue;
        }
        const struct added_token *token = &walk->matcher->tokens->items[p->id];
        size_t begin = i, end = i + p->length;
        i = end;
        if (token->single_word && inside_word(walk->text, walk->length, begin, end))
            continue;
        if (token->lstrip)
            begin = spaces_before(walk->text, begin, walk->at);
        if (token->rstrip)
            end = spaces_after(walk->text, end, walk->length);
        *found = (struct span){begin, end, token};
        return true;
    }
    return false;
}

bool matcher_next(struct matcher_walk *walk, struct span *span) {
    if (!walk->pending) {
        if (walk->at == walk->length)
            return false;
        if (!find_token(walk, &walk->found))
            walk->found = (struct span){walk->length, walk->length, NULL};
        if (walk->found.begin > walk->at) {
            *span = (struct span){walk->at, walk->found.begin, NULL};
            walk->at = walk->found.begin;
            walk->pending = walk->found.token != NULL;
            return true;
        }
    }
    *span = walk->found;
    walk->at = walk->found.end;
    walk->pending = false;
    return true;
}
