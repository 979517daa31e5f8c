/* Pictures in the terminal. Sources: Kitty, "Terminal graphics protocol"; iTerm2, "Inline images
 * protocol"; DEC, VT330/VT340 Programmer Reference Manual, chapter 14 (sixel). */
#include "out/term.h"

#include "out/png.h"

#include <stdlib.h>
#include <string.h>

enum { CELL_WIDTH = 8, CELL_HEIGHT = 16, ENLARGED_MOST = 2, KITTY_CHUNK = 4096 };

/* ---- what the terminal is ----------------------------------------------------------------- */

/* A sign of a terminal: the variable is set, and (where `part` is given) has this in its value. */
struct sign {
    const char *variable, *part;
    enum term_graphics graphics;
};

static const struct sign signs[] = {
    {"TMUX", NULL, TERM_BLOCKS}, /* a multiplexer draws its own screen and loses pictures */
    {"STY", NULL, TERM_BLOCKS},
    {"TERM", "tmux", TERM_BLOCKS},
    {"TERM", "screen", TERM_BLOCKS},
    {"KITTY_WINDOW_ID", NULL, TERM_KITTY},
    {"TERM", "kitty", TERM_KITTY},
    {"TERM", "ghostty", TERM_KITTY},
    {"TERM_PROGRAM", "ghostty", TERM_KITTY},
    {"TERM_PROGRAM", "iTerm", TERM_ITERM},
    {"LC_TERMINAL", "iTerm", TERM_ITERM}, /* survives ssh */
    {"TERM_PROGRAM", "WezTerm", TERM_ITERM},
    {"TERM_PROGRAM", "mintty", TERM_ITERM},
    {"TERM", "sixel", TERM_SIXEL},
    {"TERM", "mlterm", TERM_SIXEL},
    {"TERM", "foot", TERM_SIXEL},
    {"TERM", "contour", TERM_SIXEL},
};

enum term_graphics term_detect(term_lookup lookup, void *user) {
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        const char *value = lookup(user, signs[i].variable);
        if (value && *value && (!signs[i].part || strstr(value, signs[i].part)))
            return signs[i].graphics;
    }
    return TERM_BLOCKS;
}

/* ---- Kitty and iTerm2: a PNG in base64 ---------------------------------------------------- */

/* The payload goes in pieces of at most 4096 bytes; m=1 says that more follow. q=2: no answer. */
static void put_kitty(struct buffer *out, const struct buffer *png, int cells, int lines) {
    for (size_t at = 0; at < png->length; at += KITTY_CHUNK) {
        size_t left = png->length - at, size = left < KITTY_CHUNK ? left : KITTY_CHUNK;
        buffer_text(out, "\033_G");
        if (at == 0)
            buffer_format(out, "a=T,f=100,q=2,c=%d,r=%d,", cells, lines);
        buffer_format(out, "m=%d;", left > KITTY_CHUNK);
        buffer_bytes(out, png->data + at, size);
        buffer_text(out, "\033\\");
    }
}

static int put_png(dl_context *cx, struct buffer *out, enum term_graphics graphics,
                   const struct image *image, int cells, int lines) {
    unsigned char *data;
    size_t size;
    struct buffer text = {0};
    DL_TRY(png_encode(cx, image->rgb, image->width, image->height, NULL, &data, &size));
    buffer_base64(&text, data, size);
    free(data);
    int status = buffer_check(cx, &text, "terminal picture");
    if (!status && graphics == TERM_KITTY) {
        put_kitty(out, &text, cells, lines);
    } else if (!status) {
        buffer_format(out, "\033]1337;File=inline=1;size=%zu;width=%d;height=%d:", size, cells,
                      lines);
        buffer_bytes(out, text.data, text.length);
        buffer_text(out, "\a");
    }
    buffer_free(&text);
    return status;
}

/* ---- sixel: bands of six rows in a palette of 6x6x6 colours ------------------------------- */

enum { LEVELS = 6, COLOURS = LEVELS * LEVELS * LEVELS, BAND = 6 };

/* Ordered dither (Bayer's 4x4 matrix): the level whose rounding threshold the value passes. */
static int dithered(uint8_t value, int x, int y) {
    static const int bayer[4][4] = {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};
    return (value * (LEVELS - 1) * 32 + 255 * (2 * bayer[y & 3][x & 3] + 1)) / (255 * 32);
}

static void put_palette(struct buffer *out) {
    for (int c = 0; c < COLOURS; c++)
        buffer_format(out, "#%d;2;%d;%d;%d", c, c / 36 * 20, c / 6 % 6 * 20, c % 6 * 20);
}

/* A run of one sixel character, run-length coded where that is shorter. */
static void put_run(struct buffer *out, int count, char sixel) {
    if (count > 3)
        buffer_format(out, "!%d%c", count, sixel);
    else
        for (int i = 0; i < count; i++)
            buffer_bytes(out, &sixel, 1);
}

/* One colour of one band: bit k of a sixel is row k. */
static void put_band_colour(struct buffer *out, const uint8_t *index, int width, int rows,
                            int colour) {
    int count = 0;
    char run = '?';
    buffer_format(out, "#%d", colour);
    for (int x = 0; x < width; x++) {
        int bits = 0;
        for (int k = 0; k < rows; k++)
            bits |= (index[k * width + x] == colour) << k;
        char sixel = (char)('?' + bits);
        if (sixel != run) {
            put_run(out, count, run);
            count = 0;
            run = sixel;
        }
        count++;
    }
    if (run != '?')
        put_run(out, count, run);
    buffer_text(out, "$");
}

static int put_sixel(dl_context *cx, struct buffer *out, const struct image *image) {
    int width = image->width;
    void *memory;
    DL_TRY(allocate(cx, "sixel", (size_t)width * BAND, 1, &memory));
    uint8_t *index = memory;
    buffer_format(out, "\033P0;1;0q\"1;1;%d;%d", width, image->height);
    put_palette(out);
    for (int y = 0; y < image->height; y += BAND) {
        bool used[COLOURS] = {false};
        int rows = image->height - y < BAND ? image->height - y : BAND;
        for (int i = 0; i < rows * width; i++) {
            const uint8_t *p = image->rgb + 3 * ((size_t)y * (size_t)width + (size_t)i);
            int level[3];
            for (int c = 0; c < 3; c++)
                level[c] = dithered(p[c], i % width, i / width + y);
            index[i] = (uint8_t)((level[0] * LEVELS + level[1]) * LEVELS + level[2]);
            used[index[i]] = true;
        }
        for (int c = 0; c < COLOURS; c++)
            if (used[c])
                put_band_colour(out, index, width, rows, c);
        buffer_text(out, y + BAND < image->height ? "-" : "");
    }
    buffer_text(out, "\033\\");
    free(memory);
    return DL_OK;
}

/* ---- half blocks -------------------------------------------------------------------------- */

/* A cell shows two pixels: the upper half block in the colour of the upper one on a ground in the
 * colour of the lower. */
static void put_blocks(struct buffer *out, const struct image *image) {
    for (int y = 0; y < image->height; y += 2) {
        for (int x = 0; x < image->width; x++) {
            const uint8_t *top = image->rgb + 3 * ((size_t)y * (size_t)image->width + (size_t)x);
            buffer_format(out, "\033[38;2;%d;%d;%dm", top[0], top[1], top[2]);
            if (y + 1 < image->height) {
                const uint8_t *below = top + 3 * image->width;
                buffer_format(out, "\033[48;2;%d;%d;%dm", below[0], below[1], below[2]);
            }
            buffer_text(out, "\xE2\x96\x80");
        }
        buffer_text(out, y + 2 < image->height ? "\033[0m\n" : "\033[0m");
    }
}

int term_picture(dl_context *cx, struct buffer *out, enum term_graphics graphics,
                 const uint8_t *rgb, int width, int height, int columns) {
    bool blocks = graphics == TERM_BLOCKS;
    int cell = blocks ? 1 : CELL_WIDTH, enlarged = blocks ? 1 : ENLARGED_MOST;
    struct image image;
    if (width < 1 || height < 1 || columns < 1)
        return fail(cx, DL_USAGE, "terminal picture of %dx%d pixels in %d columns", width, height,
                    columns);
    int widest = columns > IMAGE_SIDE_MAX / cell ? IMAGE_SIDE_MAX : columns * cell;
    widest = widest < width * enlarged ? widest : width * enlarged;
    int fit_width, fit_height;
    image_fit(width, height, widest, IMAGE_SIDE_MAX, &fit_width, &fit_height);
    DL_TRY(image_resize(cx, rgb, width, height, fit_width, fit_height, &image));
    int cells = (fit_width + CELL_WIDTH - 1) / CELL_WIDTH;
    int lines = (fit_height + CELL_HEIGHT - 1) / CELL_HEIGHT, status = DL_OK;
    if (blocks)
        put_blocks(out, &image);
    else if (graphics == TERM_SIXEL)
        status = put_sixel(cx, out, &image);
    else
        status = put_png(cx, out, graphics, &image, cells, lines);
    image_free(&image);
    if (status)
        return status;
    buffer_text(out, "\n");
    return buffer_check(cx, out, "terminal picture");
}
