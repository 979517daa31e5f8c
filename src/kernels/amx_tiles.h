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

#endif
