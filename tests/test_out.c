/* out/: what is text: escapes, report, CSV, terminal pictures, progress. */
#include "out/csv.h"
#include "out/html.h"
#include "out/plot.h"
#include "out/progress.h"
#include "out/term.h"

#include "base/file.h"
#include "made_pictures.h"

#include <math.h>

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
    c->prompts[0] = (struct report_prompt){"</script><img src=x onerror=alert(1)>",
                                           c->tokens,
                                           3,
                                           "cut <b>",
                                           "sheet-0.png",
                                           NULL,
                                           NULL};
    c->prompts[1] = (struct report_prompt){"", NULL, 0, NULL, NULL, NULL, NULL};
    c->seeds[0] = 0;
    c->seeds[1] = UINT64_MAX;
    c->layers[0] = -1;
    c->layers[2] = 12;
    for (size_t i = 0; i < 12; i++)
        c->cells[i] =
            (struct report_cell){rgb, side, side, "a \"b\"/layer.png", 1.5, flags, i == 3};
    c->cells[5].rgb = NULL;
    c->report = (struct report){"0.1.0",  "<model>",
                                "family", "Encoder",
                                12,       c->prompts,
                                2,        c->seeds,
                                2,        c->layers,
                                3,        c->cells,
                                side,     side,
                                settings, "dlens 'a' && echo \"<b>\"",
                                false,    "passed through <x>"};
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

/* ---- progress ----------------------------------------------------------------------------- */

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
