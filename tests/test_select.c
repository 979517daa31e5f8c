/* lens/select: layers, seeds, sizes and memory as users write them. */
#include "lens/select.h"

#include "scratch.h"

static dl_context *context(void **state) {
    return &((struct scratch *)*state)->cx;
}

/* ---- layers ---------------------------------------------------------------------------------- */

static void check_layers(dl_context *cx, const char *spec, int layers, const char *expected) {
    char text[512] = "";
    size_t used = 0, count;
    int *out;
    if (parse_layers(cx, "--layers", spec, layers, &out, &count) != DL_OK)
        fail_msg("%s", cx->message);
    assert_true(count >= 1 && count <= (size_t)layers + 1);
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, i ? ",%d" : "%d", out[i]);
    assert_string_equal(text, expected);
    free(out);
}

static void layers(void **state) {
    dl_context *cx = context(state);
    check_layers(cx, "all", 4, "0,1,2,3,4");
    check_layers(cx, "last", 12, "12");
    check_layers(cx, "0", 0, "0");
    check_layers(cx, "0,4,8", 12, "0,4,8");
    check_layers(cx, "8,4,8,4", 12, "4,8");
    check_layers(cx, "-1", 12, "12");
    check_layers(cx, "-13", 12, "0");
    check_layers(cx, "-1,0", 12, "0,12");
    check_layers(cx, "0,last", 12, "0,12");
    check_layers(cx, " 0 , 4", 12, "0,4");
    check_layers(cx, "007", 12, "7");
    check_layers(cx, "0,4:13:4,-1", 12, "0,4,8,12");
    check_layers(cx, "0,4:13:4,-1", 24, "0,4,8,12,24");
}

static void slices(void **state) {
    dl_context *cx = context(state);
    check_layers(cx, "0::4", 24, "0,4,8,12,16,20,24");
    check_layers(cx, ":", 3, "0,1,2,3");
    check_layers(cx, "::", 3, "0,1,2,3");
    check_layers(cx, ":3", 12, "0,1,2");
    check_layers(cx, "10:", 12, "10,11,12");
    check_layers(cx, "-3:", 12, "10,11,12");
    check_layers(cx, ":-10", 12, "0,1,2");
    check_layers(cx, "4:13:4", 12, "4,8,12");
    check_layers(cx, "0:12", 12, "0,1,2,3,4,5,6,7,8,9,10,11");
    check_layers(cx, "0:1000:6", 12, "0,6,12");
    check_layers(cx, "-1000:2", 12, "0,1");
    check_layers(cx, "10:99999999999999999999999", 12, "10,11,12");
    check_layers(cx, "::-5", 12, "2,7,12");
    check_layers(cx, "8:2:-2", 12, "4,6,8");
    check_layers(cx, "100::-6", 12, "0,6,12");
    check_layers(cx, "::99999999999999999999999", 12, "0");
}

/* Python's own answer for every slice of small numbers: range(L+1)[start:end:step]. */
static void all_small_slices(void **state) {
    enum { L = 5, COUNT = L + 1 };
    dl_context *cx = context(state);
    for (long a = -8; a <= 8; a++)
        for (long b = -8; b <= 8; b++)
            for (long step = -3; step <= 3; step++) {
                char spec[64];
                int *out;
                size_t count, wanted = 0;
                bool in[COUNT] = {false};
                if (step == 0)
                    continue;
                for (long i = 0; i < COUNT; i++) {
                    const long start = a < 0 ? a + COUNT : a, end = b < 0 ? b + COUNT : b;
                    const long first = step > 0 ? (start < 0 ? 0 : start) : (start > L ? L : start);
                    in[i] = step > 0 ? i >= first && i < end && (i - first) % step == 0
                                     : i <= first && i > end && (first - i) % -step == 0;
                    wanted += in[i];
                }
                snprintf(spec, sizeof spec, "%ld:%ld:%ld", a, b, step);
                const int status = parse_layers(cx, "--layers", spec, L, &out, &count);
                if ((status == DL_OK) != (wanted > 0) || (status == DL_OK && count != wanted))
                    fail_msg("%s: %zu layers, not %zu", spec, count, wanted);
                for (size_t i = 0; i < count; i++)
                    assert_true(in[out[i]]);
                free(out);
            }
}

static void check_wrong_layers(dl_context *cx, const char *spec, const char *part) {
    int *out;
    size_t count;
    assert_int_equal(parse_layers(cx, "--layers", spec, 12, &out, &count), DL_USAGE);
    assert_null(out);
    assert_int_equal(count, 0);
    assert_contains(cx->message, part);
}

static void wrong_layers(void **state) {
    dl_context *cx = context(state);
    check_wrong_layers(cx, "", "\"\" is empty");
    check_wrong_layers(cx, " ", "\"\" is empty");
    check_wrong_layers(cx, "0,,1", "\"\" is empty");
    check_wrong_layers(cx, "0,", "\"\" is empty");
    check_wrong_layers(cx, "13", "\"13\" is out of range");
    check_wrong_layers(cx, "0,-14", "\"-14\" is out of range");
    check_wrong_layers(cx, "99999999999999999999", "out of range");
    check_wrong_layers(cx, "4,five,6", "\"five\" is no layer");
    check_wrong_layers(cx, "All", "\"All\" is no layer");
    check_wrong_layers(cx, "1.5", "\"1.5\" is no layer");
    check_wrong_layers(cx, "+1", "\"+1\" is no layer");
    check_wrong_layers(cx, "-", "\"-\" is no layer");
    check_wrong_layers(cx, "--1", "\"--1\" is no layer");
    check_wrong_layers(cx, "1 2", "\"1 2\" is no layer");
    check_wrong_layers(cx, "0:4:0", "\"0:4:0\" has a step of 0");
    check_wrong_layers(cx, "0:4:1:1", "\"0:4:1:1\" has more than start:end:step");
    check_wrong_layers(cx, "0:a", "\"0:a\" is no slice");
    check_wrong_layers(cx, "0,4:4", "\"4:4\" holds no layer");
    check_wrong_layers(cx, "20:30", "\"20:30\" holds no layer");
    check_wrong_layers(cx, "0:4:-1", "\"0:4:-1\" holds no layer");
    char long_spec[5000];
    memset(long_spec, '7', sizeof long_spec - 1);
    long_spec[sizeof long_spec - 1] = '\0';
    check_wrong_layers(cx, long_spec, "out of range");
    assert_true(strlen(cx->message) < 300);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void seeds(void **state) {
    dl_context *cx = context(state);
    uint64_t *out;
    size_t count;
    assert_int_equal(parse_seeds(cx, "0", &out, &count), DL_OK);
    assert_int_equal(count, 1);
    assert_true(out[0] == 0);
    free(out);
    assert_int_equal(parse_seeds(cx, "5,4, 18446744073709551615", &out, &count), DL_OK);
    assert_int_equal(count, 3);
    assert_true(out[0] == 5 && out[1] == 4 && out[2] == UINT64_MAX);
    free(out);
    static const char *const WRONG[] = {
        "",    ",",  "1,", "-1",  "18446744073709551616",         "1e3",
        "0x1", "1.", "a",  "1;2", "99999999999999999999999999999"};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        assert_int_equal(parse_seeds(cx, WRONG[i], &out, &count), DL_USAGE);
        assert_null(out);
        assert_contains(cx->message, "is no whole number");
    }
}

static void sizes(void **state) {
    dl_context *cx = context(state);
    int w = 0, h = 0;
    assert_int_equal(parse_size(cx, "512x768", &w, &h), DL_OK);
    assert_int_equal(w, 512);
    assert_int_equal(h, 768);
    assert_int_equal(parse_size(cx, "1x65536", &w, &h), DL_OK);
    static const char *const WRONG[] = {"",
                                        "512",
                                        "x",
                                        "512x",
                                        "x512",
                                        "0x64",
                                        "64x0",
                                        "-8x64",
                                        "64x-8",
                                        "65537x8",
                                        "8x8x8",
                                        "8 x 8",
                                        "512*512",
                                        "512.0x8",
                                        "0x10x10",
                                        "1e3x8",
                                        "99999999999999x8"};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        w = h = 7;
        assert_int_equal(parse_size(cx, WRONG[i], &w, &h), DL_USAGE);
        assert_true(w == 7 && h == 7);
        assert_contains(cx->message, WRONG[i]);
    }
}

static void memory(void **state) {
    static const struct {
        const char *spec;
        unsigned long long bytes;
    } RIGHT[] = {{"300M", 314572800},  {"2G", 2147483648},    {"1", 1},
                 {"1048576", 1048576}, {"512k", 524288},      {"512K", 524288},
                 {"1.5G", 1610612736}, {"0.5k", 512},         {"1T", 1099511627776},
                 {"300MB", 314572800}, {"300MiB", 314572800}, {"7B", 7}};
    static const char *const WRONG[] = {
        "",    "M",   "-1G", "1X",  "1 G", "1GG",  "0",   "0.1",
        "1iB", "1e9", "nan", "inf", ".5G", "0x10", "1Gi", "99999999999999999999T"};
    dl_context *cx = context(state);
    size_t bytes;
    for (size_t i = 0; i < sizeof RIGHT / sizeof RIGHT[0]; i++) {
        assert_int_equal(parse_bytes(cx, RIGHT[i].spec, &bytes), DL_OK);
        assert_true(bytes == RIGHT[i].bytes);
    }
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        assert_int_equal(parse_bytes(cx, WRONG[i], &bytes), DL_USAGE);
        assert_contains(cx->message, WRONG[i]);
    }
}

int main(void) {
    static struct scratch s;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(layers, &s),
        cmocka_unit_test_prestate(slices, &s),
        cmocka_unit_test_prestate(all_small_slices, &s),
        cmocka_unit_test_prestate(wrong_layers, &s),
        cmocka_unit_test_prestate(seeds, &s),
        cmocka_unit_test_prestate(sizes, &s),
        cmocka_unit_test_prestate(memory, &s),
    };
    scratch_begin(&s);
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    scratch_end(&s);
    return result;
}
