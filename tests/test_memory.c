/* The n-th allocation fails, for many n: opening a model, a whole lens into a folder, an encoding;
 * a judge, texts and pictures; statistics.
 * Each ends in DL_FAILED with a message, or succeeds in full; nothing crashes, and what is on disk
 * is whole. Source of the idea: SQLite's test_malloc.c. */
#include "model_support.h"
#include "stats/agree.h"
#include "stats/compare.h"
#include "stats/order.h"
#include "stats/summary.h"

#include <cjson/cJSON.h>

/* Sanitizers bring allocators of their own, and glibc alone lets a program take the place of
 * malloc and still reach it. */
#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
#define REPLACES_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define REPLACES_MALLOC 0
#endif
#endif
#ifndef REPLACES_MALLOC
#define REPLACES_MALLOC 1
#endif

#if REPLACES_MALLOC
#include <errno.h>

static long countdown = -1; /* allocations until one fails; negative: none does */
static long counted;

static bool is_to_fail(void) {
    counted++;
    if (countdown < 0 || countdown-- > 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size) {
    return is_to_fail() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return is_to_fail() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    return is_to_fail() ? NULL : __libc_realloc(memory, size);
}

/* ---- what is tried --------------------------------------------------------------------------- */

struct attempt {
    char *folder;
    dl_context *cx;
    dl_model *model;
    dl_options options;
};

static int try_lens(struct attempt *a) {
    static const char *const prompt = "a dog, h\xC3\xA4?";
    static const char *const command[] = {"dlens", "a dog"};
    char *out = path_join(a->folder, "out"), *latents = path_join(a->folder, "latents");
    const dl_run run = {
        .folder = out, .command = command, .command_count = 2, .latents_file = latents};
    dl_run_result result = {0};
    int status = out && latents
                     ? dl_lens_run(a->cx, a->model, &a->options, &prompt, 1, &run, &result)
                     : DL_FAILED;
    if (status != DL_OK && out && latents)
        assert_true(strchr(dl_message(a->cx), ':') != NULL);
    dl_free(result.report);
    dl_free(result.manifest);
    free(out);
    free(latents);
    return status;
}

static int try_all(struct attempt *a) {
    dl_encoding encoding;
    int status = dl_context_new(&a->cx);
    if (status == DL_OK)
        status = dl_set_threads(a->cx, 1);
    if (status == DL_OK)
        status = dl_model_open(a->cx, "tests/data/tiny-sd1", &a->model);
    if (status == DL_OK)
        status = dl_encode(a->cx, a->model, &a->options, "a dog", &encoding);
    if (status == DL_OK) {
        dl_encoding_free(&encoding);
        status = try_lens(a);
    }
    dl_model_close(a->model);
    dl_context_free(a->cx);
    a->model = NULL;
    a->cx = NULL;
    return status;
}

/* The manifest, where there is one, is JSON with all its parts. */
static void check_manifest(const char *folder) {
    static const char *const parts[] = {"schema",  "version", "command", "model",
                                        "options", "prompts", "images",  "complete"};
    dl_context cx = {.status = DL_OK};
    char *path = path_join(folder, "out/manifest.json"), *text;
    if (file_exists(path)) {
        assert_int_equal(file_read(&cx, DL_FAILED, path, 1 << 20, &text, NULL), DL_OK);
        cJSON *manifest = cJSON_Parse(text);
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            assert_non_null(cJSON_GetObjectItemCaseSensitive(manifest, parts[i]));
        const cJSON *options = cJSON_GetObjectItemCaseSensitive(manifest, "options");
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(options, "layers")),
                         2);
        cJSON_Delete(manifest);
        free(text);
    }
    free(path);
}

static void every_allocation_may_fail(void **state) {
    enum { TRIES = 250 };
    struct attempt a = {.folder = scratch_folder()};
    (void)state;
    dl_options_init(&a.options);
    a.options.steps = 1;
    a.options.width = a.options.height = 16;
    a.options.layers = "0,-1";
    a.options.native = 1;
    assert_int_equal(try_all(&a), DL_OK); /* what the OpenMP runtime wants to have, it then has */
    scratch_remove(a.folder);
    counted = 0;
    assert_int_equal(mkdir(a.folder, 0777), 0);
    assert_int_equal(try_all(&a), DL_OK);
    const long all = counted;
    for (int i = 0; i < TRIES; i++) {
        scratch_remove(a.folder);
        assert_int_equal(mkdir(a.folder, 0777), 0);
        /* half of them at the end, in the lens, as most are in reading the vocabulary */
        countdown = i % 2 ? all * i / TRIES : all - all * (TRIES - i) / TRIES / 8;
        const int status = try_all(&a);
        countdown = -1;
        assert_true(status == DL_OK || status == DL_FAILED);
        check_manifest(a.folder);
    }
    scratch_remove(a.folder);
    free(a.folder);
}

enum { SIZE = 12, TEXTS = 3 }; /* of an embedding; how many */

static int try_judge(float texts[TEXTS * SIZE], float picture[SIZE]) {
    static const char *const words[] = {"a dog", "a red cat", "two"};
    dl_judge *judge = NULL;
    dl_context *cx;
    int status = dl_context_new(&cx);
    if (status == DL_OK)
        status = dl_set_threads(cx, 1);
    if (status == DL_OK)
        status = dl_judge_open(cx, "tests/data/clip-vision/old", &judge);
    if (status == DL_OK)
        status = dl_judge_texts(cx, judge, words, TEXTS, texts);
    if (status == DL_OK)
        status = dl_judge_file(cx, judge, "tests/data/clip-vision/pictures/large.png", picture);
    if (status != DL_OK && cx)
        assert_true(strchr(dl_message(cx), ':') != NULL);
    dl_judge_close(judge);
    dl_context_free(cx);
    return status;
}

/* It fails, or gives the same numbers. */
static void every_allocation_of_a_judge_may_fail(void **state) {
    enum { TRIES = 250 };
    float texts[TEXTS * SIZE], picture[SIZE], same[TEXTS * SIZE], seen[SIZE];
    (void)state;
    assert_int_equal(try_judge(texts, picture), DL_OK);
    counted = 0;
    assert_int_equal(try_judge(same, seen), DL_OK);
    const long all = counted;
    for (int i = 0; i < TRIES; i++) {
        /* half of them at the end, behind the reading of the vocabulary */
        countdown = i % 2 ? all * i / TRIES : all - TRIES + i;
        const int status = try_judge(same, seen);
        countdown = -1;
        assert_true(status == DL_OK || status == DL_FAILED);
        if (status == DL_OK) {
            assert_memory_equal(same, texts, sizeof texts);
            assert_memory_equal(seen, picture, sizeof picture);
        }
    }
}

/* All that is made of two tables, printed into b. */
static int try_tables(dl_context *cx, const struct score_table *t, struct buffer *b) {
    struct summary summary = {0};
    struct agreement agreement = {0};
    struct comparison comparison = {0};
    struct order order = {0};
    int status = summarise(cx, t, 0, &summary);
    if (status == DL_OK) {
        summary_json(b, &summary);
        status = agree(cx, &t[0], &t[1], 0, &agreement);
    }
    if (status == DL_OK) {
        agreement_json(b, &agreement);
        status = compare_order(cx, t, 2, NULL, 0, &order);
    }
    for (enum comparison_kind kind = 0; kind < COMPARE_KINDS && status == DL_OK; kind++) {
        comparison_free(&comparison);
        status = compare_tables(cx, kind, t, 2, NULL, 0, 0, &comparison);
        if (status == DL_OK)
            comparison_json(b, &comparison);
    }
    if (status == DL_OK)
        order_json(b, &order);
    summary_free(&summary);
    agreement_free(&agreement);
    comparison_free(&comparison);
    order_free(&order);
    return status == DL_OK ? buffer_check(cx, b, "statistics") : status;
}

static int try_statistics(struct buffer *b) {
    static const char text[] = "prompt,seed,0,4,8,is_natural,avg_daily_views,head,noun_0,noun_1\n"
                               "a dog,0,0,1,1,1,12,dog,dog,cat\na cat,0,1,x,1,0,3,x,y,x\n"
                               "a dog,1,1,1,1,1,12,dog,dog,cat\na hat,0,0,0,1,0,5,x,y,x\n";
    dl_context cx = {.threads = 1};
    struct score_table t[2] = {{0}, {0}};
    int status = table_parse(&cx, "a.csv", text, sizeof text - 1, 1.0, &t[0]);
    if (status == DL_OK)
        status = table_parse(&cx, "b.csv", text, sizeof text - 1, 1.0, &t[1]);
    if (status == DL_OK)
        status = try_tables(&cx, t, b);
    if (status != DL_OK)
        assert_true(strchr(cx.message, ':') != NULL);
    table_free(&t[0]);
    table_free(&t[1]);
    return status;
}

/* They fail, or say the same. */
static void every_allocation_of_statistics_may_fail(void **state) {
    struct buffer whole = {0};
    (void)state;
    counted = 0;
    assert_int_equal(try_statistics(&whole), DL_OK);
    const long all = counted;
    assert_true(all > 50);
    for (long i = 0; i < all; i++) {
        struct buffer b = {0};
        countdown = i;
        const int status = try_statistics(&b);
        countdown = -1;
        assert_true(status == DL_OK || status == DL_FAILED);
        if (status == DL_OK) /* sorting does without its scratch memory */
            assert_string_equal(b.data, whole.data);
        buffer_free(&b);
    }
    buffer_free(&whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail),
                                       cmocka_unit_test(every_allocation_of_a_judge_may_fail),
                                       cmocka_unit_test(every_allocation_of_statistics_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void skipped(void **state) {
    (void)state;
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(skipped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
