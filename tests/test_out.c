/* out/: pictures, PNG, contact sheet, escapes, report, CSV, terminal, progress, flags. */
#include "out/csv.h"
#include "out/flags.h"
#include "out/font.h"
#include "out/html.h"
#include "out/plot.h"
#include "out/png.h"
#include "out/progress.h"
#include "out/sheet.h"
#include "out/term.h"

#include "base/file.h"
#include "scratch.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

/* A picture of seeded noise; freed by the caller. */
static uint8_t *noise(int width, int height) {
    size_t size = (size_t)width * (size_t)height * 3;
    uint64_t random = 88172645463325252u;
    uint8_t *rgb = malloc(size);
    assert_non_null(rgb);
    for (size_t i = 0; i < size; i++)
        rgb[i] = (uint8_t)(scratch_random(&random) >> 32);
    return rgb;
}

/* A smooth picture: red grows to the right, green downwards. */
static uint8_t *ramp(int width, int height) {
    uint8_t *rgb = calloc((size_t)width * (size_t)height, 3);
    assert_non_null(rgb);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            rgb[3 * (y * width + x)] = (uint8_t)(255 * x / width);
            rgb[3 * (y * width + x) + 1] = (uint8_t)(255 * y / height);
        }
    return rgb;
}

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

/* ---- escapes ------------------------------------------------------------------------------ */

static void text_is_escaped(void **state) {
    (void)state;
    struct buffer b = {0};
    buffer_html(&b, "</script><img onerror='x' a=\"b\"> & \x01\xC2\x85 \xC3\xA9\xFF");
    assert_string_equal(b.data,
                        "&lt;/script&gt;&lt;img onerror=&#39;x&#39; a=&quot;b&quot;&gt; &amp;  "
                        "\xC3\xA9\xEF\xBF\xBD");
    b.length = 0;
    buffer_url(&b, "javascript:a b/\"c\"?#%\xC3\xA9");
    assert_string_equal(b.data, "javascript%3Aa%20b/%22c%22%3F%23%25%C3%A9");
    buffer_free(&b);
}

static void base64_is_padded(void **state) {
    (void)state;
    const char *in[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"}; /* RFC 4648, section 10 */
    const char *out[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t i = 0; i < 7; i++) {
        struct buffer b = {0};
        buffer_base64(&b, in[i], strlen(in[i]));
        assert_string_equal(b.data, out[i]);
        buffer_free(&b);
    }
}

static void invalid_utf8_is_replaced(void **state) {
    (void)state;
    /* overlong, surrogate, above U+10FFFF, cut short, stray continuation */
    const char *bad[] = {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                         "\xE6\x9D", "\x80",         "\xF5"};
    for (size_t i = 0; i < 6; i++) {
        const char *text = bad[i];
        assert_int_equal(utf8_next(&text), 0xFFFD);
        assert_ptr_equal(text, bad[i] + 1);
    }
    const char *good = "\xF4\x8F\xBF\xBF";
    assert_int_equal(utf8_next(&good), 0x10FFFF);
    assert_int_equal(utf8_next(&good), 0);
}

/* ---- report ------------------------------------------------------------------------------- */

struct report_case {
    struct report_token tokens[3];
    struct report_prompt prompts[2];
    uint64_t seeds[2];
    int layers[3];
    struct report_cell cells[12];
    struct report report;
};

static void fill_report(struct report_case *c, uint8_t *rgb, int side) {
    static const char *const flags[] = {"blank"}, *const settings[] = {"<key>", "<value>", NULL};
    memset(c, 0, sizeof *c);
    c->tokens[0] = (struct report_token){1, "<|startoftext|>", true};
    c->tokens[1] = (struct report_token){2, "<script>", false};
    c->tokens[2] = (struct report_token){3, "dog</w>", false};
    c->prompts[0] = (struct report_prompt){"</script><img src=x onerror=alert(1)>", c->tokens, 3,
                                           "cut <b>", "sheet-0.png", NULL, NULL};
    c->prompts[1] = (struct report_prompt){"", NULL, 0, NULL, NULL, NULL, NULL};
    c->seeds[0] = 0;
    c->seeds[1] = UINT64_MAX;
    c->layers[0] = -1;
    c->layers[2] = 12;
    for (size_t i = 0; i < 12; i++)
        c->cells[i] =
            (struct report_cell){rgb, side, side, "a \"b\"/layer.png", 1.5, flags, i == 3};
    c->cells[5].rgb = NULL;
    c->report = (struct report){"0.1.0", "<model>",  "family", "Encoder",
                                12,      c->prompts, 2,        c->seeds,
                                2,       c->layers,  3,        c->cells,
                                side,    side,       settings, "dlens 'a' && echo \"<b>\"",
                                false,   "passed through <x>"};
}

static void report_is_whole_and_escaped(void **state) {
    struct scratch *s = *state;
    struct report_case c;
    uint8_t *rgb = ramp(16, 16);
    char *page;
    fill_report(&c, rgb, 16);
    const char *path = scratch_path(s, "index.html");
    assert_int_equal(report_write(&s->cx, path, &c.report), DL_OK);
    assert_int_equal(file_read(&s->cx, DL_FAILED, path, 1 << 24, &page, NULL), DL_OK);
    assert_contains(page, "<!DOCTYPE html>");
    assert_contains(page, "</html>");
    assert_contains(page, "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;");
    assert_null(strstr(page, "<img src=x"));
    assert_null(strstr(page, "<b>"));
    assert_null(strstr(page, "<key>"));
    assert_null(strstr(page, "<model>"));
    assert_null(strstr(page, "http-equiv=\"refresh\""));
    assert_contains(page, "a%20%22b%22/layer.png");
    assert_contains(page, "11 of 12 pictures");
    assert_contains(page, "18446744073709551615");
    assert_contains(page, "data:image/png;base64,iVBOR");
    assert_contains(page, "arXiv:2403.05846");
    assert_contains(page, "Layer 12 of 12");
    /* the one address in the page is the paper's */
    const char *link = strstr(page, "http");
    for (int links = 0; link; link = strstr(link + 4, "http"))
        assert_true(!strncmp(link, "http-equiv", 10) ||
                    (!strncmp(link, "https://arxiv.org", 17) && !links++));
    free(page);
    free(rgb);
}

/* However many pictures there are, the page stays below 20 MB. */
static void report_shrinks_its_pictures(void **state) {
    struct scratch *s = *state;
    enum { COUNT = 150 };
    struct report_case c;
    struct report_cell *cells = calloc(COUNT, sizeof *cells);
    int layers[COUNT];
    struct stat info;
    uint8_t *rgb = noise(256, 256);
    fill_report(&c, rgb, 256);
    for (int i = 0; i < COUNT; i++) {
        layers[i] = i;
        cells[i] = (struct report_cell){rgb, 256, 256, "x.png", -1.0, NULL, 0};
    }
    c.report.prompt_count = c.report.seed_count = 1;
    c.report.layers = layers;
    c.report.layer_count = COUNT;
    c.report.cells = cells;
    const char *path = scratch_path(s, "index.html");
    assert_int_equal(report_write(&s->cx, path, &c.report), DL_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_in_range(info.st_size, 8 << 20, 20000000);
    free(cells);
    free(rgb);
}

static void report_takes_odd_runs_and_refuses_none(void **state) {
    struct scratch *s = *state;
    struct report_case c;
    uint8_t *rgb = ramp(4, 4);
    fill_report(&c, rgb, 4);
    c.report.layer_count = 1; /* the native control alone */
    assert_int_equal(report_write(&s->cx, scratch_path(s, "index.html"), &c.report), DL_OK);
    c.report.layer_count = 3; /* and behind the others */
    c.layers[0] = 0;
    c.layers[1] = 12;
    c.layers[2] = -1;
    c.report.passage = "<taken>";
    assert_int_equal(report_write(&s->cx, scratch_path(s, "index.html"), &c.report), DL_OK);
    unlink(s->path);
    c.cells[0].width = 0;
    assert_int_equal(report_write(&s->cx, scratch_path(s, "index.html"), &c.report), DL_USAGE);
    c.report.seed_count = 0;
    assert_int_equal(report_write(&s->cx, scratch_path(s, "index.html"), &c.report), DL_USAGE);
    fill_report(&c, rgb, 4);
    assert_int_equal(report_write(&s->cx, scratch_path(s, "none/index.html"), &c.report),
                     DL_FAILED);
    assert_int_equal(scratch_count(s), 0);
    free(rgb);
}

static void plot_places_points(void **state) {
    (void)state;
    const int x[] = {0, 4, 12};
    const double y[] = {30.0, NAN, 0.0, 10.0, 5.0, 0.0};
    const struct plot p = {x, y, 3, 2, "layer", "distance", plot_top(30.0)};
    struct buffer b = {0};
    assert_float_equal(p.top, 40.0, 0.0);
    assert_float_equal(plot_top(0.0), 1.0, 0.0);
    assert_float_equal(plot_top(255.0), 260.0, 0.0);
    assert_true(plot_x(&p, 0) < plot_x(&p, 1) && plot_x(&p, 1) < plot_x(&p, 2));
    assert_true(plot_x(&p, 2) <= PLOT_WIDTH && plot_y(&p, 40.0) < plot_y(&p, 0.0));
    plot_svg(&b, &p);
    assert_contains(b.data, "class=\"mean\"");
    assert_null(strstr(b.data, "nan"));
    buffer_free(&b);
}

/* ---- CSV ---------------------------------------------------------------------------------- */

static void csv_reads_what_is_allowed(void **state) {
    struct scratch *s = *state;
    struct csv csv;
    const char *path = scratch_text(s, "a.csv",
                                    "\xEF\xBB\xBF Prompt ,class\r\n\"a \"\"red\"\", dog\",x\r\n\r\n"
                                    "\"two\nlines\",\rshort\nlast,\"\"");
    assert_int_equal(csv_read(&s->cx, path, &csv), DL_OK);
    assert_int_equal(csv.rows, 4);
    assert_int_equal(csv.columns, 2);
    assert_int_equal(csv_column(&csv, "prompt"), 0);
    assert_int_equal(csv_column(&csv, "CLASS"), 1);
    assert_true(csv_column(&csv, "clas") == CSV_NONE);
    assert_string_equal(csv_header(&csv, 1), "class");
    assert_string_equal(csv_cell(&csv, 0, 0), "a \"red\", dog");
    assert_string_equal(csv_cell(&csv, 0, 1), "x");
    assert_string_equal(csv_cell(&csv, 1, 0), "two\nlines");
    assert_string_equal(csv_cell(&csv, 1, 1), "");
    assert_string_equal(csv_cell(&csv, 2, 0), "short");
    assert_string_equal(csv_cell(&csv, 2, 1), "");
    assert_string_equal(csv_cell(&csv, 3, 1), "");
    assert_int_equal(csv_line(&csv, 0), 2);
    assert_int_equal(csv_line(&csv, 1), 4);
    assert_int_equal(csv_line(&csv, 2), 6);
    csv_free(&csv);
}

static void csv_refuses_with_the_line(void **state) {
    struct scratch *s = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "empty"},
        {"\n\n", "empty"},
        {"\xEF\xBB\xBF", "empty"},
        {"a,b\n1,2,3\n", "x.csv:2: more fields than the header's 2"},
        {"a\n\n\"never\nclosed\n", "x.csv:3: a quoted field is never closed"},
        {"a\n\"b\"c\n", "x.csv:2: text behind a closing quote"},
        {"a\nb\"c\n", "x.csv:2: a quote inside a field"},
        {"\"", "x.csv:1: a quoted field is never closed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct csv csv;
        assert_int_equal(csv_parse(&s->cx, "x.csv", cases[i].text, strlen(cases[i].text), &csv),
                         DL_USAGE);
        assert_contains(s->cx.message, cases[i].message);
        assert_null(csv.text);
    }
    struct csv csv;
    assert_int_equal(csv_parse(&s->cx, "x.csv", "a\0b", 3, &csv), DL_USAGE);
    assert_contains(s->cx.message, "byte 1 is NUL");
    assert_int_equal(csv_read(&s->cx, scratch_path(s, "none.csv"), &csv), DL_USAGE);
}

static void csv_is_bounded(void **state) {
    struct scratch *s = *state;
    struct csv csv;
    size_t size = CSV_COLUMNS_MAX + 1;
    char *text = malloc(20000);
    memset(text, ',', size);
    assert_int_equal(csv_parse(&s->cx, "wide", text, size - 2, &csv), DL_OK);
    assert_int_equal(csv.columns, CSV_COLUMNS_MAX);
    csv_free(&csv);
    assert_int_equal(csv_parse(&s->cx, "wide", text, size - 1, &csv), DL_USAGE);
    size = 4000; /* 4001 columns, then rows of one byte, each of which makes 4001 cells */
    for (size_t i = size; i < 20000; i++)
        text[i] = i % 2 ? 'x' : '\n';
    assert_int_equal(csv_parse(&s->cx, "hostile", text, 20000, &csv), DL_USAGE);
    assert_contains(s->cx.message, "million cells");
    free(text);
}

static void csv_survives_noise(void **state) {
    struct scratch *s = *state;
    static const char letters[] = "a,\"\r\n\"\n,";
    uint64_t random = 42;
    for (int i = 0; i < 3000; i++) {
        char text[40];
        size_t size = scratch_random(&random) % sizeof text;
        struct csv csv;
        for (size_t k = 0; k < size; k++)
            text[k] = letters[scratch_random(&random) % (sizeof letters - 1)];
        if (csv_parse(&s->cx, "noise", text, size, &csv) == DL_OK)
            csv_free(&csv);
    }
}

static void csv_rows_come_back(void **state) {
    struct scratch *s = *state;
    const char *cells[] = {"plain", "a,b", "a \"q\"", "two\r\nlines", " space", ""};
    struct buffer b = {0};
    struct csv csv;
    csv_row(&b, cells, 6);
    csv_row(&b, cells, 6);
    assert_int_equal(csv_parse(&s->cx, "x", b.data, b.length, &csv), DL_OK);
    assert_int_equal(csv.rows, 1);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(csv_cell(&csv, 0, i), cells[i]);
    csv_free(&csv);
    buffer_free(&b);
}

/* ---- terminal ----------------------------------------------------------------------------- */

/* An environment as a list of names and values. */
static const char *look_up(void *user, const char *name) {
    const char *const *pairs = user;
    for (; *pairs; pairs += 2)
        if (!strcmp(pairs[0], name))
            return pairs[1];
    return NULL;
}

static void terminals_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *environment[5];
        enum term_graphics expected;
    } cases[] = {
        {{NULL}, TERM_BLOCKS},
        {{"TERM", "xterm-256color", "COLORTERM", "truecolor", NULL}, TERM_BLOCKS},
        {{"TERM", "xterm-kitty", NULL}, TERM_KITTY},
        {{"KITTY_WINDOW_ID", "1", "TERM", "xterm-256color", NULL}, TERM_KITTY},
        {{"KITTY_WINDOW_ID", "1", "TMUX", "/tmp/x", NULL}, TERM_BLOCKS},
        {{"KITTY_WINDOW_ID", "", NULL}, TERM_BLOCKS},
        {{"TERM_PROGRAM", "iTerm.app", NULL}, TERM_ITERM},
        {{"TERM", "foot", NULL}, TERM_SIXEL},
        {{"TERM", "mlterm", NULL}, TERM_SIXEL},
        {{"TERM", "screen-256color", "TERM_PROGRAM", "iTerm.app", NULL}, TERM_BLOCKS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(term_detect(look_up, (void *)(uintptr_t)cases[i].environment),
                         cases[i].expected);
}

static size_t count_of(const char *text, const char *part) {
    size_t count = 0;
    for (text = strstr(text, part); text; text = strstr(text + 1, part))
        count++;
    return count;
}

static void terminal_pictures(void **state) {
    struct scratch *s = *state;
    uint8_t *rgb = noise(100, 51);
    struct buffer b = {0};
    assert_int_equal(term_picture(&s->cx, &b, TERM_BLOCKS, rgb, 100, 51, 20), DL_OK);
    assert_int_equal(count_of(b.data, "\xE2\x96\x80"), 20 * 5); /* 20 x 10 pixels */
    b.length = 0;
    assert_int_equal(term_picture(&s->cx, &b, TERM_KITTY, rgb, 100, 51, 10), DL_OK);
    assert_contains(b.data, "\033_Ga=T,f=100,q=2,c=10,r=3,m=1;");
    assert_contains(b.data, "\033_Gm=0;");
    b.length = 0;
    assert_int_equal(term_picture(&s->cx, &b, TERM_ITERM, rgb, 100, 51, 200), DL_OK);
    assert_contains(b.data, "\033]1337;File=inline=1;size=");
    assert_contains(b.data, ";width=25;height=7:");
    b.length = 0;
    assert_int_equal(term_picture(&s->cx, &b, TERM_SIXEL, rgb, 100, 51, 5), DL_OK);
    assert_contains(b.data, "\033P0;1;0q\"1;1;40;20");
    assert_int_equal(count_of(b.data, "-"), 3); /* four bands */
    b.length = 0;
    for (int g = TERM_BLOCKS; g <= TERM_SIXEL; g++)
        assert_int_equal(term_picture(&s->cx, &b, (enum term_graphics)g, rgb, 1, 1, 1), DL_OK);
    assert_int_equal(term_picture(&s->cx, &b, TERM_SIXEL, rgb, 1, 1, 0), DL_USAGE);
    buffer_free(&b);
    free(rgb);
}

/* A flat picture becomes one colour of the palette in one run per band. */
static void sixel_of_one_colour(void **state) {
    struct scratch *s = *state;
    uint8_t rgb[8 * 8 * 3];
    struct buffer b = {0};
    memset(rgb, 255, sizeof rgb);
    assert_int_equal(term_picture(&s->cx, &b, TERM_SIXEL, rgb, 8, 8, 1), DL_OK);
    assert_contains(b.data, "#215!8~$-#215!8B$\033\\"); /* six rows, then two */
    buffer_free(&b);
}

/* ---- progress and flags ------------------------------------------------------------------- */

static void durations_read_well(void **state) {
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{0.04, "0.0 s"},      {9.94, "9.9 s"},     {9.96, "10 s"},
                 {59.6, "1 min 00 s"}, {185, "3 min 05 s"}, {7800, "2 h 10 min"},
                 {NAN, "?"},           {-1, "?"},           {1e30, "?"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        duration_text(text, sizeof text, cases[i].seconds);
        assert_string_equal(text, cases[i].text);
    }
    assert_float_equal(seconds_left(10.0, 2.0, 6.0), 20.0, 1e-9);
    assert_true(seconds_left(10.0, 0.0, 6.0) < 0.0);
}

static void progress_fits_the_width(void **state) {
    (void)state;
    struct progress_line p = {"denoise", "layer 4, seed 0", 12, 50, 2, 13, 80.0, false};
    char line[512];
    progress_text(line, sizeof line, 120, &p);
    assert_contains(line, "denoise  \xE2\x94\x81");
    assert_contains(line, "step 12/50  picture 3/13  layer 4, seed 0  1 min 20 s left");
    for (int columns = 0; columns < 130; columns++) {
        size_t length = progress_text(line, sizeof line, columns, &p);
        const char *at = line;
        int cells = 0;
        while (utf8_next(&at))
            cells++;
        assert_int_equal(length, strlen(line));
        assert_true(cells <= columns);
    }
    progress_text(line, sizeof line, 40, &p);
    assert_contains(line, "denoise  ");
    assert_contains(line, "picture 3/13");
    p.ascii = true;
    progress_text(line, sizeof line, 120, &p);
    assert_contains(line, "##");
    assert_int_equal(progress_text(line, 5, 120, &p), 4);
    assert_int_equal(progress_text(line, 0, 120, &p), 0);
    struct progress_line nothing = {NULL, NULL, 0, 0, 0, 0, -1.0, true};
    progress_text(line, sizeof line, 80, &nothing);
}

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
        TEST(floats_round_half_to_even),
        TEST(floats_are_planes),
        TEST(pictures_are_averaged_down),
        TEST(pictures_keep_flat_colour),
        TEST(thumbnails_keep_the_shape),
        TEST(impossible_sizes_are_refused),
        TEST(png_keeps_pixels),
        TEST(png_keeps_text),
        TEST(png_refuses_bad_keys),
        TEST(png_refuses_broken_files),
        TEST(png_refuses_huge_promises),
        TEST(unwritable_folder_fails),
        TEST(full_disk_leaves_no_file),
        TEST(lettering_measures),
        TEST(every_letter_has_a_shape),
        TEST(lettering_is_clipped),
        TEST(sheet_has_sane_sizes),
        TEST(large_sheets_stay_bounded),
        TEST(odd_sheets_are_drawn),
        TEST(text_is_escaped),
        TEST(base64_is_padded),
        TEST(invalid_utf8_is_replaced),
        TEST(report_is_whole_and_escaped),
        TEST(report_shrinks_its_pictures),
        TEST(report_takes_odd_runs_and_refuses_none),
        TEST(plot_places_points),
        TEST(csv_reads_what_is_allowed),
        TEST(csv_refuses_with_the_line),
        TEST(csv_is_bounded),
        TEST(csv_survives_noise),
        TEST(csv_rows_come_back),
        TEST(terminals_are_told_apart),
        TEST(terminal_pictures),
        TEST(sixel_of_one_colour),
        TEST(durations_read_well),
        TEST(progress_fits_the_width),
        TEST(flags_tell_blank_and_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
