/* The tile registers of AMX: eight of 16 rows of 64 bytes (Intel 64 and IA-32 Architectures
 * Software Developer's Manual, volume 1, chapter 18). Included only by files that are compiled for
 * them. */
#ifndef DLENS_KERNELS_AMX_TILES_H
#define DLENS_KERNELS_AMX_TILES_H

#include "kernels/avx512.h"

enum { ROW_BYTES = LANES * sizeof(float) };

/* What the registers hold: their rows, and the bytes of each row. */
struct configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* All eight whole: a configuration takes as long as 20 products, so a thread has one for all its
 * tiles. */
static const struct configuration whole_tiles = {
    .palette = 1,
    .row_bytes = {ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES,
                  ROW_BYTES},
    .rows = {LANES, LANES, LANES, LANES, LANES, LANES, LANES, LANES},
};

static void enter(void) {
    _tile_loadconfig(&whole_tiles);
}

static void leave(void) {
    _tile_release(); /* else the system keeps 8 KB at every switch of tasks */
}

/* gcc 12 does not know that a tile is loaded from memory: what was written there is to be written
 * before. */
static inline void finish_writing(void) {
    __asm__ volatile("" ::: "memory");
}

/* Of a file that defines TILE(R): the register tiles of 1 to 32 rows, and the list of them. */
#define EACH_TILE                                                                                  \
    TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8)                                \
    TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14) TILE(15) TILE(16)                         \
    TILE(17) TILE(18) TILE(19) TILE(20) TILE(21) TILE(22) TILE(23) TILE(24)                        \
    TILE(25) TILE(26) TILE(27) TILE(28) TILE(29) TILE(30) TILE(31) TILE(32)
#define TILES                                                                                      \
    NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8,                          \
    tile_9, tile_10, tile_11, tile_12, tile_13, tile_14, tile_15, tile_16, tile_17,                \
    tile_18, tile_19, tile_20, tile_21, tile_22, tile_23, tile_24, tile_25, tile_26,               \
    tile_27, tile_28, tile_29, tile_30, tile_31, tile_32

#endif
