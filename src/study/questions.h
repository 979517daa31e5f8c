/* What is asked about the pictures of a prompt set: questions derived from its columns.
 *
 * A question is zero-shot classification: the judge chooses among candidate concepts, of which one
 * is right for the prompt. Which candidates:
 *
 *   a column of things      the prompt's value against the column's other values (is the class, the
 *   (class, animal, noun_0)  animal, the noun there?), whatever its colour
 *   a column of colours     likewise (is the colour there?), whatever bears it
 *   is_animal               any animal of column `animal` against things that are none
 *   binding                 the prompt against itself with the two colours exchanged (color1,
 * color2) relation                the prompt against itself with the two things exchanged (class1,
 * class2) and, where there is a column `relation`, with other relations in its place match the
 * prompt against the set's other prompts
 *
 * and always also "nothing recognisable". Values that the prompt names in its other columns are
 * no candidates: they may well be there too. Columns of numbers are properties, not asked about. */
#ifndef DLENS_STUDY_QUESTIONS_H
#define DLENS_STUDY_QUESTIONS_H

#include "study/concepts.h"
#include "study/prompts.h"

enum column_kind { COLUMN_PROMPT, COLUMN_NUMBER, COLUMN_COLOR, COLUMN_RELATION, COLUMN_THING };

enum column_kind column_kind(const struct prompt_set *set, size_t column);
const char *column_kind_name(enum column_kind kind); /* "number", ... */

enum { CANDIDATES_MAX = 256 }; /* the right one, others that follow it in the set, and nothing */

struct question {
    char name[64];      /* of its file: the column, or "binding", ... */
    char wording[128];  /* for people: "Is {class} in the picture?", {} a column's value */
    size_t *first;      /* (prompts+1) where a prompt's candidates begin; none: it is not asked */
    size_t *candidates; /* concepts; the right one first */
    size_t asked;       /* prompts that are asked */
    double chance;      /* mean of 1 / number of candidates */
};

struct questions {
    struct concepts concepts;
    struct question *items; /* (count) */
    size_t count;
};

/* which: names joined by commas; NULL: all that the columns allow. DL_USAGE for a name that they do
 * not. Freed with questions_free, also after failure. */
int questions_make(dl_context *cx, const struct prompt_set *set, const char *which,
                   struct questions *out);
void questions_free(struct questions *questions);

#endif
