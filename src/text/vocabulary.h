/* A vocabulary: pieces of text and their ids, both ways, from hostile files.
 *
 * Pieces are kept sorted by their bytes: looking one up is a binary search, and so is following
 * its prefixes byte by byte (a sorted list is a trie). */
#ifndef DLENS_TEXT_VOCABULARY_H
#define DLENS_TEXT_VOCABULARY_H

#include "base/context.h"

struct cJSON;

enum { VOCABULARY_MAX = 1 << 21 }; /* ids are below this */

struct piece {
    char *text; /* owned, NUL-terminated */
    size_t length;
    int32_t id;
};

struct vocabulary {
    struct piece *pieces; /* (count), sorted after vocabulary_sort */
    size_t count, capacity;
    size_t size;        /* one more than the largest id */
    const char **by_id; /* (size), NULL where no piece has the id */
    uint32_t *starts;   /* (STARTS + 1) first piece whose first two bytes are at least these */
};

/* Adds a piece (copied); to be followed by vocabulary_sort before anything is looked up. `path`
 * names the file in messages. DL_MODEL for an id out of range. */
int vocabulary_add(dl_context *cx, struct vocabulary *v, const char *path, const char *text,
                   size_t length, double id);

/* Adds all of a JSON object {piece: id}. */
int vocabulary_add_json(dl_context *cx, struct vocabulary *v, const char *path,
                        const struct cJSON *object);

/* Sorts; DL_MODEL if a piece or an id is there twice. */
int vocabulary_sort(dl_context *cx, struct vocabulary *v, const char *path);

/* The id of a piece; -1 if it is not in the vocabulary. */
int32_t vocabulary_find(const struct vocabulary *v, const char *text, size_t length);

/* Pieces [begin, end) are those that start with the first `depth` bytes of some text. */
struct piece_range {
    size_t begin, end, depth;
};

/* Narrows the range to the pieces whose next byte is `byte`; false if there is none. Starts from
 * {0, count, 0}. The first piece of a range is the text itself, if the text is a piece. */
bool narrow(const struct piece *sorted, struct piece_range *range, unsigned char byte);

void vocabulary_free(struct vocabulary *v);

#endif
