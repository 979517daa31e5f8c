/* The words of a prompt: which tokens make each.
 *
 * CLIP marks a piece that ends a word with </w>, sentencepiece one that begins a word with U+2581,
 * byte-level BPE with U+0120; punctuation is a word of its own or part of one as the tokenizer has
 * it. What the tokenizer puts around the prompt, and the padding, are groups behind the words, so
 * that every token is in one group.
 *
 * T tokens with padding   n without   G groups */
#ifndef DLENS_LENS_WORDS_H
#define DLENS_LENS_WORDS_H

#include "text/tokenizer.h"

struct words {
    size_t count;   /* words */
    size_t groups;  /* G: the words, then as there are "(start)", "(end)", "(padding)" */
    char **names;   /* (G) */
    size_t *group;  /* (T) the group of each token */
    size_t *sizes;  /* (G) tokens of each */
    size_t tokens;  /* n */
    size_t padded;  /* T */
    bool has_start; /* token 0 is the start token, */
    bool has_end;   /* token n-1 the end token */
};

/* Of tokens padded to T. Freed with words_free, also after failure. */
int words_find(dl_context *cx, const struct tokens *tokens, size_t T, struct words *out);
void words_free(struct words *words);

#endif
