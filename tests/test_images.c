/* out/: pictures, PNG, contact sheet and its lettering, flags. */
#include "out/flags.h"
#include "out/font.h"
#include "out/png.h"
#include "out/sheet.h"

#include "base/file.h"
#include "made_pictures.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

/* ---- pictures ----------------------------------------------------------------------------- */

/* What torch gives for (x / 2 + 0.5).clamp(0, 1) * 255, rounded half to even. */
static void floats_round_half_to_even(void **state) {
    (void)state;
    /* k + 1/2 of 255 levels is x = (2k + 1) / 255 - 1, exact in f32 only for some k */
    float chw[3] = {-1.0f, 1.0f, 0.0f};
    uint8_t rgb[3];
    image_from_float(rgb, chw, 1, 1);
    assert_int_equal(rgb[0], 0);
    assert_int_equal(rgb[1], 255);
    assert_int_equal(rgb[2], 128); /* 127.5, to the even side */
    float odd[3] = {NAN, -3.0f, 7.0f};
    image_from_float(rgb, odd, 1, 1);
    assert_int_equal(rgb[0], 0);
    assert_int_equal(rgb[1], 0);
    assert_int_equal(rgb[2], 255);
    int halves = 0;
    for (int k = 0; k < 255; k++) {
        float x = (2.0f * (float)k + 1.0f) / 255.0f - 1.0f, level = (x / 2.0f + 0.5f) * 255.0f;
        float same[3] = {x, x, x};
        image_from_float(rgb, same, 1, 1);
        if (level == (float)k + 0.5f) {
            halves++;
            assert_int_equal(rgb[0], k + k % 2);
        }
    }
    assert_true(halves > 20);
}

static void floats_are_planes(void **state) {
    (void)state;
    float chw[12] = {-1, -1, -1, -1, 1, 1, 1, 1, -1, 1, -1, 1};
    uint8_t rgb[12];
    image_from_float(rgb, chw, 2, 2);
    const uint8_t expected[12] = {0, 255, 0, 0, 255, 255, 0, 255, 0, 0, 255, 255};
    assert_memory_equal(rgb, expected, sizeof expected);
}

static void pictures_are_averaged_down(void **state) {
    struct scratch *s = *state;
    uint8_t rgb[2 * 4 * 3];
    struct image small;
    for (int i = 0; i < 8; i++)
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = (uint8_t)(i * 10);
    assert_int_equal(image_resize(&s->cx, rgb, 4, 2, 2, 1, &small), DL_OK);
    assert_int_equal(small.rgb[0], 25); /* (0 + 10 + 40 + 50) / 4 */
    assert_int_equal(small.rgb[3], 45);
    image_free(&small);
    assert_int_equal(image_resize(&s->cx, rgb, 4, 2, 4, 2, &small), DL_OK);
    assert_memory_equal(small.rgb, rgb, sizeof rgb);
    image_free(&small);
    assert_int_equal(image_resize(&s->cx, rgb, 4, 2, 3, 1, &small), DL_OK);
    assert_int_equal(small.rgb[0], 22); /* ((0 + 10/3) / (4/3) + (40 + 50/3) / (4/3)) / 2 = 22.5 */
    image_free(&small);
}

static void pictures_keep_flat_colour(void **state) {
    struct scratch *s = *state;
    const int sizes[][2] = {{1, 1}, {3, 7}, {64, 64}, {100, 1}, {1, 333}};
    uint8_t rgb[5 * 5 * 3];
    memset(rgb, 77, sizeof rgb);
    for (size_t i = 0; i < 5; i++) {
        struct image out;
        assert_int_equal(image_resize(&s->cx, rgb, 5, 5, sizes[i][0], sizes[i][1], &out), DL_OK);
        for (int k = 0; k < sizes[i][0] * sizes[i][1] * 3; k++)
            assert_int_equal(out.rgb[k], 77);
        image_free(&out);
    }
}

static void thumbnails_keep_the_shape(void **state) {
    struct scratch *s = *state;
    uint8_t *rgb = ramp(300, 200);
    struct image out;
    assert_int_equal(image_thumbnail(&s->cx, rgb, 300, 200, 150, &out), DL_OK);
    assert_int_equal(out.width, 150);
    assert_int_equal(out.height, 100);
    image_free(&out);
    assert_int_equal(image_thumbnail(&s->cx, rgb, 300, 200, 300, &out), DL_OK);
    assert_memory_equal(out.rgb, rgb, 300 * 200 * 3);
    image_free(&out);
    free(rgb);
}

static void impossible_sizes_are_refused(void **state) {
    struct scratch *s = *state;
    const int sizes[][2] = {{0, 1}, {1, 0}, {-1, 5}, {1 << 20, 1}, {1 << 16, 1 << 16}};
    uint8_t pixel[3] = {0};
    for (size_t i = 0; i < 5; i++) {
        struct image out;
        unsigned char *data;
        size_t size;
        assert_int_equal(image_make(&s->cx, sizes[i][0], sizes[i][1], &out), DL_USAGE);
        assert_null(out.rgb);
        assert_int_equal(png_encode(&s->cx, pixel, sizes[i][0], sizes[i][1], NULL, &data, &size),
                         DL_USAGE);
        assert_null(data);
    }
}

/* ---- PNG ---------------------------------------------------------------------------------- */

static void png_keeps_pixels(void **state) {
    struct scratch *s = *state;
    const int sizes[][2] = {{1, 1}, {7, 3}, {64, 64}};
    for (size_t i = 0; i < 3; i++) {
        uint8_t *rgb = noise(sizes[i][0], sizes[i][1]);
        const char *path = scratch_path(s, "a.png");
        struct image back;
        assert_int_equal(png_write(&s->cx, path, rgb, sizes[i][0], sizes[i][1], NULL), DL_OK);
        assert_int_equal(png_read(&s->cx, path, DL_FAILED, &back), DL_OK);
        assert_int_equal(back.width, sizes[i][0]);
        assert_int_equal(back.height, sizes[i][1]);
        assert_memory_equal(back.rgb, rgb, (size_t)(sizes[i][0] * sizes[i][1] * 3));
        image_free(&back);
        free(rgb);
    }
}

static void assert_text(struct scratch *s, const char *path, const char *key,
                        const char *expected) {
    char *value;
    assert_int_equal(png_read_text(&s->cx, path, DL_FAILED, key, &value), DL_OK);
    if (expected)
        assert_string_equal(value, expected);
    else
        assert_null(value);
    free(value);
}

static void png_keeps_text(void **state) {
    struct scratch *s = *state;
    const char *text[] = {"Software", "dlens 0.1.0",
                          "prompt",   "a caf\xC3\xA9 in \xE6\x9D\xB1\xE4\xBA\xAC \xF0\x9F\x90\x95",
                          "negative", "",
                          "model",    "bad \xFF\xC3 bytes",
                          "layer",    "two\nlines",
                          NULL};
    uint8_t pixel[3] = {1, 2, 3};
    const char *path = scratch_path(s, "a.png");
    char *file;
    size_t size;
    assert_int_equal(png_write(&s->cx, path, pixel, 1, 1, text), DL_OK);
    assert_text(s, path, "Software", "dlens 0.1.0");
    assert_text(s, path, "prompt", text[3]);
    assert_text(s, path, "negative", "");
    assert_text(s, path, "model", "bad \xEF\xBF\xBD\xEF\xBF\xBD bytes");
    assert_text(s, path, "layer", "two\nlines");
    assert_text(s, path, "seed", NULL);
    assert_int_equal(file_read(&s->cx, DL_FAILED, path, 1 << 20, &file, &size), DL_OK);
    int latin = 0, international = 0;
    for (size_t i = 0; i + 4 < size; i++) {
        latin += !memcmp(file + i, "tEXt", 4);
        international += !memcmp(file + i, "iTXt", 4);
    }
    assert_int_equal(latin, 3);
    assert_int_equal(international, 2);
    free(file);
}

static void png_refuses_bad_keys(void **state) {
    struct scratch *s = *state;
    char key[81];
    memset(key, 'k', 80);
    key[80] = '\0';
    const char *text[] = {key, "value", NULL}, *empty[] = {"", "value", NULL};
    uint8_t pixel[3] = {0};
    unsigned char *data;
    size_t size;
    assert_int_equal(png_encode(&s->cx, pixel, 1, 1, text, &data, &size), DL_FAILED);
    assert_null(data);
    assert_int_equal(png_encode(&s->cx, pixel, 1, 1, empty, &data, &size), DL_FAILED);
    assert_null(data);
}

static void png_refuses_broken_files(void **state) {
    struct scratch *s = *state;
    uint8_t *rgb = noise(20, 20);
    const char *text[] = {"prompt", "caf\xC3\xA9", NULL};
    unsigned char *data;
    size_t size;
    struct image out;
    uint64_t random = 7;
    assert_int_equal(png_read(&s->cx, scratch_path(s, "none.png"), DL_USAGE, &out), DL_USAGE);
    assert_contains(s->cx.message, "none.png");
    assert_int_equal(png_encode(&s->cx, rgb, 20, 20, text, &data, &size), DL_OK);
    for (size_t cut = 0; cut < size; cut += size / 20 + 1) {
        const char *path = scratch_file(s, "cut.png", data, cut);
        assert_int_equal(png_read(&s->cx, path, DL_USAGE, &out), DL_USAGE);
        assert_null(out.rgb);
        assert_contains(s->cx.message, "cut.png");
    }
    for (int i = 0; i < 200; i++) {
        unsigned char *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, data, size);
        for (int k = 0; k < 4; k++)
            copy[scratch_random(&random) % size] ^= (unsigned char)scratch_random(&random);
        const char *path = scratch_file(s, "bad.png", copy, size);
        char *value;
        if (png_read(&s->cx, path, DL_USAGE, &out) == DL_OK)
            image_free(&out);
        if (png_read_text(&s->cx, path, DL_USAGE, "prompt", &value) == DL_OK)
            free(value);
        free(copy);
    }
    free(data);
    free(rgb);
}

/* A header that promises 8000 x 8000 pixels in 60 bytes is refused without memory for them. */
static void png_refuses_huge_promises(void **state) {
    struct scratch *s = *state;
    const unsigned char header[] = {0x89, 'P',  'N', 'G', 13,  10, 26, 10,   0,    0,    0,
                                    13,   'I',  'H', 'D', 'R', 0,  0,  0x1F, 0x40, 0,    0,
                                    0x1F, 0x40, 8,   2,   0,   0,  0,  0xF8, 0xE3, 0xE1, 0xE6};
    struct image out;
    unsigned char file[60] = {0};
    memcpy(file, header, sizeof header);
    assert_int_equal(
        png_read(&s->cx, scratch_file(s, "huge.png", file, sizeof file), DL_USAGE, &out), DL_USAGE);
    assert_contains(s->cx.message, "huge.png");
}

static void unwritable_folder_fails(void **state) {
    struct scratch *s = *state;
    uint8_t pixel[3] = {0};
    scratch_text(s, "file", "no folder");
    int before = scratch_count(s);
    assert_int_equal(png_write(&s->cx, scratch_path(s, "file/a.png"), pixel, 1, 1, NULL),
                     DL_FAILED);
    assert_contains(s->cx.message, "a.png");
    assert_int_equal(png_write(&s->cx, scratch_path(s, "none/a.png"), pixel, 1, 1, NULL),
                     DL_FAILED);
    assert_int_equal(scratch_count(s), before);
}

/* A disk that fills up, played by a limit on the size of files. */
static void full_disk_leaves_no_file(void **state) {
    struct scratch *s = *state;
    struct rlimit old, small;
    uint8_t *rgb = noise(100, 100);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int status = png_write(&s->cx, scratch_path(s, "a.png"), rgb, 100, 100, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, DL_FAILED);
    assert_contains(s->cx.message, "a.png");
    assert_int_equal(scratch_count(s), 0);
    free(rgb);
}

/* ---- sheet and lettering ------------------------------------------------------------------ */

static const struct lettering plain = {20.0, 1.0, {0, 0, 0}};

static void lettering_measures(void **state) {
    (void)state;
    double a = font_width(&plain, "a", 1), ab = font_width(&plain, "ab", 2);
    assert_true(a > 5.0 && ab > a);
    assert_float_equal(font_width(&plain, "abc", 2), ab, 1e-9);
    assert_int_equal(font_fit(&plain, "ab", ab + 0.01), 2);
    assert_int_equal(font_fit(&plain, "ab", ab - 0.01), 1);
    assert_int_equal(font_fit(&plain, "ab", 0.0), 0);
    assert_int_equal(font_fit(&plain, "\xC3\xA4x", font_width(&plain, "\xC3\xA4", 2) + 0.01), 2);
    assert_float_equal(font_width(&plain, "\xE6\x9D\xB1", 3),
                       font_width(&plain, "\xF0\x9F\x90\x95", 4), 1e-9);
}

/* Every character draws something inside its own box, the blanks nothing. */
static void every_letter_has_a_shape(void **state) {
    struct scratch *s = *state;
    for (unsigned code = 0x20; code < 0x100; code++) {
        char text[3] = {(char)code, 0, 0};
        size_t dark = 0;
        struct image out;
        if (code >= 0x7F && code < 0xA0)
            continue;
        if (code >= 0x80) {
            text[0] = (char)(0xC0 | code >> 6);
            text[1] = (char)(0x80 | (code & 0x3F));
        }
        assert_int_equal(image_make(&s->cx, 40, 40, &out), DL_OK);
        font_draw(&out, &plain, 5.0, 28.0, text, strlen(text));
        for (size_t i = 0; i < 40 * 40; i++)
            dark += out.rgb[3 * i] < 160;
        if (code == 0x20 || code == 0xA0)
            assert_int_equal(dark, 0);
        else
            assert_true(dark > 1);
        image_free(&out);
    }
}

static void lettering_is_clipped(void **state) {
    struct scratch *s = *state;
    struct image out;
    assert_int_equal(image_make(&s->cx, 8, 8, &out), DL_OK);
    font_draw(&out, &plain, -30.0, 4.0, "WWWWWWWW", 8);
    font_draw(&out, &plain, 5.0, -300.0, "W", 1);
    font_draw(&out, &plain, 5.0, 300.0, "W\xFF", 2);
    image_free(&out);
}

static struct sheet a_sheet(const struct sheet_cell *cells, size_t rows, size_t columns) {
    struct sheet s = {"a dog", "model", rows, columns, NULL, NULL, "layer", cells};
    return s;
}

/* Small pictures are enlarged to 128 pixels, large ones shrunk to 256, whatever their number. */
static void sheet_has_sane_sizes(void **state) {
    struct scratch *s = *state;
    const int sides[] = {1, 64, 200, 512}, expected[] = {128, 128, 200, 256};
    for (size_t i = 0; i < 4; i++) {
        uint8_t *rgb = ramp(sides[i], sides[i]);
        struct sheet_cell cells[6];
        struct image out;
        for (size_t k = 0; k < 6; k++)
            cells[k] = (struct sheet_cell){k == 4 ? NULL : rgb, sides[i], sides[i]};
        struct sheet sheet = a_sheet(cells, 2, 3);
        assert_int_equal(sheet_make(&s->cx, &sheet, &out), DL_OK);
        assert_in_range(out.width, 3 * expected[i], 5 * expected[i]);
        assert_in_range(out.height, 2 * expected[i], 4 * expected[i]);
        image_free(&out);
        free(rgb);
    }
}

static void large_sheets_stay_bounded(void **state) {
    struct scratch *s = *state;
    struct sheet_cell *cells = calloc(16 * 25, sizeof *cells);
    struct image out;
    uint8_t *rgb = ramp(512, 512);
    cells[0] = (struct sheet_cell){rgb, 512, 512};
    struct sheet sheet = a_sheet(cells, 16, 25);
    assert_int_equal(sheet_make(&s->cx, &sheet, &out), DL_OK);
    assert_in_range(out.width, 4000, 8000);
    assert_in_range(out.height, 2500, 5000);
    image_free(&out);
    free(rgb);
    free(cells);
}

static void odd_sheets_are_drawn(void **state) {
    struct scratch *s = *state;
    uint8_t *rgb = ramp(40, 10);
    struct sheet_cell cells[2] = {{rgb, 40, 10}, {rgb, 10, 40}};
    const char *labels[] = {"18446744073709551615",
                            "\xE6\x9D\xB1 a label that is much too long for its cell"};
    struct image out;
    struct sheet sheet = a_sheet(cells, 1, 2);
    size_t length = 1 << 20;
    char *title = malloc(length + 1);
    memset(title, 'a', length);
    title[length] = '\0';
    sheet.title = title;
    sheet.row_labels = labels;
    sheet.column_labels = labels;
    assert_int_equal(sheet_make(&s->cx, &sheet, &out), DL_OK);
    image_free(&out);
    memset(title, '\xC3', length); /* no valid UTF-8 */
    assert_int_equal(sheet_make(&s->cx, &sheet, &out), DL_OK);
    image_free(&out);
    sheet.title = "";
    sheet.subtitle = NULL;
    assert_int_equal(sheet_make(&s->cx, &sheet, &out), DL_OK);
    image_free(&out);
    sheet.rows = 0;
    assert_int_equal(sheet_make(&s->cx, &sheet, &out), DL_USAGE);
    free(title);
    free(rgb);
}

/* ---- flags -------------------------------------------------------------------------------- */

static void flags_tell_blank_and_noise(void **state) {
    (void)state;
    const char *names[IMAGE_FLAGS_MAX];
    uint8_t *flat = malloc(64 * 64 * 3), *rough = noise(64, 64), *smooth = ramp(64, 64);
    memset(flat, 200, 64 * 64 * 3);
    assert_int_equal(image_flags(flat, 64, 64, names), 1);
    assert_string_equal(names[0], "blank");
    flat[0] = 210; /* one speck */
    assert_int_equal(image_flags(flat, 64, 64, names), 1);
    assert_int_equal(image_flags(rough, 64, 64, names), 1);
    assert_string_equal(names[0], "noise");
    assert_float_equal(image_roughness(rough, 64, 64), 1.0, 0.1);
    assert_int_equal(image_flags(smooth, 64, 64, names), 0);
    assert_int_equal(image_flags(smooth, 1, 1, names), 1);
    assert_float_equal(image_distance(smooth, smooth, 64, 64), 0.0, 0.0);
    const uint8_t a[3] = {0, 0, 0}, b[3] = {3, 4, 0};
    assert_float_equal(image_distance(a, b, 1, 1), sqrt(25.0 / 3.0), 1e-12);
    free(flat);
    free(rough);
    free(smooth);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(floats_round_half_to_even),  TEST(floats_are_planes),
        TEST(pictures_are_averaged_down), TEST(pictures_keep_flat_colour),
        TEST(thumbnails_keep_the_shape),  TEST(impossible_sizes_are_refused),
        TEST(png_keeps_pixels),           TEST(png_keeps_text),
        TEST(png_refuses_bad_keys),       TEST(png_refuses_broken_files),
        TEST(png_refuses_huge_promises),  TEST(unwritable_folder_fails),
        TEST(full_disk_leaves_no_file),   TEST(lettering_measures),
        TEST(every_letter_has_a_shape),   TEST(lettering_is_clipped),
        TEST(sheet_has_sane_sizes),       TEST(large_sheets_stay_bounded),
        TEST(odd_sheets_are_drawn),       TEST(flags_tell_blank_and_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
