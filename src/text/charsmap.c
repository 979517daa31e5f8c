/* The precompiled normalization of sentencepiece models.
 *
 * Layout: u32 bytes of the trie; the trie, an array of u32 units; strings that end with NUL. All
 * little-endian. A rule's value is the place of its string.
 *
 * The trie is a double array (Aoe 1989; as in the library Darts-clone). The child of a node for
 * byte c is the unit at `position xor c`, if the label of that unit is c. A unit holds the label
 * (bits 0-7), whether a rule ends there (8), and the offset to its own children (9-31); the value
 * of a rule is in the unit at the offset itself. */
#include "text/charsmap.h"

#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { REPLACEMENT_MAX = 256 };

static uint32_t u32_at(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* No replacement may be longer than REPLACEMENT_MAX, or a short text could fill the memory. */
static int check_replacements(dl_context *cx, const char *path, const struct charsmap *map) {
    size_t run = 0;
    for (size_t i = 0; i < map->replacements_size; i++) {
        run = map->replacements[i] ? run + 1 : 0;
        if (run > REPLACEMENT_MAX)
            return fail(cx, DL_MODEL, "%s: normalization: a replacement has more than %d bytes",
                        path, REPLACEMENT_MAX);
    }
    return DL_OK;
}

int charsmap_read(dl_context *cx, const char *path, const unsigned char *data, size_t size,
                  struct charsmap *out) {
    void *memory;
    *out = (struct charsmap){0};
    if (size == 0)
        return DL_OK;
    size_t trie = size > 4 ? u32_at(data) : 0;
    if (trie < 4 || trie % 4 != 0 || trie >= size - 4 || data[size - 1] != '\0')
        return fail(cx, DL_MODEL, "%s: normalization: precompiled_charsmap is damaged", path);
    DL_TRY(allocate(cx, "normalization", trie / 4, sizeof *out->units, &memory));
    out->units = memory;
    out->unit_count = trie / 4;
    for (size_t i = 0; i < out->unit_count; i++)
        out->units[i] = u32_at(data + 4 + 4 * i);
    out->replacements_size = size - 4 - trie;
    DL_TRY(allocate(cx, "normalization", out->replacements_size, 1, &memory));
    out->replacements = memory;
    memcpy(out->replacements, data + 4 + trie, out->replacements_size);
    return check_replacements(cx, path, out);
}

static int base64_value(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *place = c ? strchr(digits, c) : NULL;
    return place ? (int)(place - digits) : -1;
}

int charsmap_read_base64(dl_context *cx, const char *path, const char *text, struct charsmap *out) {
    size_t length = strlen(text), size = 0;
    unsigned bits = 0, value = 0;
    void *memory;
    *out = (struct charsmap){0};
    DL_TRY(allocate(cx, "normalization", length, 1, &memory));
    unsigned char *data = memory;
    for (size_t i = 0; i < length && text[i] != '='; i++) {
        int digit = base64_value(text[i]);
        if (digit < 0) {
            free(data);
            return fail(cx, DL_MODEL, "%s: precompiled_charsmap: not base64", path);
        }
        value = (value << 6 | (unsigned)digit) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            data[size++] = (unsigned char)(value >> bits);
        }
    }
    int status = charsmap_read(cx, path, data, size, out);
    free(data);
    return status;
}

void charsmap_free(struct charsmap *map) {
    free(map->units);
    free(map->replacements);
    *map = (struct charsmap){0};
}

/* ---- searching ----------------------------------------------------------------------------- */

static size_t unit_offset(uint32_t unit) {
    return (size_t)(unit >> 10) << ((unit & 0x200) >> 6);
}

/* The value of the longest rule that text starts with; *taken: its bytes, 0 without one. */
static size_t longest_rule(const struct charsmap *map, const char *text, size_t length,
                           size_t *taken) {
    size_t value = 0, position = unit_offset(map->units[0]);
    *taken = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        position ^= c;
        if (position >= map->unit_count || (map->units[position] & 0x800000ff) != c)
            break;
        uint32_t unit = map->units[position];
        position ^= unit_offset(unit);
        if (unit & 0x100 && position < map->unit_count) {
            value = map->units[position] & 0x7fffffff;
            *taken = i + 1;
        }
    }
    return value;
}

struct replacement charsmap_next(const struct charsmap *map, const char *text, size_t length) {
    size_t taken = 0, value = map->units ? longest_rule(map, text, length, &taken) : 0;
    if (taken > 0 && value < map->replacements_size) {
        const char *replaced = map->replacements + value;
        return (struct replacement){taken, replaced, strlen(replaced)};
    }
    utf8_at(text, length, &taken);
    return (struct replacement){taken, text, taken};
}
