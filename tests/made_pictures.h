/* Pictures made by a formula, for tests of what shows and keeps them. */
#ifndef DLENS_TESTS_MADE_PICTURES_H
#define DLENS_TESTS_MADE_PICTURES_H

#include "scratch.h"

/* A picture of seeded noise; freed by the caller. */
static inline uint8_t *noise(int width, int height) {
    size_t size = (size_t)width * (size_t)height * 3;
    uint64_t random = 88172645463325252u;
    uint8_t *rgb = malloc(size);
    assert_non_null(rgb);
    for (size_t i = 0; i < size; i++)
        rgb[i] = (uint8_t)(scratch_random(&random) >> 32);
    return rgb;
}

/* A smooth picture: red grows to the right, green downwards. */
static inline uint8_t *ramp(int width, int height) {
    uint8_t *rgb = calloc((size_t)width * (size_t)height, 3);
    assert_non_null(rgb);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            rgb[3 * (y * width + x)] = (uint8_t)(255 * x / width);
            rgb[3 * (y * width + x) + 1] = (uint8_t)(255 * y / height);
        }
    return rgb;
}

#endif
