/* Experiments: captions, prompt sets, questions, shards, tables of answers. */
#include "scratch.h"

#include "lens/manifest.h"
#include "study/answers.h"
#include "study/caption.h"
#include "study/questions.h"

/* ---- captions -------------------------------------------------------------------------------- */

static void articles(void **state) {
    static const char *const an[] = {"apple", "Orange", "umbrella", "urn", "owl"};
    static const char *const a[] = {"dog", "unicorn", "used car", "yellow owl", ""};
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(article(an[i]), "an");
        assert_string_equal(article(a[i]), "a");
    }
}

static void plurals_stay_bare(void **state) {
    static const char *const expected[][2] = {
        {"dog", "a dog"}, {"flowers", "flowers"}, {"bus", "a bus"}, {"grass", "a grass"}};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct buffer b = {0};
        put_noun(&b, expected[i][0]);
        assert_string_equal(b.data, expected[i][1]);
        buffer_free(&b);
    }
}

static void exchange(const char *text, const char *from, const char *to, bool back,
                     const char *expected) {
    struct buffer b = {0};
    const bool done = put_exchanged(&b, text, from, to, back);
    assert_int_equal(done, expected != NULL);
    assert_string_equal(b.data ? b.data : "", expected ? expected : "");
    buffer_free(&b);
}

static void exchanges_words(void **state) {
    (void)state;
    exchange("a red dog and a blue cat", "red", "blue", true, "a blue dog and a red cat");
    exchange("a red dog and a blue cat", "blue", "red", true, "a blue dog and a red cat");
    exchange("An orange suitcase and a pink orchid.", "orange", "pink", true,
             "A pink suitcase and an orange orchid.");
    exchange("a cat in an apple", "cat", "apple", true, "an apple in a cat");
    exchange("Cats eat apples", "cats", "apples", true, "Apples eat cats");
    exchange("a cat on a dog", "on", "in", false, "a cat in a dog");
    exchange("banana onion", "onion", "dog", false, "banana dog"); /* no article there */
    exchange("a cat on a dog", "ca", "dog", true, NULL);           /* no word by itself */
    exchange("a cat on a dog", "cat", "bird", true, NULL);
    exchange("a hot dog", "hot dog", "dog", true, NULL); /* one inside the other */
    exchange("a dog", "", "cat", false, NULL);
    exchange("", "dog", "cat", false, NULL);
}

/* ---- prompt sets ----------------------------------------------------------------------------- */

static void builtin_sets(void **state) {
    struct scratch s;
    struct prompt_set set;
    size_t count = 0;
    (void)state;
    scratch_begin(&s);
    for (; builtin_set_name(count); count++) {
        assert_int_equal(prompt_set_read(&s.cx, builtin_set_name(count), &set), DL_OK);
        assert_true(set.count > 0 && set.skipped == 0);
        for (size_t p = 0; p < set.count; p++) {
            /* every word of the row but what counts is in its prompt */
            for (size_t c = 1; c < set.table.columns; c++) {
                const enum column_kind kind = column_kind(&set, c);
                const char *cell = csv_cell(&set.table, p, c), *name = csv_header(&set.table, c);
                assert_true(cell[0]);
                if (kind != COLUMN_NUMBER && !(strcmp(name, "class") == 0 && c == 2))
                    assert_contains(set.prompts[p], cell);
            }
            for (size_t other = 0; other < p; other++)
                assert_string_not_equal(set.prompts[p], set.prompts[other]);
        }
        prompt_set_free(&set);
    }
    assert_int_equal(count, 9);
    assert_int_equal(prompt_set_read(&s.cx, "simple", &set), DL_OK);
    assert_string_equal(set.layers, "0::4,-1");
    assert_string_equal(csv_cell(&set.table, 0, 2), "0.06291"); /* world.py, NOUN_P of "dog" */
    assert_string_equal(set.prompts[6], "an apple");
    prompt_set_free(&set);
    scratch_end(&s);
}

static void reads_files(void **state) {
    struct scratch s;
    struct prompt_set set;
    struct buffer text = {0};
    (void)state;
    scratch_begin(&s);
    const char *path =
        scratch_text(&s, "my set.csv", "class,prompt\ndog,\"a dog, sitting\"\ncat,\n,a cat\n");
    assert_int_equal(prompt_set_read(&s.cx, path, &set), DL_OK);
    assert_string_equal(set.name, "my-set");
    assert_int_equal(set.count, 2);
    assert_int_equal(set.skipped, 1);
    assert_string_equal(set.prompts[0], "a dog, sitting");
    assert_string_equal(set.prompts[1], "a cat");
    prompt_set_write(&set, &text);
    assert_string_equal(text.data, "class,prompt\ndog,\"a dog, sitting\"\n,a cat\n");
    buffer_free(&text);
    prompt_set_free(&set);
    scratch_end(&s);
}

static void refuses_files(void **state) {
    static const char *const broken[][2] = {
        {"class\ndog\n", "column"},        {"", "empty"},
        {"prompt\n", "no prompt"},         {"prompt\n\" \"\n", "no prompt"},
        {"prompt\na \xFF dog\n", "UTF-8"}, {"prompt,class\na dog,\xFF\n", "UTF-8"},
        {"prompt\n\"a dog\n", "closed"},   {"prompt\na dog,cat\n", "fields"},
    };
    struct scratch s;
    struct prompt_set set;
    (void)state;
    scratch_begin(&s);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const char *path = scratch_text(&s, "set.csv", broken[i][0]);
        assert_int_equal(prompt_set_read(&s.cx, path, &set), DL_USAGE);
        assert_contains(s.cx.message, broken[i][1]);
        prompt_set_free(&set);
    }
    assert_int_equal(prompt_set_read(&s.cx, "nothing", &set), DL_USAGE);
    assert_contains(s.cx.message, "two-colors");
    assert_int_equal(prompt_set_read(&s.cx, s.dir, &set), DL_USAGE);
    scratch_end(&s);
}

/* ---- questions ------------------------------------------------------------------------------- */

struct asked {
    struct scratch scratch;
    struct prompt_set set;
    struct questions questions;
};

static void begin_questions(struct asked *a, const char *csv) {
    scratch_begin(&a->scratch);
    const char *path = scratch_text(&a->scratch, "set.csv", csv);
    assert_int_equal(prompt_set_read(&a->scratch.cx, path, &a->set), DL_OK);
    assert_int_equal(questions_make(&a->scratch.cx, &a->set, NULL, &a->questions), DL_OK);
}

static void end_questions(struct asked *a) {
    questions_free(&a->questions);
    prompt_set_free(&a->set);
    scratch_end(&a->scratch);
}

static const struct question *question(const struct asked *a, const char *name) {
    for (size_t i = 0; i < a->questions.count; i++)
        if (strcmp(a->questions.items[i].name, name) == 0)
            return &a->questions.items[i];
    return NULL;
}

/* The candidates of a prompt: "a picture of a dog|...|nothing recognisable", of each the first
 * caption. */
static void assert_candidates(const struct asked *a, const char *name, size_t prompt,
                              const char *expected) {
    const struct question *q = question(a, name);
    const struct concepts *c = &a->questions.concepts;
    struct buffer b = {0};
    assert_non_null(q);
    for (size_t i = q->first[prompt]; i < q->first[prompt + 1]; i++)
        buffer_format(&b, "%s%s", b.length ? "|" : "",
                      c->captions[c->items[q->candidates[i]].first]);
    assert_string_equal(b.data ? b.data : "", expected);
    buffer_free(&b);
}

static void questions_of_colors(void **state) {
    struct asked a;
    (void)state;
    begin_questions(&a, "prompt,class,color,is_natural\na red apple,apple,red,1\n"
                        "a blue dog,dog,blue,0\na blue apple,apple,blue,\na dog,dog,,1\n");
    assert_int_equal(a.questions.count, 3); /* class, color, match */
    assert_candidates(&a, "class", 0,
                      "a picture of an apple|a picture of a dog|nothing recognisable");
    assert_candidates(&a, "color", 1,
                      "a picture of a blue apple|a picture of a red apple|nothing recognisable");
    assert_candidates(&a, "color", 3, ""); /* it has none */
    assert_candidates(&a, "match", 3,
                      "a dog|a red apple|a blue dog|a blue apple|nothing recognisable");
    const struct question *color = question(&a, "color");
    assert_int_equal(color->asked, 3);
    assert_true(color->chance > 0.3333 && color->chance < 0.3334);
    /* a colour is averaged over the things that the set names */
    const struct concept *blue = &a.questions.concepts.items[color->candidates[color->first[1]]];
    assert_int_equal(blue->count, 2);
    assert_string_equal(a.questions.concepts.captions[blue->first + 1], "a picture of a blue dog");
    /* and a thing over its colours */
    const struct question *class = question(&a, "class");
    const struct concept *dog = &a.questions.concepts.items[class->candidates[class->first[1]]];
    assert_int_equal(dog->count, 3);
    assert_string_equal(a.questions.concepts.captions[dog->first + 2], "a picture of a blue dog");
    end_questions(&a);
}

/* What a prompt names in another column is no wrong answer. */
static void questions_of_two_colors(void **state) {
    struct asked a;
    (void)state;
    begin_questions(&a, "prompt,class1,color1,class2,color2\n"
                        "a red dog and a blue cat,dog,red,cat,blue\n"
                        "an owl and a pink dog,owl,,dog,pink\n"
                        "a red cat and a red owl,cat,red,owl,red\n"
                        "pets,cat,red,dog,blue\n");
    assert_candidates(&a, "class1", 0,
                      "a picture of a dog|a picture of an owl|nothing recognisable");
    assert_candidates(&a, "binding", 0,
                      "a red dog and a blue cat|a blue dog and a red cat|nothing recognisable");
    assert_candidates(&a, "binding", 1, "");
    assert_candidates(&a, "binding", 2, "");
    assert_candidates(&a, "binding", 3, ""); /* its words are not in the prompt */
    assert_null(question(&a, "relation"));
    end_questions(&a);
}

static void questions_of_relations(void **state) {
    struct asked a;
    (void)state;
    begin_questions(&a, "prompt,class1,class2,relation\nA cat in a hat.,cat,hat,in\n"
                        "a bird on an owl,bird,owl,on\n");
    assert_candidates(&a, "relation", 0,
                      "A cat in a hat.|A hat in a cat.|A cat on a hat.|nothing recognisable");
    assert_candidates(&a, "relation", 1,
                      "a bird on an owl|an owl on a bird|a bird in an owl|nothing recognisable");
    assert_candidates(&a, "class2", 1,
                      "a picture of an owl|a picture of a hat|nothing recognisable");
    end_questions(&a);
}

/* A class of animals is known by its members, and any animal by all of them. */
static void questions_of_animals(void **state) {
    struct asked a;
    (void)state;
    begin_questions(&a, "prompt,animal,class,avg_daily_views\nA photo of a Beagle.,Beagle,mammal,"
                        "2392\nan owl,owl,bird,10\na cat,cat,mammal,7\n");
    assert_candidates(&a, "class", 1,
                      "a picture of a bird|a picture of a mammal|nothing recognisable");
    const struct question *class = question(&a, "class");
    const struct concepts *c = &a.questions.concepts;
    const struct concept *mammal = &c->items[class->candidates[class->first[0]]];
    assert_int_equal(mammal->count, 3);
    assert_string_equal(c->captions[mammal->first + 1], "a picture of a Beagle");
    assert_string_equal(c->captions[mammal->first + 2], "a picture of a cat");
    const struct question *any = question(&a, "is_animal");
    assert_non_null(any);
    assert_int_equal(any->first[1] - any->first[0], 8); /* itself, six things, nothing */
    assert_int_equal(c->items[any->candidates[0]].count, 4);
    assert_null(question(&a, "avg_daily_views"));
    end_questions(&a);
}

static void candidates_are_bounded(void **state) {
    struct asked a;
    struct buffer csv = {0};
    (void)state;
    buffer_text(&csv, "prompt,class\n");
    for (int i = 0; i < 1000; i++)
        buffer_format(&csv, "thing number %d,thing%d\n", i, i);
    begin_questions(&a, csv.data);
    for (size_t q = 0; q < a.questions.count; q++)
        for (size_t p = 0; p < 1000; p++)
            assert_int_equal(a.questions.items[q].first[p + 1] - a.questions.items[q].first[p],
                             CANDIDATES_MAX);
    buffer_free(&csv);
    end_questions(&a);
}

static void chooses_questions(void **state) {
    struct asked a;
    struct questions q;
    (void)state;
    begin_questions(&a, "prompt,class,size\na dog,dog,small\na cat,cat,small\n");
    assert_int_equal(questions_make(&a.scratch.cx, &a.set, "match,class", &q), DL_OK);
    assert_int_equal(q.count, 2);
    questions_free(&q);
    assert_int_equal(questions_make(&a.scratch.cx, &a.set, "class,colour", &q), DL_USAGE);
    assert_contains(a.scratch.cx.message, "\"colour\"; there are class, size, match");
    questions_free(&q);
    end_questions(&a);
}

static void refuses_headers(void **state) {
    static const char *const headers[] = {"prompt,../x\na dog,dog\n", "prompt,\na dog,dog\n",
                                          "prompt,match\na dog,dog\na cat,cat\n"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct scratch s;
        struct prompt_set set;
        struct questions q;
        scratch_begin(&s);
        assert_int_equal(prompt_set_read(&s.cx, scratch_text(&s, "set.csv", headers[i]), &set),
                         DL_OK);
        assert_int_equal(questions_make(&s.cx, &set, NULL, &q), DL_USAGE);
        assert_contains(s.cx.message, "column");
        questions_free(&q);
        prompt_set_free(&set);
        scratch_end(&s);
    }
}

/* ---- shards ---------------------------------------------------------------------------------- */

/* Every cell is in one shard, and shards are equal but for one picture. */
static void shards_are_equal_parts(void **state) {
    static const char *const prompts[] = {"a", "b", "c", "d", "e"};
    static const size_t counts[] = {1, 2, 3, 7, 30, 31};
    struct scratch s;
    struct grid grid;
    int layers[] = {0, 4, 8};
    uint64_t seeds[] = {0, 1};
    const struct settings settings = {
        .layers = layers, .layer_count = 3, .seeds = seeds, .seed_count = 2};
    (void)state;
    scratch_begin(&s);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const size_t n = counts[i];
        int made[30] = {0};
        for (size_t shard = 1; shard <= n; shard++) {
            size_t own = 0;
            assert_int_equal(grid_init(&s.cx, &grid, &settings, prompts, 5), DL_OK);
            grid_shard(&grid, shard, n);
            for (size_t c = 0; c < 30; c++) {
                own += !grid.cells[c].elsewhere;
                made[c] += !grid.cells[c].elsewhere;
            }
            assert_in_range(own, 30 / n, 30 / n + (30 % n != 0));
            grid_free(&grid);
        }
        for (size_t c = 0; c < 30; c++)
            assert_int_equal(made[c], 1);
    }
    scratch_end(&s);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void rows_of_answers(void **state) {
    static const char *const prompts[] = {"a dog, sitting"};
    struct scratch s;
    struct grid grid;
    int layers[] = {0, 12};
    uint64_t seeds[] = {UINT64_MAX};
    const struct settings settings = {
        .layers = layers, .layer_count = 2, .seeds = seeds, .seed_count = 1, .native = true};
    const struct answer answers[] = {
        {.score = 1, .probability = 0.75}, {.score = -1}, {.probability = 1.0 / 3}};
    struct buffer b = {0};
    (void)state;
    scratch_begin(&s);
    assert_int_equal(grid_init(&s.cx, &grid, &settings, prompts, 1), DL_OK);
    answer_header(&b, &grid);
    answer_row(&b, &grid, TABLE_SCORE, 0, 0, answers);
    answer_row(&b, &grid, TABLE_PROBABILITY, 0, 0, answers);
    assert_string_equal(b.data, "prompt,0,12,native,seed\n"
                                "\"a dog, sitting\",1,,0,18446744073709551615\n"
                                "\"a dog, sitting\",0.750000,,0.333333,18446744073709551615\n");
    buffer_free(&b);
    grid_free(&grid);
    scratch_end(&s);
}

static int unite(struct scratch *s, const char *first, const char *second, char cell[32]) {
    struct csv a, b;
    assert_int_equal(csv_parse(&s->cx, "a", first, strlen(first), &a), DL_OK);
    assert_int_equal(csv_parse(&s->cx, "b", second, strlen(second), &b), DL_OK);
    const int status = answer_unite(&s->cx, "b", &a, &b);
    snprintf(cell, 32, "%s", csv_cell(&a, 0, 1));
    csv_free(&a);
    csv_free(&b);
    return status;
}

static void unites_tables(void **state) {
    struct scratch s;
    char cell[32];
    (void)state;
    scratch_begin(&s);
    assert_int_equal(unite(&s, "prompt,0\na,\n", "prompt,0\na,1\n", cell), DL_OK);
    assert_string_equal(cell, "1");
    assert_int_equal(unite(&s, "prompt,0\na,0\n", "prompt,0\na,\n", cell), DL_OK);
    assert_string_equal(cell, "0");
    assert_int_equal(unite(&s, "prompt,0\na,0\n", "prompt,0\na,1\n", cell), DL_USAGE);
    assert_int_equal(unite(&s, "prompt,0\na,0\n", "prompt,0\nb,\n", cell), DL_USAGE);
    assert_int_equal(unite(&s, "prompt,0\na,0\n", "prompt,4\na,\n", cell), DL_USAGE);
    assert_int_equal(unite(&s, "prompt,0\na,0\n", "prompt,0\na,\nb,\n", cell), DL_USAGE);
    scratch_end(&s);
}

static void put_table(struct scratch *s, enum answer_table table, const char *text) {
    struct buffer b = {0};
    buffer_text(&b, text);
    assert_int_equal(answer_write(&s->cx, s->dir, table, "class", &b), DL_OK);
    buffer_free(&b);
}

/* Rates of the highest layer, of wrong prompts and of noise; cells that are no number are left
 * out. */
static void reliability(void **state) {
    struct scratch s;
    char text[4096] = "";
    (void)state;
    scratch_begin(&s);
    scratch_text(&s, "experiment.json",
                 "{\"questions\":[{\"name\":\"class\",\"asked\":2,\"chance\":0.25}]}");
    assert_int_equal(reliability_write(&s.cx, s.dir), DL_USAGE); /* no tables */
    put_table(&s, TABLE_SCORE,
              "prompt,0,12,native,seed\na,0,1,0,0\nb,0,1,0,0\nc,0,,0,0\nd,0,0,0,0\n");
    put_table(&s, TABLE_PROBABILITY,
              "prompt,0,12,native,seed\na,0,0.5,0,0\nb,0,0.7,0,0\nc,0,,0,0\nd,0,0.3,0,0\n");
    put_table(&s, TABLE_CONTROL, "prompt,seed,asked,score,probability\na,0,b,1,0.5\nb,0,c,0,0.1\n");
    put_table(&s, TABLE_NOISE, "prompt,score,probability\na,0.2500,0.2\nb,0.7500,0.6\n");
    assert_int_equal(reliability_write(&s.cx, s.dir), DL_OK);
    FILE *f = fopen(scratch_path(&s, "annotations/reliability.json"), "rb");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    size_t n = 0; /* without blanks */
    for (const char *c = text; *c; c++)
        if (!strchr(" \t\n", *c))
            text[n++] = *c;
    text[n] = '\0';
    assert_string_equal(text,
                        "[{\"question\":\"class\",\"asked\":2,\"chance\":0.25,\"layer\":12,"
                        "\"last_layer\":{\"n\":3,\"rate\":0.666667,\"probability\":0.500000},"
                        "\"other_prompts\":{\"n\":2,\"rate\":0.500000,\"probability\":0.300000},"
                        "\"noise\":{\"n\":2,\"rate\":0.500000,\"probability\":0.400000}}]");
    scratch_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(articles),
        cmocka_unit_test(plurals_stay_bare),
        cmocka_unit_test(exchanges_words),
        cmocka_unit_test(builtin_sets),
        cmocka_unit_test(reads_files),
        cmocka_unit_test(refuses_files),
        cmocka_unit_test(questions_of_colors),
        cmocka_unit_test(questions_of_two_colors),
        cmocka_unit_test(questions_of_relations),
        cmocka_unit_test(questions_of_animals),
        cmocka_unit_test(candidates_are_bounded),
        cmocka_unit_test(chooses_questions),
        cmocka_unit_test(refuses_headers),
        cmocka_unit_test(shards_are_equal_parts),
        cmocka_unit_test(rows_of_answers),
        cmocka_unit_test(unites_tables),
        cmocka_unit_test(reliability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
