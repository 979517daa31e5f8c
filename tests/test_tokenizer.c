/* text/: CLIP's tokenizer against transformers on thousands of strings; special tokens and where
 * they are declared; long and broken text; damaged files. */
#include "tokenizer_support.h"

static struct tokenizer *open_dir(struct scratch *s, const char *dir) {
    return open_folder(s, dir, "CLIPTokenizer");
}

#define TINY1 "tests/data/tiny-sd1/tokenizer/"
#define TINY2 "tests/data/tiny-sd2/tokenizer/"

/* The folder of tiny-sd1's tokenizer. */
static void copy_tiny(struct scratch *s) {
    copy_into(s, TINY1 "vocab.json", "vocab.json");
    copy_into(s, TINY1 "merges.txt", "merges.txt");
    copy_into(s, TINY1 "tokenizer_config.json", "tokenizer_config.json");
    copy_into(s, TINY1 "special_tokens_map.json", "special_tokens_map.json");
}

/* ---- against transformers -------------------------------------------------------------------- */

/* CLIP's real vocabulary, with the settings of another folder. */
static struct tokenizer *open_real(struct scratch *s, const char *config, const char *map) {
    copy_into(s, "tests/data/clip-bpe/vocab.json.gz", "vocab.json");
    copy_into(s, "tests/data/clip-bpe/merges.txt.gz", "merges.txt");
    copy_into(s, config, "tokenizer_config.json");
    copy_into(s, map, "special_tokens_map.json");
    return open_dir(s, s->dir);
}

static void test_real_vocabulary(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    struct tokenizer *t =
        open_real(&s, TINY1 "tokenizer_config.json", TINY1 "special_tokens_map.json");
    assert_int_equal(tokenizer_vocab_size(t), 49408);
    assert_int_equal(tokenizer_max_length(t), 77);
    assert_string_equal(tokenizer_piece(t, 49407), "<|endoftext|>");
    assert_null(tokenizer_piece(t, 49408));
    assert_null(tokenizer_piece(t, -1));
    check_strings(&s, t, "tests/data/clip-bpe/strings.bin.gz", tokenizer_max_length(t), 10000);
    tokenizer_close(t);
    scratch_end(&s);
}

static void test_real_vocabulary_pad_bang(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    struct tokenizer *t =
        open_real(&s, TINY1 "tokenizer_config.json", TINY2 "special_tokens_map.json");
    check_strings(&s, t, "tests/data/clip-bpe/strings-pad-bang.bin.gz", tokenizer_max_length(t),
                  500);
    tokenizer_close(t);
    scratch_end(&s);
}

static void test_tiny_vocabularies(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    struct tokenizer *t = open_dir(&s, TINY1);
    check_strings(&s, t, "tests/data/clip-bpe/strings-tiny-sd1.bin.gz", tokenizer_max_length(t),
                  500);
    tokenizer_close(t);
    t = open_dir(&s, TINY2);
    check_strings(&s, t, "tests/data/clip-bpe/strings-tiny-sd2.bin.gz", tokenizer_max_length(t),
                  500);
    tokenizer_close(t);
    scratch_end(&s);
}

/* ---- single texts ---------------------------------------------------------------------------- */

/* The pieces of text in the tokenizer of `dir`, joined by spaces, are `expected`. */
static void check_pieces(struct scratch *s, const char *dir, const char *text,
                         const char *expected) {
    struct tokenizer *t = open_dir(s, dir);
    struct tokens tokens;
    char joined[1024] = "";
    assert_int_equal(tokenize(&s->cx, t, text, strlen(text), 0, &tokens), DL_OK);
    assert_null(tokens.cut);
    for (size_t i = 0; i < tokens.count; i++) {
        assert_string_equal(tokens.pieces[i], tokenizer_piece(t, tokens.ids[i]));
        strcat(strcat(joined, i ? " " : ""), tokens.pieces[i]);
    }
    assert_string_equal(joined, expected);
    tokens_free(&tokens);
    tokenizer_close(t);
}

#define BEGIN  "<|startoftext|> "
#define FINISH " <|endoftext|>"

static void test_special_tokens(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    check_pieces(&s, TINY1, "", "<|startoftext|> <|endoftext|>");
    check_pieces(&s, TINY1, " \n\t", "<|startoftext|> <|endoftext|>");
    check_pieces(&s, TINY1, "a <|endoftext|>it!!",
                 BEGIN "a</w> <|endoftext|> it</w> ! !</w>" FINISH);
    check_pieces(&s, TINY1, "<|ENDOFTEXT|>!",
                 BEGIN "< |</w> en d o f t e x t</w> | ></w> !</w>" FINISH);
    check_pieces(&s, TINY2, "it!! !", BEGIN "it</w> ! ! !" FINISH);
    check_pieces(&s, TINY2, "<|ENDOFTEXT|>", BEGIN "<|endoftext|>" FINISH);
    /* tokens added by one file or another, as transformers 5 treats them */
    copy_tiny(&s);
    scratch_text(&s, "added_tokens.json", "{\"<X>\": 603, \"<cat>\": 602}");
    check_pieces(&s, s.dir, "<cat><CAT>a<x>", BEGIN "<cat> <cat> a</w> <X>" FINISH);
    unlink(scratch_path(&s, "added_tokens.json"));
    scratch_text(&s, "special_tokens_map.json", "{\"additional_special_tokens\": [\"<cat>\"]}");
    check_pieces(&s, s.dir, "<cat><CAT>", BEGIN "<cat> <</w> c at</w> ></w>" FINISH);
    scratch_text(&s, "special_tokens_map.json", "{\"pad_token\": \"[PAD]\"}");
    struct tokenizer *t = open_dir(&s, s.dir);
    struct tokens tokens;
    int32_t ids[5];
    assert_int_equal(tokenizer_vocab_size(t), 603);
    assert_int_equal(tokenize(&s.cx, t, "it", 2, 5, &tokens), DL_OK);
    tokenizer_pad(t, &tokens, ids, 5);
    assert_memory_equal(ids, ((int32_t[]){600, 585, 601, 602, 602}), sizeof ids);
    tokens_free(&tokens);
    tokenizer_close(t);
    scratch_end(&s);
}

static void test_cut(void **state) {
    struct scratch s;
    struct tokens tokens;
    const char *text = "an it the \xf0\x9f\x98\x80!";
    (void)state;
    scratch_begin(&s);
    struct tokenizer *t = open_dir(&s, TINY1);
    assert_int_equal(tokenize(&s.cx, t, text, strlen(text), 4, &tokens), DL_OK);
    assert_int_equal(tokens.count, 4);
    assert_string_equal(tokens.pieces[3], "<|endoftext|>");
    assert_string_equal(tokens.cut, "the \xf0\x9f\x98\x80!");
    tokens_free(&tokens);
    assert_int_equal(tokenize(&s.cx, t, "an it", 5, 4, &tokens), DL_OK);
    assert_null(tokens.cut);
    tokens_free(&tokens);
    assert_int_equal(tokenize(&s.cx, t, "an it", 5, 2, &tokens), DL_OK);
    assert_int_equal(tokens.count, 2);
    tokens_free(&tokens);
    assert_int_equal(tokenize(&s.cx, t, "an it", 5, 1, &tokens), DL_USAGE);
    tokenizer_close(t);
    scratch_end(&s);
}

static void test_broken_text(void **state) {
    static const struct {
        const char *text;
        size_t length;
        const char *why;
    } cases[] = {
        {"a dog\xff", 6, "byte 5 of 6"},      {"\xc0\xaf", 2, "byte 0"},
        {"ab\xed\xa0\x80", 5, "byte 2 of 5"}, {"\xf4\x90\x80\x80", 4, "byte 0"},
        {"abc\xe2\x82", 5, "byte 3 of 5"},    {"a\0b", 3, "NUL at byte 1"},
        {"\x80", 1, "byte 0 of 1"},
    };
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    struct tokenizer *t = open_dir(&s, TINY1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tokens tokens;
        assert_int_equal(tokenize(&s.cx, t, cases[i].text, cases[i].length, 77, &tokens), DL_USAGE);
        assert_contains(s.cx.message, cases[i].why);
        assert_int_equal(tokens.count, 0);
        assert_null(tokens.ids);
    }
    tokenizer_close(t);
    scratch_end(&s);
}

static void test_megabyte(void **state) {
    const char *const units[] = {"a",
                                 "an",
                                 " ",
                                 "!",
                                 "a dog ",
                                 "<",
                                 "<|endoftext|",
                                 "<|endoftext|>",
                                 "\xcd\x85\xcc\xb4",
                                 "\xf0\x9f\x91\xa9\xe2\x80\x8d"};
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    struct tokenizer *t = open_dir(&s, TINY1);
    check_megabytes(&s, t, units, sizeof units / sizeof *units);
    tokenizer_close(t);
    scratch_end(&s);
}

/* ---- damaged files --------------------------------------------------------------------------- */

static int try_open(struct scratch *s) {
    return try_folder(s, "CLIPTokenizerFast",
                      "A \xc3\xa9t\xc3\xa9 <cat> it's <|endoftext|> in the 1990s!");
}

static void refuses(struct scratch *s, const char *name, const char *text, const char *why) {
    scratch_text(s, name, text);
    if (try_open(s) != DL_MODEL)
        fail_msg("%s: accepted: %s", name, text);
    assert_contains(s->cx.message, why);
}

static void test_missing_files(void **state) {
    struct scratch s;
    struct tokenizer *t;
    (void)state;
    scratch_begin(&s);
    assert_int_equal(tokenizer_open(&s.cx, s.dir, "BertTokenizer", &t), DL_MODEL);
    assert_contains(s.cx.message, "CLIPTokenizer");
    assert_int_equal(try_open(&s), DL_MODEL);
    assert_contains(s.cx.message, "vocab.json");
    copy_into(&s, TINY1 "vocab.json", "vocab.json");
    assert_int_equal(try_open(&s), DL_MODEL);
    assert_contains(s.cx.message, "merges.txt");
    copy_into(&s, TINY1 "merges.txt", "merges.txt");
    assert_int_equal(try_open(&s), DL_OK); /* the class knows its special tokens */
    scratch_end(&s);
}

/* Every file empty and cut at each 1/20th. */
static void check_cuts(struct scratch *s, const char *name) {
    size_t size;
    char *data = read_whole(scratch_path(s, name), &size);
    for (size_t part = 0; part < 20; part++) {
        scratch_file(s, name, data, size * part / 20);
        if (try_open(s) != DL_MODEL)
            fail_msg("%s: accepted though cut at %zu/20", name, part);
        assert_contains(s->cx.message, name);
    }
    scratch_file(s, name, data, size);
    assert_int_equal(try_open(s), DL_OK);
    free(data);
}

static void test_cut_files(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    copy_tiny(&s);
    check_cuts(&s, "vocab.json");
    check_cuts(&s, "merges.txt");
    check_cuts(&s, "tokenizer_config.json");
    check_cuts(&s, "special_tokens_map.json");
    copy_into(&s, TINY2 "tokenizer.json", "tokenizer.json");
    check_cuts(&s, "tokenizer.json");
    scratch_end(&s);
}

static void test_wrong_values(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    copy_tiny(&s);
    refuses(&s, "vocab.json", "{}", "vocab");
    refuses(&s, "vocab.json", "[1, 2]", "vocab.json");
    refuses(&s, "vocab.json", "{\"a\": \"0\"}", "\"a\"");
    refuses(&s, "vocab.json", "{\"a\": 2147483648}", "2.14748e+09");
    refuses(&s, "vocab.json", "{\"a\": -1}", "-1");
    refuses(&s, "vocab.json", "{\"a\": 0.5}", "0.5");
    refuses(&s, "vocab.json", "{\"a\": 1e300}", "1e+300");
    refuses(&s, "vocab.json", "{\"a\": 0, \"a\": 1}", "twice");
    refuses(&s, "vocab.json", "{\"a\": 0, \"b\": 0}", "two pieces");
    refuses(&s, "vocab.json", "{\"\xff\": 0}", "UTF-8");
    copy_tiny(&s);
    refuses(&s, "merges.txt", "#version: 0.2\ni n\nt  h\n", "merge 3");
    refuses(&s, "merges.txt", "#version: 0.2\ni n x\n", "merge 2");
    refuses(&s, "merges.txt", "#version: 0.2\ni \xe2\x82\xac\n", "vocabulary");
    refuses(&s, "merges.txt", "", "no merge makes");
    copy_tiny(&s);
    unlink(scratch_path(&s, "special_tokens_map.json")); /* it would win */
    refuses(&s, "tokenizer_config.json", "{\"model_max_length\": 0}", "model_max_length");
    refuses(&s, "tokenizer_config.json", "{\"model_max_length\": \"77\"}", "model_max_length");
    refuses(&s, "tokenizer_config.json", "{\"bos_token\": 5}", "bos_token");
    refuses(&s, "tokenizer_config.json", "{\"bos_token\": {\"content\": []}}", "bos_token");
    refuses(&s, "tokenizer_config.json", "{\"bos_token\": \"\"}", "bos_token");
    refuses(&s, "tokenizer_config.json",
            "{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}", "id");
    refuses(&s, "tokenizer_config.json",
            "{\"added_tokens_decoder\": {\"4294967296\": {\"content\": \"y\"}}}", "id");
    refuses(&s, "tokenizer_config.json", "{\"added_tokens_decoder\": {\"7\": 5}}", "objects");
    copy_tiny(&s);
    scratch_text(&s, "tokenizer_config.json", "{\"model_max_length\": 1e30}");
    struct tokenizer *t = open_dir(&s, s.dir);
    assert_int_equal(tokenizer_max_length(t), 0);
    tokenizer_close(t);
    refuses(&s, "added_tokens.json", "{\"<cat>\": -3}", "<cat>");
    refuses(&s, "added_tokens.json", "{\"<cat>\": \"3\"}", "<cat>");
    refuses(&s, "added_tokens.json", "[]", "added_tokens.json");
    scratch_end(&s);
}

static void test_tokenizer_json_values(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    refuses(&s, "tokenizer.json", "{}", "model");
    refuses(&s, "tokenizer.json", "{\"model\": []}", "model");
    refuses(&s, "tokenizer.json", "{\"model\": {\"type\": \"WordPiece\"}}", "BPE");
    refuses(&s, "tokenizer.json", "{\"model\": {\"vocab\": [[\"a\", 0]]}}", "vocab");
    refuses(&s, "tokenizer.json", "{\"model\": {\"vocab\": {\"a\": 0}}}", "merges");
    refuses(&s, "tokenizer.json", "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [5]}}",
            "merge 1");
    refuses(&s, "tokenizer.json", "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}",
            "merge 1");
    refuses(&s, "tokenizer.json",
            "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\", \"a\", \"a\"]]}}", "merge 1");
    refuses(&s, "tokenizer.json", "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]}}",
            "vocabulary");
    refuses(&s, "tokenizer.json", "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
            "unknown token");
    refuses(&s, "tokenizer.json",
            "{\"added_tokens\": {\"a\": 1}, \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
            "added_tokens");
    scratch_end(&s);
}

/* Merges given as "a b" strings, a merge given twice (the last rank counts), letters missing. */
static void test_small_vocabulary(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    scratch_text(&s, "tokenizer.json",
                 "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"a</w>\": 2, "
                 "\"b</w>\": 3, \"ab\": 4, \"ab</w>\": 5, \"aa\": 6, \"<|endoftext|>\": 9}, "
                 "\"merges\": [\"a a\", \"a b\", [\"a\", \"b</w>\"], \"a a\"]}}");
    check_pieces(&s, s.dir, "aab", "<|startoftext|> a ab</w> <|endoftext|>");
    check_pieces(&s, s.dir, "abaa", "<|startoftext|> ab a a</w> <|endoftext|>");
    check_pieces(&s, s.dir, "aaa", "<|startoftext|> aa a</w> <|endoftext|>");
    check_pieces(&s, s.dir, "cb", "<|startoftext|> <|endoftext|> b</w> <|endoftext|>");
    scratch_end(&s);
}

static void test_random_damage(void **state) {
    const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                 "special_tokens_map.json", "tokenizer.json"};
    struct scratch s;
    uint64_t random = 88172645463325252u;
    (void)state;
    scratch_begin(&s);
    copy_tiny(&s);
    for (size_t n = 0; n < 5; n++) {
        if (n == 4)
            copy_into(&s, TINY2 "tokenizer.json", "tokenizer.json");
        check_damage(&s, names[n], 200, &random, try_open);
    }
    scratch_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_vocabulary),
        cmocka_unit_test(test_real_vocabulary_pad_bang),
        cmocka_unit_test(test_tiny_vocabularies),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_broken_text),
        cmocka_unit_test(test_megabyte),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_cut_files),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_tokenizer_json_values),
        cmocka_unit_test(test_small_vocabulary),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
