/* What tests of whole models share: scratch folders, models with one file changed, comparison. */
#ifndef DLENS_TESTS_MODEL_SUPPORT_H
#define DLENS_TESTS_MODEL_SUPPORT_H

#include "scratch.h"

#include "base/file.h"
#include "store/store.h"

#include <math.h>

/* A log that keeps nothing. */
static inline void quiet(void *user, int level, const char *line) {
    (void)user;
    (void)level;
    (void)line;
}

/* A fresh folder under TMPDIR; removed with scratch_remove. */
static inline char *scratch_folder(void) {
    const char *tmp = getenv("TMPDIR");
    char *path = malloc(4096);
    snprintf(path, 4096, "%s/dlens-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

/* `to` becomes a folder like `from` whose files are links to the original's. */
static inline void link_tree(const char *from, const char *to) {
    DIR *dir = opendir(from);
    char real[4096];
    assert_non_null(dir);
    mkdir(to, 0777);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        struct stat info;
        if (e->d_name[0] == '.')
            continue;
        char *source = path_join(from, e->d_name), *target = path_join(to, e->d_name);
        assert_int_equal(stat(source, &info), 0);
        if (S_ISDIR(info.st_mode)) {
            link_tree(source, target);
        } else {
            assert_non_null(realpath(source, real));
            assert_int_equal(symlink(real, target), 0);
        }
        free(source);
        free(target);
    }
    closedir(dir);
}

/* Puts a file of these bytes in the place of a link (or adds it). */
static inline void put_file(const char *dir, const char *name, const void *data, size_t size) {
    char *path = path_join(dir, name);
    unlink(path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (size)
        assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    free(path);
}

/* The largest difference of n values from the expected tensor, relative to its largest value. */
static inline double relative_error(const float *got, const struct tensor *expected) {
    double worst = 0, largest = 1e-30;
    const float *want = expected->data;
    for (size_t i = 0; i < tensor_count(expected); i++) {
        const double difference = fabs((double)got[i] - (double)want[i]);
        worst = !(difference <= worst) ? difference : worst; /* NaN counts as worst */
        largest = fmax(largest, fabs((double)want[i]));
    }
    return worst / largest;
}

/* Peak signal-to-noise ratio of 8-bit values in dB; 200 where they are equal. */
static inline double psnr(const uint8_t *a, const uint8_t *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum > 0 ? 10 * log10(255.0 * 255.0 * (double)n / sum) : 200;
}

#endif
