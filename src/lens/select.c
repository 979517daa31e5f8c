/* Reading layers, seeds, sizes and amounts of memory as users write them. See select.h.
 *
 * L number of the encoder's blocks; its layers are 0..L */
#include "lens/select.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN = 60 }; /* characters of a text shown in a message */

/* A stretch of the text, not terminated. */
struct part {
    const char *text;
    size_t length;
};

/* Cuts the next part off *rest at a separator, without blanks around it; false at the end. */
static bool next_part(const char **rest, char separator, struct part *out) {
    const char *text = *rest;
    if (!text)
        return false;
    const char *end = strchr(text, separator);
    *rest = end ? end + 1 : NULL;
    size_t length = end ? (size_t)(end - text) : strlen(text);
    while (length && *text == ' ')
        text++, length--;
    while (length && text[length - 1] == ' ')
        length--;
    *out = (struct part){text, length};
    return true;
}

static bool is(const struct part *part, const char *word) {
    return part->length == strlen(word) && memcmp(part->text, word, part->length) == 0;
}

/* ---- layers ---------------------------------------------------------------------------------- */

struct selection {
    dl_context *cx;
    const char *option, *spec;
    long layers;           /* L */
    unsigned char *chosen; /* (L+1) 1 where chosen */
};

static int wrong_layers(const struct selection *s, const struct part *part, const char *why) {
    return fail(s->cx, DL_USAGE,
                "%s %.*s: \"%.*s\" %s; layers are 0 to %ld, -1 the last; examples: all, 0,4,-1, "
                "0::4",
                s->option, SHOWN, s->spec, (int)(part->length < SHOWN ? part->length : SHOWN),
                part->text, why, s->layers);
}

/* An integer of at most a billion, beyond which nothing changes. False if it is none. */
static bool to_long(const char *text, size_t length, long *out) {
    const long most = 1000000000;
    const bool negative = length && *text == '-';
    long value = 0;
    if (negative)
        text++, length--;
    if (length == 0)
        return false;
    for (; length; text++, length--) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (*text - '0');
        value = value < most ? value : most;
    }
    *out = negative ? -value : value;
    return true;
}

static int select_number(const struct selection *s, const struct part *part) {
    long layer;
    if (!to_long(part->text, part->length, &layer))
        return wrong_layers(s, part, part->length ? "is no layer" : "is empty");
    if (layer < 0)
        layer += s->layers + 1;
    if (layer < 0 || layer > s->layers)
        return wrong_layers(s, part, "is out of range");
    s->chosen[layer] = 1;
    return DL_OK;
}

/* Python's slice.indices: a bound counted from the end if negative, then held to [low, high]. */
static long bound(long value, long count, long low, long high) {
    if (value < 0)
        value += count;
    return value < low ? low : value > high ? high : value;
}

/* start:end:step with Python's meaning on range(L+1). */
static int select_slice(const struct selection *s, const struct part *part) {
    const long count = s->layers + 1;
    long given[3] = {0, 0, 1};
    bool has[3] = {false, false, false};
    const char *text = part->text, *end = part->text + part->length;
    for (size_t i = 0;; i++) {
        const char *colon = memchr(text, ':', (size_t)(end - text));
        const size_t length = (size_t)((colon ? colon : end) - text);
        if (i == 3)
            return wrong_layers(s, part, "has more than start:end:step");
        has[i] = length > 0;
        if (has[i] && !to_long(text, length, &given[i]))
            return wrong_layers(s, part, "is no slice start:end:step");
        if (!colon)
            break;
        text = colon + 1;
    }
    const long step = given[2];
    if (step == 0)
        return wrong_layers(s, part, "has a step of 0");
    const long low = step > 0 ? 0 : -1, high = step > 0 ? count : count - 1;
    const long first = has[0] ? bound(given[0], count, low, high) : step > 0 ? low : high;
    const long stop = has[1] ? bound(given[1], count, low, high) : step > 0 ? high : low;
    bool any = false;
    for (long l = first; step > 0 ? l < stop : l > stop; l += step) {
        s->chosen[l] = 1;
        any = true;
    }
    return any ? DL_OK : wrong_layers(s, part, "holds no layer");
}

static int select_part(const struct selection *s, const struct part *part) {
    if (is(part, "all"))
        memset(s->chosen, 1, (size_t)s->layers + 1);
    else if (is(part, "last"))
        s->chosen[s->layers] = 1;
    else if (memchr(part->text, ':', part->length))
        return select_slice(s, part);
    else
        return select_number(s, part);
    return DL_OK;
}

int parse_layers(dl_context *cx, const char *option, const char *spec, int layers, int **out,
                 size_t *count) {
    struct selection s = {cx, option, spec, layers, NULL};
    struct part part;
    const char *rest = spec;
    *out = NULL;
    *count = 0;
    if (layers < 0)
        return fail(cx, DL_USAGE, "%s: an encoder of %d blocks has none", option, layers);
    const size_t all = (size_t)layers + 1;
    DL_TRY(allocate(cx, "layers", all, 1, (void **)&s.chosen));
    int status = DL_OK;
    while (status == DL_OK && next_part(&rest, ',', &part))
        status = select_part(&s, &part);
    if (status == DL_OK)
        status = allocate(cx, "layers", all, sizeof **out, (void **)out);
    for (size_t l = 0; status == DL_OK && l < all; l++) {
        if (s.chosen[l])
            (*out)[(*count)++] = (int)l;
    }
    free(s.chosen);
    return status;
}

/* ---- seeds ----------------------------------------------------------------------------------- */

static bool to_seed(const struct part *part, uint64_t *out) {
    uint64_t value = 0;
    if (part->length == 0)
        return false;
    for (size_t i = 0; i < part->length; i++) {
        const char c = part->text[i];
        if (c < '0' || c > '9')
            return false;
        const uint64_t digit = (uint64_t)(c - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

int parse_seeds(dl_context *cx, const char *spec, uint64_t **out, size_t *count) {
    const char *rest = spec;
    size_t parts = 1;
    *out = NULL;
    *count = 0;
    for (const char *c = spec; *c; c++)
        parts += *c == ',';
    DL_TRY(allocate(cx, "seeds", parts, sizeof **out, (void **)out));
    for (struct part part; next_part(&rest, ',', &part);) {
        if (!to_seed(&part, &(*out)[(*count)++])) {
            free(*out);
            *out = NULL;
            *count = 0;
            return fail(cx, DL_USAGE,
                        "--seed %.*s: \"%.*s\" is no whole number from 0 to 2^64 - 1; example: "
                        "0,1,2",
                        SHOWN, spec, (int)(part.length < SHOWN ? part.length : SHOWN), part.text);
        }
    }
    return DL_OK;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

enum { SIDE_MAX = 65536 };

int parse_size(dl_context *cx, const char *spec, int *width, int *height) {
    const char *x = strchr(spec, 'x');
    long w = 0, h = 0;
    if (!x || !to_long(spec, (size_t)(x - spec), &w) || !to_long(x + 1, strlen(x + 1), &h))
        return fail(cx, DL_USAGE, "--size %.*s: must be WIDTHxHEIGHT in pixels; example: 512x768",
                    SHOWN, spec);
    if (w < 1 || w > SIDE_MAX || h < 1 || h > SIDE_MAX)
        return fail(cx, DL_USAGE, "--size %.*s: sides must be from 1 to %d pixels", SHOWN, spec,
                    SIDE_MAX);
    *width = (int)w;
    *height = (int)h;
    return DL_OK;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* What stands behind the number: 1024 to the power of it; 0 if it is no unit. */
static double unit_of(const char *text) {
    static const char LETTERS[] = "kMGT";
    double factor = 1;
    const char *letter = *text ? strchr(LETTERS, *text == 'K' ? 'k' : *text) : NULL;
    if (letter) {
        for (const char *c = LETTERS; c <= letter; c++)
            factor *= 1024;
        text++;
        if (strcmp(text, "iB") == 0)
            text += 2;
    }
    if (strcmp(text, "B") == 0)
        text++;
    return *text ? 0 : factor;
}

int parse_bytes(dl_context *cx, const char *spec, size_t *bytes) {
    const double limit = (double)(SIZE_MAX / 2);
    const char *c = spec;
    double value = 0, place = 1;
    size_t digits = 0;
    for (; *c >= '0' && *c <= '9'; c++, digits++)
        value = value * 10 + (*c - '0');
    if (digits && *c == '.') {
        for (c++; *c >= '0' && *c <= '9'; c++) {
            place /= 10;
            value += place * (*c - '0');
        }
    }
    const double unit = unit_of(c);
    if (digits == 0 || unit == 0)
        return fail(cx, DL_USAGE,
                    "--max-memory %.*s: must be a number of bytes with k, M, G or T; example: 1.5G",
                    SHOWN, spec);
    if (!(value * unit >= 1 && value * unit <= limit))
        return fail(cx, DL_USAGE, "--max-memory %.*s: must be from 1 byte to %zu", SHOWN, spec,
                    SIZE_MAX / 2);
    *bytes = (size_t)(value * unit);
    return DL_OK;
}
