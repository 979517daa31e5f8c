/* Distances (lens/distance.c) and controls beside the lens (lens/beside.c): numbers, resuming,
 * what is refused and what is left out. */
#include "model_support.h"

#include "lens/beside.h"
#include "lens/distance.h"
#include "out/png.h"

#include <cjson/cJSON.h>

static const char prompt[] = "A dog, two dogs";

struct fixture {
    dl_context *cx;
    dl_model *model;
    dl_options options;
    dl_run run;
    char *folder; /* scratch */
    char *out;    /* the run's, inside it */
    size_t made, found;
    size_t stop; /* after so many pictures; 0: never */
    bool told;   /* the manifest had distances with the first picture */
};

static void begin(struct fixture *f) {
    static const uint64_t seeds[] = {5, 18446744073709551615ull};
    memset(f, 0, sizeof *f);
    assert_int_equal(dl_context_new(&f->cx), DL_OK);
    assert_int_equal(dl_model_open(f->cx, "tests/data/tiny-sd1", &f->model), DL_OK);
    f->folder = scratch_folder();
    f->out = path_join(f->folder, "out");
    dl_options_init(&f->options);
    f->options.sampler = "ddim";
    f->options.steps = 1;
    f->options.width = f->options.height = 64;
    f->options.layers = "1,-1";
    f->options.seeds = seeds;
    f->options.seed_count = 2;
    f->options.native = 1;
    f->run = (dl_run){.folder = f->out, .controls = "norm-none,shuffled"};
}

static void end(struct fixture *f) {
    scratch_remove(f->folder);
    free(f->folder);
    free(f->out);
    dl_model_close(f->model);
    dl_context_free(f->cx);
}

static int go(struct fixture *f) {
    const char *text = prompt;
    dl_run_result result;
    const int status = dl_lens_run(f->cx, f->model, &f->options, &text, 1, &f->run, &result);
    f->made = result.made;
    f->found = result.found;
    dl_free(result.report);
    dl_free(result.manifest);
    return status;
}

static char *path_of(const struct fixture *f, const char *file) {
    static char path[2048];
    snprintf(path, sizeof path, "%s/%s", f->out, file);
    return path;
}

static char *text_of(const struct fixture *f, const char *file) {
    char *text = NULL;
    if (file_read(f->cx, DL_FAILED, path_of(f, file), 1 << 24, &text, NULL) != DL_OK)
        fail_msg("%s", dl_message(f->cx));
    return text;
}

static cJSON *manifest_of(const struct fixture *f, const char *file) {
    char *text = text_of(f, file);
    cJSON *manifest = cJSON_Parse(text);
    assert_non_null(manifest);
    free(text);
    return manifest;
}

/* ---- formulas -------------------------------------------------------------------------------- */

static void formulas(void **state) {
    const float c[4] = {3, 4, 0, 2}, ordinary[4] = {4, 3, 0, 1}, none[4] = {0};
    (void)state;
    struct distance d = conditioning_distance(c, ordinary, 2, 2);
    assert_true(fabs(d.relative - sqrt(3.0 / 26)) < 1e-12);
    assert_true(fabs(d.cosine - (0.96 + 1) / 2) < 1e-12);
    d = conditioning_distance(c, c, 2, 2);
    assert_true(d.relative == 0 && d.cosine == 1);
    d = conditioning_distance(c, none, 2, 2);
    assert_true(isnan(d.relative) && isnan(d.cosine));
}

/* The numbers of a manifest against what dl_encode and the files say. */
static void check_conditionings(struct fixture *f, const char *file, int control, int norm) {
    dl_encoding ordinary, mine;
    dl_options o;
    dl_options_init(&o);
    assert_int_equal(dl_encode(f->cx, f->model, &o, prompt, &ordinary), DL_OK);
    o.control = control;
    o.norm = norm;
    assert_int_equal(dl_encode(f->cx, f->model, &o, prompt, &mine), DL_OK);
    const size_t T = mine.tokens, D = mine.hidden_size;
    const float *last = ordinary.conditioning + ordinary.layers * T * D;
    cJSON *manifest = manifest_of(f, file);
    const cJSON *item, *list = cJSON_GetObjectItem(manifest, "conditioning");
    const bool is_lens = strcmp(file, "manifest.json") == 0;
    assert_int_equal(cJSON_GetArraySize(list), is_lens ? 3 : 2);
    cJSON_ArrayForEach(item, list) {
        const int layer = cJSON_GetObjectItem(item, "layer")->valueint;
        const float *c = layer < 0 ? last : mine.conditioning + (size_t)layer * T * D;
        const struct distance d = conditioning_distance(c, last, T, D);
        assert_int_equal(cJSON_GetObjectItem(item, "prompt")->valueint, 0);
        assert_true(fabs(cJSON_GetObjectItem(item, "distance")->valuedouble - d.relative) < 1e-6);
        assert_true(fabs(cJSON_GetObjectItem(item, "cosine")->valuedouble - d.cosine) < 1e-6);
    }
    cJSON_Delete(manifest);
    dl_encoding_free(&ordinary);
    dl_encoding_free(&mine);
}

static double picture_distance(struct fixture *f, const char *a, const char *b) {
    struct image x, y;
    assert_int_equal(png_read(f->cx, path_of(f, a), DL_FAILED, &x), DL_OK);
    assert_int_equal(png_read(f->cx, path_of(f, b), DL_FAILED, &y), DL_OK);
    const double d = image_distance(x.rgb, y.rgb, x.width, x.height);
    image_free(&x);
    image_free(&y);
    return d;
}

/* A line of controls.csv that begins so. */
static void check_line(struct fixture *f, const char *csv, const char *begins, const char *picture,
                       double relative) {
    static const char last[] = "0-a-dog-two-dogs/seed-5/layer-04.png";
    double values[3];
    const char *line = strstr(csv, begins);
    assert_non_null(line);
    assert_int_equal(sscanf(line + strlen(begins), ",%lf,%lf,%lf", values, values + 1, values + 2),
                     3);
    assert_true(fabs(values[0] - picture_distance(f, picture, last)) < 1e-3);
    assert_true(relative < 0 ? values[1] > 0 : fabs(values[1] - relative) < 1e-6);
}

static void numbers(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    assert_int_equal(go(&f), DL_OK);
    assert_int_equal(f.made, 6 + 2 * 4);
    check_conditionings(&f, "manifest.json", DL_CONTROL_NONE, DL_NORM_FINAL);
    check_conditionings(&f, "controls/shuffled/manifest.json", DL_CONTROL_SHUFFLED, DL_NORM_FINAL);
    check_conditionings(&f, "controls/norm-none/manifest.json", DL_CONTROL_NONE, DL_NORM_NONE);
    char *csv = text_of(&f, "controls.csv"), *page = text_of(&f, "index.html");
    check_line(&f, csv, "lens,0,5,1", "0-a-dog-two-dogs/seed-5/layer-01.png", -1);
    check_line(&f, csv, "lens,0,5,4", "0-a-dog-two-dogs/seed-5/layer-04.png", 0);
    check_line(&f, csv, "lens,0,5,-1", "0-a-dog-two-dogs/seed-5/native.png", 0);
    check_line(&f, csv, "shuffled,0,5,4", "controls/shuffled/0-a-dog-two-dogs/seed-5/layer-04.png",
               -1);
    check_line(&f, csv, "norm-none,0,5,1",
               "controls/norm-none/0-a-dog-two-dogs/seed-5/layer-01.png", -1);
    assert_non_null(strstr(csv, "shuffled,0,18446744073709551615,1,"));
    assert_non_null(strstr(page, "Controls beside the lens"));
    assert_non_null(strstr(page, "href=\"controls/norm-none/index.html\""));
    assert_non_null(strstr(page, "controls/shuffled/0-a-dog-two-dogs/seed-5/layer-01.png"));
    assert_null(strstr(page, "controls/random"));
    free(csv);
    free(page);
    cJSON *manifest = manifest_of(&f, "manifest.json");
    const cJSON *image = cJSON_GetObjectItem(manifest, "images")->child;
    assert_true(fabs(cJSON_GetObjectItem(image, "distance")->valuedouble -
                     picture_distance(&f, "0-a-dog-two-dogs/seed-5/layer-01.png",
                                      "0-a-dog-two-dogs/seed-5/layer-04.png")) < 1e-9);
    cJSON_Delete(manifest);
    end(&f);
}

static bool page_has(struct fixture *f, const char *text) {
    char *page = text_of(f, "index.html");
    const bool has = strstr(page, text) != NULL;
    free(page);
    return has;
}

/* ---- resuming -------------------------------------------------------------------------------- */

static int stop_after(void *user, const dl_picture *picture) {
    struct fixture *f = user;
    (void)picture;
    if (f->made == 0 && file_exists(path_of(f, "manifest.json"))) {
        cJSON *manifest = manifest_of(f, "manifest.json");
        f->told = cJSON_GetArraySize(cJSON_GetObjectItem(manifest, "conditioning")) == 3;
        cJSON_Delete(manifest);
    }
    return ++f->made == f->stop;
}

/* Stopped anywhere and gone on with, the result is the same. */
static void resumed(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    f.options.seed_count = 1;
    f.run.on_picture = stop_after;
    f.run.on_picture_user = &f;
    assert_int_equal(go(&f), DL_OK);
    assert_true(f.told);
    char *whole = text_of(&f, "controls.csv");
    scratch_remove(f.out);
    for (size_t stop = 2; stop < 7; stop += 3) {
        f.stop = stop;
        f.made = 0;
        assert_int_equal(go(&f), DL_CANCELLED);
        f.stop = 0;
        assert_int_equal(go(&f), DL_OK);
        assert_int_equal(f.made, 7 - stop);
        char *csv = text_of(&f, "controls.csv");
        assert_string_equal(csv, whole);
        free(csv);
        scratch_remove(f.out);
    }
    free(whole);
    end(&f);
}

/* Without each block: numbers against the files, stopped and gone on with, what is refused. */
static void without_blocks(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    f.options.seed_count = 1;
    f.run.controls = NULL;
    f.run.skip_each = 1;
    f.run.on_picture = stop_after;
    f.run.on_picture_user = &f;
    f.stop = 6; /* in the run without block 2 */
    assert_int_equal(go(&f), DL_CANCELLED);
    f.stop = 0;
    assert_int_equal(go(&f), DL_OK);
    assert_int_equal(f.found + f.made, 3 + 4 * 2);
    assert_int_equal(f.found, 6);
    char *csv = text_of(&f, "skip-each.csv");
    for (int block = 1; block <= 4; block++) {
        char begins[32], picture[128];
        snprintf(begins, sizeof begins, "\n%d,0,5,4", block);
        snprintf(picture, sizeof picture,
                 "skip-each/block-%02d/0-a-dog-two-dogs/seed-5/layer-04.png", block);
        check_line(&f, csv, begins, picture, -1);
        assert_true(page_has(&f, picture));
        /* layer 1 is in front of block 2 */
        snprintf(begins, sizeof begins, "\n%d,0,5,1,0,", block);
        assert_true((strstr(csv, begins) != NULL) == (block > 1));
    }
    free(csv);
    assert_true(page_has(&f, "Without each block in turn"));
    f.options.skip_layers = "2";
    assert_int_equal(go(&f), DL_USAGE);
    assert_non_null(strstr(dl_message(f.cx), "--skip-layer"));
    end(&f);
}

static void remove_all(cJSON *list, const char *key) {
    cJSON *item;
    cJSON_ArrayForEach(item, list) cJSON_DeleteItemFromObject(item, key);
}

/* A folder of an older version, whose manifest has no distances, is taken: pictures are measured,
 * conditionings are not known. */
static void older_manifest(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    f.run.controls = NULL;
    f.options.seed_count = 1; /* the other seed is more than a double holds */
    assert_int_equal(go(&f), DL_OK);
    cJSON *manifest = manifest_of(&f, "manifest.json");
    cJSON_DeleteItemFromObject(manifest, "conditioning");
    remove_all(cJSON_GetObjectItem(manifest, "images"), "distance");
    char *text = cJSON_Print(manifest);
    put_file(f.out, "manifest.json", text, strlen(text));
    cJSON_free(text);
    cJSON_Delete(manifest);
    assert_int_equal(go(&f), DL_OK);
    assert_int_equal(f.found, 3);
    assert_int_equal(f.made, 0);
    manifest = manifest_of(&f, "manifest.json");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(manifest, "conditioning")), 0);
    const cJSON *image = cJSON_GetObjectItem(manifest, "images")->child;
    assert_true(cJSON_GetObjectItem(image, "distance")->valuedouble > 0);
    cJSON_Delete(manifest);
    end(&f);
}

/* ---- what is refused, and left out ----------------------------------------------------------- */

static void refused(void **state) {
    static const char *const lists[] = {
        "", "none", "shuffled,", "random,random", "norm-final", "shuffled;random"};
    struct fixture f;
    bool chosen[VARIANT_COUNT];
    (void)state;
    begin(&f);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        f.run.controls = lists[i];
        assert_int_equal(go(&f), DL_USAGE);
        assert_non_null(strstr(dl_message(f.cx), "--controls"));
    }
    f.run.controls = "random";
    f.options.control = DL_CONTROL_PADDING;
    assert_int_equal(go(&f), DL_USAGE);
    assert_int_equal(controls_parse(f.cx, "all", chosen), DL_OK);
    for (size_t i = 0; i < VARIANT_COUNT; i++)
        assert_true(chosen[i]);
    assert_false(file_exists(path_of(&f, "manifest.json"))); /* nothing was begun */
    end(&f);
}

/* The report shows controls that are those of the lens, and no others. */
static void left_out(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    assert_int_equal(go(&f), DL_OK);
    f.run.controls = NULL;
    assert_int_equal(go(&f), DL_OK); /* they stay where they are */
    assert_true(page_has(&f, "controls/shuffled/") && page_has(&f, "controls/norm-none/"));
    char *other = strdup(path_of(&f, "controls/shuffled")), *all = strdup(f.out);
    f.run.folder = other; /* another run in a control's place */
    f.run.overwrite = 1;
    f.options.control = DL_CONTROL_PADDING;
    assert_int_equal(go(&f), DL_OK);
    f.options.control = DL_CONTROL_NONE;
    f.run.folder = all;
    f.run.overwrite = 0;
    put_file(path_of(&f, "controls/norm-none"), "manifest.json", "{\"schema\":1,", 12);
    assert_int_equal(go(&f), DL_OK);
    assert_false(page_has(&f, "controls/shuffled/") || page_has(&f, "controls/norm-none/"));
    f.run.overwrite = 1;
    f.options.steps = 2;
    f.run.controls = "shuffled";
    assert_int_equal(go(&f), DL_OK); /* all other settings' results go */
    assert_int_equal(f.found, 0);
    assert_true(page_has(&f, "controls/shuffled/"));
    free(other);
    free(all);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formulas),       cmocka_unit_test(numbers), cmocka_unit_test(resumed),
        cmocka_unit_test(older_manifest), cmocka_unit_test(refused), cmocka_unit_test(left_out),
        cmocka_unit_test(without_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
