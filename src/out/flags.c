/* Measures of a picture; formulas in flags.h. */
#include "out/flags.h"

#include <complex.h>
#include <math.h>

static const double blank_below = 2.0; /* levels of 255 */
static const double noise_above = 0.6;
static const double coarse_noise_above = 0.4;

enum { BLOCKS_MAX = 64, BLOCKS_LEAST = 8 };

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

/* ---- fineness ------------------------------------------------------------------------------- */

/* Luminance in blocks of k x k pixels; what does not fill one is left out. */
struct blocks {
    size_t w, h;
    double value[BLOCKS_MAX][BLOCKS_MAX]; /* (h,w) */
};

static void average(const uint8_t *rgb, size_t width, size_t height, struct blocks *out) {
    const size_t longer = width > height ? width : height;
    const size_t k = (longer + BLOCKS_MAX - 1) / BLOCKS_MAX;
    out->w = width / k;
    out->h = height / k;
    for (size_t y = 0; y < out->h; y++)
        for (size_t x = 0; x < out->w; x++) {
            double sum = 0;
            for (size_t i = 0; i < k * k; i++) {
                const uint8_t *p = rgb + 3 * ((y * k + i / k) * width + x * k + i % k);
                sum += 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2];
            }
            out->value[y][x] = sum / (double)(k * k);
        }
}

static const double pi = 3.14159265358979323846;

static double hann(size_t i, size_t n) {
    return 0.5 - 0.5 * cos(2 * pi * (double)(i + 1) / (double)(n + 1));
}

static void weight(struct blocks *b) {
    double sum = 0, weights = 0;
    for (size_t y = 0; y < b->h; y++)
        for (size_t x = 0; x < b->w; x++) {
            const double w = hann(y, b->h) * hann(x, b->w);
            sum += w * b->value[y][x];
            weights += w;
        }
    for (size_t y = 0; y < b->h; y++)
        for (size_t x = 0; x < b->w; x++)
            b->value[y][x] = (b->value[y][x] - sum / weights) * hann(y, b->h) * hann(x, b->w);
}

/* wave (n) = exp(-2 pi i j / n) */
static void make_wave(double complex *wave, size_t n) {
    for (size_t j = 0; j < n; j++)
        wave[j] = cos(2 * pi * (double)j / (double)n) - I * sin(2 * pi * (double)j / (double)n);
}

/* Frequency u of n, in cycles per block: -1/2 to 1/2. */
static double frequency(size_t u, size_t n) {
    return (u <= n / 2 ? (double)u : (double)u - (double)n) / (double)n;
}

double image_fineness(const uint8_t *rgb, int width, int height) {
    struct blocks b;
    double complex across[BLOCKS_MAX], down[BLOCKS_MAX], column[BLOCKS_MAX];
    double fine = 0, all = 0;
    average(rgb, (size_t)width, (size_t)height, &b);
    if (b.w < BLOCKS_LEAST || b.h < BLOCKS_LEAST)
        return 0;
    weight(&b);
    make_wave(across, b.w);
    make_wave(down, b.h);
    for (size_t u = 0; u < b.w; u++) {
        for (size_t y = 0; y < b.h; y++) {
            column[y] = 0;
            for (size_t x = 0; x < b.w; x++)
                column[y] += b.value[y][x] * across[u * x % b.w];
        }
        for (size_t v = 0; v < b.h; v++) {
            double complex F = 0;
            for (size_t y = 0; y < b.h; y++)
                F += column[y] * down[v * y % b.h];
            const double energy = creal(F) * creal(F) + cimag(F) * cimag(F);
            all += energy;
            fine += hypot(frequency(u, b.w), frequency(v, b.h)) >= 0.25 ? energy : 0;
        }
    }
    return all > 0 ? fine / all : 0;
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
    else if (image_fineness(rgb, width, height) > coarse_noise_above)
        names[count++] = "coarse-noise";
    return count;
}
