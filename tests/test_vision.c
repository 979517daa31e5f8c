/* vision/ and judge/: resizing and preprocessing against Pillow and transformers, vision towers and
 * whole CLIP models against transformers; what is broken or does not fit together. */
#include "base/file.h"
#include "judge/judge.h"
#include "reference.h"
#include "vision/preprocess.h"
#include "vision/tower.h"

#define DATA "tests/data/clip-vision"

static const double tolerance = 1e-5; /* of a tensor's largest value; 1e-4 is what is promised */

static struct image open_picture(dl_context *cx, const char *name) {
    char path[256];
    struct image image;
    snprintf(path, sizeof path, DATA "/pictures/%s.png", name);
    if (picture_read(cx, path, &image) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return image;
}

/* Copies what stands before the first dot of a tensor's name. */
static void stem(char out[64], const char *name) {
    snprintf(out, 64, "%.*s", (int)strcspn(name, "."), name);
}

/* ---- resizing -------------------------------------------------------------------------------- */

/* Every byte is Pillow's, of all six filters, larger and smaller. */
static void test_resize(void **state) {
    dl_context *cx = reference_context();
    struct store *expected = reference_open_in(cx, "clip-vision", "resized");
    (void)state;
    assert_int_equal(store_count(expected), 48);
    for (size_t i = 0; i < store_count(expected); i++) {
        const struct tensor *t = store_at(expected, i);
        char name[64];
        size_t width, height;
        int resample;
        stem(name, t->name);
        assert_int_equal(sscanf(strchr(t->name, '.'), ".%zux%zu.%d", &width, &height, &resample),
                         3);
        struct image image = open_picture(cx, name);
        const struct part whole = {0, 0, width, height};
        uint8_t *out = malloc(width * height * 3);
        assert_int_equal(
            resize_part(cx, &image, width, height, (enum resample)resample, &whole, out), DL_OK);
        if (memcmp(out, t->data, width * height * 3) != 0)
            fail_msg("%s: is not as Pillow's", t->name);
        free(out);
        image_free(&image);
    }
    store_close(expected);
    dl_context_free(cx);
}

/* A part is that part of the whole, bit for bit. */
static void test_resize_part(void **state) {
    enum { W = 19, H = 16 };
    static const struct part parts[] = {{0, 0, 1, 1}, {18, 15, 1, 1}, {3, 2, 7, 9}, {5, 0, 14, 16}};
    dl_context *cx = reference_context();
    struct image image = open_picture(cx, "large");
    uint8_t whole[W * H * 3], out[W * H * 3];
    const struct part all = {0, 0, W, H};
    (void)state;
    for (int r = 0; r < 6; r++) {
        assert_int_equal(resize_part(cx, &image, W, H, (enum resample)r, &all, whole), DL_OK);
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            const struct part *p = &parts[i];
            assert_int_equal(resize_part(cx, &image, W, H, (enum resample)r, p, out), DL_OK);
            for (size_t y = 0; y < p->height; y++)
                assert_memory_equal(out + y * p->width * 3,
                                    whole + ((p->top + y) * W + p->left) * 3, p->width * 3);
        }
    }
    image_free(&image);
    dl_context_free(cx);
}

/* The middle of what would be a picture of 224 x 14,680,064 pixels. */
static void test_resize_without_bounds(void **state) {
    enum { N = 1 << 16, S = 224 };
    dl_context *cx = reference_context();
    struct image image;
    const struct part part = {0, (size_t)N * S / 2, S, 5};
    uint8_t *out = malloc(S * 5 * 3);
    (void)state;
    assert_int_equal(image_make(cx, 1, N, &image), DL_OK);
    assert_int_equal(resize_part(cx, &image, S, (size_t)N * S, RESAMPLE_BICUBIC, &part, out),
                     DL_OK);
    assert_int_equal(out[0], 255);
    assert_int_equal(out[S * 5 * 3 - 1], 255);
    free(out);
    image_free(&image);
    dl_context_free(cx);
}

/* ---- preprocessing --------------------------------------------------------------------------- */

static void write_preprocessor(struct scratch *s, const cJSON *config) {
    char *text = cJSON_Print(config);
    scratch_text(s, "preprocessor_config.json", text);
    cJSON_free(text);
}

/* As CLIPImageProcessor on Pillow: numbers up to 2.7, of which one step of a byte is 0.015. */
static void test_preprocess(void **state) {
    enum { S = 10 };
    dl_context *cx = reference_context();
    struct store *expected = reference_open_in(cx, "clip-vision", "preprocessed");
    cJSON *configs = reference_json(DATA "/preprocessor_configs.json");
    const cJSON *config;
    size_t count = 0;
    (void)state;
    cJSON_ArrayForEach(config, configs) {
        struct scratch s;
        struct preprocess p;
        scratch_begin(&s);
        write_preprocessor(&s, config);
        if (preprocess_open(cx, s.dir, S, &p) != DL_OK)
            fail_msg("%s: %s", config->string, dl_message(cx));
        for (size_t i = 0; i < store_count(expected); i++) {
            const struct tensor *t = store_at(expected, i);
            char name[64];
            float out[3 * S * S];
            stem(name, t->name);
            if (strcmp(name, config->string) != 0)
                continue;
            struct image image = open_picture(cx, strchr(t->name, '.') + 1);
            assert_int_equal(preprocess_picture(cx, &p, &image, out), DL_OK);
            assert_close(t->name, out, t->data, 3 * S * S, 1e-7);
            image_free(&image);
            count++;
        }
        scratch_end(&s);
    }
    assert_int_equal(count, store_count(expected));
    cJSON_Delete(configs);
    store_close(expected);
    dl_context_free(cx);
}

/* The config, for a tower of 10 x 10 pixels, is refused with this in the message. */
static void refuses_preprocessor(const char *config, const char *message) {
    dl_context *cx = reference_context();
    struct preprocess p;
    struct scratch s;
    scratch_begin(&s);
    scratch_text(&s, "preprocessor_config.json", config);
    assert_int_equal(preprocess_open(cx, s.dir, 10, &p), DL_MODEL);
    assert_contains(dl_message(cx), message);
    assert_contains(dl_message(cx), "preprocessor_config.json");
    scratch_end(&s);
    dl_context_free(cx);
}

static void test_broken_preprocessors(void **state) {
    (void)state;
    refuses_preprocessor("{}", "crop_size: is 224x224; the vision tower takes 10x10");
    refuses_preprocessor("{\"crop_size\": 0}", "crop_size");
    refuses_preprocessor("{\"crop_size\": 10.5}", "crop_size");
    refuses_preprocessor("{\"crop_size\": 1e300}", "crop_size");
    refuses_preprocessor("{\"crop_size\": \"10\"}", "crop_size");
    refuses_preprocessor("{\"crop_size\": {\"shortest_edge\": 10}}", "crop_size");
    refuses_preprocessor("{\"crop_size\": 10, \"size\": -1}", "size");
    refuses_preprocessor("{\"crop_size\": 10, \"size\": [10]}", "size");
    refuses_preprocessor("{\"crop_size\": 10, \"size\": {\"height\": 10}}", "size");
    refuses_preprocessor("{\"crop_size\": 10, \"size\": {\"longest_edge\": 10}}", "size");
    refuses_preprocessor("{\"crop_size\": 10, \"size\": 100000}", "size");
    refuses_preprocessor("{\"do_center_crop\": false, \"size\": [10, 11]}", "takes 10x10");
    refuses_preprocessor("{\"crop_size\": 10, \"resample\": 6}", "resample");
    refuses_preprocessor("{\"crop_size\": 10, \"resample\": \"bicubic\"}", "resample");
    refuses_preprocessor("{\"crop_size\": 10, \"image_mean\": [0.5, 0.5]}", "image_mean");
    refuses_preprocessor("{\"crop_size\": 10, \"image_std\": [1, 0, 1]}", "image_std");
    refuses_preprocessor("{\"crop_size\": 10, \"image_std\": 0}", "image_std");
    refuses_preprocessor("{\"crop_size\": 10, \"rescale_factor\": \"1/255\"}", "rescale_factor");
    refuses_preprocessor("{\"crop_size\": 10, \"do_resize\": 1}", "do_resize");
    refuses_preprocessor("{\"crop_size\": 10, \"image_processor_type\": \"ViTImageProcessor\"}",
                         "ViTImageProcessor");
    refuses_preprocessor("{\"crop_size\": 10, \"do_pad\": true}", "do_pad");
    refuses_preprocessor("[1]", "not a JSON object");
    refuses_preprocessor("{\"size\": ", "JSON");
}

/* Without cropping, the size depends on the picture. */
static void test_size_of_the_picture(void **state) {
    dl_context *cx = reference_context();
    struct image image = open_picture(cx, "large");
    struct preprocess p;
    struct scratch s;
    float out[300];
    (void)state;
    scratch_begin(&s);
    scratch_text(&s, "preprocessor_config.json", "{\"do_center_crop\": false, \"size\": 10}");
    assert_int_equal(preprocess_open(cx, s.dir, 10, &p), DL_OK);
    assert_int_equal(preprocess_picture(cx, &p, &image, out), DL_USAGE);
    assert_contains(dl_message(cx), "picture of 83x61 pixels: becomes 13x10");
    scratch_end(&s);
    image_free(&image);
    dl_context_free(cx);
}

/* ---- pictures -------------------------------------------------------------------------------- */

static void refuses_picture(const void *data, size_t size, const char *message) {
    dl_context *cx = reference_context();
    struct image image;
    struct scratch s;
    scratch_begin(&s);
    assert_int_equal(picture_read(cx, scratch_file(&s, "it", data, size), &image), DL_USAGE);
    assert_contains(dl_message(cx), message);
    assert_null(image.rgb);
    scratch_end(&s);
    dl_context_free(cx);
}

static void test_no_pictures(void **state) {
    dl_context *cx = reference_context();
    struct image image;
    (void)state;
    refuses_picture("\xff\xd8\xff\xe0 and so on", 15, "a JPEG file");
    refuses_picture("RIFF1234WEBPVP8 ", 16, "a WebP file");
    refuses_picture("GIF89a and so on", 16, "a GIF file");
    refuses_picture("\0\0\0\x20"
                    "ftypavif....",
                    16, "an AVIF file");
    refuses_picture("text and nothing else", 21, "no readable PNG");
    refuses_picture("", 0, "no readable PNG");
    assert_int_equal(picture_read(cx, "tests/data/no-such.png", &image), DL_USAGE);
    assert_int_equal(picture_read(cx, "tests/data", &image), DL_USAGE);
    dl_context_free(cx);
}

/* Cut anywhere or damaged, a PNG is refused or read, and nothing else happens. */
static void test_damaged_pictures(void **state) {
    unsigned char data[4096], damaged[sizeof data];
    uint64_t random = 88172645463325252u;
    dl_context *cx = reference_context();
    struct scratch s;
    FILE *stream = fopen(DATA "/pictures/palette-alpha.png", "rb");
    (void)state;
    assert_non_null(stream);
    const size_t size = fread(data, 1, sizeof data, stream);
    fclose(stream);
    scratch_begin(&s);
    for (size_t i = 0; i < 300; i++) {
        struct image image;
        size_t length = size * i / 300;
        memcpy(damaged, data, size);
        if (i % 2)
            length = scratch_mutate(&random, damaged, size);
        const int status = picture_read(cx, scratch_file(&s, "it.png", damaged, length), &image);
        assert_true(status == DL_USAGE || (status == DL_OK && i % 2));
        image_free(&image);
    }
    scratch_end(&s);
    dl_context_free(cx);
}

/* ---- towers ---------------------------------------------------------------------------------- */

static void check_tower(const char *name, enum vision_class class, size_t size) {
    dl_context *cx = reference_context();
    char path[128];
    struct vision_tower *tower;
    struct store *expected;
    snprintf(path, sizeof path, DATA "/%s", name);
    if (vision_open(cx, path, class, &tower) != DL_OK)
        fail_msg("%s", dl_message(cx));
    assert_int_equal(tower->size, size);
    snprintf(path, sizeof path, "%s/expected", name);
    snprintf(path, sizeof path, DATA "/%s/expected.safetensors", name);
    assert_int_equal(store_open_file(cx, path, &expected), DL_OK);
    const size_t B = 2, values = 3 * tower->image_size * tower->image_size;
    const float *pixels = reference_tensor(expected, "", "pixels")->data;
    float out[64], alone[64];
    const size_t planned = vision_memory(cx, tower, B);
    assert_int_equal(vision_embed(cx, tower, out, pixels, B), DL_OK);
    assert_true(cx->arena.peak <= planned && planned > 0);
    assert_int_equal(arena_mark(cx), 0);
    assert_close(name, out, reference_tensor(expected, "", "output")->data, B * size, tolerance);
    for (size_t b = 0; b < B; b++) {
        assert_int_equal(vision_embed(cx, tower, alone, pixels + b * values, 1), DL_OK);
        assert_memory_equal(alone, out + b * size, size * sizeof *out);
    }
    assert_int_equal(vision_embed(cx, tower, out, pixels, 0), DL_USAGE);
    vision_close(tower);
    store_close(expected);
    dl_context_free(cx);
}

static void test_towers(void **state) {
    (void)state;
    check_tower("tower", VISION_MODEL, 18);
    check_tower("tower-projection", VISION_MODEL_WITH_PROJECTION, 6);
}

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
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_resize_part),
        cmocka_unit_test(test_resize_without_bounds),
        cmocka_unit_test(test_preprocess),
        cmocka_unit_test(test_broken_preprocessors),
        cmocka_unit_test(test_size_of_the_picture),
        cmocka_unit_test(test_no_pictures),
        cmocka_unit_test(test_damaged_pictures),
        cmocka_unit_test(test_towers),
        cmocka_unit_test(test_judges),
        cmocka_unit_test(test_bundled_judge),
        cmocka_unit_test(test_company),
        cmocka_unit_test(test_many_texts),
        cmocka_unit_test(test_public),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_broken_configs),
        cmocka_unit_test(test_wrong_tokenizer),
        cmocka_unit_test(test_damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
