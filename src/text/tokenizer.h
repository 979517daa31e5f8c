/* Tokenizers: from a prompt to the ids that a text encoder's embedding table is indexed with.
 *
 * One interface for all; which algorithm is behind it follows from the class that the model's
 * model_index.json names. The ids are those of Hugging Face transformers for the same files.
 *
 *     struct tokenizer *t;
 *     DL_TRY(tokenizer_open(cx, "model/tokenizer", "CLIPTokenizer", &t));
 *     struct tokens tokens;
 *     int status = tokenize(cx, t, "a dog", 5, 77, &tokens);   start, a</w>, dog</w>, end
 *     tokenizer_pad(t, &tokens, ids, 77);                      ids (77)
 *     tokens_free(&tokens);  tokenizer_close(t); */
#ifndef DLENS_TEXT_TOKENIZER_H
#define DLENS_TEXT_TOKENIZER_H

#include "base/context.h"

struct tokenizer;

struct tokens {
    size_t count;  /* with the special tokens that the tokenizer adds, without padding */
    int32_t *ids;  /* (count), each in [0, tokenizer_vocab_size) */
    char **pieces; /* (count) as the vocabulary writes them: "dog</w>" */
    char *cut;     /* the text that did not fit, decoded from its tokens; NULL if all fitted */
};

/* Opens the tokenizer in folder `dir`. *out is read-only from then on, may be used by several
 * contexts at once, and is freed with tokenizer_close. DL_MODEL for an unknown class (the message
 * lists those that are supported) and for files that are missing or damaged. */
int tokenizer_open(dl_context *cx, const char *dir, const char *class_name, struct tokenizer **out);
void tokenizer_close(struct tokenizer *t); /* NULL is allowed */

/* Tokenizes text of `length` bytes; at most max_length ids (0: any number), the special tokens
 * counted and always kept. *out is freed with tokens_free; on failure it is empty. DL_USAGE, with
 * the byte's position, for text that is not UTF-8 or that holds a NUL, and for a max_length too
 * short for the special tokens. Time is proportional to the length times its logarithm. */
int tokenize(dl_context *cx, const struct tokenizer *t, const char *text, size_t length,
             size_t max_length, struct tokens *out);
void tokens_free(struct tokens *tokens);

/* ids (max_length) = the tokens and then the pad token; tokens->count <= max_length. */
void tokenizer_pad(const struct tokenizer *t, const struct tokens *tokens, int32_t *ids,
                   size_t max_length);

/* model_max_length of tokenizer_config.json; 0 where it is missing or means "any" (1e30). */
size_t tokenizer_max_length(const struct tokenizer *t);

/* One more than the largest id. */
size_t tokenizer_vocab_size(const struct tokenizer *t);

/* The piece with this id, living as long as the tokenizer; NULL if no piece has it. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id);

#endif
