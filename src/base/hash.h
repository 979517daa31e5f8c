/* FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv): h = (h xor byte) * prime, byte by byte. For
 * telling things apart, not for keeping secrets. */
#ifndef DLENS_BASE_HASH_H
#define DLENS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t hash(uint64_t h, const void *data, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

static inline uint64_t hash_number(uint64_t h, uint64_t number) {
    return hash(h, &number, sizeof number);
}

#endif
