/* From a picture to what the vision tower takes, as transformers' CLIPImageProcessor does it on
 * Pillow (CLIPImageProcessorPil): in this order, each step as the config says,
 *
 *     RGB        what is transparent is laid on white
 *     resize     the shorter side to `shortest_edge`, or both sides to height and width
 *     crop       the middle; where a side is too short, zeros around it
 *     rescale    x rescale_factor: from 0..255 to 0..1
 *     normalize  (x - mean) / std for each channel
 *
 * Pictures become RGB whether do_convert_rgb says so or not: without it the reference fails on all
 * that are not. 16-bit grey is read by its upper byte; Pillow cuts it at 255.
 *
 * S side of the result   H, W sides of the picture */
#include "vision/preprocess.h"

#include "base/file.h"
#include "base/json.h"
#include "out/png.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_MAX_PIXELS = 1 << 12 };

/* ---- configuration ------------------------------------------------------------------------- */

/* The config's own file, or its place in the file that transformers 5 writes for all processors of
 * a model; that one comes first. */
static int open_config(dl_context *cx, const char *dir, struct config *config) {
    char *path = path_join(dir, "processor_config.json");
    if (!path)
        return fail_memory(cx, dir, strlen(dir));
    const bool joint = file_exists(path);
    free(path);
    if (joint) {
        DL_TRY(config_open(cx, dir, "processor_config.json", config));
        if (config_enter(config, "image_processor"))
            return DL_OK;
        DL_TRY(config_end(config));
    }
    return config_open(cx, dir, "preprocessor_config.json", config);
}

/* A whole number of pixels; 0 where it is none. */
static size_t pixels_of(const cJSON *value) {
    const double x = cJSON_IsNumber(value) ? value->valuedouble : 0;
    return x >= 1 && x <= SIZE_MAX_PIXELS && x == (double)(size_t)x ? (size_t)x : 0;
}

static size_t pixels_at(const cJSON *object, const char *name) {
    return pixels_of(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* `key` as a number (the shortest edge, or of a square), [height, width], or an object; a missing
 * key leaves what is there. */
static void read_size(struct config *config, const char *key, bool square, size_t *shortest_edge,
                      size_t *height, size_t *width) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(config->root, key);
    if (!config_has(config, key))
        return;
    *shortest_edge = *height = *width = 0;
    if (cJSON_IsNumber(value) && square) {
        *height = *width = pixels_of(value);
    } else if (cJSON_IsNumber(value)) {
        *shortest_edge = pixels_of(value);
    } else if (cJSON_IsArray(value) && cJSON_GetArraySize(value) == 2) {
        *height = pixels_of(cJSON_GetArrayItem(value, 0));
        *width = pixels_of(cJSON_GetArrayItem(value, 1));
    } else if (cJSON_IsObject(value) && !cJSON_HasObjectItem(value, "longest_edge")) {
        *shortest_edge = pixels_at(value, "shortest_edge");
        *height = pixels_at(value, "height");
        *width = pixels_at(value, "width");
    }
    if (!*shortest_edge && !(*height && *width))
        config_fail(config, key,
                    "must be a number of pixels from 1 to %d, a list of height and width, or have "
                    "height and width, or shortest_edge",
                    SIZE_MAX_PIXELS);
}

/* Three numbers, or one for all channels. */
static void read_channels(struct config *config, const char *key, float out[3], double min) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(config->root, key);
    double numbers[3];
    if (!config_has(config, key))
        return;
    if (cJSON_IsNumber(value))
        numbers[0] = numbers[1] = numbers[2] = config_number(config, key, 0, min, 1e6);
    else if (config_number_list(config, key, numbers, 3, min, 1e6) != 3)
        config_fail(config, key, "must be three numbers, one for each channel");
    for (size_t c = 0; c < 3 && config->status == DL_OK; c++)
        out[c] = (float)numbers[c];
}

/* The class: of the image processor, or as old files call it. */
static void check_class(struct config *config) {
    static const char *const names[] = {"CLIPImageProcessor", "CLIPImageProcessorFast",
                                        "CLIPImageProcessorPil", "CLIPFeatureExtractor", NULL};
    config_choice(config, "image_processor_type", names, 0);
    config_choice(config, "feature_extractor_type", names, 0);
    if (config_bool(config, "do_pad", false))
        config_fail(config, "do_pad", "is not supported");
}

/* What always comes out of the wrong size is refused now; what depends on the picture, then. */
static void check_side(struct config *config, const struct preprocess *p, size_t crop_height,
                       size_t crop_width) {
    const size_t side = p->side;
    if (p->do_center_crop && (crop_height != side || crop_width != side))
        config_fail(config, "crop_size", "is %zux%zu; the vision tower takes %zux%zu pixels",
                    crop_width, crop_height, side, side);
    if (!p->do_center_crop && p->do_resize && !p->shortest_edge &&
        (p->height != side || p->width != side))
        config_fail(config, "size", "is %zux%zu; the vision tower takes %zux%zu pixels", p->width,
                    p->height, side, side);
}

/* Keys and defaults of transformers' CLIPImageProcessor. */
int preprocess_open(dl_context *cx, const char *dir, size_t side, struct preprocess *out) {
    struct config config;
    size_t none = 0, crop_height = 224, crop_width = 224;
    *out = (struct preprocess){.shortest_edge = 224,
                               .side = side,
                               .image_mean = {0.48145466f, 0.4578275f, 0.40821073f},
                               .image_std = {0.26862954f, 0.26130258f, 0.27577711f}};
    DL_TRY(open_config(cx, dir, &config));
    check_class(&config);
    out->do_resize = config_bool(&config, "do_resize", true);
    out->do_center_crop = config_bool(&config, "do_center_crop", true);
    out->do_rescale = config_bool(&config, "do_rescale", true);
    out->do_normalize = config_bool(&config, "do_normalize", true);
    out->resample = (enum resample)config_int(&config, "resample", RESAMPLE_BICUBIC, 0, 5);
    out->rescale_factor = config_number(&config, "rescale_factor", 1.0 / 255, -1e6, 1e6);
    read_size(&config, "size", config_bool(&config, "default_to_square", false),
              &out->shortest_edge, &out->height, &out->width);
    read_size(&config, "crop_size", true, &none, &crop_height, &crop_width);
    if (none)
        config_fail(&config, "crop_size", "must have height and width");
    read_channels(&config, "image_mean", out->image_mean, -1e6);
    read_channels(&config, "image_std", out->image_std, 1e-6);
    check_side(&config, out, crop_height, crop_width);
    return config_end(&config);
}

/* ---- geometry ------------------------------------------------------------------------------ */

/* The picture's sides after resizing. The longer one is cut to a whole number, not rounded. */
static void resized(const struct preprocess *p, size_t width, size_t height, size_t *new_width,
                    size_t *new_height) {
    const size_t edge = p->shortest_edge;
    *new_width = width;
    *new_height = height;
    if (p->do_resize && !edge) {
        *new_width = p->width;
        *new_height = p->height;
    } else if (p->do_resize && width <= height) {
        *new_width = edge;
        *new_height = (size_t)((double)(edge * height) / (double)width);
    } else if (p->do_resize) {
        *new_width = (size_t)((double)(edge * width) / (double)height);
        *new_height = edge;
    }
}

/* One side of the crop: `count` pixels from `first` of the resized picture come to `at`. */
struct crop {
    size_t first, count, at;
};

static struct crop crop_middle(size_t length, size_t side) {
    if (length >= side)
        return (struct crop){(length - side) / 2, side, 0};
    return (struct crop){0, length, (side - length + 1) / 2};
}

/* ---- pixels -------------------------------------------------------------------------------- */

/* value (3,256): what each byte becomes in each channel. */
static void byte_values(const struct preprocess *p, float value[3][256]) {
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < 256; i++) {
            float x = p->do_rescale ? (float)((double)i * p->rescale_factor) : (float)i;
            value[c][i] = p->do_normalize ? (x - p->image_mean[c]) / p->image_std[c] : x;
        }
}

/* out (3,S,S) from rgb (y->count, x->count, 3); what the picture does not cover is black. */
static void place(const struct preprocess *p, const uint8_t *rgb, const struct crop *x,
                  const struct crop *y, float *out) {
    float value[3][256];
    const size_t S = p->side;
    byte_values(p, value);
    for (size_t c = 0; c < 3; c++) {
        float *plane = out + c * S * S;
        for (size_t i = 0; i < S * S; i++)
            plane[i] = value[c][0];
        for (size_t i = 0; i < y->count; i++)
            for (size_t j = 0; j < x->count; j++)
                plane[(y->at + i) * S + x->at + j] = value[c][rgb[(i * x->count + j) * 3 + c]];
    }
}

int preprocess_picture(dl_context *cx, const struct preprocess *p, const struct image *image,
                       float *out) {
    const size_t S = p->side;
    size_t width, height;
    uint8_t *rgb;
    resized(p, (size_t)image->width, (size_t)image->height, &width, &height);
    if (!p->do_center_crop && (width != S || height != S))
        return fail(cx, DL_USAGE,
                    "picture of %dx%d pixels: becomes %zux%zu, the vision tower takes %zux%zu; "
                    "this model's preprocessing does not crop",
                    image->width, image->height, width, height, S, S);
    if (!width || !height)
        return fail(cx, DL_USAGE, "picture of %dx%d pixels: nothing is left of it", image->width,
                    image->height);
    const struct crop x = crop_middle(width, S), y = crop_middle(height, S);
    const struct part part = {x.first, y.first, x.count, y.count};
    DL_TRY(allocate(cx, "picture", x.count * y.count, 3, (void **)&rgb));
    int status = resize_part(cx, image, width, height, p->resample, &part, rgb);
    if (status == DL_OK)
        place(p, rgb, &x, &y, out);
    free(rgb);
    return status;
}

/* ---- files --------------------------------------------------------------------------------- */

/* How files of other formats begin. */
static const struct {
    size_t at, length;
    const char *bytes, *name;
} other_formats[] = {
    {0, 3, "\xff\xd8\xff", "a JPEG file"},
    {0, 4, "GIF8", "a GIF file"},
    {0, 2, "BM", "a BMP file"},
    {8, 4, "WEBP", "a WebP file"},
    {0, 4, "II*\0", "a TIFF file"},
    {0, 4, "MM\0*", "a TIFF file"},
    {4, 8, "ftypavif", "an AVIF file"},
    {4, 7, "ftyphei", "a HEIC file"},
    {4, 8, "ftypmif1", "a HEIC file"},
    {0, 4, "<svg", "an SVG file"},
};

/* "a JPEG file"; NULL for what is none of these. */
static const char *other_format(const char *path) {
    unsigned char head[12] = {0};
    FILE *file = file_exists(path) ? fopen(path, "rb") : NULL;
    const size_t size = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    for (size_t i = 0; i < sizeof other_formats / sizeof *other_formats; i++) {
        const size_t end = other_formats[i].at + other_formats[i].length;
        if (end <= size &&
            !memcmp(head + other_formats[i].at, other_formats[i].bytes, other_formats[i].length))
            return other_formats[i].name;
    }
    return NULL;
}

int picture_read(dl_context *cx, const char *path, struct image *out) {
    const int status = png_read(cx, path, DL_USAGE, out);
    const char *format = status == DL_USAGE ? other_format(path) : NULL;
    return format ? fail(cx, DL_USAGE,
                         "%s: is %s; pictures are read as PNG only; convert it, as with "
                         "ImageMagick's `convert FILE FILE.png`",
                         path, format)
                  : status;
}
