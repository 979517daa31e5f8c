/* What tokenizer_config.json, special_tokens_map.json, added_tokens.json and the list of added
 * tokens in tokenizer.json say together, by the rules of transformers 5. */
#ifndef DLENS_TEXT_SPECIAL_TOKENS_H
#define DLENS_TEXT_SPECIAL_TOKENS_H

#include "text/added_tokens.h"

struct cJSON;

enum named_token {
    TOKEN_BOS,
    TOKEN_EOS,
    TOKEN_UNK,
    TOKEN_SEP,
    TOKEN_PAD,
    TOKEN_CLS,
    TOKEN_MASK,
    NAMED_TOKENS
};

struct special_tokens {
    struct added_tokens added; /* all tokens that are cut out of the text; ids not yet set */
    char *named[NAMED_TOKENS]; /* owned; NULL where the tokenizer has none */
    bool additional;           /* the files list additional special tokens */
    size_t max_length;         /* model_max_length; 0: missing or beyond any model */
};

/* Reads the files in dir; all are optional. tokenizer_json: the parsed file or NULL. defaults: the
 * tokens of the class where the files name none (NULL: none). *out is freed with
 * special_tokens_free, also on failure. */
int special_tokens_read(dl_context *cx, const char *dir, const struct cJSON *tokenizer_json,
                        const char *const defaults[NAMED_TOKENS], struct special_tokens *out);
void special_tokens_free(struct special_tokens *s);

#endif
