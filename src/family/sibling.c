/* Finding the later stages of a cascade by name. See sibling.h. */
#include "family/sibling.h"

#include "base/file.h"
#include "base/json.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Whether the character at `at` is the number of a first stage: an I between other characters than
 * letters and digits, or a 1 that is no part of a larger number or of a version. */
static bool is_first_numeral(const char *name, size_t at) {
    const char before = at ? name[at - 1] : '-', after = name[at + 1] ? name[at + 1] : '-';
    if (name[at] == '1')
        return !is_digit(before) && before != '.' && !is_digit(after) && after != '.';
    return (name[at] == 'I' || name[at] == 'i') && !is_alphanumeric(before) &&
           !is_alphanumeric(after);
}

int sibling_rank(const char *first, const char *name, int number) {
    for (size_t at = 0; first[at]; at++) {
        char numeral[4] = "";
        if (!is_first_numeral(first, at) || strncmp(first, name, at) != 0)
            continue;
        if (first[at] == '1')
            numeral[0] = (char)('0' + number);
        else
            memset(numeral, first[at], (size_t)number);
        const char *rest = name + at;
        const size_t length = strlen(numeral);
        if (strncmp(rest, numeral, length) != 0 || is_alphanumeric(rest[length]))
            continue;
        if (strcmp(rest + length, first + at + 1) == 0)
            return 3;
        return strncmp(rest + length, "-L-", 3) == 0 ? 2 : 1;
    }
    return 0;
}

/* Whether DIR is a model of this pipeline. What is wrong with it, if anything, is not asked. */
static bool is_pipeline(dl_context *cx, const char *dir, const char *pipeline) {
    struct config index;
    char *path = path_join(dir, "model_index.json");
    bool is =
        path && file_exists(path) && config_open(cx, dir, "model_index.json", &index) == DL_OK;
    free(path);
    if (is) {
        is = strcmp(config_string(&index, "_class_name", ""), pipeline) == 0;
        config_end(&index);
    }
    return is;
}

/* Takes `name` for *best if it suits better. */
static int consider(dl_context *cx, const char *parent, const char *name, int rank,
                    const char *pipeline, char **best, int *best_rank) {
    const char *old = *best ? strrchr(*best, '/') + 1 : NULL;
    if (rank == 0 || rank < *best_rank || (rank == *best_rank && strcmp(name, old) >= 0))
        return DL_OK;
    char *path = path_join(parent, name);
    if (!path)
        return fail_memory(cx, name, strlen(parent));
    if (!is_pipeline(cx, path, pipeline)) {
        free(path);
        return DL_OK;
    }
    free(*best);
    *best = path;
    *best_rank = rank;
    return DL_OK;
}

/* Splits a folder's path into what stands before its name, and the name: as it was written, if it
 * ends in a name, else ("." or "..") as the file system has it. Both in *path; NULL where that
 * fails. */
static char *split_path(char **path) {
    size_t length = strlen(*path);
    while (length > 1 && (*path)[length - 1] == '/')
        (*path)[--length] = '\0';
    const char *name = strrchr(*path, '/') ? strrchr(*path, '/') + 1 : *path;
    if (strspn(name, ".") == strlen(name) || name == *path) {
        char *real = realpath(*path, NULL);
        free(*path);
        *path = real;
    }
    char *slash = *path ? strrchr(*path, '/') : NULL;
    if (!slash || !slash[1])
        return NULL;
    *slash = '\0';
    return slash + 1;
}

int sibling_find(dl_context *cx, const char *path, int number, const char *pipeline,
                 const char *other, char **out) {
    char *parent = strdup(path);
    int status = DL_OK, best_rank = 0;
    *out = NULL;
    if (!parent)
        return fail_memory(cx, path, strlen(path));
    const char *first = split_path(&parent);
    DIR *folder = first ? opendir(parent[0] ? parent : "/") : NULL;
    for (const struct dirent *e = folder ? readdir(folder) : NULL; e && status == DL_OK;
         e = readdir(folder)) {
        int rank = sibling_rank(first, e->d_name, number);
        if (!rank && other && strcmp(e->d_name, other) == 0)
            rank = 1;
        status = consider(cx, parent, e->d_name, rank, pipeline, out, &best_rank);
    }
    if (folder)
        closedir(folder);
    free(parent);
    if (status != DL_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}
