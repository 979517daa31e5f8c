/* What is behind the interface of tokenizer.h: one struct for all classes, and a table of
 * functions per algorithm. Internal to the tokenizers of this folder.
 *
 * The road of a text, the same for all:
 *     raw text -> added tokens cut out -> normalize -> normalized added tokens cut out -> encode */
#ifndef DLENS_TEXT_TOKENIZER_CLASS_H
#define DLENS_TEXT_TOKENIZER_CLASS_H

#include "out/buffer.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

/* A growing list of ids. */
struct id_list {
    int32_t *ids;
    size_t count, capacity;
};

int id_push(dl_context *cx, struct id_list *list, int32_t id);

/* An algorithm. `text` is valid UTF-8 without NUL; it is not NUL-terminated. */
struct tokenizer_class {
    const char *const
        *names; /* of the classes in model_index.json that it serves, NULL at the end */

    /* Reads the files in dir: sets vocabulary (sorted, without added tokens), special, own. */
    int (*open)(dl_context *cx, const char *dir, struct tokenizer *t);

    /* Appends the normal form of a stretch of text. */
    int (*normalize)(dl_context *cx, const struct tokenizer *t, const char *text, size_t length,
                     struct buffer *out);

    /* Appends the ids of a stretch of normalized text. */
    int (*encode)(dl_context *cx, const struct tokenizer *t, const char *text, size_t length,
                  struct id_list *ids);

    /* Appends the text that one piece of the vocabulary stands for, as raw bytes. */
    void (*decode)(const struct tokenizer *t, const char *piece, struct buffer *out);

    void (*close)(void *own); /* frees `own`, which may be NULL */

    bool begins; /* puts the bos token before the text (the eos token always follows it) */
};

struct tokenizer {
    const struct tokenizer_class *class;
    struct vocabulary vocabulary; /* added tokens too */
    struct special_tokens special;
    struct matcher raw, normalized; /* the added tokens that are searched for */
    int32_t bos, eos, pad;          /* ids */
    void *own;                      /* of the class */
};

extern const struct tokenizer_class clip_tokenizer_class, t5_tokenizer_class;

#endif
