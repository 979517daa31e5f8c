/* The words of a prompt; see words.h. */
#include "lens/words.h"

#include "out/buffer.h"

#include <stdlib.h>
#include <string.h>

static const char end_mark[] = "</w>", start_mark[] = "\xE2\x96\x81", byte_mark[] = "\xC4\xA0";

enum { SPECIAL_GROUPS = 3 };

static bool ends_word(const char *piece) {
    const size_t length = strlen(piece), mark = sizeof end_mark - 1;
    return length >= mark && strcmp(piece + length - mark, end_mark) == 0;
}

/* Bytes of the mark that begins a word; 0: there is none. */
static size_t start_length(const char *piece) {
    if (strncmp(piece, start_mark, sizeof start_mark - 1) == 0)
        return sizeof start_mark - 1;
    return strncmp(piece, byte_mark, sizeof byte_mark - 1) == 0 ? sizeof byte_mark - 1 : 0;
}

/* Special tokens are written <in angle brackets>. T5's <unk> is not one: it stands for letters. */
static bool is_special(const char *piece) {
    const size_t length = strlen(piece);
    return length > 2 && piece[0] == '<' && piece[length - 1] == '>' && !ends_word(piece) &&
           strcmp(piece, "<unk>") != 0;
}

/* Appends a piece without its marks to a word's name. */
static void add_piece(struct buffer *name, const char *piece) {
    const size_t start = start_length(piece), length = strlen(piece);
    buffer_bytes(name, piece + start,
                 length - start - (ends_word(piece) ? sizeof end_mark - 1 : 0));
}

/* The next group, named. */
static int add_group(dl_context *cx, struct words *w, const char *name) {
    w->names[w->groups] = strdup(name);
    if (!w->names[w->groups])
        return fail_memory(cx, "words", strlen(name) + 1);
    w->groups++;
    return DL_OK;
}

/* Words from the tokens [first, end). */
static int find_words(dl_context *cx, const struct tokens *t, size_t first, size_t end,
                      struct words *w) {
    bool marked_ends = false;
    struct buffer name = {0};
    int status = DL_OK;
    for (size_t i = first; i < end; i++)
        marked_ends = marked_ends || ends_word(t->pieces[i]);
    for (size_t i = first; i < end && status == DL_OK; i++) {
        w->group[i] = w->groups;
        add_piece(&name, t->pieces[i]);
        const bool last = i + 1 == end || is_special(t->pieces[i]) ||
                          is_special(t->pieces[i + 1]) ||
                          (marked_ends ? ends_word(t->pieces[i])
                                       : start_length(t->pieces[i + 1]) > 0 && name.length > 0);
        if (!last)
            continue;
        status = buffer_check(cx, &name, "words");
        if (status == DL_OK)
            status = add_group(cx, w, name.data ? name.data : "");
        buffer_free(&name);
        memset(&name, 0, sizeof name);
    }
    buffer_free(&name);
    w->count = w->groups;
    return status;
}

/* Puts tokens [first, end) into a special group, where there are such. */
static int add_special(dl_context *cx, struct words *w, const char *name, size_t first,
                       size_t end) {
    if (first >= end)
        return DL_OK;
    for (size_t i = first; i < end; i++)
        w->group[i] = w->groups;
    return add_group(cx, w, name);
}

int words_find(dl_context *cx, const struct tokens *tokens, size_t T, struct words *out) {
    const size_t n = tokens->count < T ? tokens->count : T;
    memset(out, 0, sizeof *out);
    out->tokens = n;
    out->padded = T;
    const size_t most = n + SPECIAL_GROUPS;
    DL_TRY(allocate(cx, "words", most, sizeof *out->names, (void **)&out->names));
    DL_TRY(allocate(cx, "words", most, sizeof *out->sizes, (void **)&out->sizes));
    DL_TRY(allocate(cx, "words", T, sizeof *out->group, (void **)&out->group));
    out->has_start = n > 1 && is_special(tokens->pieces[0]);
    out->has_end = n > out->has_start && is_special(tokens->pieces[n - 1]);
    const size_t first = out->has_start ? 1 : 0, end = out->has_end ? n - 1 : n;
    DL_TRY(find_words(cx, tokens, first, end, out));
    DL_TRY(add_special(cx, out, "(start)", 0, first));
    DL_TRY(add_special(cx, out, "(end)", end, n));
    DL_TRY(add_special(cx, out, "(padding)", n, T));
    for (size_t i = 0; i < T; i++)
        out->sizes[out->group[i]]++;
    return DL_OK;
}

void words_free(struct words *words) {
    for (size_t i = 0; words->names && i < words->groups; i++)
        free(words->names[i]);
    free(words->names);
    free(words->group);
    free(words->sizes);
    memset(words, 0, sizeof *words);
}
