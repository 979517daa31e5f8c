/* Built-in prompt sets, in the words of the world that the bundled models were trained in
 * (tools/train/world.py, captions.py). They have the form of the paper's sets: the same columns,
 * and `frequency`, the share of a noun among the things drawn in training, in place of
 * avg_daily_views.
 *
 * A set is templates times words. In a template {1} stands for the row's first word, and an article
 * in front of a word follows its sound. */
#include "study/caption.h"
#include "study/prompts.h"

#include <stdio.h>
#include <string.h>

/* A row: its words, in the order of the set's columns, and its own template where it has one. */
struct row {
    const char *words; /* by blanks */
    const char *template;
};

struct set {
    const char *name, *summary, *layers;
    const char *columns;  /* behind the prompt; "frequency" is that of the row's first word */
    const char *template; /* where a row has none */
    const struct row *rows;
    size_t count;
};

/* ---- frequency of nouns ---------------------------------------------------------------------- */

enum { RARE = 52 }; /* from here on nouns are rarer still */

static const char *const nouns[] = {
    "dog",        "cat",     "car",    "house",   "tree",     "horse",  "apple",     "bird",
    "fish",       "cow",     "flower", "book",    "ball",     "pig",    "rabbit",    "star",
    "boat",       "mouse",   "lion",   "bus",     "bear",     "banana", "frog",      "hat",
    "elephant",   "duck",    "train",  "tiger",   "bicycle",  "pizza",  "butterfly", "umbrella",
    "fox",        "monkey",  "rocket", "turtle",  "guitar",   "owl",    "penguin",   "mushroom",
    "crown",      "lemon",   "cactus", "giraffe", "snail",    "whale",  "octopus",   "crab",
    "strawberry", "zebra",   "anchor", "camel",   "flamingo", "koala",  "kangaroo",  "sloth",
    "skunk",      "peacock", "dodo",   "raccoon", "hedgehog", "squid",  "crocodile", "otter"};
enum { NOUNS = sizeof nouns / sizeof nouns[0] };

/* share(k) = w(k) / sum w, w(k) = 1 / (k + 7), times 0.4 for the rare ones (world.py, NOUN_P). */
static double weight(size_t k) {
    return (k < RARE ? 1.0 : 0.4) / ((double)k + 7.0);
}

static double frequency(const char *noun) {
    double sum = 0, own = 0;
    for (size_t k = 0; k < NOUNS; k++) {
        sum += weight(k);
        own = strcmp(nouns[k], noun) == 0 ? weight(k) : own;
    }
    return own / sum;
}

/* ---- the sets -------------------------------------------------------------------------------- */

/* clang-format off */
static const struct row one_dog[] = {{"dog", NULL}};

static const struct row dog_and_cat[] = {{"dog red cat white", NULL}};

/* From the commonest noun to rarer ones, animals and things. */
static const struct row simple[] = {
    {"dog", NULL}, {"cat", NULL}, {"car", NULL}, {"house", NULL}, {"tree", NULL}, {"horse", NULL}, {"apple", NULL},
    {"fish", NULL}, {"flower", NULL}, {"ball", NULL}, {"star", NULL}, {"lion", NULL}, {"banana", NULL},
    {"elephant", NULL}, {"bicycle", NULL}, {"umbrella", NULL}, {"guitar", NULL}, {"cactus", NULL},
    {"strawberry", NULL}, {"zebra", NULL}};

/* Each noun in a colour that it has, and in one that it has not. */
static const struct row colors[] = {
    {"apple red 1", NULL},    {"apple blue 0", NULL},     {"banana yellow 1", NULL}, {"banana purple 0", NULL},
    {"frog green 1", NULL},   {"frog red 0", NULL},       {"cactus green 1", NULL},  {"cactus pink 0", NULL},
    {"pig pink 1", NULL},     {"pig green 0", NULL},      {"star yellow 1", NULL},   {"star black 0", NULL},
    {"rabbit white 1", NULL}, {"rabbit blue 0", NULL},    {"tree green 1", NULL},    {"tree purple 0", NULL},
    {"cat black 1", NULL},    {"cat yellow 0", NULL},     {"crab red 1", NULL},      {"crab white 0", NULL}};

/* Each pair with its colours, and with them exchanged. */
static const struct row two_colors[] = {
    {"dog red cat blue", NULL},        {"dog blue cat red", NULL},
    {"car yellow house purple", NULL}, {"car purple house yellow", NULL},
    {"horse green apple pink", NULL},  {"horse pink apple green", NULL},
    {"fish white cow red", NULL},      {"fish red cow white", NULL},
    {"ball blue tree yellow", NULL},   {"ball yellow tree blue", NULL},
    {"pig black star green", NULL},    {"pig green star black", NULL},
    {"boat pink lion blue", NULL},     {"boat blue lion pink", NULL},
    {"hat red bus green", NULL},       {"hat green bus red", NULL}};

/* Each as one meets it, and the other way round. */
static const struct row relations[] = {
    {"cat hat in 1", NULL},       {"hat cat in 0", NULL},       {"dog car in 1", NULL},       {"car dog in 0", NULL},
    {"fish boat in 1", NULL},     {"boat fish in 0", NULL},     {"horse house in 1", NULL},   {"house horse in 0", NULL},
    {"bird tree on 1", NULL},     {"tree bird on 0", NULL},     {"frog cow on 1", NULL},      {"cow frog on 0", NULL},
    {"cat book on 1", NULL},      {"book cat on 0", NULL},      {"star house above 1", NULL}, {"house star above 0", NULL},
    {"bird car above 1", NULL},   {"car bird above 0", NULL},   {"fish duck below 1", NULL},  {"duck fish below 0", NULL}};

/* The same kinds of animals in both sets. */
static const struct row common[] = {
    {"dog mammal", NULL}, {"cat mammal", NULL}, {"horse mammal", NULL}, {"cow mammal", NULL}, {"pig mammal", NULL},
    {"rabbit mammal", NULL}, {"lion mammal", NULL}, {"duck bird", NULL}, {"owl bird", NULL}, {"penguin bird", NULL},
    {"turtle reptile", NULL}, {"octopus mollusc", NULL}};

static const struct row uncommon[] = {
    {"koala mammal", NULL}, {"kangaroo mammal", NULL}, {"sloth mammal", NULL}, {"skunk mammal", NULL},
    {"raccoon mammal", NULL}, {"hedgehog mammal", NULL}, {"otter mammal", NULL}, {"flamingo bird", NULL},
    {"peacock bird", NULL}, {"dodo bird", NULL}, {"crocodile reptile", NULL}, {"squid mollusc", NULL}};

/* noun_0 stands first in the sentence; the head is what the sentence is about. Each sentence stands
 * here with the head first and with the head last. */
static const struct row syntax[] = {
    {"dog car dog car", "a {1} on a {2}"},         {"car dog dog car", "on a {1} sits a {2}"},
    {"car dog car dog", "a {1} on a {2}"},         {"dog car car dog", "on a {1} sits a {2}"},
    {"cat house cat house", "a {1} in a {2}"},     {"house cat cat house", "in a {1} is a {2}"},
    {"apple hat apple hat", "a {1} in a {2}"},     {"hat apple apple hat", "in a {1} is a {2}"},
    {"bird horse bird horse", "a {1} above a {2}"}, {"horse bird bird horse", "above a {1} is a {2}"},
    {"horse star horse star", "a {1} above a {2}"}, {"star horse horse star", "above a {1} is a {2}"},
    {"fish boat fish boat", "a {1} below a {2}"},  {"boat fish fish boat", "below a {1} is a {2}"},
    {"ball tree ball tree", "a {1} below a {2}"},  {"tree ball ball tree", "below a {1} is a {2}"}};

#define ROWS(table) table, sizeof table / sizeof table[0]
#define EVERY_FOURTH "0::4,-1" /* as in the paper */

static const struct set sets[] = {
    {"simple", "single nouns: when does a thing appear?", EVERY_FOURTH, "class,frequency", "a {1}", ROWS(simple)},
    {"colors", "nouns in natural and unnatural colours", EVERY_FOURTH, "class,color,is_natural", "a {2} {1}", ROWS(colors)},
    {"two-colors", "two things in two colours: is each colour bound to its thing?", EVERY_FOURTH, "class1,color1,class2,color2", "a {2} {1} and a {4} {3}", ROWS(two_colors)},
    {"relations", "two things and where one is, natural and not", EVERY_FOURTH, "class1,class2,relation,is_natural", "a {1} {3} a {2}", ROWS(relations)},
    {"common", "animals often seen in training", EVERY_FOURTH, "animal,class,frequency", "a {1}", ROWS(common)},
    {"uncommon", "animals rarely seen in training", EVERY_FOURTH, "animal,class,frequency", "a {1}", ROWS(uncommon)},
    {"syntax", "sentences whose head comes first, and last", EVERY_FOURTH, "noun_0,noun_1,head,dependent", NULL, ROWS(syntax)},
    {"dog", "\"a dog\" in every layer", "all", "class", "a {1}", ROWS(one_dog)},
    {"dog-and-cat", "\"a red dog and a white cat\" in every layer", "all", "class1,color1,class2,color2", "a {2} {1} and a {4} {3}", ROWS(dog_and_cat)},
};
/* clang-format on */
enum { SETS = sizeof sets / sizeof sets[0], WORDS_MAX = 8 };

const char *builtin_set_name(size_t index) {
    return index < SETS ? sets[index].name : NULL;
}

const char *builtin_set_summary(size_t index) {
    return sets[index].summary;
}

const char *builtin_set_layers(size_t index) {
    return sets[index].layers;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* "a {2} {1}" with the row's words; "a " becomes "an " where the word begins with a vowel. */
static void put_prompt(struct buffer *out, const char *template, char *const *words) {
    for (const char *c = template; *c; c++) {
        if (c[0] == 'a' && strncmp(c + 1, " {", 2) == 0 && (c == template || c[-1] == ' '))
            buffer_text(out, article(words[c[3] - '1']));
        else if (c[0] == '{') {
            buffer_text(out, words[c[1] - '1']);
            c += 2;
        } else
            buffer_bytes(out, c, 1);
    }
}

/* Cuts at blanks or commas, in place; returns how many parts there are. */
static size_t split(char *text, char separator, char **parts) {
    size_t n = 0;
    for (char *next = text; next && n < WORDS_MAX; text = next) {
        next = strchr(text, separator);
        if (next)
            *next++ = '\0';
        parts[n++] = text;
    }
    return n;
}

static void put_row(struct buffer *out, const struct set *set, const struct row *row,
                    const char *last_column) {
    struct buffer prompt = {0};
    char words[128], share[16];
    char *parts[WORDS_MAX + 2];
    const char *cells[WORDS_MAX + 2];
    strcpy(words, row->words);
    size_t n = split(words, ' ', parts);
    put_prompt(&prompt, row->template ? row->template : set->template, parts);
    cells[0] = prompt.data ? prompt.data : "";
    for (size_t i = 0; i < n; i++)
        cells[i + 1] = parts[i];
    if (strcmp(last_column, "frequency") == 0) {
        snprintf(share, sizeof share, "%.5f", frequency(parts[0]));
        cells[++n] = share;
    }
    csv_row(out, cells, n + 1);
    out->failed = out->failed || prompt.failed;
    buffer_free(&prompt);
}

void builtin_set_write(size_t index, struct buffer *out) {
    const struct set *set = &sets[index];
    const char *comma = strrchr(set->columns, ',');
    buffer_format(out, "prompt,%s\n", set->columns);
    for (size_t i = 0; i < set->count; i++)
        put_row(out, set, &set->rows[i], comma ? comma + 1 : set->columns);
}
