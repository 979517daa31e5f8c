/* base/: messages, checked sizes, the arena, tensors, files, JSON configs. */
#include "base/file.h"
#include "base/json.h"
#include "base/tensor.h"
#include "scratch.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

/* ---- context ------------------------------------------------------------------------------- */

static void message_is_kept_and_nested(void **state) {
    struct scratch *s = *state;
    assert_int_equal((fail)(&s->cx, DL_MODEL, "%s: %d", "what", 7), DL_MODEL);
    assert_string_equal(s->cx.message, "what: 7");
    (fail)(&s->cx, DL_USAGE, "outer: %s", s->cx.message);
    assert_string_equal(s->cx.message, "outer: what: 7");
    assert_int_equal(s->cx.status, DL_USAGE);
}

static void message_holds_no_control_characters(void **state) {
    struct scratch *s = *state;
    (fail)(&s->cx, DL_MODEL, "a\033[31m\nb\x7f%s", "\xff\xc3\xa4\xc2\x9b\xe2\x80\xa8");
    assert_string_equal(s->cx.message, "a?[31m?b??\xc3\xa4?????");
    tell(&s->cx, DL_LOG_NOTE, "x\ny");
    assert_string_equal(s->line, "x?y");
    assert_int_equal(s->level, DL_LOG_NOTE);
}

static void message_is_cut_at_a_character(void **state) {
    struct scratch *s = *state;
    char text[2 * MESSAGE_MAX + 2];
    memset(text, 0, sizeof text);
    text[0] = 'a';
    for (size_t i = 1; i + 1 < sizeof text - 1; i += 2)
        memcpy(text + i, "\xc3\xa4", 2);
    (fail)(&s->cx, DL_MODEL, "%s", text);
    assert_int_equal(strlen(s->cx.message), MESSAGE_MAX - 1);
    assert_int_equal((unsigned char)s->cx.message[MESSAGE_MAX - 2], 0xa4);
    (fail)(&s->cx, DL_MODEL, "%s", text + 1);
    assert_int_equal(s->cx.message[MESSAGE_MAX - 2], '?');
}

static void sizes_do_not_wrap(void **state) {
    struct scratch *s = *state;
    size_t out = 5;
    void *memory;
    assert_true(size_mul(SIZE_MAX / 3, 3, &out));
    out = 5;
    assert_false(size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_false(size_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 5);
    assert_true(size_mul(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
    assert_int_equal(allocate(&s->cx, "thing", SIZE_MAX / 2, 4, &memory), DL_FAILED);
    assert_null(memory);
    assert_contains(s->cx.message, "thing: out of memory");
    assert_int_equal(allocate(&s->cx, "thing", 0, 4, &memory), DL_OK);
    assert_non_null(memory);
    free(memory);
}

/* ---- arena --------------------------------------------------------------------------------- */

/* A forward pass in small: 100 bytes for good, twice a piece that is released. */
static void pass(dl_context *cx) {
    size_t outer = arena_mark(cx);
    unsigned char *kept = arena_bytes(cx, 100);
    for (size_t n = 10; n <= 1000; n += 990) {
        size_t mark = arena_mark(cx);
        float *x = floats(cx, n);
        assert_int_equal((uintptr_t)x % 64, 0);
        assert_non_null(x);
        if (!planning(cx)) {
            memset(kept, 1, 100);
            for (size_t i = 0; i < n; i++)
                x[i] = 1;
            assert_int_equal(kept[99], 1);
        }
        arena_release(cx, mark);
    }
    arena_release(cx, outer);
}

static void arena_does_what_was_planned(void **state) {
    struct scratch *s = *state;
    arena_plan(&s->cx);
    assert_true(planning(&s->cx));
    pass(&s->cx);
    size_t peak = arena_plan_end(&s->cx);
    assert_in_range(peak, 128 + 4032, 128 + 4032 + 2 * 64);
    for (int i = 0; i < 2; i++) {
        arena_plan(&s->cx);
        pass(&s->cx);
        assert_int_equal(arena_reserve(&s->cx, "test"), DL_OK);
        assert_int_equal(s->cx.arena.capacity, peak);
        pass(&s->cx);
    }
    arena_plan(&s->cx);
    floats(&s->cx, 1 << 20);
    assert_int_equal(arena_reserve(&s->cx, "test"), DL_OK);
    assert_true(s->cx.arena.capacity >= 4u << 20);
    pass(&s->cx);
    arena_free(&s->cx);
    assert_null(s->cx.arena.base);
}

/* A plan makes the first of equal rounds and the last, the real pass all. */
static size_t make_rounds(dl_context *cx, size_t rows, size_t most) {
    size_t made = 0;
    for (size_t at = 0, done; at < rows; at += done, made++) {
        const size_t n = rows - at < most ? rows - at : most, mark = arena_mark(cx);
        done = n * plan_rounds(cx, (rows - at) / n);
        assert_int_equal(cx->arena.rounds * n, done);
        floats(cx, n);
        arena_release(cx, mark);
    }
    plan_rounds(cx, 1);
    assert_int_equal(cx->arena.rounds, 1);
    return made;
}

static void equal_rounds_are_planned_once(void **state) {
    struct scratch *s = *state;
    static const size_t rows[] = {0, 16, 31, 48, 1000}, planned[] = {0, 1, 2, 1, 2},
                        made[] = {0, 1, 2, 3, 63};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        arena_plan(&s->cx);
        assert_int_equal(make_rounds(&s->cx, rows[i], 16), planned[i]);
        assert_int_equal(arena_reserve(&s->cx, "test"), DL_OK);
        assert_int_equal(make_rounds(&s->cx, rows[i], 16), made[i]);
        arena_free(&s->cx);
    }
}

static void arena_refuses_absurd_plans(void **state) {
    struct scratch *s = *state;
    const size_t counts[] = {SIZE_MAX, SIZE_MAX / 4, SIZE_MAX / 8, SIZE_MAX / 64};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        arena_plan(&s->cx);
        floats(&s->cx, counts[i]);
        floats(&s->cx, counts[i]);
        assert_int_equal(arena_reserve(&s->cx, "test"), DL_FAILED);
        assert_contains(s->cx.message, "test: out of memory");
    }
}

/* ---- tensors ------------------------------------------------------------------------------- */

static void sixteen_bit_floats(void **state) {
    (void)state;
    assert_true(f16_to_f32(0x3c00) == 1.0f);
    assert_true(f16_to_f32(0xc000) == -2.0f);
    assert_true(f16_to_f32(0x7bff) == 65504.0f);
    assert_true(f16_to_f32(0x0001) == 5.9604644775390625e-8f);
    assert_true(f16_to_f32(0x8001) == -5.9604644775390625e-8f);
    assert_true(f16_to_f32(0x3555) == 0.333251953125f);
    assert_true(signbit(f16_to_f32(0x8000)) && f16_to_f32(0x8000) == 0);
    assert_true(isinf(f16_to_f32(0xfc00)) && isnan(f16_to_f32(0x7e00)));
    assert_true(bf16_to_f32(0x3f80) == 1.0f);
    assert_true(bf16_to_f32(0xc2f7) == -123.5f);
    const uint16_t half[2] = {0x3c00, 0xbc00};
    const struct tensor t = {"t", DTYPE_F16, 1, {2}, half, NULL};
    float wide[2];
    tensor_widen(wide, &t);
    assert_true(wide[0] == 1 && wide[1] == -1);
}

/* ---- files --------------------------------------------------------------------------------- */

static void path_name_is_the_last_part(void **state) {
    (void)state;
    assert_string_equal(path_name("a/b"), "b");
    assert_string_equal(path_name("a/b//"), "b//");
    assert_string_equal(path_name("b"), "b");
    assert_string_equal(path_name("/"), "");
    assert_string_equal(path_name(""), "");
}

static void path_join_puts_one_slash(void **state) {
    (void)state;
    const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

static void file_read_is_bounded(void **state) {
    struct scratch *s = *state;
    char *data;
    size_t size;
    const char *path = scratch_text(s, "f", "hello");
    assert_int_equal(file_read(&s->cx, DL_USAGE, path, 5, &data, &size), DL_OK);
    assert_int_equal(size, 5);
    assert_string_equal(data, "hello");
    free(data);
    assert_int_equal(file_read(&s->cx, DL_USAGE, path, 4, &data, &size), DL_USAGE);
    assert_null(data);
    assert_contains(s->cx.message, "5 bytes");
    assert_int_equal(file_read(&s->cx, DL_USAGE, s->dir, 9, &data, &size), DL_USAGE);
    assert_contains(s->cx.message, "not a regular file");
    assert_int_equal(file_read(&s->cx, DL_MODEL, "/no/such", 9, &data, &size), DL_MODEL);
    assert_contains(s->cx.message, "/no/such: cannot open: No such file");
    path = scratch_path(s, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_read(&s->cx, DL_MODEL, path, 9, &data, &size), DL_MODEL);
}

static void file_map_maps(void **state) {
    struct scratch *s = *state;
    struct mapping map;
    assert_int_equal(file_map(&s->cx, scratch_text(s, "f", "hello"), &map), DL_OK);
    assert_int_equal(map.size, 5);
    assert_memory_equal(map.data, "hello", 5);
    file_unmap(&map);
    assert_null(map.data);
    assert_int_equal(file_map(&s->cx, scratch_text(s, "g", ""), &map), DL_OK);
    assert_null(map.data);
    file_unmap(&map);
    assert_int_equal(file_map(&s->cx, scratch_path(s, "h"), &map), DL_MODEL);
    assert_int_equal(file_map(&s->cx, s->dir, &map), DL_MODEL);
}

static int give_up(dl_context *cx, void *stream, void *user) {
    (void)user;
    fputs("half", stream);
    return (fail)(cx, DL_CANCELLED, "given up");
}

static int write_much(dl_context *cx, void *stream, void *user) {
    char block[4096] = {0};
    (void)cx, (void)user;
    for (int i = 0; i < 64; i++)
        fwrite(block, 1, sizeof block, stream);
    return DL_OK;
}

static void file_write_is_complete_or_absent(void **state) {
    struct scratch *s = *state;
    char *data;
    const char *path = scratch_path(s, "f");
    assert_int_equal(file_write(&s->cx, path, "one", 3), DL_OK);
    assert_int_equal(file_write(&s->cx, path, "two!", 4), DL_OK);
    assert_int_equal(file_write_with(&s->cx, path, give_up, NULL), DL_CANCELLED);
    assert_string_equal(s->cx.message, "given up");
    assert_int_equal(file_read(&s->cx, DL_USAGE, path, 9, &data, NULL), DL_OK);
    assert_string_equal(data, "two!");
    free(data);
    assert_int_equal(scratch_count(s), 1);
    assert_int_equal(file_write(&s->cx, s->dir, "x", 1), DL_FAILED);
    assert_int_equal(file_write(&s->cx, scratch_path(s, "no/file"), "x", 1), DL_FAILED);
    assert_contains(s->cx.message, "no/file: cannot write: No such file");
    assert_int_equal(scratch_count(s), 1);
}

static void file_write_does_not_replace_devices(void **state) {
    struct scratch *s = *state;
    struct stat info;
    assert_int_equal(file_write_with(&s->cx, "/dev/full", write_much, NULL), DL_FAILED);
    assert_contains(s->cx.message, "not a regular file");
    assert_int_equal(stat("/dev/full", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
}

/* A disk that fills up: here a limit on the size of files. */
static void file_write_says_when_the_disk_is_full(void **state) {
    struct scratch *s = *state;
    struct rlimit old, low;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 10000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int status = file_write_with(&s->cx, scratch_path(s, "f"), write_much, NULL);
    int small = file_write(&s->cx, scratch_path(s, "g"), s->line, 1000);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, DL_FAILED);
    assert_contains(s->cx.message, "f: cannot write: File too large");
    assert_int_equal(small, DL_OK);
    assert_int_equal(scratch_count(s), 1);
}

static void dir_make_makes_all(void **state) {
    struct scratch *s = *state;
    assert_int_equal(dir_make(&s->cx, scratch_path(s, "a/b//c/")), DL_OK);
    assert_true(dir_exists(scratch_path(s, "a/b/c")));
    assert_int_equal(dir_make(&s->cx, scratch_path(s, "a/b")), DL_OK);
    scratch_text(s, "file", "x");
    assert_true(file_exists(scratch_path(s, "file")));
    assert_false(file_exists(s->dir));
    assert_int_equal(dir_make(&s->cx, scratch_path(s, "file/d")), DL_USAGE);
    assert_contains(s->cx.message, "file: is no folder");
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static int open_config(struct scratch *s, const char *text, struct config *config) {
    scratch_text(s, "config.json", text);
    return config_open(&s->cx, s->dir, "config.json", config);
}

static void config_reads_values(void **state) {
    struct scratch *s = *state;
    struct config c;
    long list[4];
    bool bools[4];
    const char *strings[4];
    static const char *const acts[] = {"gelu", "quick_gelu", NULL};
    assert_int_equal(
        open_config(s,
                    "{\"i\": -3, \"f\": 2.5, \"whole\": 4.0, \"t\": true, \"s\": \"x\", \"n\": "
                    "null, \"act\": \"quick_gelu\", \"l\": [1, 2, 3], \"one\": 8, \"bl\": [true, "
                    "false], \"sl\": [\"a\", \"b\"], \"twice\": 1, \"twice\": 2}",
                    &c),
        DL_OK);
    assert_int_equal(config_int(&c, "i", 0, -10, 10), -3);
    assert_int_equal(config_int(&c, "whole", 0, 0, 10), 4);
    assert_int_equal(config_int(&c, "missing", -77, 0, 10), -77);
    assert_int_equal(config_int(&c, "n", 5, 0, 10), 5);
    assert_int_equal(config_int(&c, "twice", 0, 0, 10), 2);
    assert_true(config_number(&c, "f", 0, 0, 10) == 2.5);
    assert_true(config_number(&c, "missing", 1.5, 0, 1) == 1.5);
    assert_true(config_bool(&c, "t", false));
    assert_true(config_bool(&c, "n", true));
    assert_string_equal(config_string(&c, "s", NULL), "x");
    assert_null(config_string(&c, "n", NULL));
    assert_int_equal(config_choice(&c, "act", acts, 0), 1);
    assert_int_equal(config_choice(&c, "missing", acts, 0), 0);
    assert_true(config_has(&c, "i") && !config_has(&c, "n") && !config_has(&c, "I"));
    assert_int_equal(config_int_list(&c, "l", list, 4, 4, 0, 9), 3);
    assert_int_equal(list[2], 3);
    assert_int_equal(config_int_list(&c, "one", list, 4, 4, 0, 9), 4);
    assert_int_equal(list[3], 8);
    assert_int_equal(config_int_list(&c, "n", list, 4, 4, 0, 9), 0);
    assert_int_equal(config_bool_list(&c, "bl", bools, 4, 4), 2);
    assert_true(bools[0] && !bools[1]);
    assert_int_equal(config_bool_list(&c, "t", bools, 4, 3), 3);
    assert_int_equal(config_string_list(&c, "sl", strings, 4), 2);
    assert_string_equal(strings[1], "b");
    assert_int_equal(config_end(&c), DL_OK);
}

/* Reads key "v" in every way; what is wrong for all of them must fail in all of them. */
static void read_v(struct config *c, int way) {
    static const char *const acts[] = {"gelu", "silu", NULL};
    long list[4];
    bool bools[4];
    const char *strings[4];
    switch (way) {
    case 0:
        assert_int_equal(config_int(c, "v", 7, 1, 1 << 20), 7);
        break;
    case 1:
        assert_true(config_number(c, "v", 0.5, 0.25, 1e6) == 0.5);
        break;
    case 2:
        assert_true(config_bool(c, "v", true));
        break;
    case 3:
        assert_int_equal(config_choice(c, "v", acts, 1), 1);
        break;
    case 4:
        assert_int_equal(config_int_list(c, "v", list, 4, 4, 1, 1 << 20), 0);
        break;
    case 5:
        assert_int_equal(config_bool_list(c, "v", bools, 4, 0), 0);
        break;
    default:
        assert_int_equal(config_string_list(c, "v", strings, 4), 0);
    }
}

static void config_refuses_absurd_values(void **state) {
    struct scratch *s = *state;
    static const char *const values[] = {"0",
                                         "-1",
                                         "1e999",
                                         "-1e999",
                                         "9007199254740993",
                                         "2147483648",
                                         "1e30",
                                         "\"absurd\"",
                                         "[]",
                                         "{}",
                                         "[null]",
                                         "[[1]]",
                                         "[{}]",
                                         "[0]",
                                         "[1e999]",
                                         "[1, 2, 3, 4, 5]"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        for (int way = 0; way < 7; way++) {
            struct config c;
            char text[128];
            snprintf(text, sizeof text, "{\"v\": %s}", values[i]);
            assert_int_equal(open_config(s, text, &c), DL_OK);
            read_v(&c, way);
            if (c.status != DL_MODEL)
                fail_msg("%s was taken by getter %d", values[i], way);
            assert_contains(s->cx.message, "config.json: v: ");
            char first[MESSAGE_MAX];
            snprintf(first, sizeof first, "%s", s->cx.message);
            assert_int_equal(config_int(&c, "v", 9, 0, 1), 9); /* sticky: falls back, silently */
            assert_string_equal(s->cx.message, first);
            assert_int_equal(config_end(&c), DL_MODEL);
        }
    }
}

static void config_messages(void **state) {
    struct scratch *s = *state;
    struct config c;
    static const char *const acts[] = {"gelu", "quick_gelu", NULL};
    assert_int_equal(open_config(s, "{\"act\": \"swish\", \"n\": 12}", &c), DL_OK);
    config_choice(&c, "act", acts, 0);
    assert_contains(s->cx.message,
                    "config.json: act: is \"swish\", which is not supported; known are gelu, "
                    "quick_gelu");
    assert_int_equal(config_end(&c), DL_MODEL);
    assert_int_equal(open_config(s, "{\"act\": \"swish\", \"n\": 12}", &c), DL_OK);
    config_int(&c, "n", 0, 1, 8);
    assert_contains(s->cx.message, "n: is 12, must be an integer from 1 to 8");
    config_end(&c);
    assert_int_equal(open_config(s, "{\"n\": 12}", &c), DL_OK);
    config_fail(&c, "n", "must be a multiple of %d", 8);
    assert_contains(s->cx.message, "config.json: n: must be a multiple of 8");
    assert_int_equal(config_end(&c), DL_MODEL);
}

static void json_refuses_what_is_no_object(void **state) {
    struct scratch *s = *state;
    static const char *const texts[] = {"",
                                        " ",
                                        "[1]",
                                        "3",
                                        "null",
                                        "{",
                                        "{\"a\"",
                                        "{\"a\":",
                                        "{\"a\":1",
                                        "{\"a\":1}x",
                                        "{\"a\":NaN}",
                                        "{a:1}",
                                        "{\"a\":1,}",
                                        "\xff\xfe",
                                        "{\"a\":\"\\ud800\"}",
                                        "{\"a\":\"\\u12\"}",
                                        "PK\x03\x04"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct config c;
        if (open_config(s, texts[i], &c) != DL_MODEL)
            fail_msg("accepted: %s", texts[i]);
        assert_contains(s->cx.message, "config.json: not ");
    }
    cJSON *root;
    const char *path = scratch_file(s, "nul.json", "{\"a\":1}\0garbage", 15);
    assert_int_equal(json_read(&s->cx, path, 100, &root), DL_MODEL);
    assert_null(root);
}

/* Python's json writes -Infinity, and scheduler configs hold it: it reads, but is in no finite
 * range. */
static void json_takes_infinities(void **state) {
    struct scratch *s = *state;
    struct config c;
    assert_int_equal(open_config(s, "{\"v\": -Infinity, \"s\": \"-Infinity\", \"i\": 3}", &c),
                     DL_OK);
    assert_string_equal(config_string(&c, "s", NULL), "-Infinity");
    assert_int_equal(config_int(&c, "i", 0, 0, 9), 3);
    assert_true(config_number(&c, "v", 1, -INFINITY, 9) == -INFINITY);
    assert_true(config_number(&c, "v", 1, -1e300, 9) == 1);
    assert_int_equal(config_end(&c), DL_MODEL);
}

static void json_is_bounded(void **state) {
    struct scratch *s = *state;
    struct config c;
    enum { DEPTH = 10000 };
    char *text = malloc(2 * DEPTH + 16);
    assert_non_null(text);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', DEPTH);
    memset(text + 5 + DEPTH, ']', DEPTH);
    memcpy(text + 5 + 2 * DEPTH, "}", 2);
    assert_int_equal(open_config(s, text, &c), DL_MODEL);
    memset(text, '[', 2 * DEPTH);
    text[2 * DEPTH] = '\0';
    assert_int_equal(open_config(s, text, &c), DL_MODEL);
    free(text);
    scratch_text(s, "config.json", "{}");
    assert_int_equal(truncate(scratch_path(s, "config.json"), 100 << 20), 0);
    assert_int_equal(config_open(&s->cx, s->dir, "config.json", &c), DL_MODEL);
    assert_contains(s->cx.message, "at most");
    assert_int_equal(config_open(&s->cx, s->dir, "none.json", &c), DL_MODEL);
    assert_contains(s->cx.message, "none.json: cannot open");
}

/* Whatever bytes a config holds, reading it ends in a value in range or in a message. */
static void json_survives_mutation(void **state) {
    struct scratch *s = *state;
    static const char text[] =
        "{\"_class_name\": \"UNet2DConditionModel\", \"attention_head_dim\": [5, 10, 20, 20], "
        "\"block_out_channels\": [320, 640, 1280, 1280], \"v\": 1e-05, \"center\": false, "
        "\"down\": [\"CrossAttnDownBlock2D\", \"DownBlock2D\"], \"s\": \"\\u00e9\\n\\\"\", \"n\": "
        "null, \"deep\": {\"a\": [[[1]]]}}";
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 1500; i++) {
        unsigned char bytes[sizeof text];
        struct config c;
        long list[4];
        const char *strings[4];
        memcpy(bytes, text, sizeof text);
        size_t size = scratch_mutate(&random, bytes, sizeof text - 1);
        scratch_file(s, "config.json", bytes, size);
        if (config_open(&s->cx, s->dir, "config.json", &c) != DL_OK) {
            assert_true(s->cx.message[0] != '\0');
            continue;
        }
        size_t count = config_int_list(&c, "block_out_channels", list, 4, 4, 1, 4096);
        for (size_t k = 0; k < count; k++)
            assert_in_range(list[k], 1, 4096);
        config_string_list(&c, "down", strings, 4);
        config_number(&c, "v", 0, 0, 1);
        config_bool(&c, "center", true);
        config_string(&c, "s", NULL);
        config_end(&c);
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        T(message_is_kept_and_nested),
        T(message_holds_no_control_characters),
        T(message_is_cut_at_a_character),
        T(sizes_do_not_wrap),
        T(arena_does_what_was_planned),
        T(equal_rounds_are_planned_once),
        T(arena_refuses_absurd_plans),
        T(sixteen_bit_floats),
        T(path_name_is_the_last_part),
        T(path_join_puts_one_slash),
        T(file_read_is_bounded),
        T(file_map_maps),
        T(file_write_is_complete_or_absent),
        T(file_write_does_not_replace_devices),
        T(file_write_says_when_the_disk_is_full),
        T(dir_make_makes_all),
        T(config_reads_values),
        T(config_refuses_absurd_values),
        T(config_messages),
        T(json_refuses_what_is_no_object),
        T(json_takes_infinities),
        T(json_is_bounded),
        T(json_survives_mutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
