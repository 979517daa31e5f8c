/* An experiment's report and the comparison of two runs, from folders made by hand: numbers in
 * plots and tables, escaping, bounded size, what is broken. */
#include "scratch.h"

#include "base/file.h"
#include "out/number.h"
#include "out/png.h"
#include "study/compare.h"
#include "study/report.h"

#include <math.h>

/* ---- folders --------------------------------------------------------------------------------- */

/* A run of N prompts, S seeds from 0, L layers. */
struct run {
    const char *const *prompts;
    size_t prompt_count, seed_count, layer_count;
    const int *layers;
    int blocks, side;
    const char *control, *conditioning; /* JSON of these parts of a manifest; NULL: none */
};

static void put(struct scratch *s, const char *folder, const char *name, const char *text) {
    char path[SCRATCH_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s/%s", s->dir, folder, name);
    assert_int_equal(dir_make_above(&s->cx, path), DL_OK);
    assert_int_equal(file_write(&s->cx, path, text, strlen(text)), DL_OK);
}

static void put_json_text(struct buffer *b, const char *text) {
    buffer_text(b, "\"");
    for (; *text; text++) {
        buffer_text(b, *text == '"' || *text == '\\' ? "\\" : "");
        buffer_bytes(b, text, 1);
    }
    buffer_text(b, "\"");
}

static void put_manifest(struct scratch *s, const char *folder, const struct run *r) {
    struct buffer b = {0};
    buffer_format(&b,
                  "{\"schema\":1,\"version\":\"0.1.0\",\"command\":[\"dlens\"],\"model\":{\"path\":"
                  "\"m\",\"family\":\"f\",\"encoder\":\"E\",\"layers\":%d,\"weights\":\"w\"},"
                  "\"options\":{\"steps\":1,\"width\":%d,\"height\":%d,\"guidance\":1,\"eta\":0,"
                  "\"sampler\":\"ddim\",\"negative\":\"\",\"norm\":\"final\",\"native\":false,",
                  r->blocks, r->side, r->side);
    if (r->control)
        buffer_format(&b, "\"control\":\"%s\",", r->control);
    buffer_text(&b, "\"layers\":[");
    for (size_t i = 0; i < r->layer_count; i++)
        buffer_format(&b, i ? ",%d" : "%d", r->layers[i]);
    buffer_text(&b, "],\"seeds\":[");
    for (size_t i = 0; i < r->seed_count; i++)
        buffer_format(&b, i ? ",%zu" : "%zu", i);
    buffer_text(&b, "]},\"prompts\":[");
    for (size_t i = 0; i < r->prompt_count; i++) {
        buffer_format(&b, "%s{\"index\":%zu,\"text\":", i ? "," : "", i);
        put_json_text(&b, r->prompts[i]);
        buffer_text(&b, ",\"tokens\":[]}");
    }
    if (r->conditioning)
        buffer_format(&b, "],\"conditioning\":[%s", r->conditioning);
    buffer_text(&b, "],\"images\":[],\"complete\":true}");
    put(s, folder, "manifest.json", b.data);
    buffer_free(&b);
}

static void put_picture(struct scratch *s, const char *folder, const struct run *r, size_t prompt,
                        size_t seed, size_t layer, const void *png, size_t size) {
    char path[SCRATCH_PATH_MAX], name[48];
    slug(name, r->prompts[prompt]);
    snprintf(path, sizeof path, "%s/%s/%zu-%s/seed-%zu/layer-%02d.png", s->dir, folder, prompt,
             name, seed, r->layers[layer]);
    assert_int_equal(dir_make_above(&s->cx, path), DL_OK);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(png, 1, size, file), size);
    fclose(file);
}

/* Pictures of one grey; of noise where it is negative, those of a prompt all different. */
static void put_pictures(struct scratch *s, const char *folder, const struct run *r, int grey) {
    const size_t bytes = (size_t)r->side * (size_t)r->side * 3;
    uint8_t *rgb = malloc(bytes);
    uint64_t state = 88172645463325252u;
    assert_non_null(rgb);
    for (size_t i = 0; i < r->seed_count * r->layer_count; i++) {
        unsigned char *png;
        size_t size;
        for (size_t k = 0; k < bytes; k++)
            rgb[k] = (uint8_t)(grey < 0 ? (int)(scratch_random(&state) & 255) : grey);
        assert_int_equal(png_encode(&s->cx, rgb, r->side, r->side, NULL, &png, &size), DL_OK);
        for (size_t p = 0; p < r->prompt_count; p++)
            put_picture(s, folder, r, p, i / r->layer_count, i % r->layer_count, png, size);
        free(png);
    }
    free(rgb);
}

static char *path_of(struct scratch *s, const char *folder) {
    snprintf(s->path, sizeof s->path, "%s/%s", s->dir, folder);
    return s->path;
}

static char *read_all(struct scratch *s, const char *folder, const char *name) {
    char path[SCRATCH_PATH_MAX], *text;
    snprintf(path, sizeof path, "%s/%s/%s", s->dir, folder, name);
    assert_int_equal(file_read(&s->cx, DL_FAILED, path, 64 << 20, &text, NULL), DL_OK);
    return text;
}

static const char *const two_prompts[] = {"a dog", "a <b>&\"cat\"'</script>"};
static const int four_layers[] = {0, 2, 4, 8};
static const struct run small = {two_prompts, 2, 2, 4, four_layers, 8, 8, NULL, NULL};

/* Row by row: emerges at 2, at 4, unstable (0, then from 8), never. */
static const char small_scores[] = "prompt,0,2,4,8,seed\n"
                                   "a dog,0,1,1,1,0\na dog,0,0,1,1,1\n"
                                   "\"a <b>&\"\"cat\"\"'</script>\",1,0,0,1,0\n"
                                   "\"a <b>&\"\"cat\"\"'</script>\",0,1,0,0,1\n";

/* One grey picture in the place of another. */
static void put_grey(struct scratch *s, const char *folder, const struct run *r, size_t prompt,
                     size_t seed, size_t layer, int grey) {
    uint8_t rgb[8 * 8 * 3];
    unsigned char *png;
    size_t size;
    memset(rgb, grey, sizeof rgb);
    assert_int_equal(png_encode(&s->cx, rgb, r->side, r->side, NULL, &png, &size), DL_OK);
    put_picture(s, folder, r, prompt, seed, layer, png, size);
    free(png);
}

static void make_small(struct scratch *s, const char *folder, const char *scores) {
    put_manifest(s, folder, &small);
    put_pictures(s, folder, &small, 100);
    put(s, folder, "prompts.csv",
        "prompt,class\na dog,dog\n\"a <b>&\"\"cat\"\"'</script>\",\"<i>cat\"\n");
    put(s, folder, "experiment.json",
        "{\"schema\":1,\"name\":\"set <x>\",\"judge\":{\"path\":\"default\"},\"questions\":[{"
        "\"name\":\"class\",\"wording\":\"Is {class} there? {none}\"},{\"name\":\"unasked\","
        "\"wording\":\"?\"}]}");
    put(s, folder, "annotations/class.csv", scores);
    put(s, folder, "annotations/best/class.csv",
        "prompt,0,2,4,8,seed\na dog,0.1,0.6,0.6,0.6,0\na dog,0.1,0.4999,0.5,0.6,1\n");
}

/* ---- SVG ------------------------------------------------------------------------------------- */

static void counts(void **state) {
    struct buffer b = {0};
    (void)state;
    for (size_t n = 0; n < 3; n++) {
        put_count(&b, n, "row ", "rows ");
        put_count(&b, n, "is unstable; ", "are unstable; ");
    }
    assert_string_equal(b.data, "0 rows 0 are unstable; 1 row 1 is unstable; "
                                "2 rows 2 are unstable; ");
    buffer_free(&b);
}

static void numbers(void **state) {
    static const struct {
        double value;
        int decimals;
        const char *text;
    } cases[] = {{0.5, 2, "0.50"},          {-0.004, 2, "0.00"},         {-1.25, 1, "-1.3"},
                 {1e6, 0, "1000000"},       {12.345678, 6, "12.345678"}, {NAN, 2, "\xE2\x80\x93"},
                 {1e300, 2, "\xE2\x80\x93"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer b = {0};
        put_fixed(&b, cases[i].value, cases[i].decimals);
        assert_string_equal(b.data, cases[i].text);
        buffer_free(&b);
    }
}

/* What rounds to zero from below has no sign, and keeps its place. */
static void columns(void **state) {
    struct buffer b = {0};
    (void)state;
    put_column(&b, -0.0049, 2, 6);
    put_column(&b, -0.0, 1, 4);
    put_column(&b, NAN, 3, 4);
    put_column(&b, -12345.0, 0, 3);
    put_estimate(&b, -0.0001, -0.4996, 0.0004, 3);
    assert_string_equal(b.data, "  0.00 0.0   --12345 0.000 (-0.500 to  0.000)");
    buffer_free(&b);
}

/* Points lie where the axes say; a missing one breaks curve and band. */
static void lines(void **state) {
    static const double x[] = {0, 2, 4, 8}, y[] = {0, 1, NAN, 0.5}, low[] = {0, 0.5, NAN, 0.25},
                        high[] = {0.5, 1, NAN, 0.75};
    const struct svg_curve curve = {"<one>", 4, x, y, low, high};
    const struct svg_lines plot = {.title = "a & b",
                                   .x_label = "layer",
                                   .y_label = "score",
                                   .curves = &curve,
                                   .curve_count = 1,
                                   .x_high = 8,
                                   .y_high = 1,
                                   .ticks = x,
                                   .tick_count = 4,
                                   .relative = true};
    struct buffer b = {0};
    (void)state;
    svg_lines(&b, &plot, true);
    /* x: 62 + x/8 (640 - 62 - 16); y: 62 + (1 - y) (330 - 62 - 52) */
    assert_non_null(strstr(b.data, "d=\"M62.0 278.0L202.5 62.0M624.0 170.0\""));
    assert_non_null(strstr(b.data, "d=\"M62.0 170.0L202.5 62.0L202.5 170.0L62.0 278.0ZM624.0"));
    assert_non_null(strstr(b.data, "aria-label=\"a &amp; b\""));
    assert_non_null(strstr(b.data, "<style>"));
    assert_null(strstr(b.data, "nan"));
    buffer_free(&b);
}

static void bars_and_heat(void **state) {
    static const double counts[] = {3, 0, 12}, shares[] = {0, 1, NAN, 0.5};
    static const char *const labels[] = {"0", "4", "never"}, *const rows[] = {"<p>", "q"};
    const struct svg_bars bars = {.title = "t",
                                  .x_label = "x",
                                  .y_label = "y",
                                  .labels = labels,
                                  .values = counts,
                                  .count = 3,
                                  .series = 1};
    const struct svg_heat heat = {"t", "x", rows, labels, shares, 2, 2};
    struct buffer b = {0};
    (void)state;
    svg_bars(&b, &bars, false);
    /* room 270 - 40 - 52 = 178 for 12 */
    assert_non_null(strstr(b.data, "height=\"44.5\""));
    assert_non_null(strstr(b.data, "height=\"178.0\""));
    assert_null(strstr(b.data, "<style>"));
    buffer_free(&b);
    b = (struct buffer){0};
    svg_heat(&b, &heat, true);
    assert_non_null(strstr(b.data, "fill=\"#fde725\"><title>&lt;p&gt;, 4: 1.00</title>"));
    assert_non_null(strstr(b.data, "fill=\"#808080\"><title>q, 0: \xE2\x80\x93</title>"));
    buffer_free(&b);
}

/* ---- a folder read --------------------------------------------------------------------------- */

static void folder_is_read(void **state) {
    struct scratch s;
    struct study study;
    struct buffer wording = {0};
    (void)state;
    scratch_begin(&s);
    make_small(&s, "run", small_scores);
    assert_int_equal(study_open(&s.cx, path_of(&s, "run"), 0, &study), DL_OK);
    assert_int_equal(study.question_count, 1); /* the other has no answers */
    assert_string_equal(study.name, "set <x>");
    const struct study_question *q = &study.questions[0];
    static const int first[] = {1, 2, 3, EMERGES_NEVER};
    static const bool unstable[] = {false, false, true, false};
    static const double means[] = {0, 0.5, 1, 1, 0.5, 0.5, 0, 0.5};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(q->first[i], first[i]);
        assert_int_equal(q->unstable[i], unstable[i]);
    }
    for (size_t i = 0; i < 8; i++)
        assert_true(fabs(q->by_prompt[i] - means[i]) < 1e-12);
    assert_true(q->scores[8] == 1 && q->scores[9] == 0);
    /* all are blank; incoherent where a judge has looked and recognised nothing */
    static const unsigned signs[] = {5, 1, 1, 1, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(study.signs[i], signs[i]);
    study_wording(&study, q, 1, &wording);
    assert_string_equal(wording.data, "Is <i>cat there? {none}");
    buffer_free(&wording);
    study_close(&study);
    scratch_end(&s);
}

/* Rows in any order, the same prompt twice, rows of others, no seeds. */
static void rows_find_their_places(void **state) {
    static const char *const twice[] = {"b", "a", "b"};
    static const int layers[] = {0, 1};
    static const struct run run = {twice, 3, 2, 2, layers, 1, 8, NULL, NULL};
    static const int expected[] = {0, 1, 2, EMERGES_UNKNOWN, 1, EMERGES_UNKNOWN};
    struct scratch s;
    struct study study;
    (void)state;
    scratch_begin(&s);
    put_manifest(&s, "run", &run);
    put_pictures(&s, "run", &run, 100);
    put(&s, "run", "experiment.json", "{\"questions\":[{\"name\":\"q\"}]}");
    /* the k-th row of a prompt and seed is of the k-th such prompt; the third has no place */
    put(&s, "run", "annotations/q.csv",
        "prompt,seed,0,1,7\nb,1,0,1,1\na,0,1,0,1\nb,0,1,1,1\nc,0,1,1,1\nb,0,0,1,1\nb,0,1,1,1\n"
        "a,9,1,1,1\n");
    assert_int_equal(study_open(&s.cx, path_of(&s, "run"), 0, &study), DL_OK);
    assert_int_equal(study.question_count, 1);
    /* layer 7 is none of the run's: it counts for emergence alone, where all are there */
    const struct study_question *q = &study.questions[0];
    assert_true(q->scores[0] == 1 && q->scores[1] == 1 && q->scores[2] == 0 && q->scores[3] == 1);
    assert_true(q->scores[4] == 1 && q->scores[5] == 0 && isnan(q->scores[6]));
    assert_true(q->scores[8] == 0 && q->scores[9] == 1 && isnan(q->scores[10]));
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(q->first[i], expected[i]);
    study_close(&study);
    put(&s, "run", "annotations/q.csv", "prompt,0,1\na,1,1\na,0,0\na,0,1\n");
    assert_int_equal(study_open(&s.cx, path_of(&s, "run"), 0, &study), DL_OK);
    assert_int_equal(study.questions[0].first[2], 0);
    assert_int_equal(study.questions[0].first[3], EMERGES_NEVER);
    study_close(&study);
    scratch_end(&s);
}

static void report_has_the_numbers(void **state) {
    struct scratch s;
    char *text;
    (void)state;
    scratch_begin(&s);
    make_small(&s, "run", small_scores);
    assert_int_equal(study_report(&s.cx, path_of(&s, "run")), DL_OK);
    text = read_all(&s, "run", "plots/class-emergence.csv");
    assert_string_equal(text, "layer,rows\n0,0\n2,1\n4,1\n8,1\nnever,1\n");
    free(text);
    text = read_all(&s, "run", "plots/class-heat.csv");
    assert_string_equal(text, "prompt,0,2,4,8\na dog,0,0.5,1,1\n"
                              "\"a <b>&\"\"cat\"\"'</script>\",0.5,0.5,0,0.5\n");
    free(text);
    text = read_all(&s, "run", "plots/class-score.csv");
    assert_non_null(strstr(text, "\nclass,0,0,4,0.25,"));
    assert_non_null(strstr(text, "\nclass,2,0.25,4,0.5,"));
    assert_non_null(strstr(text, "\nclass,8,1,4,0.75,"));
    free(text);
    text = read_all(&s, "run", "signatures.csv");
    assert_non_null(strstr(text, "\na dog,0,0,,blank\na dog,0,0,,incoherent\na dog,0,2,,blank\n"));
    assert_non_null(strstr(text, "\"a <b>&\"\"cat\"\"'</script>\",0,,class,unstable\n"));
    assert_non_null(strstr(text, "\"a <b>&\"\"cat\"\"'</script>\",1,,class,never\n"));
    free(text);
    text = read_all(&s, "run", "index.html");
    assert_null(strstr(text, "cat\"'</script>"));
    assert_null(strstr(text, "<i>cat"));
    assert_null(strstr(text, "set <x>"));
    assert_non_null(strstr(text, "a &lt;b&gt;&amp;"));
    assert_non_null(strstr(text, "a \\u003cb>&"));
    assert_non_null(strstr(text, "2 prompts, 4 rows (a prompt and a seed); 0 cells missing. Of 4 "
                                 "complete rows 1 never emerges, 1 is unstable; the median layer "
                                 "of emergence is 4.0."));
    free(text);
    scratch_end(&s);
}

/* ---- distances ------------------------------------------------------------------------------- */

static void running_means(void **state) {
    static const double values[] = {4, NAN, 7, 13, 16};
    struct running_mean m = {0}, far = {0};
    (void)state;
    assert_true(isnan(running_mean(&m)) && isnan(running_deviation(&m)));
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        running_take(&m, values[i]);
        running_take(&far, values[i] + 1e9); /* a sum of squares would have lost it */
    }
    assert_int_equal(m.n, 4);
    assert_true(fabs(running_mean(&m) - 10) < 1e-12);
    assert_true(fabs(running_deviation(&m) - sqrt(30)) < 1e-12);
    assert_true(fabs(running_deviation(&far) - sqrt(30)) < 1e-6);
}

/* The numbers behind `relative_layer` in the row of this run and layer, in run/NAME. */
static void check_row(struct scratch *s, const char *name, const char *run, const char *layer,
                      size_t count, const double *numbers) {
    char path[SCRATCH_PATH_MAX];
    struct csv csv;
    size_t row = 0;
    snprintf(path, sizeof path, "%s/run/%s", s->dir, name);
    assert_int_equal(csv_read(&s->cx, path, &csv), DL_OK);
    while (row < csv.rows && (strcmp(csv_cell(&csv, row, csv_column(&csv, "run")), run) != 0 ||
                              strcmp(csv_cell(&csv, row, csv_column(&csv, "layer")), layer) != 0))
        row++;
    assert_true(row < csv.rows);
    const size_t first = csv_column(&csv, "relative_layer") + 1;
    for (size_t i = 0; i < count; i++) {
        const char *cell = csv_cell(&csv, row, first + i);
        assert_true(isnan(numbers[i]) ? !*cell : fabs(strtod(cell, NULL) - numbers[i]) < 1e-9);
    }
    csv_free(&csv);
}

static const char some_conditionings[] =
    "{\"prompt\":0,\"layer\":0,\"distance\":0.5,\"cosine\":0.8},"
    "{\"prompt\":1,\"layer\":0,\"distance\":0.7,\"cosine\":null},"
    "{\"prompt\":1,\"layer\":8,\"distance\":0,\"cosine\":1},"
    "{\"prompt\":7,\"layer\":8,\"distance\":9,\"cosine\":9}";

static void distances(void **state) {
    struct scratch s;
    struct run run = small;
    char *text;
    (void)state;
    scratch_begin(&s);
    make_small(&s, "run", small_scores);
    run.conditioning = some_conditionings;
    put_manifest(&s, "run", &run);
    put_grey(&s, "run", &small, 0, 0, 0, 110);
    put(&s, "run", "0-a-dog/seed-1/layer-02.png", "broken");
    assert_int_equal(study_report(&s.cx, path_of(&s, "run")), DL_OK);
    check_row(&s, "distances.csv", "lens", "0", 7,
              (const double[]){4, 2.5, 5, 2, 0.6, sqrt(0.02), 0.8});
    check_row(&s, "distances.csv", "lens", "2", 7, (const double[]){3, 0, 0, 0, NAN, NAN, NAN});
    check_row(&s, "distances.csv", "lens", "8", 7, (const double[]){4, 0, 0, 1, 0, NAN, 1});
    check_row(&s, "plots/distance-picture.csv", "lens", "0", 3, (const double[]){4, 2.5, 5});
    text = read_all(&s, "run", "index.html");
    assert_non_null(strstr(text, "<section id=\"distances\">"));
    free(text);
    scratch_end(&s);
}

/* A control is measured against the lens' last layer, and what it holds stands beside the lens'. */
static void controls(void **state) {
    static const char its_scores[] = "prompt,0,2,4,8,seed\na dog,0,0,0,1,0\na dog,0,0,0,0,1\n";
    struct scratch s;
    struct run run = small;
    char *text;
    (void)state;
    scratch_begin(&s);
    make_small(&s, "run", small_scores);
    make_small(&s, "run/controls/shuffled", its_scores);
    make_small(&s, "run/controls/padding", its_scores); /* says that it is the lens itself */
    run.control = "shuffled";
    run.conditioning = some_conditionings;
    put_manifest(&s, "run/controls/shuffled", &run);
    put_grey(&s, "run/controls/shuffled", &small, 1, 0, 3, 130);
    put_grey(&s, "run", &small, 1, 1, 3, 101);
    assert_int_equal(study_report(&s.cx, path_of(&s, "run")), DL_OK);
    check_row(&s, "distances.csv", "lens", "8", 4, (const double[]){4, 0, 0, 0});
    check_row(&s, "distances.csv", "lens", "0", 3, (const double[]){4, 0.25, 0.5});
    check_row(&s, "distances.csv", "shuffled", "0", 7,
              (const double[]){4, 0.25, 0.5, 2, 0.6, sqrt(0.02), 0.8});
    check_row(&s, "distances.csv", "shuffled", "8", 2, (const double[]){4, 7.75});
    check_row(&s, "plots/class-score.csv", "shuffled", "8", 2, (const double[]){2, 0.5});
    check_row(&s, "plots/class-score.csv", "lens", "8", 2, (const double[]){4, 0.75});
    text = read_all(&s, "run", "distances.csv");
    assert_null(strstr(text, "padding"));
    free(text);
    text = read_all(&s, "run", "index.html");
    assert_non_null(strstr(text, "<a href=\"controls/shuffled/index.html\">shuffled</a></th>"
                                 "<td>2</td><td>1</td><td>1</td><td>0</td><td>8.0</td>"
                                 "<td>0.500</td>"));
    assert_null(strstr(text, "controls/padding"));
    free(text);
    scratch_end(&s);
}

/* ---- folders of other kinds ------------------------------------------------------------------ */

/* A plain lens' folder has no questions; a shard is none. */
static void other_folders(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    put_manifest(&s, "lens", &small);
    assert_int_equal(study_report(&s.cx, path_of(&s, "lens")), DL_OK); /* without pictures, too */
    char *text = read_all(&s, "lens", "index.html");
    assert_non_null(strstr(text, "0 of 16 pictures"));
    free(text);
    text = read_all(&s, "lens", "manifest.json");
    char *shard = malloc(strlen(text) + 64);
    assert_non_null(shard);
    sprintf(shard, "{\"shard\":{\"index\":1,\"of\":2},%s", text + 1);
    put(&s, "shard", "manifest.json", shard);
    free(shard);
    free(text);
    assert_int_equal(study_report(&s.cx, path_of(&s, "shard")), DL_USAGE);
    assert_non_null(strstr(s.cx.message, "shard 1 of 2"));
    make_small(&s, "broken", small_scores);
    put(&s, "broken", "experiment.json", "{\"questions\":[{\"name\":\"../class\"}]}");
    assert_int_equal(study_report(&s.cx, path_of(&s, "broken")), DL_USAGE);
    put(&s, "broken", "experiment.json", "{\"questions\":7,\"name\":[]}");
    assert_int_equal(study_report(&s.cx, path_of(&s, "broken")), DL_OK);
    put(&s, "broken", "annotations/reliability.json", "[");
    assert_int_equal(study_report(&s.cx, path_of(&s, "broken")), DL_USAGE);
    scratch_end(&s);
}

/* Pictures that do not compress: the page stays small all the same. */
static void size_is_bounded(void **state) {
    enum { SIDE = 64, PROMPTS = 100 };
    static const int layers[] = {0, 1, 2, 3, 4, 5, 6};
    const char *prompts[PROMPTS];
    char names[PROMPTS][16];
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    for (size_t i = 0; i < PROMPTS; i++) {
        snprintf(names[i], sizeof names[i], "prompt %zu", i);
        prompts[i] = names[i];
    }
    const struct run large = {prompts, PROMPTS, 2, 7, layers, 6, SIDE, NULL, NULL};
    put_manifest(&s, "large", &large);
    put_pictures(&s, "large", &large, -1); /* 1400 pictures of 12 KiB */
    assert_int_equal(study_report(&s.cx, path_of(&s, "large")), DL_OK);
    char *text = read_all(&s, "large", "index.html");
    assert_true(strlen(text) < 20000000 && strlen(text) > 8000000);
    assert_non_null(strstr(text, "\"files\":[\"0-prompt-0/seed-0/layer-00.png\""));
    free(text);
    scratch_end(&s);
}

/* ---- two runs -------------------------------------------------------------------------------- */

static void runs_compared(void **state) {
    static const char *const other_prompts[] = {"a bird", "a dog"};
    static const int other_layers[] = {0, 1, 4};
    static const struct run other = {other_prompts, 2, 2, 3, other_layers, 4, 8, NULL, NULL};
    struct scratch s;
    struct runs_compared c;
    char a[SCRATCH_PATH_MAX], b[SCRATCH_PATH_MAX];
    (void)state;
    scratch_begin(&s);
    make_small(&s, "a", small_scores);
    put_manifest(&s, "b", &other);
    put_pictures(&s, "b", &other, 110);
    put(&s, "b", "experiment.json", "{\"questions\":[{\"name\":\"class\"}]}");
    put(&s, "b", "annotations/class.csv",
        "prompt,0,1,4,seed\na bird,1,1,1,0\na bird,1,1,1,1\na dog,0,1,1,0\na dog,0,0,0,1\n");
    strcpy(a, path_of(&s, "a"));
    strcpy(b, path_of(&s, "b"));
    assert_int_equal(compare_runs(&s.cx, a, b, 0, &c), DL_OK);
    assert_int_equal(c.prompt_count, 1);
    assert_true(c.prompts[0].a == 0 && c.prompts[0].b == 1);
    assert_int_equal(c.question_count, 1);
    const struct compared_question *q = &c.questions[0];
    assert_true(q->interpolated && q->layers == 4 && q->prompts == 1);
    /* a dog in a: 0 .5 1 1; in b at relative 0, .25, 1: 0 .5 .5 */
    static const double differences[] = {0, 0, -0.5, -0.5};
    for (size_t i = 0; i < 4; i++) {
        assert_true(fabs(q->layer[i].difference - differences[i]) < 1e-12);
        assert_true(fabs(q->layer[i].low - differences[i]) < 1e-12); /* one prompt */
    }
    /* a: mean of 2/8 and 4/8; b: 1/4; never counts as (4 + 3)/4 in both */
    assert_true(fabs(q->emergence[ROWS_EMERGED].difference - (0.25 - 0.375)) < 1e-9);
    assert_true(fabs(q->emergence[ROWS_ALL].b - (0.25 + 1.75) / 2) < 1e-9);
    /* layers 0 with 0, 2 with 1, 8 with 4; 20 log10(255 / 10) */
    assert_int_equal(c.picture_layers, 3);
    assert_true(c.pictures[1].layer_a == 2 && c.pictures[1].layer_b == 1);
    assert_true(c.pictures[1].n == 2 && c.pictures[1].identical == 0);
    assert_true(fabs(c.pictures[1].psnr - 28.1308) < 1e-3);
    compare_free(&c);
    /* with itself */
    assert_int_equal(compare_runs(&s.cx, a, a, 0, &c), DL_OK);
    assert_true(!c.questions[0].interpolated && c.questions[0].layer[2].difference == 0);
    assert_true(isnan(c.questions[0].emergence[ROWS_ALL].test.p));
    assert_true(c.pictures[0].identical == 4 && isnan(c.pictures[0].psnr));
    assert_int_equal(compare_write(&s.cx, &c, path_of(&s, "page.html"), NULL), DL_OK);
    compare_free(&c);
    char *text = read_all(&s, ".", "page.html");
    assert_non_null(strstr(text, "a &lt;b&gt;"));
    assert_null(strstr(text, "<b>&"));
    free(text);
    scratch_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(numbers),
        cmocka_unit_test(columns),
        cmocka_unit_test(lines),
        cmocka_unit_test(bars_and_heat),
        cmocka_unit_test(folder_is_read),
        cmocka_unit_test(rows_find_their_places),
        cmocka_unit_test(report_has_the_numbers),
        cmocka_unit_test(running_means),
        cmocka_unit_test(distances),
        cmocka_unit_test(controls),
        cmocka_unit_test(other_folders),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(runs_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
