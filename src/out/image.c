/* Pictures in memory: rounding of floats to 8 bits, and resampling.
 *
 * Resampling is separable: every output row (then column) is a weighted sum of input rows,
 *     y[i] = sum_k w_k x[first_i + k],   sum_k w_k = 1
 * with box weights (area averaging) where the side shrinks and Catmull-Rom weights (Keys 1981, a =
 * -1/2) where it grows. */
#include "out/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int image_make(dl_context *cx, int width, int height, struct image *out) {
    size_t size;
    memset(out, 0, sizeof *out);
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX ||
        !size_mul((size_t)width * 3, (size_t)height, &size) || size > IMAGE_BYTES_MAX)
        return fail(cx, DL_USAGE, "picture of %dx%d pixels: sides must be 1 to %d, %d MiB in all",
                    width, height, IMAGE_SIDE_MAX, IMAGE_BYTES_MAX >> 20);
    void *rgb;
    DL_TRY(allocate(cx, "picture", size, 1, &rgb));
    memset(rgb, 255, size);
    out->width = width;
    out->height = height;
    out->rgb = rgb;
    return DL_OK;
}

void image_free(struct image *image) {
    free(image->rgb);
    memset(image, 0, sizeof *image);
}

/* rint rounds half to even in the default rounding mode. The arithmetic is in f32, as the
 * reference's is. */
void image_from_float(uint8_t *rgb, const float *chw, int width, int height) {
    size_t pixels = (size_t)width * (size_t)height;
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < 3; c++) {
            float x = chw[c * pixels + p] / 2.0f + 0.5f;
            x = x > 0.0f ? x : 0.0f; /* also NaN */
            x = x < 1.0f ? x : 1.0f;
            rgb[p * 3 + c] = (uint8_t)rintf(x * 255.0f);
        }
}

void image_fit(int width, int height, int max_width, int max_height, int *fit_width,
               int *fit_height) {
    double scale = fmin((double)max_width / width, (double)max_height / height);
    int w = (int)lround(width * scale), h = (int)lround(height * scale);
    *fit_width = w < 1 ? 1 : w > max_width ? max_width : w;
    *fit_height = h < 1 ? 1 : h > max_height ? max_height : h;
}

/* ---- resampling --------------------------------------------------------------------------- */

/* The weights of one side: output i is the sum over k < count of weight[i * count + k] times
 * input first[i] + k, where indices outside are clamped to the border. */
struct filter {
    int count;
    int *first;
    float *weight;
};

static void filter_free(struct filter *f) {
    free(f->first);
    free(f->weight);
}

/* Keys' cubic convolution kernel with a = -1/2 at distance x. */
static double catmull_rom(double x) {
    x = fabs(x);
    if (x < 1.0)
        return 1.0 + x * x * (1.5 * x - 2.5);
    return x < 2.0 ? 2.0 + x * (-4.0 + x * (2.5 - 0.5 * x)) : 0.0;
}

/* Overlap of [low, high] with the unit interval of input k. */
static double box_overlap(double low, double high, int k) {
    double from = fmax(low, k), to = fmin(high, k + 1.0);
    return to > from ? to - from : 0.0;
}

static int filter_make(dl_context *cx, int from, int to, struct filter *f) {
    double step = (double)from / to; /* input pixels per output pixel */
    bool shrinks = to < from;
    void *first, *weight = NULL;
    f->first = NULL;
    f->weight = NULL;
    f->count = shrinks ? (int)ceil(step) + 1 : 4;
    DL_TRY(allocate(cx, "resampling", (size_t)to, sizeof *f->first, &first));
    f->first = first;
    DL_TRY(allocate(cx, "resampling", (size_t)to * (size_t)f->count, sizeof *f->weight, &weight));
    f->weight = weight;
    for (int i = 0; i < to; i++) {
        double low = i * step, centre = (i + 0.5) * step - 0.5, sum = 0.0;
        float *w = f->weight + (size_t)i * (size_t)f->count;
        f->first[i] = shrinks ? (int)low : (int)floor(centre) - 1;
        for (int k = 0; k < f->count; k++) {
            int x = f->first[i] + k;
            double v = shrinks ? box_overlap(low, low + step, x) : catmull_rom(centre - x);
            w[k] = (float)v;
            sum += v;
        }
        for (int k = 0; k < f->count; k++)
            w[k] = (float)(w[k] / sum);
    }
    return DL_OK;
}

static int clamp_index(int i, int count) {
    return i < 0 ? 0 : i >= count ? count - 1 : i;
}

static uint8_t to_byte(float x) {
    return x <= 0.0f ? 0 : x >= 255.0f ? 255 : (uint8_t)rintf(x);
}

/* One output row: `row` (width,3) is the weighted sum of input rows, then resampled along x. */
static void resize_row(uint8_t *out, int new_width, float *row, const uint8_t *rgb, int width,
                       int height, const struct filter *fx, const struct filter *fy, int y) {
    size_t stride = (size_t)width * 3;
    memset(row, 0, stride * sizeof *row);
    for (int k = 0; k < fy->count; k++) {
        float w = fy->weight[(size_t)y * (size_t)fy->count + (size_t)k];
        const uint8_t *in = rgb + (size_t)clamp_index(fy->first[y] + k, height) * stride;
        for (size_t i = 0; i < stride && w != 0.0f; i++)
            row[i] += w * (float)in[i];
    }
    for (int x = 0; x < new_width; x++) {
        float sum[3] = {0};
        for (int k = 0; k < fx->count; k++) {
            float w = fx->weight[(size_t)x * (size_t)fx->count + (size_t)k];
            const float *in = row + (size_t)clamp_index(fx->first[x] + k, width) * 3;
            for (int c = 0; c < 3; c++)
                sum[c] += w * in[c];
        }
        for (int c = 0; c < 3; c++)
            out[3 * x + c] = to_byte(sum[c]);
    }
}

int image_resize(dl_context *cx, const uint8_t *rgb, int width, int height, int new_width,
                 int new_height, struct image *out) {
    struct filter fx = {0}, fy = {0};
    void *row = NULL;
    if (width < 1 || height < 1)
        return fail(cx, DL_USAGE, "picture of %dx%d pixels: it is empty", width, height);
    DL_TRY(image_make(cx, new_width, new_height, out));
    int status = filter_make(cx, width, new_width, &fx);
    if (!status)
        status = filter_make(cx, height, new_height, &fy);
    if (!status)
        status = allocate(cx, "resampling", (size_t)width * 3, sizeof(float), &row);
    for (int y = 0; !status && y < new_height; y++)
        resize_row(out->rgb + (size_t)y * (size_t)new_width * 3, new_width, row, rgb, width, height,
                   &fx, &fy, y);
    free(row);
    filter_free(&fx);
    filter_free(&fy);
    if (status)
        image_free(out);
    return status;
}

int image_thumbnail(dl_context *cx, const uint8_t *rgb, int width, int height, int max_side,
                    struct image *out) {
    int w = width, h = height;
    if (width > max_side || height > max_side)
        image_fit(width, height, max_side, max_side, &w, &h);
    return image_resize(cx, rgb, width, height, w, h, out);
}
