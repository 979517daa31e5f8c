/* PNG files through lodepng: RGB, 8 bits, with text chunks. See png.h.
 *
 * Source: PNG specification (W3C, third edition), 11.3.3: tEXt holds Latin-1, iTXt UTF-8. */
#include "out/png.h"

#include "base/file.h"
#include "out/buffer.h"

#include <lodepng.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PNG_FILE_MAX = 1 << 29, PNG_PIXELS_MAX = 1 << 26 };

/* ---- writing ------------------------------------------------------------------------------ */

static bool is_ascii(const char *text) {
    for (; *text; text++)
        if ((*text < ' ' && *text != '\n' && *text != '\t') || *text > '~')
            return false;
    return true;
}

static void put_u32(unsigned char out[4], unsigned long value) {
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(value >> (24 - 8 * i) & 255);
}

/* Appends a text chunk: length, type, key, NUL, (iTXt: no compression, no language, no translated
 * key), text, checksum of all behind the length. lodepng's own functions for texts follow null
 * pointers where memory is short (2022). */
static void put_text(struct buffer *out, const char *key, const char *value) {
    const bool ascii = is_ascii(value);
    struct buffer text = {0};
    unsigned char number[4];
    buffer_utf8(&text, value);
    out->failed = out->failed || text.failed;
    const size_t start = out->length, key_size = strlen(key) + 1;
    put_u32(number, (unsigned long)(key_size + (ascii ? 0 : 4) + text.length));
    buffer_bytes(out, number, sizeof number);
    buffer_text(out, ascii ? "tEXt" : "iTXt");
    buffer_bytes(out, key, key_size);
    if (!ascii)
        buffer_bytes(out, "\0\0\0", 4);
    buffer_bytes(out, text.data, text.length);
    if (!out->failed)
        put_u32(number,
                crc32_z(0, (const unsigned char *)out->data + start + 4, out->length - start - 4));
    buffer_bytes(out, number, sizeof number);
    buffer_free(&text);
}

/* zlib in place of lodepng's own compressor, which is slower and (2022) follows a null pointer
 * where memory is short. Returns an error number of lodepng's. */
static unsigned compress_with_zlib(unsigned char **out, size_t *size, const unsigned char *in,
                                   size_t in_size, const LodePNGCompressSettings *settings) {
    enum { NO_MEMORY = 83, LEVEL = 6 };
    uLongf length = compressBound((uLong)in_size);
    (void)settings;
    *out = malloc(length);
    if (!*out || compress2(*out, &length, in, (uLong)in_size, LEVEL) != Z_OK)
        return NO_MEMORY; /* the one way in which compress2 can fail here */
    *size = length;
    return 0;
}

static int encode(dl_context *cx, LodePNGState *state, const struct image *image,
                  const char *const *text, unsigned char **data, size_t *size) {
    enum { KEY_MAX = 79 };
    struct buffer chunks = {0}; /* between header and pixels; freed with the state */
    for (size_t i = 0; text && text[i]; i += 2) {
        if (!text[i][0] || strlen(text[i]) > KEY_MAX) {
            buffer_free(&chunks);
            return fail(cx, DL_FAILED, "PNG text \"%s\": a key has 1 to %d characters", text[i],
                        KEY_MAX);
        }
        put_text(&chunks, text[i], text[i + 1]);
    }
    state->info_png.unknown_chunks_data[0] = (unsigned char *)chunks.data;
    state->info_png.unknown_chunks_size[0] = chunks.length;
    DL_TRY(buffer_check(cx, &chunks, "PNG text"));
    unsigned error = lodepng_encode(data, size, image->rgb, (unsigned)image->width,
                                    (unsigned)image->height, state);
    if (error) {
        free(*data);
        *data = NULL;
        return fail(cx, DL_FAILED, "PNG of %dx%d pixels: %s", image->width, image->height,
                    lodepng_error_text(error));
    }
    return DL_OK;
}

int png_encode(dl_context *cx, const uint8_t *rgb, int width, int height, const char *const *text,
               unsigned char **data, size_t *size) {
    struct image image = {width, height, (uint8_t *)(uintptr_t)rgb}; /* only read */
    LodePNGState state;
    *data = NULL;
    *size = 0;
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX ||
        (size_t)width * (size_t)height > IMAGE_BYTES_MAX / 3)
        return fail(cx, DL_USAGE, "PNG of %dx%d pixels: sides must be 1 to %d, %d MiB in all",
                    width, height, IMAGE_SIDE_MAX, IMAGE_BYTES_MAX >> 20);
    lodepng_state_init(&state);
    state.info_raw.colortype = LCT_RGB;
    state.info_raw.bitdepth = 8;
    state.info_png.color.colortype = LCT_RGB;
    state.info_png.color.bitdepth = 8;
    state.encoder.auto_convert = 0; /* always RGB, whatever the colours */
    state.encoder.zlibsettings.custom_zlib = compress_with_zlib;
    int status = encode(cx, &state, &image, text, data, size);
    lodepng_state_cleanup(&state);
    return status;
}

int png_data_uri(dl_context *cx, struct buffer *out, const uint8_t *rgb, int width, int height) {
    unsigned char *png;
    size_t size;
    DL_TRY(png_encode(cx, rgb, width, height, NULL, &png, &size));
    buffer_text(out, "data:image/png;base64,");
    buffer_base64(out, png, size);
    free(png);
    return DL_OK;
}

int png_write(dl_context *cx, const char *path, const uint8_t *rgb, int width, int height,
              const char *const *text) {
    unsigned char *data;
    size_t size;
    DL_TRY(png_encode(cx, rgb, width, height, text, &data, &size));
    int status = file_write(cx, path, data, size);
    free(data);
    return status;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Deflate shrinks at most 1032 times, so a header that promises more pixels than the file can hold
 * is refused before memory is taken for them. */
static int check_size(dl_context *cx, const char *path, int status, unsigned width, unsigned height,
                      size_t file_size) {
    size_t pixels;
    if (!size_mul(width, height, &pixels) || pixels > PNG_PIXELS_MAX || width > IMAGE_SIDE_MAX ||
        height > IMAGE_SIDE_MAX)
        return fail(cx, status, "%s: picture of %ux%u pixels; at most %d million are read", path,
                    width, height, PNG_PIXELS_MAX / 1000000);
    if (pixels / 8 / 1032 > file_size)
        return fail(cx, status, "%s: picture of %ux%u pixels in %zu bytes; the file is cut short",
                    path, width, height, file_size);
    return DL_OK;
}

/* Decodes to RGBA, 8 bits. *rgba is freed by the caller, also on failure. */
static int decode(dl_context *cx, const char *path, int status, LodePNGState *state,
                  unsigned char **rgba, unsigned *width, unsigned *height) {
    char *file;
    size_t size;
    DL_TRY(file_read(cx, status, path, PNG_FILE_MAX, &file, &size));
    const unsigned char *data = (const unsigned char *)file;
    unsigned error = lodepng_inspect(width, height, state, data, size);
    int result = error ? DL_OK : check_size(cx, path, status, *width, *height, size);
    if (!error && !result) {
        /* at most 8 bytes a pixel, and a filter byte for each row of the seven passes */
        state->decoder.zlibsettings.max_output_size =
            (size_t)*width * *height * 8 + ((size_t)*height + 8) * 14;
        state->info_raw.colortype = LCT_RGBA;
        state->info_raw.bitdepth = 8;
        error = lodepng_decode(rgba, width, height, state, data, size);
    }
    free(file);
    return error ? fail(cx, status, "%s: no readable PNG: %s", path, lodepng_error_text(error))
                 : result;
}

/* rgb = rgba laid on white: c a + 255 (1 - a), rounded. */
static void flatten(uint8_t *rgb, const unsigned char *rgba, size_t pixels) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < 3; c++) {
            unsigned a = rgba[4 * p + 3];
            rgb[3 * p + c] = (uint8_t)((rgba[4 * p + c] * a + 255 * (255 - a) + 127) / 255);
        }
}

int png_read(dl_context *cx, const char *path, int status, struct image *out) {
    LodePNGState state;
    unsigned char *rgba = NULL;
    unsigned width = 0, height = 0;
    memset(out, 0, sizeof *out);
    lodepng_state_init(&state);
    state.decoder.read_text_chunks = 0;
    int result = decode(cx, path, status, &state, &rgba, &width, &height);
    lodepng_state_cleanup(&state);
    if (!result)
        result = image_make(cx, (int)width, (int)height, out);
    if (!result)
        flatten(out->rgb, rgba, (size_t)width * height);
    free(rgba);
    return result;
}

/* The value of `key` among the decoded chunks, or NULL. */
static const char *find_text(const LodePNGInfo *info, const char *key) {
    for (size_t i = 0; i < info->text_num; i++)
        if (!strcmp(info->text_keys[i], key))
            return info->text_strings[i];
    for (size_t i = 0; i < info->itext_num; i++)
        if (!strcmp(info->itext_keys[i], key))
            return info->itext_strings[i];
    return NULL;
}

int png_read_text(dl_context *cx, const char *path, int status, const char *key, char **value) {
    LodePNGState state;
    unsigned char *rgba = NULL;
    unsigned width = 0, height = 0;
    *value = NULL;
    lodepng_state_init(&state);
    int result = decode(cx, path, status, &state, &rgba, &width, &height);
    free(rgba);
    const char *text = result ? NULL : find_text(&state.info_png, key);
    if (text) {
        void *copy;
        result = allocate(cx, "PNG text", strlen(text) + 1, 1, &copy);
        if (!result)
            *value = memcpy(copy, text, strlen(text) + 1);
    }
    lodepng_state_cleanup(&state);
    return result;
}
