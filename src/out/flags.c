/* Measures of a picture; formulas in flags.h. */
#include "out/flags.h"

#include <math.h>

static const double blank_below = 2.0; /* levels of 255 */
static const double noise_above = 0.6;

double image_spread(const uint8_t *rgb, int width, int height) {
    size_t pixels = (size_t)width * (size_t)height;
    double largest = 0.0;
    for (size_t c = 0; c < 3; c++) {
        double sum = 0.0, squares = 0.0; /* exact: integers far below 2^53 */
        for (size_t p = 0; p < pixels; p++) {
            double x = rgb[3 * p + c];
            sum += x;
            squares += x * x;
        }
        double n = (double)pixels;
        largest = fmax(largest, (squares - sum * sum / n) / n);
    }
    return sqrt(largest);
}

/* Three times the grey value. */
static double grey(const uint8_t *rgb) {
    return rgb[0] + rgb[1] + rgb[2];
}

double image_roughness(const uint8_t *rgb, int width, int height) {
    size_t w = (size_t)width, h = (size_t)height;
    double sum = 0.0, squares = 0.0, differences = 0.0, n = (double)w * (double)h;
    double pairs = (double)(w - 1) * (double)h + (double)w * (double)(h - 1);
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++) {
            const uint8_t *p = rgb + 3 * (y * w + x);
            double v = grey(p), right = x + 1 < w ? grey(p + 3) - v : 0.0;
            double below = y + 1 < h ? grey(p + 3 * w) - v : 0.0;
            sum += v;
            squares += v * v;
            differences += right * right + below * below;
        }
    double variance = (squares - sum * sum / n) / n;
    return pairs > 0.0 && variance > 0.0 ? differences / pairs / (2.0 * variance) : 0.0;
}

double image_distance(const uint8_t *a, const uint8_t *b, int width, int height) {
    size_t count = (size_t)width * (size_t)height * 3;
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return count ? sqrt(sum / (double)count) : 0.0;
}

size_t image_flags(const uint8_t *rgb, int width, int height, const char *names[IMAGE_FLAGS_MAX]) {
    size_t count = 0;
    if (image_spread(rgb, width, height) < blank_below)
        names[count++] = "blank";
    else if (image_roughness(rgb, width, height) > noise_above)
        names[count++] = "noise";
    return count;
}
