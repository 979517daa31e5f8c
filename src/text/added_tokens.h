/* Added tokens: strings that are a token of their own wherever they stand in the text, such as
 * <|endoftext|>, and that are cut out of it before the tokenizer's own algorithm sees the rest.
 *
 * A token marked `normalized` is searched for in the normalized text, in its own normalized form;
 * all others in the raw text, first. At each place the longest token wins. */
#ifndef DLENS_TEXT_ADDED_TOKENS_H
#define DLENS_TEXT_ADDED_TOKENS_H

#include "text/vocabulary.h"

struct added_token {
    const char *content; /* owned by the list that the token is in */
    double file_id;      /* the id that the file gives it; HUGE_VAL where it gives none */
    int32_t id;
    bool normalized;
    bool lstrip, rstrip; /* takes the whitespace before or after it along */
    bool single_word;    /* not inside a word */
};

struct added_tokens {
    struct added_token *items; /* (count), in the order of their first definition */
    size_t count, capacity;
};

/* Defines a token (content is copied); a token defined before keeps its place and takes the new
 * flags. An empty content is ignored. */
int added_define(dl_context *cx, struct added_tokens *tokens, const struct added_token *token);

/* NULL if there is none with this content. */
const struct added_token *added_find(const struct added_tokens *tokens, const char *content);

void added_free(struct added_tokens *tokens);

/* What is searched for in one pass over a text. */
struct matcher {
    struct piece *patterns; /* (count), sorted; id is the index in `tokens` */
    size_t count;
    const struct added_tokens *tokens; /* must outlive the matcher */
};

/* Adds a pattern (copied) for token `index`; then matcher_sort. */
int matcher_add(dl_context *cx, struct matcher *m, const char *pattern, size_t length,
                size_t index);
void matcher_sort(struct matcher *m);
void matcher_free(struct matcher *m);

/* A stretch of text: a token, or text in between (token NULL). */
struct span {
    size_t begin, end;
    const struct added_token *token;
};

/* Walks over text: `at` starts at 0; false at the end. */
struct matcher_walk {
    const struct matcher *matcher;
    const char *text;
    size_t length, at;
    bool pending; /* found: the token behind the text just returned */
    struct span found;
};

bool matcher_next(struct matcher_walk *walk, struct span *span);

#endif
