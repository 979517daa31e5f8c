/* The unigram language model of sentencepiece: every piece has a log probability; a text is split
 * into the pieces whose sum is largest (Kudo 2018, arXiv 1804.10959; Kudo and Richardson 2018,
 * arXiv 1808.06226). */
#ifndef DLENS_TEXT_UNIGRAM_H
#define DLENS_TEXT_UNIGRAM_H

#include "text/charsmap.h"
#include "text/tokenizer_class.h"

/* As in sentencepiece_model.proto. */
enum piece_type {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN = 2,
    PIECE_CONTROL = 3, /* never found in text */
    PIECE_USER = 4,    /* always kept whole */
    PIECE_UNUSED = 5,
    PIECE_BYTE = 6 /* <0x41>: stands for a byte of an unknown character */
};

struct unigram {
    size_t count;          /* pieces of the model: ids 0..count-1 */
    float *scores;         /* (count) log probabilities */
    unsigned char *types;  /* (count) enum piece_type */
    int32_t unknown;       /* id of the unknown token */
    float lowest, highest; /* of the scores of normal pieces */
    bool byte_fallback;
    int32_t byte_ids[256]; /* with byte_fallback */
    bool dummy_prefix;     /* puts a space before the text */
    bool merge_spaces;     /* takes spaces away at both ends, and all but one in between */
    struct charsmap charsmap;
};

/* Reads spiece.model: fills *out and adds all pieces to the vocabulary, which is then not sorted.
 * *out is freed with unigram_free, also on failure. */
int unigram_read_model(dl_context *cx, const char *path, struct vocabulary *v, struct unigram *out);

/* The same from a parsed tokenizer.json. */
int unigram_read_json(dl_context *cx, const char *path, const struct cJSON *root,
                      struct vocabulary *v, struct unigram *out);

void unigram_free(struct unigram *model);

/* Appends the normal form of text: rules applied, spaces merged and written as U+2581. */
void unigram_normalize(const struct unigram *model, const char *text, size_t length,
                       struct buffer *out);

/* Appends the ids of normalized text; a run of unknown characters is one id. */
int unigram_encode(dl_context *cx, const struct unigram *model, const struct vocabulary *v,
                   const char *text, size_t length, struct id_list *ids);

#endif
