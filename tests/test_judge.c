/* judge/: whole CLIP models against transformers, alone and in company; files that are missing,
 * damaged, or do not fit together. */
#include "base/file.h"
#include "judge/judge.h"
#include "picture_support.h"

static const double tolerance = 1e-5; /* of a tensor's largest value; 1e-4 is what is promised */

/* ---- judges ---------------------------------------------------------------------------------- */

enum { ITEMS_MAX = 16, SIZE_MAX_TESTED = 128 };

struct trial {
    dl_context *cx;
    dl_judge *judge;
    struct store *expected;
    cJSON *index; /* {"texts", "pictures"} */
    const char *texts[ITEMS_MAX];
    struct image images[ITEMS_MAX];
    size_t M, N, P;
};

static struct trial trial_begin(const char *model, const char *expected, const char *index) {
    struct trial t = {.cx = reference_context(), .index = reference_json(index)};
    const cJSON *item;
    if (judge_open(t.cx, model, &t.judge) != DL_OK ||
        store_open_file(t.cx, expected, &t.expected) != DL_OK)
        fail_msg("%s", dl_message(t.cx));
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(t.index, "texts")) {
        assert_true(t.M < ITEMS_MAX);
        t.texts[t.M++] = item->valuestring;
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(t.index, "pictures")) {
        assert_true(t.N < ITEMS_MAX);
        t.images[t.N++] = open_picture(t.cx, item->valuestring);
    }
    t.P = judge_size(t.judge);
    assert_true(t.P <= SIZE_MAX_TESTED);
    return t;
}

static void trial_end(struct trial *t) {
    for (size_t i = 0; i < t->N; i++)
        image_free(&t->images[i]);
    cJSON_Delete(t->index);
    judge_close(t->judge);
    store_close(t->expected);
    dl_context_free(t->cx);
}

static void check_judge(const char *model, const char *expected, const char *index) {
    struct trial t = trial_begin(model, expected, index);
    static float text[ITEMS_MAX * SIZE_MAX_TESTED], image[ITEMS_MAX * SIZE_MAX_TESTED];
    float cosine[ITEMS_MAX * ITEMS_MAX], probability[ITEMS_MAX * ITEMS_MAX];
    const float scale = (float)judge_scale(t.judge);
    if (judge_texts(t.cx, t.judge, t.texts, t.M, text) != DL_OK ||
        judge_pictures(t.cx, t.judge, t.images, t.N, image) != DL_OK)
        fail_msg("%s", dl_message(t.cx));
    assert_int_equal(arena_mark(t.cx), 0);
    judge_cosines(cosine, image, t.N, text, t.M, t.P);
    judge_probabilities(t.judge, probability, cosine, t.N, t.M);
    assert_close("scale", &scale, reference_tensor(t.expected, "", "scale")->data, 1, 1e-6);
    assert_close("text", text, reference_tensor(t.expected, "", "text")->data, t.M * t.P,
                 tolerance);
    assert_close("image", image, reference_tensor(t.expected, "", "image")->data, t.N * t.P,
                 tolerance);
    assert_close("cosine", cosine, reference_tensor(t.expected, "", "cosine")->data, t.N * t.M,
                 tolerance);
    assert_close("probability", probability, reference_tensor(t.expected, "", "probability")->data,
                 t.N * t.M, 5e-5);
    trial_end(&t);
}

static void test_judges(void **state) {
    (void)state;
    check_judge(DATA "/old", DATA "/old/expected.safetensors", DATA "/expected.json");
    check_judge(DATA "/new", DATA "/new/expected.safetensors", DATA "/expected.json");
    check_judge(DATA "/dict", DATA "/dict/expected.safetensors", DATA "/expected.json");
}

/* The bundled judge; its expected numbers are of certain weights. */
static void test_bundled_judge(void **state) {
    static const char folder[] = "weights/emoji-clip/judge";
    cJSON *index = reference_json(DATA "/bundled.json");
    struct mapping map;
    dl_context *cx = reference_context();
    (void)state;
    assert_int_equal(file_map(cx, "weights/emoji-clip/judge/model.safetensors", &map), DL_OK);
    const double sum = (double)crc32_z(0, map.data, map.size);
    file_unmap(&map);
    if (sum != cJSON_GetObjectItem(index, "weights")->valuedouble)
        fail_msg("%s has new weights: run tools/reference/clip_vision.py", folder);
    check_judge(folder, DATA "/bundled.safetensors", DATA "/bundled.json");
    cJSON_Delete(index);
    dl_context_free(cx);
}

/* An embedding is the same bits alone, in company, and with any number of threads. */
static void test_company(void **state) {
    struct trial t =
        trial_begin(DATA "/old", DATA "/old/expected.safetensors", DATA "/expected.json");
    static float together[ITEMS_MAX * SIZE_MAX_TESTED], alone[SIZE_MAX_TESTED];
    (void)state;
    for (int threads = 1; threads <= 3; threads += 2) {
        t.cx->threads = threads;
        assert_int_equal(judge_texts(t.cx, t.judge, t.texts, t.M, together), DL_OK);
        t.cx->threads = 1;
        for (size_t i = 0; i < t.M; i++) {
            assert_int_equal(judge_texts(t.cx, t.judge, &t.texts[i], 1, alone), DL_OK);
            assert_memory_equal(alone, together + i * t.P, t.P * sizeof *alone);
        }
        t.cx->threads = threads;
        assert_int_equal(judge_pictures(t.cx, t.judge, t.images, t.N, together), DL_OK);
        t.cx->threads = 1;
        for (size_t i = 0; i < t.N; i++) {
            assert_int_equal(judge_pictures(t.cx, t.judge, &t.images[i], 1, alone), DL_OK);
            assert_memory_equal(alone, together + i * t.P, t.P * sizeof *alone);
        }
    }
    trial_end(&t);
}

/* Forty texts of few lengths: more than go through the tower at once, in their own order. */
static void test_many_texts(void **state) {
    enum { M = 40, P = 12 };
    dl_context *cx = reference_context();
    dl_judge *judge;
    const char *texts[M];
    char words[M][32];
    float all[M * P], one[P];
    (void)state;
    assert_int_equal(judge_open(cx, DATA "/old", &judge), DL_OK);
    for (size_t i = 0; i < M; i++) {
        snprintf(words[i], sizeof words[i], "%s%c", i % 3 ? "the " : "", (int)('a' + i % 26));
        texts[i] = words[i];
    }
    assert_int_equal(judge_texts(cx, judge, texts, M, all), DL_OK);
    for (size_t i = 0; i < M; i++) {
        assert_int_equal(judge_texts(cx, judge, &texts[i], 1, one), DL_OK);
        assert_memory_equal(one, all + i * P, sizeof one);
    }
    assert_int_equal(judge_texts(cx, judge, texts, 0, all), DL_OK);
    assert_int_equal(judge_pictures(cx, judge, NULL, 0, all), DL_OK);
    texts[3] = "not UTF-8: \xff";
    assert_int_equal(judge_texts(cx, judge, texts, M, all), DL_USAGE);
    judge_close(judge);
    dl_context_free(cx);
}

/* What the public functions return is the same. */
static void test_public(void **state) {
    dl_context *cx = reference_context();
    dl_judge *judge;
    dl_judge_info info;
    struct image image = open_picture(cx, "tall");
    const char *const texts[] = {"a dog", "a cat"};
    float text[24], a[12], b[12], cosine[2], probability[2], only[2];
    (void)state;
    assert_int_equal(dl_judge_open(cx, DATA "/old", &judge), DL_OK);
    dl_judge_describe(judge, &info);
    assert_string_equal(info.path, DATA "/old");
    assert_int_equal(info.size, 12);
    assert_int_equal(info.width, 32);
    assert_int_equal(info.height, 32);
    assert_int_equal(dl_judge_texts(cx, judge, texts, 2, text), DL_OK);
    assert_int_equal(dl_judge_picture(cx, judge, image.rgb, image.width, image.height, a), DL_OK);
    assert_int_equal(dl_judge_file(cx, judge, DATA "/pictures/tall.png", b), DL_OK);
    assert_memory_equal(a, b, sizeof a);
    dl_judge_compare(judge, a, text, 2, cosine, probability);
    dl_judge_compare(judge, a, text, 2, NULL, only);
    assert_memory_equal(probability, only, sizeof only);
    assert_true(fabs(probability[0] + probability[1] - 1) < 1e-6);
    assert_true((cosine[0] > cosine[1]) == (probability[0] > probability[1]));
    assert_true(fabs(log(probability[0] / probability[1]) -
                     info.scale * ((double)cosine[0] - (double)cosine[1])) < 1e-5);
    assert_int_equal(dl_judge_picture(cx, judge, image.rgb, 0, 5, a), DL_USAGE);
    dl_judge_close(judge);
    dl_judge_close(NULL);
    assert_int_equal(dl_judge_open(cx, "no-such-judge", &judge), DL_MODEL);
    assert_null(judge);
    image_free(&image);
    dl_context_free(cx);
}

/* ---- what does not fit ----------------------------------------------------------------------- */

static const char *const model_files[] = {"config.json",
                                          "model.safetensors",
                                          "merges.txt",
                                          "preprocessor_config.json",
                                          "tokenizer_config.json",
                                          "vocab.json",
                                          "special_tokens_map.json"};

/* The model "old" in the scratch folder, but for one file (NULL: whole). */
static void lay_out(struct scratch *s, const char *but) {
    for (size_t i = 0; i < sizeof model_files / sizeof *model_files; i++) {
        char path[256];
        if (but && strcmp(model_files[i], but) == 0)
            continue;
        snprintf(path, sizeof path, DATA "/old/%s", model_files[i]);
        reference_link(s, path, model_files[i]);
    }
}

/* "old" with another file in place of one of its own (text NULL: without it) is refused. */
static void refuses(const char *file, const char *text, const char *message) {
    dl_context *cx = reference_context();
    dl_judge *judge;
    struct scratch s;
    scratch_begin(&s);
    lay_out(&s, file);
    if (text)
        scratch_text(&s, file, text);
    assert_int_equal(judge_open(cx, s.dir, &judge), DL_MODEL);
    assert_null(judge);
    assert_contains(dl_message(cx), message);
    scratch_end(&s);
    dl_context_free(cx);
}

/* The same with one value of config.json changed; `section` NULL: at the top. */
static void refuses_config(const char *section, const char *key, const char *value,
                           const char *message) {
    cJSON *config = reference_json(DATA "/old/config.json");
    cJSON *at = section ? cJSON_GetObjectItem(config, section) : config;
    cJSON_DeleteItemFromObject(at, key);
    if (value)
        cJSON_AddItemToObject(at, key, cJSON_Parse(value));
    char *text = cJSON_Print(config);
    refuses("config.json", text, message);
    cJSON_free(text);
    cJSON_Delete(config);
}

static void test_missing_files(void **state) {
    (void)state;
    refuses("config.json", NULL, "config.json");
    refuses("model.safetensors", NULL, "safetensors");
    refuses("preprocessor_config.json", NULL, "preprocessor_config.json");
    refuses("vocab.json", NULL, "vocab.json");
    refuses("merges.txt", NULL, "merges.txt");
    refuses("tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\"}", "BertTokenizer");
}

static void test_broken_configs(void **state) {
    (void)state;
    refuses_config(NULL, "model_type", "\"siglip\"", "model_type");
    refuses_config(NULL, "projection_dim", "13", "text_projection");
    refuses_config(NULL, "projection_dim", "0", "projection_dim");
    refuses_config("vision_config", "hidden_size", NULL, "768");
    refuses_config("vision_config", "hidden_size", "19", "vision_config: num_attention_heads");
    refuses_config("vision_config", "patch_size", "33", "patch_size");
    refuses_config("vision_config", "patch_size", "[8, 8]", "patch_size");
    refuses_config("vision_config", "patch_size", "7", "patch_embedding");
    refuses_config("vision_config", "image_size", "64", "position_embedding");
    refuses_config("vision_config", "image_size", "39", "crop_size");
    refuses_config("vision_config", "image_size", "1e9", "image_size");
    refuses_config("vision_config", "num_channels", "1", "num_channels");
    refuses_config("vision_config", "hidden_act", "\"swiglu\"", "vision_config: hidden_act");
    refuses_config("vision_config", "num_hidden_layers", "3", "encoder.layers.2");
    refuses_config("text_config", "num_hidden_layers", "3", "encoder.layers.2");
    refuses_config("text_config", "vocab_size", "601", "token_embedding");
    refuses_config("text_config", "eos_token_id", "600", "eos_token_id");
    refuses_config("text_config", "eos_token_id", "[600, 601]", "text_config: eos_token_id");
    refuses_config(NULL, "vision_config_dict", "{}", "patch_embedding");
}

/* The tokenizer of a model with more or other tokens than the text tower has. */
static void test_wrong_tokenizer(void **state) {
    dl_context *cx = reference_context();
    dl_judge *judge;
    struct scratch s;
    static const char *const files[] = {"merges.txt", "tokenizer_config.json", "vocab.json",
                                        "special_tokens_map.json"};
    (void)state;
    scratch_begin(&s);
    reference_link(&s, DATA "/old/config.json", "config.json");
    reference_link(&s, DATA "/old/model.safetensors", "model.safetensors");
    reference_link(&s, DATA "/old/preprocessor_config.json", "preprocessor_config.json");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[256];
        snprintf(path, sizeof path, "weights/emoji-clip/judge/%s", files[i]);
        reference_link(&s, path, files[i]);
    }
    assert_int_equal(judge_open(cx, s.dir, &judge), DL_MODEL);
    assert_contains(dl_message(cx), "belong together");
    scratch_end(&s);
    dl_context_free(cx);
}

/* Random damage to each JSON file: opening fails as a model's fault, or works. */
static void test_damaged_files(void **state) {
    uint64_t random = 88172645463325252u;
    dl_context *cx = reference_context();
    (void)state;
    for (size_t f = 0; f < sizeof model_files / sizeof *model_files; f++) {
        static char data[1 << 17], damaged[sizeof data];
        struct scratch s;
        char path[256];
        snprintf(path, sizeof path, DATA "/old/%s", model_files[f]);
        FILE *stream = fopen(path, "rb");
        assert_non_null(stream);
        const size_t size = fread(data, 1, sizeof data, stream);
        fclose(stream);
        scratch_begin(&s);
        lay_out(&s, model_files[f]);
        for (int i = 0; i < 60; i++) {
            dl_judge *judge;
            memcpy(damaged, data, size);
            scratch_file(&s, model_files[f], damaged,
                         scratch_mutate(&random, (unsigned char *)damaged, size));
            const int status = judge_open(cx, s.dir, &judge);
            assert_true(status == DL_MODEL || status == DL_OK);
            judge_close(judge);
        }
        scratch_end(&s);
    }
    dl_context_free(cx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judges),         cmocka_unit_test(test_bundled_judge),
        cmocka_unit_test(test_company),        cmocka_unit_test(test_many_texts),
        cmocka_unit_test(test_public),         cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_broken_configs), cmocka_unit_test(test_wrong_tokenizer),
        cmocka_unit_test(test_damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
