/* Broken models: every file of a model missing, empty, cut short at every 1/20th, and every value
 * of every config replaced by absurd ones. Opening and planning must say DL_MODEL (or work, where
 * the value does not matter), never crash, never allocate without bound. */
#include "model_support.h"

#include <cjson/cJSON.h>
#include <sys/resource.h>

static const char *const files[] = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
};
enum { FILES = sizeof files / sizeof files[0] };

/* Files without which a tokenizer still is one: merges (single letters), the two configs. */
static bool is_needed(const char *file) {
    return strcmp(file, "tokenizer/tokenizer_config.json") != 0 &&
           strcmp(file, "tokenizer/special_tokens_map.json") != 0;
}

/* Opens the model and plans a picture; a message must stand where it fails. */
static int try_model(const char *folder, char message[512]) {
    dl_context *cx;
    dl_model *model = NULL;
    dl_options options;
    dl_plan plan;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    dl_set_log(cx, quiet, NULL);
    dl_options_init(&options);
    options.steps = 2;
    int status = dl_model_open(cx, folder, &model);
    if (status == DL_OK)
        status = dl_plan_picture(cx, model, &options, &plan);
    snprintf(message, 512, "%s", dl_message(cx));
    assert_true(status == DL_OK || strchr(message, ':'));
    dl_model_close(model);
    dl_context_free(cx);
    return status;
}

static char *read_original(const char *file, size_t *size) {
    struct dl_context *cx;
    char path[256], *data;
    snprintf(path, sizeof path, "tests/data/tiny-sd1/%s", file);
    assert_int_equal(dl_context_new(&cx), DL_OK);
    assert_int_equal(file_read(cx, DL_MODEL, path, 1 << 26, &data, size), DL_OK);
    dl_context_free(cx);
    return data;
}

static void the_whole_model_opens(void **state) {
    char message[512];
    (void)state;
    assert_int_equal(try_model("tests/data/tiny-sd1", message), DL_OK);
}

static void missing_and_empty_files(void **state) {
    char message[512];
    char *folder = scratch_folder();
    (void)state;
    for (size_t i = 0; i < FILES; i++) {
        char *model = path_join(folder, "model");
        link_tree("tests/data/tiny-sd1", model);
        char *path = path_join(model, files[i]);
        unlink(path);
        const int missing = try_model(model, message);
        if (is_needed(files[i]))
            assert_int_equal(missing, DL_MODEL);
        put_file(model, files[i], "", 0);
        const int empty = try_model(model, message);
        if (empty != DL_MODEL)
            print_error("%s empty: status %d\n", files[i], empty);
        assert_int_equal(empty, DL_MODEL);
        scratch_remove(model);
        free(path);
        free(model);
    }
    scratch_remove(folder);
    free(folder);
}

static void files_cut_short(void **state) {
    char message[512];
    char *folder = scratch_folder(), *model = path_join(folder, "model");
    (void)state;
    link_tree("tests/data/tiny-sd1", model);
    for (size_t i = 0; i < FILES; i++) {
        size_t size;
        char *data = read_original(files[i], &size);
        for (size_t part = 1; part < 20; part++) {
            put_file(model, files[i], data, size * part / 20);
            const int status = try_model(model, message);
            /* a text cut at a line's end may still be whole */
            if (strcmp(files[i], "tokenizer/merges.txt") == 0) {
                assert_true(status == DL_OK || status == DL_MODEL);
                continue;
            }
            if (status != DL_MODEL)
                print_error("%s cut at %zu/20: status %d\n", files[i], part, status);
            assert_int_equal(status, DL_MODEL);
        }
        put_file(model, files[i], data, size);
        assert_int_equal(try_model(model, message), DL_OK);
        free(data);
    }
    scratch_remove(folder);
    free(model);
    free(folder);
}

/* ---- absurd values --------------------------------------------------------------------------- */

static const char *const absurd[] = {
    "0",
    "-1",
    "1",
    "3",
    "2147483648",
    "9007199254740993",
    "1e308",
    "-1e308",
    "0.5",
    "1e-300",
    "null",
    "true",
    "\"\"",
    "\"nonsense\"",
    "[]",
    "[0]",
    "[-1]",
    "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]",
    "[2147483648,2147483648,2147483648,2147483648]",
    "{}",
    "[[[[[[]]]]]]",
};
enum { ABSURD = sizeof absurd / sizeof absurd[0] };

static void check_value(const char *model, const char *file, cJSON *root, const char *key,
                        const char *value) {
    char message[512];
    cJSON *changed = cJSON_Duplicate(root, 1);
    cJSON_ReplaceItemInObjectCaseSensitive(changed, key, cJSON_CreateRaw(value));
    char *text = cJSON_PrintUnformatted(changed);
    put_file(model, file, text, strlen(text));
    const int status = try_model(model, message);
    if (status != DL_OK && status != DL_MODEL)
        print_error("%s: %s = %s: status %d %s\n", file, key, value, status, message);
    assert_true(status == DL_OK || status == DL_MODEL); /* never the caller's fault */
    cJSON_free(text);
    cJSON_Delete(changed);
}

static void absurd_config_values(void **state) {
    char *folder = scratch_folder(), *model = path_join(folder, "model");
    (void)state;
    link_tree("tests/data/tiny-sd1", model);
    for (size_t i = 0; i < FILES; i++) {
        size_t size;
        if (!strstr(files[i], "config.json") && !strstr(files[i], "index.json"))
            continue;
        char *data = read_original(files[i], &size);
        cJSON *root = cJSON_Parse(data);
        const cJSON *item;
        assert_non_null(root);
        cJSON_ArrayForEach(item, root) for (size_t v = 0; v < ABSURD; v++)
            check_value(model, files[i], root, item->string, absurd[v]);
        put_file(model, files[i], data, size);
        cJSON_Delete(root);
        free(data);
    }
    scratch_remove(folder);
    free(model);
    free(folder);
}

/* A tokenizer that does not fit the encoder is the model's fault, whatever the prompt. */
static void tokenizer_of_another_model(void **state) {
    static const char *const changed[][2] = {
        {"tokenizer/tokenizer_config.json", "{\"model_max_length\": 1}"},
        {"tokenizer/special_tokens_map.json", "{\"eos_token\": \"nowhere\"}"},
        {"tokenizer/special_tokens_map.json", "{\"pad_token\": \"nowhere\"}"},
    };
    char message[512];
    char *folder = scratch_folder(), *model = path_join(folder, "model");
    (void)state;
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        link_tree("tests/data/tiny-sd1", model);
        put_file(model, changed[i][0], changed[i][1], strlen(changed[i][1]));
        assert_int_equal(try_model(model, message), DL_MODEL);
        assert_non_null(strstr(message, "token"));
        scratch_remove(model);
    }
    scratch_remove(folder);
    free(model);
    free(folder);
}

static void deep_nesting_and_huge_numbers(void **state) {
    char message[512];
    char *folder = scratch_folder(), *model = path_join(folder, "model");
    char *deep = malloc(200001);
    (void)state;
    memset(deep, '[', 200000);
    memcpy(deep, "{\"a\":", 5);
    deep[200000] = '\0';
    link_tree("tests/data/tiny-sd1", model);
    for (size_t i = 0; i < FILES; i++) {
        size_t size;
        if (!strstr(files[i], ".json"))
            continue;
        char *data = read_original(files[i], &size);
        put_file(model, files[i], deep, 200000);
        assert_int_equal(try_model(model, message), DL_MODEL);
        put_file(model, files[i], data, size);
        free(data);
    }
    scratch_remove(folder);
    free(deep);
    free(model);
    free(folder);
}

/* One byte after another of the weights' headers changed: names, dtypes, shapes, offsets, lengths.
 */
static void changed_headers(void **state) {
    char message[512];
    char *folder = scratch_folder(), *model = path_join(folder, "model");
    (void)state;
    link_tree("tests/data/tiny-sd1", model);
    for (size_t i = 0; i < FILES; i++) {
        size_t size;
        if (!strstr(files[i], ".safetensors"))
            continue;
        char *data = read_original(files[i], &size);
        uint64_t header;
        memcpy(&header, data, 8);
        for (size_t at = 0; at < 8 + header; at += at < 16 ? 1 : header / 60 + 1) {
            const char old = data[at];
            data[at] = (char)(old ^ 0x11);
            put_file(model, files[i], data, size);
            const int status = try_model(model, message);
            assert_true(status == DL_OK || status == DL_MODEL);
            data[at] = old;
        }
        put_file(model, files[i], data, size);
        free(data);
    }
    assert_int_equal(try_model(model, message), DL_OK);
    scratch_remove(folder);
    free(model);
    free(folder);
}

static void not_a_model(void **state) {
    char message[512];
    char *folder = scratch_folder();
    (void)state;
    assert_int_equal(try_model(folder, message), DL_MODEL);
    assert_non_null(strstr(message, "model_index.json"));
    assert_int_equal(try_model("/nonexistent/model", message), DL_MODEL);
    assert_int_equal(try_model("no-such-bundled-model", message), DL_MODEL);
    assert_int_equal(try_model("", message), DL_MODEL);
    assert_int_equal(try_model("README.md", message), DL_MODEL);
    scratch_remove(folder);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_model_opens),
        cmocka_unit_test(missing_and_empty_files),
        cmocka_unit_test(files_cut_short),
        cmocka_unit_test(absurd_config_values),
        cmocka_unit_test(tokenizer_of_another_model),
        cmocka_unit_test(deep_nesting_and_huge_numbers),
        cmocka_unit_test(changed_headers),
        cmocka_unit_test(not_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
