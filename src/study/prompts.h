/* Prompt sets: what an experiment looks at. A table with a column `prompt`; every other column is a
 * concept that the prompt names (class, color1, animal, ...) or a property of it (is_natural,
 * frequency). The paper's files are read as they are; some sets are built in. */
#ifndef DLENS_STUDY_PROMPTS_H
#define DLENS_STUDY_PROMPTS_H

#include "out/csv.h"

struct prompt_set {
    char name[64];        /* "colors": of the built-in set, or of the file without its ending */
    const char *layers;   /* which layers are looked at where nobody says; a constant */
    struct csv table;     /* only rows with a prompt */
    size_t column;        /* of the prompts */
    const char **prompts; /* (count), into the table */
    size_t count;
    size_t skipped; /* rows without a prompt, left out */
};

/* A file (*.csv, or any path that is one), or the name of a built-in set. DL_USAGE where it is
 * neither, or holds no prompt. Freed with prompt_set_free, also after failure. */
int prompt_set_read(dl_context *cx, const char *what, struct prompt_set *out);
void prompt_set_free(struct prompt_set *set);

/* The set as CSV. */
void prompt_set_write(const struct prompt_set *set, struct buffer *out);

/* ---- built-in sets --------------------------------------------------------------------------- */

/* Sets for the world of the bundled models: index from 0; NULL behind the last. */
const char *builtin_set_name(size_t index);
const char *builtin_set_summary(size_t index);
const char *builtin_set_layers(size_t index);

/* The set as CSV. */
void builtin_set_write(size_t index, struct buffer *out);

#endif
