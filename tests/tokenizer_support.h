/* What the tests of tokenizers share: files, strings with the ids that the reference gives them
 * (the format is clip_bpe.py's), long texts, damaged folders. */
#ifndef DLENS_TESTS_TOKENIZER_SUPPORT_H
#define DLENS_TESTS_TOKENIZER_SUPPORT_H

#include "scratch.h"
#include "text/tokenizer.h"

#include <time.h>
#include <zlib.h>

/* A whole file, unpacked if it is gzipped, in fresh memory with a NUL behind it. */
static inline char *read_whole(const char *path, size_t *size) {
    size_t capacity = 1 << 16;
    char *data = malloc(capacity);
    gzFile file = gzopen(path, "rb");
    if (!file)
        fail_msg("%s: cannot be opened", path);
    *size = 0;
    for (int n; (n = gzread(file, data + *size, (unsigned)(capacity - *size - 1))) > 0;) {
        *size += (size_t)n;
        if (capacity - *size < 2)
            data = realloc(data, capacity *= 2);
    }
    gzclose(file);
    data[*size] = '\0';
    return data;
}

/* Copies a file, unpacked, into the scratch folder under the name `name`. */
static inline void copy_into(struct scratch *s, const char *from, const char *name) {
    size_t size;
    char *data = read_whole(from, &size);
    scratch_file(s, name, data, size);
    free(data);
}

static inline struct tokenizer *open_folder(struct scratch *s, const char *dir,
                                            const char *class_name) {
    struct tokenizer *t;
    if (tokenizer_open(&s->cx, dir, class_name, &t) != DL_OK)
        fail_msg("%s", s->cx.message);
    return t;
}

static inline uint16_t u16_at(const char *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint16_t)(b[0] | b[1] << 8);
}

/* Compares one record; returns what is behind it. Strings with a NUL are refused, and counted. */
static inline const char *check_record(struct scratch *s, const struct tokenizer *t,
                                       size_t max_length, const char *record, size_t *skipped) {
    size_t length = u16_at(record);
    const char *text = record + 2, *ids = text + length;
    size_t count = u16_at(ids);
    struct tokens tokens;
    if (memchr(text, '\0', length)) {
        (*skipped)++;
        return ids + 2 + 2 * count;
    }
    if (tokenize(&s->cx, t, text, length, max_length, &tokens) != DL_OK)
        fail_msg("%s", s->cx.message);
    bool same = tokens.count == count;
    for (size_t i = 0; i < count && same; i++)
        same = tokens.ids[i] == u16_at(ids + 2 + 2 * i);
    if (!same)
        fail_msg("other ids for \"%.*s\"", (int)length, text);
    assert_true(!max_length || !tokens.cut || tokens.count == max_length);
    tokens_free(&tokens);
    return ids + 2 + 2 * count;
}

/* All strings of a file, of which at least `least` count; cut at max_length, or 0: not. Returns how
 * many were refused for a NUL. */
static inline size_t check_strings(struct scratch *s, const struct tokenizer *t, const char *path,
                                   size_t max_length, size_t least) {
    size_t size, skipped = 0;
    char *data = read_whole(path, &size);
    size_t count = u16_at(data) + ((size_t)u16_at(data + 2) << 16);
    const char *record = data + 4;
    for (size_t i = 0; i < count; i++)
        record = check_record(s, t, max_length, record, &skipped);
    assert_ptr_equal(record, data + size);
    assert_true(count - skipped >= least);
    free(data);
    return skipped;
}

/* A megabyte of any unit is done in seconds also where a quadratic step would take hours. */
static inline void check_megabytes(struct scratch *s, const struct tokenizer *t,
                                   const char *const *units, size_t count) {
    const size_t size = 1 << 20;
    char *text = malloc(size);
    for (size_t u = 0; u < count; u++) {
        size_t unit = strlen(units[u]), length = size / unit * unit;
        struct tokens tokens;
        clock_t start = clock();
        for (size_t i = 0; i < length; i++)
            text[i] = units[u][i % unit];
        assert_int_equal(tokenize(&s->cx, t, text, length, 77, &tokens), DL_OK);
        tokens_free(&tokens);
        if ((double)(clock() - start) / CLOCKS_PER_SEC > 30)
            fail_msg("a megabyte of \"%s\" took too long", units[u]);
    }
    free(text);
}

/* Opens what is in the scratch folder; if it opens, a text must go through. */
static inline int try_folder(struct scratch *s, const char *class_name, const char *text) {
    struct tokenizer *t;
    struct tokens tokens;
    int status = tokenizer_open(&s->cx, s->dir, class_name, &t);
    assert_true((status == DL_OK) == (t != NULL));
    if (t && tokenize(&s->cx, t, text, strlen(text), 9, &tokens) == DL_OK) {
        for (size_t i = 0; i < tokens.count; i++)
            assert_true(tokens.ids[i] >= 0 && (size_t)tokens.ids[i] < tokenizer_vocab_size(t));
        tokens_free(&tokens);
    }
    tokenizer_close(t);
    return status;
}

/* Random damage to a file of the scratch folder, so many times: whatever opens must work. */
static inline void check_damage(struct scratch *s, const char *name, int rounds, uint64_t *random,
                                int (*try_open)(struct scratch *)) {
    size_t size;
    char *data = read_whole(scratch_path(s, name), &size);
    unsigned char *damaged = malloc(size);
    for (int i = 0; i < rounds; i++) {
        memcpy(damaged, data, size);
        scratch_file(s, name, damaged, scratch_mutate(random, damaged, size));
        int status = try_open(s);
        assert_true(status == DL_OK || status == DL_MODEL);
    }
    scratch_file(s, name, data, size);
    free(damaged);
    free(data);
}

#endif
