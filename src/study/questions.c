/* Questions from the columns of a prompt set. See questions.h. */
#include "study/questions.h"

#include "study/caption.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the judge chooses where it recognises nothing. */
#define NOTHING "nothing recognisable"

enum { AVERAGED_MAX = 16 }; /* captions of one concept */

/* ---- columns --------------------------------------------------------------------------------- */

static bool is_number(const char *text) {
    char *end;
    const double value = strtod(text, &end);
    return end != text && !end[strspn(end, " \t")] && isfinite(value);
}

/* The header in lower case without what numbers it: "color" of "Color1", "noun" of "noun_0". */
static void base_name(const char *header, char out[64]) {
    size_t n = 0;
    for (header += strspn(header, " \t"); *header && n < 63; header++)
        out[n++] = (char)(*header >= 'A' && *header <= 'Z' ? *header - 'A' + 'a' : *header);
    while (n && strchr(" \t_0123456789", out[n - 1]))
        n--;
    out[n] = '\0';
}

enum column_kind column_kind(const struct prompt_set *set, size_t column) {
    char base[64];
    bool numbers = true;
    if (column == set->column)
        return COLUMN_PROMPT;
    for (size_t row = 0; numbers && row < set->count; row++) {
        const char *cell = csv_cell(&set->table, row, column);
        numbers = !cell[0] || is_number(cell);
    }
    if (numbers)
        return COLUMN_NUMBER;
    base_name(csv_header(&set->table, column), base);
    if (strcmp(base, "color") == 0 || strcmp(base, "colour") == 0)
        return COLUMN_COLOR;
    return strcmp(base, "relation") == 0 ? COLUMN_RELATION : COLUMN_THING;
}

const char *column_kind_name(enum column_kind kind) {
    static const char *const names[] = {"prompt", "number", "color", "relation", "thing"};
    return names[kind];
}

/* ---- building -------------------------------------------------------------------------------- */

#define NO_VALUE ((size_t)-1)

struct builder {
    dl_context *cx;
    const struct prompt_set *set;
    struct questions *out;
    enum column_kind *kinds; /* (columns) */
    size_t *values;          /* (columns,prompts) concept of each cell, or NO_VALUE */
    size_t nothing;          /* the concept */
    /* words of the set, for captions of the other kind */
    const char *nouns[AVERAGED_MAX], *colors[AVERAGED_MAX];
    size_t noun_count, color_count;
    size_t *distinct, *rank; /* (value concepts) a column's, in order; the place of each there */
    size_t room;             /* for candidates of the question at hand */
    int status;
};

static const char *cell_of(const struct builder *b, size_t prompt, size_t column) {
    return csv_cell(&b->set->table, prompt, column);
}

static size_t *value_of(const struct builder *b, size_t prompt, size_t column) {
    return &b->values[column * b->set->count + prompt];
}

/* The first column from `from` whose header is this as base_name has it; CSV_NONE. */
static size_t find_base(const struct builder *b, const char *name, size_t from) {
    char base[64];
    for (size_t c = from; c < b->set->table.columns; c++) {
        base_name(csv_header(&b->set->table, c), base);
        if (strcmp(base, name) == 0 && c != b->set->column)
            return c;
    }
    return CSV_NONE;
}

/* ---- concepts of the cells ------------------------------------------------------------------- */

/* "KIND:TEXT", unless it is there. */
static size_t find_concept(struct builder *b, const char *kind, const char *text, bool *is_new) {
    struct buffer key = {0};
    size_t index = 0;
    *is_new = false;
    buffer_format(&key, "%s:%s", kind, text);
    b->status = b->status ? b->status : buffer_check(b->cx, &key, "concept");
    if (b->status == DL_OK)
        index = concept_find(&b->out->concepts, key.data, is_new);
    buffer_free(&key);
    return index;
}

/* "a picture of a dog", "a picture of a red dog". */
static void add_caption(struct builder *b, const char *color, const char *noun) {
    struct buffer text = {0};
    buffer_text(&text, "a picture of ");
    if (color)
        buffer_format(&text, "%s %s %s", article(color), color, noun);
    else
        put_noun(&text, noun);
    b->status = b->status ? b->status : buffer_check(b->cx, &text, "caption");
    if (b->status == DL_OK)
        concept_caption(&b->out->concepts, text.data);
    buffer_free(&text);
}

/* A thing, in row `prompt`, whatever its colour: an average over the colours of the set. A class of
 * animals is known by its members as well: those of the rows that follow. */
static size_t thing_concept(struct builder *b, size_t prompt, size_t column) {
    enum { ROWS_SEARCHED = 1000 };
    const size_t animals = find_base(b, "animal", 0);
    const char *value = cell_of(b, prompt, column);
    char base[64];
    bool is_new;
    base_name(csv_header(&b->set->table, column), base);
    const bool is_class = animals != CSV_NONE && strcmp(base, "class") == 0;
    const size_t index = find_concept(b, is_class ? "class" : "thing", value, &is_new);
    if (!is_new)
        return index;
    add_caption(b, NULL, value);
    for (size_t i = 0; !is_class && i < b->color_count; i++)
        add_caption(b, b->colors[i], value);
    for (size_t p = prompt, members = 0;
         is_class && p < b->set->count && p < prompt + ROWS_SEARCHED && members < AVERAGED_MAX; p++)
        if (strcmp(cell_of(b, p, column), value) == 0 && cell_of(b, p, animals)[0]) {
            add_caption(b, NULL, cell_of(b, p, animals));
            members++;
        }
    return index;
}

/* A colour, whatever bears it: an average over things of the set. */
static size_t color_concept(struct builder *b, const char *color) {
    bool is_new;
    const size_t index = find_concept(b, "color", color, &is_new);
    for (size_t i = 0; is_new && i < b->noun_count; i++)
        add_caption(b, color, b->nouns[i]);
    if (is_new && !b->noun_count)
        add_caption(b, color, "thing");
    return index;
}

static void note_word(const char **words, size_t *count, const char *word) {
    size_t i = 0;
    while (i < *count && strcmp(words[i], word) != 0)
        i++;
    if (i == *count && i < AVERAGED_MAX)
        words[(*count)++] = word;
}

static void note_words(struct builder *b) {
    for (size_t c = 0; c < b->set->table.columns; c++)
        for (size_t p = 0; p < b->set->count; p++) {
            const char *cell = cell_of(b, p, c);
            if (cell[0] && b->kinds[c] == COLUMN_THING)
                note_word(b->nouns, &b->noun_count, cell);
            else if (cell[0] && b->kinds[c] == COLUMN_COLOR)
                note_word(b->colors, &b->color_count, cell);
        }
}

/* The cells of all columns of one kind. */
static void find_values(struct builder *b, enum column_kind kind) {
    for (size_t c = 0; c < b->set->table.columns; c++)
        for (size_t p = 0; b->kinds[c] == kind && p < b->set->count && b->status == DL_OK; p++) {
            const char *cell = cell_of(b, p, c);
            if (!cell[0])
                continue;
            *value_of(b, p, c) = kind == COLUMN_THING ? thing_concept(b, p, c)
                                 : kind == COLUMN_COLOR
                                     ? color_concept(b, cell)
                                     : concept_of_caption(&b->out->concepts, cell);
            if (b->out->concepts.status != DL_OK)
                b->status = b->out->concepts.status;
        }
}

/* The different values of a column go to b->distinct, with their places in b->rank. */
static size_t find_distinct(struct builder *b, size_t column) {
    size_t count = 0;
    for (size_t p = 0; p < b->set->count; p++) {
        const size_t value = *value_of(b, p, column);
        if (value == NO_VALUE || (b->rank[value] < count && b->distinct[b->rank[value]] == value))
            continue;
        b->rank[value] = count;
        b->distinct[count++] = value;
    }
    return count;
}

/* ---- one question ---------------------------------------------------------------------------- */

/* A question without candidates; NULL after a failure. */
static struct question *add_question(struct builder *b, const char *name, const char *wording) {
    struct questions *q = b->out;
    if (b->status != DL_OK)
        return NULL;
    struct question *items = realloc(q->items, (q->count + 1) * sizeof *items);
    if (!items) {
        b->status = fail_memory(b->cx, "questions", 0);
        return NULL;
    }
    q->items = items;
    struct question *new = &items[q->count++];
    memset(new, 0, sizeof *new);
    snprintf(new->name, sizeof new->name, "%s", name);
    snprintf(new->wording, sizeof new->wording, "%s", wording);
    b->room = 0;
    b->status =
        allocate(b->cx, "questions", b->set->count + 1, sizeof *new->first, (void **)&new->first);
    return b->status == DL_OK ? new : NULL;
}

/* One candidate more for this prompt; prompts come in turn. */
static void add_candidate(struct builder *b, struct question *q, size_t prompt, size_t concept) {
    const size_t used = q->first[prompt + 1];
    if (used == b->room) {
        const size_t room = b->room ? 2 * b->room : 256;
        size_t *grown = realloc(q->candidates, room * sizeof *grown);
        if (!grown) {
            b->status = fail_memory(b->cx, "candidates", room * sizeof *grown);
            return;
        }
        q->candidates = grown;
        b->room = room;
    }
    q->candidates[q->first[prompt + 1]++] = concept;
}

static void begin_prompt(struct question *q, size_t prompt) {
    q->first[prompt + 1] = q->first[prompt];
}

/* What is asked at all may be answered by "nothing". */
static void end_prompt(struct builder *b, struct question *q, size_t prompt) {
    if (q->first[prompt + 1] == q->first[prompt])
        return;
    add_candidate(b, q, prompt, b->nothing);
    q->asked++;
    q->chance += 1.0 / (double)(q->first[prompt + 1] - q->first[prompt]);
}

/* A question that no prompt is asked is none. */
static void end_question(struct builder *b) {
    struct question *q = &b->out->items[b->out->count - 1];
    if (q->asked) {
        q->chance /= (double)q->asked;
        return;
    }
    free(q->first);
    free(q->candidates);
    b->out->count--;
}

/* ---- the questions --------------------------------------------------------------------------- */

/* Whether the prompt names this in another of its columns. */
static bool is_named(const struct builder *b, size_t prompt, size_t column, size_t concept) {
    for (size_t c = 0; c < b->set->table.columns; c++)
        if (c != column && *value_of(b, prompt, c) == concept)
            return true;
    return false;
}

/* The prompt's own value against the column's others, from the one that follows it on. */
static void ask_column(struct builder *b, size_t column, const char *name, const char *wording) {
    const size_t count = find_distinct(b, column);
    struct question *q = add_question(b, name, wording);
    for (size_t p = 0; q && p < b->set->count && b->status == DL_OK; p++) {
        const size_t right = *value_of(b, p, column);
        begin_prompt(q, p);
        if (right == NO_VALUE)
            continue;
        add_candidate(b, q, p, right);
        for (size_t i = 1; i < count && q->first[p + 1] - q->first[p] + 1 < CANDIDATES_MAX; i++) {
            const size_t other = b->distinct[(b->rank[right] + i) % count];
            if (!is_named(b, p, column, other))
                add_candidate(b, q, p, other);
        }
        end_prompt(b, q, p);
    }
    if (q)
        end_question(b);
}

/* Any animal, against things of every kind. */
static void ask_is_animal(struct builder *b, size_t column) {
    static const char *const others[] = {"car", "house", "tree", "flower", "book", "ball"};
    enum { OTHERS = sizeof others / sizeof others[0] };
    size_t other[OTHERS], animal;
    bool is_new;
    const size_t count = find_distinct(b, column);
    animal = find_concept(b, "any", "animal", &is_new);
    if (is_new)
        add_caption(b, NULL, "animal");
    for (size_t i = 0, p = 0; is_new && i < count && i < AVERAGED_MAX; i++) {
        const size_t wanted =
            b->distinct[i * count / (count < AVERAGED_MAX ? count : AVERAGED_MAX)];
        for (p = 0; p < b->set->count && *value_of(b, p, column) != wanted;)
            p++;
        add_caption(b, NULL, cell_of(b, p, column));
    }
    for (size_t i = 0; i < OTHERS; i++) {
        other[i] = find_concept(b, "thing", others[i], &is_new);
        if (is_new)
            add_caption(b, NULL, others[i]);
    }
    struct question *q = add_question(b, "is_animal", "Is an animal in the picture, whichever?");
    for (size_t p = 0; q && p < b->set->count && b->status == DL_OK; p++) {
        begin_prompt(q, p);
        if (*value_of(b, p, column) == NO_VALUE)
            continue;
        add_candidate(b, q, p, animal);
        for (size_t i = 0; i < OTHERS; i++)
            add_candidate(b, q, p, other[i]);
        end_prompt(b, q, p);
    }
    if (q)
        end_question(b);
}

/* The prompt with two of its words exchanged, or one replaced; false where that changes nothing. */
static bool add_changed(struct builder *b, struct question *q, size_t prompt, const char *from,
                        const char *to, bool back) {
    const char *text = b->set->prompts[prompt];
    struct buffer changed = {0};
    bool done = from[0] && to[0] && strcmp(from, to) != 0 &&
                put_exchanged(&changed, text, from, to, back) && !changed.failed &&
                strcmp(changed.data, text) != 0;
    if (changed.failed)
        b->status = fail_memory(b->cx, "caption", 0);
    if (done && q->first[prompt + 1] == q->first[prompt])
        add_candidate(b, q, prompt, *value_of(b, prompt, b->set->column));
    if (done)
        add_candidate(b, q, prompt, concept_of_caption(&b->out->concepts, changed.data));
    buffer_free(&changed);
    return done;
}

static void ask_binding(struct builder *b, size_t first, size_t second) {
    struct question *q = add_question(b, "binding", "Has each thing its own colour: {prompt}?");
    for (size_t p = 0; q && p < b->set->count && b->status == DL_OK; p++) {
        begin_prompt(q, p);
        add_changed(b, q, p, cell_of(b, p, first), cell_of(b, p, second), true);
        end_prompt(b, q, p);
    }
    if (q)
        end_question(b);
}

/* things: two columns; relation: CSV_NONE or a column. */
static void ask_relation(struct builder *b, size_t first, size_t second, size_t relation) {
    const char *others[CANDIDATES_MAX - 3];
    size_t count = 0;
    for (size_t p = 0; relation != CSV_NONE && p < b->set->count; p++) {
        size_t i = 0;
        while (i < count && strcmp(others[i], cell_of(b, p, relation)) != 0)
            i++;
        if (i == count && count < sizeof others / sizeof others[0])
            others[count++] = cell_of(b, p, relation);
    }
    struct question *q = add_question(b, "relation", "Are the things placed so: {prompt}?");
    for (size_t p = 0; q && p < b->set->count && b->status == DL_OK; p++) {
        begin_prompt(q, p);
        if (first != CSV_NONE && second != CSV_NONE)
            add_changed(b, q, p, cell_of(b, p, first), cell_of(b, p, second), true);
        for (size_t i = 0; i < count; i++)
            add_changed(b, q, p, cell_of(b, p, relation), others[i], false);
        end_prompt(b, q, p);
    }
    if (q)
        end_question(b);
}

static void ask_all(struct builder *b) {
    const size_t columns = b->set->table.columns;
    char wording[128];
    for (size_t c = 0; c < columns; c++) {
        const char *name = csv_header(&b->set->table, c);
        const bool color = b->kinds[c] == COLUMN_COLOR;
        snprintf(wording, sizeof wording, "Is %s{%.60s} in the picture?",
                 color ? "the colour " : "", name);
        if (color || b->kinds[c] == COLUMN_THING)
            ask_column(b, c, name, wording);
    }
    const size_t animal = find_base(b, "animal", 0), relation = find_base(b, "relation", 0);
    if (animal != CSV_NONE && b->kinds[animal] == COLUMN_THING)
        ask_is_animal(b, animal);
    const size_t class1 = find_base(b, "class", 0);
    const size_t class2 = class1 == CSV_NONE ? CSV_NONE : find_base(b, "class", class1 + 1);
    size_t color1 = CSV_NONE, color2 = CSV_NONE;
    for (size_t c = columns; c-- > 0;)
        if (b->kinds[c] == COLUMN_COLOR) {
            color2 = color1;
            color1 = c;
        }
    if (color2 != CSV_NONE)
        ask_binding(b, color1, color2);
    if (relation != CSV_NONE || (class2 != CSV_NONE && color1 == CSV_NONE))
        ask_relation(b, class1, class2, relation);
    if (find_distinct(b, b->set->column) > 1)
        ask_column(b, b->set->column, "match", "Does the picture show: {prompt}?");
}

/* ---- choosing -------------------------------------------------------------------------------- */

static void free_question(struct question *q) {
    free(q->first);
    free(q->candidates);
}

/* Keeps the questions that `which` names. */
static int choose(dl_context *cx, const char *which, struct questions *q) {
    bool *kept;
    size_t n = 0;
    DL_TRY(allocate(cx, "questions", q->count, sizeof *kept, (void **)&kept));
    for (const char *name = which; name; name = strchr(name, ',') ? strchr(name, ',') + 1 : NULL) {
        const size_t length = strcspn(name, ",");
        size_t i = 0;
        while (i < q->count &&
               (strlen(q->items[i].name) != length || strncmp(q->items[i].name, name, length) != 0))
            i++;
        if (i == q->count) {
            struct buffer names = {0};
            for (i = 0; i < q->count; i++)
                buffer_format(&names, "%s%s", i ? ", " : "", q->items[i].name);
            int status =
                fail(cx, DL_USAGE, "--questions %s: no question \"%.*s\"; there are %s", which,
                     (int)(length < 60 ? length : 60), name, names.data ? names.data : "none");
            buffer_free(&names);
            free(kept);
            return status;
        }
        kept[i] = true;
    }
    for (size_t i = 0; i < q->count; i++) {
        if (kept[i])
            q->items[n++] = q->items[i];
        else
            free_question(&q->items[i]);
    }
    q->count = n;
    free(kept);
    return DL_OK;
}

/* Names become names of files. */
static int check_names(dl_context *cx, const struct questions *q) {
    for (size_t i = 0; i < q->count; i++) {
        const char *name = q->items[i].name;
        if (!name[0] || name[0] == '.' || strchr(name, '/'))
            return fail(cx, DL_USAGE, "column \"%s\": its header cannot be the name of a file",
                        name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(q->items[k].name, name) == 0)
                return fail(cx, DL_USAGE, "column \"%s\": this question is there twice", name);
    }
    return DL_OK;
}

static int build(struct builder *b) {
    const size_t columns = b->set->table.columns, cells = columns * b->set->count;
    bool is_new;
    DL_TRY(allocate(b->cx, "columns", columns, sizeof *b->kinds, (void **)&b->kinds));
    DL_TRY(allocate(b->cx, "columns", cells, sizeof *b->values, (void **)&b->values));
    for (size_t c = 0; c < columns; c++)
        b->kinds[c] = column_kind(b->set, c);
    for (size_t i = 0; i < cells; i++)
        b->values[i] = NO_VALUE;
    b->nothing = find_concept(b, "none", NOTHING, &is_new);
    concept_caption(&b->out->concepts, NOTHING);
    note_words(b);
    find_values(b, COLUMN_THING);
    find_values(b, COLUMN_COLOR);
    find_values(b, COLUMN_PROMPT);
    DL_TRY(b->status);
    const size_t concepts = b->out->concepts.count;
    DL_TRY(allocate(b->cx, "values", concepts, sizeof *b->distinct, (void **)&b->distinct));
    DL_TRY(allocate(b->cx, "values", concepts, sizeof *b->rank, (void **)&b->rank));
    ask_all(b);
    return b->status ? b->status : b->out->concepts.status;
}

int questions_make(dl_context *cx, const struct prompt_set *set, const char *which,
                   struct questions *out) {
    struct builder b = {.cx = cx, .set = set, .out = out, .status = DL_OK};
    memset(out, 0, sizeof *out);
    concepts_init(&out->concepts, cx);
    int status = build(&b);
    if (status == DL_OK && which)
        status = choose(cx, which, out);
    if (status == DL_OK)
        status = check_names(cx, out);
    free(b.kinds);
    free(b.values);
    free(b.distinct);
    free(b.rank);
    return status;
}

void questions_free(struct questions *questions) {
    for (size_t i = 0; i < questions->count; i++)
        free_question(&questions->items[i]);
    free(questions->items);
    concepts_free(&questions->concepts);
    memset(questions, 0, sizeof *questions);
}
