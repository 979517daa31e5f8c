/* For tests that touch files: a folder of their own that is removed with all that is in it, files
 * made from text or bytes, and a context whose log is kept. */
#ifndef DLENS_TESTS_SCRATCH_H
#define DLENS_TESTS_SCRATCH_H

#include "base/context.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { SCRATCH_PATH_MAX = 4096 };

struct scratch {
    dl_context cx;
    char dir[SCRATCH_PATH_MAX / 4];
    char path[SCRATCH_PATH_MAX]; /* what scratch_path returned last */
    int lines;                   /* lines logged */
    int level;                   /* of the last one */
    char line[MESSAGE_MAX];      /* the last one */
};

static inline void scratch_log(void *user, int level, const char *line) {
    struct scratch *s = user;
    s->lines++;
    s->level = level;
    snprintf(s->line, sizeof s->line, "%s", line);
}

static inline void scratch_begin(struct scratch *s) {
    const char *base = getenv("TMPDIR");
    memset(s, 0, sizeof *s);
    s->cx.threads = 1;
    s->cx.log = scratch_log;
    s->cx.log_user = s;
    snprintf(s->dir, sizeof s->dir, "%s/dlens-test-XXXXXX", base && base[0] ? base : "/tmp");
    assert_non_null(mkdtemp(s->dir));
}

static inline void scratch_remove(const char *path) {
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL) {
        char inner[SCRATCH_PATH_MAX];
        struct stat info;
        int n = snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || n < 0 ||
            (size_t)n >= sizeof inner)
            continue;
        if (lstat(inner, &info) == 0 && S_ISDIR(info.st_mode))
            scratch_remove(inner);
        else
            unlink(inner);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

static inline void scratch_end(struct scratch *s) {
    scratch_remove(s->dir);
}

/* The same as cmocka's setup and teardown: *state is the scratch. */
static inline int scratch_setup(void **state) {
    struct scratch *s = malloc(sizeof *s);
    assert_non_null(s);
    scratch_begin(s);
    *state = s;
    return 0;
}

static inline int scratch_teardown(void **state) {
    scratch_end(*state);
    free(*state);
    return 0;
}

/* DIR/name; valid until the next call. */
static inline const char *scratch_path(struct scratch *s, const char *name) {
    snprintf(s->path, sizeof s->path, "%s/%s", s->dir, name);
    return s->path;
}

/* Makes a file of these bytes and returns its path. */
static inline const char *scratch_file(struct scratch *s, const char *name, const void *data,
                                       size_t size) {
    unlink(scratch_path(s, name)); /* some file systems wait for the disk when one is cut to 0 */
    FILE *stream = fopen(s->path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(data, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
    return s->path;
}

static inline const char *scratch_text(struct scratch *s, const char *name, const char *text) {
    return scratch_file(s, name, text, strlen(text));
}

/* Number of entries in DIR. */
static inline int scratch_count(const struct scratch *s) {
    DIR *folder = opendir(s->dir);
    int count = 0;
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count - 2;
}

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("\"%s\" does not contain \"%s\"", (text), (part));                            \
    } while (0)

/* xorshift64: the random bytes of tests that mutate files. */
static inline uint64_t scratch_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Changes 1 to 8 places of data: flips a bit, sets a byte, copies a stretch, or cuts the end off.
 * Returns the new size. */
static inline size_t scratch_mutate(uint64_t *state, unsigned char *data, size_t size) {
    size_t changes = 1 + scratch_random(state) % 8;
    for (size_t i = 0; i < changes && size > 0; i++) {
        size_t at = scratch_random(state) % size, from = scratch_random(state) % size;
        size_t room = size - (at > from ? at : from);
        switch (scratch_random(state) % 8) {
        case 0:
            size = at;
            break;
        case 1:
            memmove(data + at, data + from, scratch_random(state) % room);
            break;
        case 2:
            data[at] = (unsigned char)"0123456789[]{}\",:-.e\\"[scratch_random(state) % 21];
            break;
        case 3:
            data[at] = (unsigned char)scratch_random(state);
            break;
        default:
            data[at] ^= (unsigned char)(1u << scratch_random(state) % 8);
        }
    }
    return size;
}

#endif
