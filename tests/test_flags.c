/* The measure of incoherent pictures (out/flags.c): noise that is smooth from pixel to pixel,
 * made-up pictures with a known spectrum, and pictures of the bundled model. */
#include "reference.h"
#include "scratch.h"

#include "out/flags.h"
#include "out/png.h"

#include <math.h>

enum { SIDE = 512 };

/* Adds blocks of `block` pixels, of one random grey below `range` each, to a picture. */
static void add_blocks(uint8_t *rgb, size_t side, size_t block, unsigned range, uint64_t *random) {
    for (size_t y = 0; y < side; y += block)
        for (size_t x = 0; x < side; x += block) {
            const unsigned grey = (unsigned)((scratch_random(random) >> 32) % range);
            for (size_t i = 0; i < block * block; i++) {
                uint8_t *p = rgb + 3 * ((y + i / block) * side + x + i % block);
                p[0] = p[1] = p[2] = (uint8_t)(p[0] + grey);
            }
        }
}

static uint8_t *empty(void) {
    uint8_t *rgb = calloc((size_t)SIDE * SIDE, 3);
    assert_non_null(rgb);
    return rgb;
}

static void expect(const uint8_t *rgb, int side, const char *flag) {
    const char *names[IMAGE_FLAGS_MAX];
    assert_int_equal(image_flags(rgb, side, side, names), flag ? 1 : 0);
    if (flag)
        assert_string_equal(names[0], flag);
}

/* White noise has all of the plane but a disc, 1 - pi / 16 = 0.80, at any scale. */
static void noise(void **state) {
    uint64_t random = 88172645463325252u;
    uint8_t *rgb = empty();
    (void)state;
    add_blocks(rgb, 64, 1, 256, &random);
    assert_float_equal(image_fineness(rgb, 64, 64), 0.80, 0.04);
    expect(rgb, 64, "noise");
    memset(rgb, 0, (size_t)SIDE * SIDE * 3);
    add_blocks(rgb, SIDE, 8, 200, &random);
    assert_true(image_roughness(rgb, SIDE, SIDE) < 0.3);
    assert_float_equal(image_fineness(rgb, SIDE, SIDE), 0.80, 0.04);
    expect(rgb, SIDE, "coarse-noise");
    free(rgb);
}

/* Octaves of equal contrast, amplitudes as 1/f, as photographs have them. */
static void octaves(void **state) {
    uint64_t random = 7;
    uint8_t *rgb = empty();
    (void)state;
    for (size_t block = 1; block <= 256; block *= 2)
        add_blocks(rgb, SIDE, block, 28, &random);
    assert_float_equal(image_fineness(rgb, SIDE, SIDE), 0.2, 0.1);
    expect(rgb, SIDE, NULL);
    free(rgb);
}

/* One wave along x: all of its energy on one side of 1/4 cycle per block, but for the window. */
static void waves(void **state) {
    static const double frequencies[] = {0.125, 0.375}, expected[] = {0, 1};
    uint8_t *rgb = empty();
    (void)state;
    for (int i = 0; i < 2; i++) {
        for (size_t p = 0; p < 64 * 64; p++)
            memset(
                rgb + 3 * p,
                (int)lround(128 + 100 * cos(6.283185307179586 * frequencies[i] * (double)(p % 64))),
                3);
        assert_float_equal(image_fineness(rgb, 64, 64), expected[i], 1e-3);
        assert_float_equal(image_fineness(rgb, 64, 31), expected[i], 1e-3);
    }
    free(rgb);
}

static void flat_or_small(void **state) {
    uint64_t random = 1;
    uint8_t *rgb = empty();
    (void)state;
    expect(rgb, SIDE, "blank");
    assert_float_equal(image_fineness(rgb, SIDE, SIDE), 0, 0);
    add_blocks(rgb, SIDE, 1, 256, &random);
    assert_float_equal(image_fineness(rgb, 7, 64), 0, 0);    /* too few blocks */
    assert_float_equal(image_fineness(rgb, SIDE, 63), 0, 0); /* 64 x 7 of them */
    assert_true(image_fineness(rgb, SIDE, 64) > 0.6);
    assert_float_equal(image_fineness(rgb, 1, 1), 0, 0);
    free(rgb);
}

/* "a red dog" behind the last layer, an earlier layer, and a picture of a single step; the values
 * are those of numpy's FFT. */
static void bundled_model(void **state) {
    static const struct {
        const char *file;
        double fineness;
    } pictures[] = {{"layer-10", 0.012460}, {"layer-03", 0.017762}, {"one-step", 0.117824}};
    dl_context *cx = reference_context();
    (void)state;
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        struct image image;
        char path[128];
        snprintf(path, sizeof path, "tests/data/flags/%s.png", pictures[i].file);
        assert_int_equal(png_read(cx, path, DL_FAILED, &image), DL_OK);
        assert_float_equal(image_fineness(image.rgb, image.width, image.height),
                           pictures[i].fineness, 1e-6);
        expect(image.rgb, image.width, NULL);
        image_free(&image);
    }
    dl_context_free(cx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise),         cmocka_unit_test(octaves),       cmocka_unit_test(waves),
        cmocka_unit_test(flat_or_small), cmocka_unit_test(bundled_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
