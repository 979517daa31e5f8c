/* vision/: resizing and preprocessing against Pillow and transformers, vision towers against
 * transformers; configs and pictures that cannot be. */
#include "picture_support.h"
#include "vision/tower.h"

static const double tolerance = 1e-5; /* of a tensor's largest value; 1e-4 is what is promised */

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
    snprintf(path, sizeof path, DATA "/%s/expected.safetensors", name);
    assert_int_equal(store_open_file(cx, path, &expected), DL_OK);
    const size_t B = 2, values = 3 * tower->image_size * tower->image_size;
    const float *pixels = reference_tensor(expected, "", "pixels")->data;
    float out[64], alone[64];
    assert_int_equal(vision_embed(cx, tower, out, pixels, B), DL_OK);
    assert_true(cx->arena.peak > 0 && cx->arena.peak <= cx->arena.capacity);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
