/* A lens into a folder: what is written, resuming, refusing, stopping, a full disk. */
#include "model_support.h"

#include "out/png.h"

#include <cjson/cJSON.h>
#include <signal.h>
#include <sys/resource.h>

struct fixture {
    dl_context *cx;
    dl_model *model;
    dl_options options;
    dl_run run;
    char *folder; /* scratch */
    char *out;    /* the run's, inside it */
};

static void begin(struct fixture *f) {
    static const char *const command[] = {"dlens", "it's a dog", "--seed", "5"};
    static const uint64_t seeds[] = {5, 18446744073709551615ull};
    assert_int_equal(dl_context_new(&f->cx), DL_OK);
    assert_int_equal(dl_model_open(f->cx, "tests/data/tiny-sd1", &f->model), DL_OK);
    f->folder = scratch_folder();
    f->out = path_join(f->folder, "out");
    dl_options_init(&f->options);
    f->options.sampler = "ddim";
    f->options.steps = 2;
    f->options.width = 72;
    f->options.height = 56;
    f->options.layers = "0,-1";
    f->options.seeds = seeds;
    f->options.seed_count = 2;
    f->run = (dl_run){.folder = f->out, .command = command, .command_count = 4};
}

static void end(struct fixture *f) {
    scratch_remove(f->folder);
    free(f->folder);
    free(f->out);
    dl_model_close(f->model);
    dl_context_free(f->cx);
}

static int go_with(struct fixture *f, const char *prompt, size_t *made, size_t *found) {
    dl_run_result result;
    const int status = dl_lens_run(f->cx, f->model, &f->options, &prompt, 1, &f->run, &result);
    *made = result.made;
    *found = result.found;
    dl_free(result.report);
    dl_free(result.manifest);
    return status;
}

static int go(struct fixture *f, size_t *made, size_t *found) {
    return go_with(f, "A dog, two dogs", made, found);
}

static cJSON *manifest_of(const struct fixture *f) {
    char *path = path_join(f->out, "manifest.json"), *text = NULL;
    assert_int_equal(file_read(f->cx, DL_FAILED, path, 1 << 20, &text, NULL), DL_OK);
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    free(path);
    free(text);
    return json;
}

static const char *string_at(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

static double number_at(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static void assert_text(const struct fixture *f, const char *file, const char *key,
                        const char *expected) {
    char *path = path_join(f->out, file), *value = NULL;
    assert_int_equal(png_read_text(f->cx, path, DL_FAILED, key, &value), DL_OK);
    assert_non_null(value);
    assert_string_equal(value, expected);
    free(path);
    free(value);
}

static bool there(const struct fixture *f, const char *file) {
    char *path = path_join(f->out, file);
    const bool yes = file_exists(path);
    free(path);
    return yes;
}

/* ---- what is written ------------------------------------------------------------------------- */

static void files_of_a_run(void **state) {
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    f.options.negative = "blurr\xC3\xA9";
    f.options.native = 1;
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 6);
    assert_int_equal(found, 0);
    assert_true(there(&f, "index.html") && there(&f, "sheet.png"));
    assert_true(there(&f, "0-a-dog-two-dogs/seed-5/layer-00.png"));
    assert_true(there(&f, "0-a-dog-two-dogs/seed-18446744073709551615/layer-04.png"));
    assert_true(there(&f, "0-a-dog-two-dogs/seed-5/native.png"));
    const char *png = "0-a-dog-two-dogs/seed-18446744073709551615/layer-04.png";
    assert_text(&f, png, "Software", "dlens " DLENS_VERSION);
    assert_text(&f, png, "prompt", "A dog, two dogs");
    assert_text(&f, png, "negative", "blurr\xC3\xA9");
    assert_text(&f, png, "model", "tests/data/tiny-sd1");
    assert_text(&f, png, "layer", "4");
    assert_text(&f, png, "seed", "18446744073709551615");
    assert_text(&f, png, "sampler", "ddim");
    assert_text(&f, png, "steps", "2");
    assert_text(&f, png, "guidance", "7.5");
    assert_text(&f, png, "norm", "final");
    end(&f);
}

static void manifest_of_a_run(void **state) {
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    cJSON *m = manifest_of(&f);
    assert_int_equal(number_at(m, "schema"), 1);
    assert_string_equal(string_at(m, "version"), DLENS_VERSION);
    const cJSON *command = cJSON_GetObjectItem(m, "command");
    assert_int_equal(cJSON_GetArraySize(command), 4);
    assert_string_equal(cJSON_GetArrayItem(command, 1)->valuestring, "it's a dog");
    const cJSON *model = cJSON_GetObjectItem(m, "model");
    assert_string_equal(string_at(model, "path"), "tests/data/tiny-sd1");
    assert_string_equal(string_at(model, "family"), "stable-diffusion");
    assert_string_equal(string_at(model, "encoder"), "CLIPTextModel");
    assert_int_equal(number_at(model, "layers"), 4);
    const cJSON *options = cJSON_GetObjectItem(m, "options");
    assert_int_equal(number_at(options, "steps"), 2);
    assert_string_equal(string_at(options, "sampler"), "ddim");
    const cJSON *prompt = cJSON_GetArrayItem(cJSON_GetObjectItem(m, "prompts"), 0);
    assert_int_equal(number_at(prompt, "index"), 0);
    assert_string_equal(string_at(prompt, "text"), "A dog, two dogs");
    const cJSON *tokens = cJSON_GetObjectItem(prompt, "tokens");
    assert_true(cJSON_GetArraySize(tokens) >= 4);
    assert_int_equal(number_at(cJSON_GetArrayItem(tokens, 0), "id"), 600);
    assert_string_equal(string_at(cJSON_GetArrayItem(tokens, 0), "piece"), "<|startoftext|>");
    const cJSON *images = cJSON_GetObjectItem(m, "images");
    assert_int_equal(cJSON_GetArraySize(images), 4);
    const cJSON *image;
    cJSON_ArrayForEach(image, images) {
        assert_int_equal(number_at(image, "prompt"), 0);
        assert_true(number_at(image, "seconds") > 0);
        assert_true(there(&f, string_at(image, "file")));
        assert_true(cJSON_IsArray(cJSON_GetObjectItem(image, "flags")));
    }
    assert_int_equal(number_at(cJSON_GetArrayItem(images, 1), "layer"), 4);
    assert_int_equal(number_at(cJSON_GetArrayItem(images, 1), "seed"), 5);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(m, "complete")));
    cJSON_Delete(m);
    end(&f);
}

/* The library's caller has no command line to tell. */
static void run_without_a_command(void **state) {
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    f.run.command = NULL;
    f.run.command_count = 0;
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_true(there(&f, "index.html"));
    end(&f);
}

static void negative_prompt_is_text(void **state) {
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    f.options.negative = "a \xFF dog";
    f.options.guidance = 1; /* not even used */
    assert_int_equal(go(&f, &made, &found), DL_USAGE);
    assert_non_null(strstr(dl_message(f.cx), "UTF-8"));
    assert_false(dir_exists(f.out));
    end(&f);
}

/* ---- resuming and refusing ------------------------------------------------------------------- */

static void resumes_what_is_missing(void **state) {
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 0);
    assert_int_equal(found, 4);
    char *png = path_join(f.out, "0-a-dog-two-dogs/seed-5/layer-04.png");
    assert_int_equal(unlink(png), 0);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 1);
    /* one that the disk has damaged is made again */
    assert_int_equal(truncate(png, 100), 0);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 1);
    assert_text(&f, "0-a-dog-two-dogs/seed-5/layer-04.png", "layer", "4");
    cJSON *m = manifest_of(&f);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(m, "complete")));
    cJSON_Delete(m);
    free(png);
    end(&f);
}

/* A process that was killed leaves temporary files, a manifest that lags behind, or no picture. */
static void resumes_after_a_kill(void **state) {
    static const char *const leftovers[] = {"manifest.json.99999999-0.tmp",
                                            "0-a-dog-two-dogs/seed-5/layer-04.png.99999999-0.tmp"};
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    for (size_t i = 0; i < 2; i++)
        put_file(f.out, leftovers[i], "half", 4);
    char *index = path_join(f.out, "index.html"), *sheet = path_join(f.out, "sheet.png");
    assert_int_equal(unlink(index) | unlink(sheet), 0);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 0);
    for (size_t i = 0; i < 2; i++)
        assert_false(there(&f, leftovers[i]));
    assert_true(there(&f, "index.html") && there(&f, "sheet.png"));
    free(index);
    free(sheet);
    end(&f);
}

static int no_manifest_yet(void *user, const dl_progress *progress) {
    const struct fixture *f = user;
    (void)progress;
    return there(f, "manifest.json") ? 0 : 1;
}

static void manifest_comes_first(void **state) {
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    f.options.progress = no_manifest_yet;
    f.options.progress_user = &f;
    assert_int_equal(go(&f, &made, &found), DL_OK);
    end(&f);
}

/* A model is known by its weights: the same elsewhere goes on, another training in the same place
 * does not. */
static void knows_its_model(void **state) {
    struct fixture f;
    size_t made, found, size;
    char *data;
    (void)state;
    begin(&f);
    char *copy = path_join(f.folder, "copy");
    assert_int_equal(go(&f, &made, &found), DL_OK);
    dl_model_close(f.model);
    link_tree("tests/data/tiny-sd1", copy);
    assert_int_equal(dl_model_open(f.cx, copy, &f.model), DL_OK);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 0);
    dl_model_close(f.model);
    const char *file = "vae/diffusion_pytorch_model.safetensors";
    char *path = path_join(copy, file);
    assert_int_equal(file_read(f.cx, DL_FAILED, path, 1 << 24, &data, &size), DL_OK);
    for (size_t i = size / 2; i < size; i++)
        data[i] = (char)(data[i] ^ 1);
    put_file(copy, file, data, size);
    assert_int_equal(dl_model_open(f.cx, copy, &f.model), DL_OK);
    assert_int_equal(go(&f, &made, &found), DL_USAGE);
    assert_non_null(strstr(dl_message(f.cx), "weights"));
    free(data);
    free(path);
    free(copy);
    end(&f);
}

static void refuses_other_settings(void **state) {
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    f.options.steps = 3;
    assert_int_equal(go(&f, &made, &found), DL_USAGE);
    assert_non_null(strstr(dl_message(f.cx), "steps: 2 there, 3 now"));
    assert_non_null(strstr(dl_message(f.cx), "--overwrite"));
    f.options.steps = 2;
    assert_int_equal(go_with(&f, "another", &made, &found), DL_USAGE);
    f.run.overwrite = 1;
    assert_int_equal(go_with(&f, "another", &made, &found), DL_OK);
    assert_int_equal(made, 4);
    assert_false(there(&f, "0-a-dog-two-dogs/seed-5/layer-04.png"));
    assert_true(there(&f, "0-another/seed-5/layer-04.png"));
    end(&f);
}

static void refuses_foreign_files(void **state) {
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    mkdir(f.out, 0777);
    put_file(f.out, "thesis.txt", "important", 9);
    assert_int_equal(go(&f, &made, &found), DL_USAGE);
    assert_non_null(strstr(dl_message(f.cx), "thesis.txt"));
    f.run.overwrite = 1;
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_true(there(&f, "thesis.txt")); /* nothing of others is removed */
    f.run.overwrite = 0;
    assert_int_equal(go(&f, &made, &found), DL_USAGE);
    put_file(f.out, "manifest.json", "{", 1);
    assert_int_equal(go(&f, &made, &found), DL_USAGE);
    end(&f);
}

static int stop_after_two(void *user, const dl_picture *picture) {
    size_t *count = user;
    (void)picture;
    return ++*count == 2;
}

static void stopped_and_resumed(void **state) {
    struct fixture f;
    size_t made, found, count = 0;
    (void)state;
    begin(&f);
    f.run.on_picture = stop_after_two;
    f.run.on_picture_user = &count;
    assert_int_equal(go(&f, &made, &found), DL_CANCELLED);
    assert_int_equal(made, 2);
    cJSON *m = manifest_of(&f);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(m, "complete")));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(m, "images")), 2);
    cJSON_Delete(m);
    assert_true(there(&f, "index.html")); /* what is there can be looked at */
    f.run.on_picture = NULL;
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 2);
    assert_int_equal(found, 2);
    m = manifest_of(&f);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(m, "complete")));
    cJSON_Delete(m);
    end(&f);
}

static void latents_of_an_interrupted_run(void **state) {
    struct fixture f;
    size_t made, found, count = 0;
    struct store *store;
    (void)state;
    begin(&f);
    char *path = path_join(f.folder, "latents.safetensors");
    f.run.latents_file = path;
    f.run.on_picture = stop_after_two;
    f.run.on_picture_user = &count;
    assert_int_equal(go(&f, &made, &found), DL_CANCELLED);
    f.run.on_picture = NULL;
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 2);
    assert_int_equal(store_open_file(f.cx, path, &store), DL_OK);
    assert_int_equal(store_count(store), 4);
    const struct tensor *t = store_find(store, "layer.4.seed.18446744073709551615");
    assert_non_null(t);
    assert_int_equal(t->ndim, 4);
    assert_int_equal(t->shape[1], 4);
    assert_int_equal(t->shape[2], 7);
    assert_int_equal(t->shape[3], 9);
    store_close(store);
    /* without the file the pictures are made again, for their latents */
    unlink(path);
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 4);
    /* the file of another run is no substitute for it */
    char *other = path_join(f.folder, "other");
    f.run.folder = other;
    assert_int_equal(go_with(&f, "a cat", &made, &found), DL_OK);
    f.run.folder = f.out;
    assert_int_equal(go(&f, &made, &found), DL_OK);
    assert_int_equal(made, 4);
    free(other);
    free(path);
    end(&f);
}

/* ---- when the disk says no ------------------------------------------------------------------- */

static size_t count_parts(const char *path) {
    size_t count = 0;
    DIR *dir = opendir(path);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *inner = path_join(path, e->d_name);
        count += dir_exists(inner) ? count_parts(inner) : 1;
        free(inner);
    }
    if (dir)
        closedir(dir);
    return count;
}

static void disk_full(void **state) {
    struct fixture f;
    size_t made, found;
    struct rlimit old, tiny = {200, 0};
    (void)state;
    begin(&f);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tiny.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0);
    const int status = go(&f, &made, &found);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, DL_FAILED);
    assert_non_null(strstr(dl_message(f.cx), f.out));
    assert_int_equal(count_parts(f.out), 0); /* nothing half written is left */
    end(&f);
}

static void folder_cannot_be_made(void **state) {
    struct fixture f;
    size_t made, found;
    (void)state;
    begin(&f);
    put_file(f.folder, "file", "x", 1);
    free(f.out);
    f.out = path_join(f.folder, "file/inner");
    f.run.folder = f.out;
    assert_int_equal(go(&f, &made, &found), DL_USAGE);
    free(f.out);
    f.out = path_join(f.folder, "file");
    f.run.folder = f.out;
    assert_int_equal(go(&f, &made, &found), DL_USAGE);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_a_run),
        cmocka_unit_test(manifest_of_a_run),
        cmocka_unit_test(run_without_a_command),
        cmocka_unit_test(negative_prompt_is_text),
        cmocka_unit_test(resumes_what_is_missing),
        cmocka_unit_test(resumes_after_a_kill),
        cmocka_unit_test(manifest_comes_first),
        cmocka_unit_test(knows_its_model),
        cmocka_unit_test(refuses_other_settings),
        cmocka_unit_test(refuses_foreign_files),
        cmocka_unit_test(stopped_and_resumed),
        cmocka_unit_test(latents_of_an_interrupted_run),
        cmocka_unit_test(disk_full),
        cmocka_unit_test(folder_cannot_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
