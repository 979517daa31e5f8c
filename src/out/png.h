/* PNG files with text chunks, by lodepng. `text` is key, value, key, value, ..., NULL (or NULL for
 * none): tEXt where the value is ASCII, iTXt (UTF-8, invalid bytes replaced) elsewhere. Keys are
 * 1..79 ASCII characters. */
#ifndef DLENS_OUT_PNG_H
#define DLENS_OUT_PNG_H

#include "out/buffer.h"
#include "out/image.h"

/* *data is freed by the caller with free(). DL_USAGE for impossible sizes, DL_FAILED without
 * memory. */
int png_encode(dl_context *cx, const uint8_t *rgb, int width, int height, const char *const *text,
               unsigned char **data, size_t *size);

/* Appends data:image/png;base64,... to a page. */
int png_data_uri(dl_context *cx, struct buffer *out, const uint8_t *rgb, int width, int height);

/* The file is complete or absent. */
int png_write(dl_context *cx, const char *path, const uint8_t *rgb, int width, int height,
              const char *const *text);

/* Reads any PNG as 8-bit RGB; alpha is laid on white. Bounded in file size and picture size. Fails
 * with `status` for a file that is missing, damaged or too large. */
int png_read(dl_context *cx, const char *path, int status, struct image *out);

/* The value of text chunk `key` of a PNG file in fresh memory (free), *value NULL where the file
 * has no such chunk. Fails with `status` where it is no readable PNG. */
int png_read_text(dl_context *cx, const char *path, int status, const char *key, char **value);

#endif
