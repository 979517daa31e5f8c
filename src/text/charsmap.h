/* The precompiled normalization of sentencepiece models ("charsmap"): rules that replace the
 * longest match at each place of the text. */
#ifndef DLENS_TEXT_CHARSMAP_H
#define DLENS_TEXT_CHARSMAP_H

#include "base/context.h"
#include "out/buffer.h"

struct charsmap {
    uint32_t *units; /* (unit_count): a double array trie; NULL: no rules */
    size_t unit_count;
    char *replacements; /* NUL-terminated strings, one after the other */
    size_t replacements_size;
};

/* From the bytes of a model file (copied); size 0 gives no rules. `path` is for messages. Freed
 * with charsmap_free, also on failure. */
int charsmap_read(dl_context *cx, const char *path, const unsigned char *data, size_t size,
                  struct charsmap *out);

/* The same from base64, as tokenizer.json has it. */
int charsmap_read_base64(dl_context *cx, const char *path, const char *text, struct charsmap *out);

void charsmap_free(struct charsmap *map);

/* The longest rule for the start of text (length > 0, valid UTF-8): bytes it takes and what it
 * puts in their place, pointing into the map. Without a rule: the character itself. */
struct replacement {
    size_t taken;
    const char *text;
    size_t length;
};
struct replacement charsmap_next(const struct charsmap *map, const char *text, size_t length);

#endif
