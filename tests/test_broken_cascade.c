/* Broken cascades: every file of three stages missing, empty, cut short, and every value of every
 * config replaced by absurd ones. Opening and planning say DL_MODEL with a message, or work where
 * the file or value does not matter; they never crash and never allocate without bound. */
#include "model_support.h"

#include <cjson/cJSON.h>

#define ONE   "IF-I-T-v1.0/"
#define TWO   "IF-II-T-v1.0/"
#define THREE "stable-diffusion-x4-upscaler/"

static const char *const files[] = {
    ONE "model_index.json",
    ONE "scheduler/scheduler_config.json",
    ONE "text_encoder/config.json",
    ONE "text_encoder/model.safetensors.index.json",
    ONE "text_encoder/model-00001-of-00002.safetensors",
    ONE "text_encoder/model-00002-of-00002.safetensors",
    ONE "tokenizer/spiece.model",
    ONE "tokenizer/tokenizer_config.json",
    ONE "unet/config.json",
    ONE "unet/diffusion_pytorch_model.safetensors",
    TWO "model_index.json",
    TWO "image_noising_scheduler/scheduler_config.json",
    TWO "scheduler/scheduler_config.json",
    TWO "unet/config.json",
    TWO "unet/diffusion_pytorch_model.fp16.safetensors",
    THREE "model_index.json",
    THREE "low_res_scheduler/scheduler_config.json",
    THREE "text_encoder/model.safetensors",
    THREE "tokenizer/vocab.json",
    THREE "unet/config.json",
    THREE "vae/config.json",
    THREE "vae/diffusion_pytorch_model.safetensors",
};
enum { FILES = sizeof files / sizeof files[0] };

/* Opens all three stages of the cascade in `root` and plans a picture. */
static int try_cascade(const char *root) {
    const dl_open_options how = {.stages = 3};
    char *folder = path_join(root, ONE);
    dl_context *cx;
    dl_model *model = NULL;
    dl_options options;
    dl_plan plan;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    dl_set_log(cx, quiet, NULL);
    dl_options_init(&options);
    options.steps = 2;
    int status = dl_model_open_with(cx, folder, &how, &model);
    if (status == DL_OK)
        status = dl_plan_picture(cx, model, &options, &plan);
    assert_true(status == DL_OK || strchr(dl_message(cx), ':'));
    dl_model_close(model);
    dl_context_free(cx);
    free(folder);
    return status;
}

/* A scratch folder with links to all files; `root` is removed with remove_cascade. */
static char *copy_cascade(void) {
    char *root = scratch_folder();
    link_tree("tests/data/if-cascade", root);
    assert_int_equal(try_cascade(root), DL_OK);
    return root;
}

static void remove_cascade(char *root) {
    scratch_remove(root);
    free(root);
}

static char *read_original(const char *file, size_t *size) {
    char path[256], *data;
    dl_context *cx;
    snprintf(path, sizeof path, "tests/data/if-cascade/%s", file);
    assert_int_equal(dl_context_new(&cx), DL_OK);
    assert_int_equal(file_read(cx, DL_MODEL, path, 1 << 26, &data, size), DL_OK);
    dl_context_free(cx);
    return data;
}

static void expect(int status, bool may_work, const char *file, const char *what) {
    if (status != DL_MODEL && !(may_work && status == DL_OK))
        fail_msg("%s %s: status %d", file, what, status);
}

static void missing_and_empty_and_cut_files(void **state) {
    char *root = copy_cascade(), what[32];
    (void)state;
    for (size_t i = 0; i < FILES; i++) {
        size_t size;
        char *data = read_original(files[i], &size), *path = path_join(root, files[i]);
        assert_int_equal(unlink(path), 0);
        expect(try_cascade(root), strstr(files[i], "tokenizer_config"), files[i], "missing");
        for (size_t part = 0; part < 20; part++) {
            snprintf(what, sizeof what, "cut at %zu/20", part);
            put_file(root, files[i], data, size * part / 20);
            expect(try_cascade(root), false, files[i], what);
        }
        put_file(root, files[i], data, size);
        free(data);
        free(path);
    }
    assert_int_equal(try_cascade(root), DL_OK);
    remove_cascade(root);
}

static void absurd_config_values(void **state) {
    static const char *const absurd[] = {"0",      "-1",           "3",  "2147483648", "1e308",
                                         "-1e308", "\"nonsense\"", "[]", "[-1]",       "{}",
                                         "null",   "true"};
    char *root = copy_cascade();
    (void)state;
    for (size_t i = 0; i < FILES; i++) {
        size_t size;
        if (!strstr(files[i], "config.json") && !strstr(files[i], "model_index.json"))
            continue;
        char *data = read_original(files[i], &size);
        cJSON *config = cJSON_Parse(data);
        const cJSON *item;
        assert_non_null(config);
        cJSON_ArrayForEach(item, config) for (size_t v = 0; v < sizeof absurd / sizeof *absurd;
                                              v++) {
            cJSON *changed = cJSON_Duplicate(config, 1);
            cJSON_ReplaceItemInObjectCaseSensitive(changed, item->string,
                                                   cJSON_CreateRaw(absurd[v]));
            char *text = cJSON_PrintUnformatted(changed);
            put_file(root, files[i], text, strlen(text));
            expect(try_cascade(root), true, files[i], item->string);
            cJSON_free(text);
            cJSON_Delete(changed);
        }
        put_file(root, files[i], data, size);
        cJSON_Delete(config);
        free(data);
    }
    remove_cascade(root);
}

/* Bytes of the sentencepiece model and of the shards' index changed at random. */
static void changed_bytes(void **state) {
    static const char *const some[] = {ONE "tokenizer/spiece.model",
                                       ONE "text_encoder/model.safetensors.index.json",
                                       TWO "model_index.json"};
    char *root = copy_cascade();
    uint64_t random = 88172645463325252u;
    (void)state;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        size_t size;
        char *data = read_original(some[i], &size), *damaged = malloc(size);
        for (int round = 0; round < 150; round++) {
            memcpy(damaged, data, size);
            put_file(root, some[i], damaged,
                     scratch_mutate(&random, (unsigned char *)damaged, size));
            expect(try_cascade(root), true, some[i], "damaged");
        }
        put_file(root, some[i], data, size);
        free(data);
        free(damaged);
    }
    assert_int_equal(try_cascade(root), DL_OK);
    remove_cascade(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_and_empty_and_cut_files),
        cmocka_unit_test(absurd_config_values),
        cmocka_unit_test(changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
