/* text/: sentencepiece unigram tokenizers against sentencepiece and transformers; special tokens;
 * damaged models. DLENS_T5_DATA=FOLDER takes the large model that t5_tokenizer.py --full made. */
#include "tokenizer_support.h"

static struct tokenizer *open_dir(struct scratch *s, const char *dir) {
    return open_folder(s, dir, "T5Tokenizer");
}

/* A file of the main tokenizer; valid until the next call. */
static const char *main_file(const char *name) {
    static char path[512];
    const char *large = getenv("DLENS_T5_DATA");
    snprintf(path, sizeof path, "%s/tokenizer/%s", large && large[0] ? large : "tests/data/t5",
             name);
    return path;
}

static void copy_main(struct scratch *s) {
    copy_into(s, main_file("spiece.model.gz"), "spiece.model");
    copy_into(s, main_file("tokenizer_config.json"), "tokenizer_config.json");
}

static void test_sentencepiece(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    copy_main(&s);
    struct tokenizer *t = open_dir(&s, s.dir);
    size_t size = tokenizer_vocab_size(t);
    assert_string_equal(tokenizer_piece(t, 1), "</s>");
    assert_string_equal(tokenizer_piece(t, (int32_t)size - 1), "<extra_id_0>");
    assert_string_equal(tokenizer_piece(t, (int32_t)size - 100), "<extra_id_99>");
    assert_int_equal(tokenizer_max_length(t), 512);
    assert_int_equal(check_strings(&s, t, main_file("strings.bin.gz"), 0, 2500), 0);
    tokenizer_close(t);
    scratch_end(&s);
}

static void test_bytes_and_user_pieces(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    struct tokenizer *t = open_dir(&s, "tests/data/t5/tokenizer-bytes");
    assert_int_equal(check_strings(&s, t, "tests/data/t5/tokenizer-bytes/strings.bin.gz", 0, 700),
                     0);
    tokenizer_close(t);
    scratch_end(&s);
}

static void test_tokenizer_json(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    struct tokenizer *t = open_dir(&s, "tests/data/t5/tokenizer-json");
    assert_int_equal(check_strings(&s, t, "tests/data/t5/tokenizer-json/strings.bin.gz", 0, 400),
                     0);
    tokenizer_close(t);
    scratch_end(&s);
}

static void test_special_tokens_and_cut(void **state) {
    struct scratch s;
    struct tokens tokens;
    const char *text = "self</s>self\xf0\x93\x80\x80\xf0\x93\x80\x81 self";
    int32_t ids[12];
    (void)state;
    scratch_begin(&s);
    copy_main(&s);
    struct tokenizer *t = open_dir(&s, s.dir);
    assert_int_equal(tokenize(&s.cx, t, "", 0, 77, &tokens), DL_OK);
    assert_int_equal(tokens.count, 1);
    assert_int_equal(tokens.ids[0], 1);
    tokenizer_pad(t, &tokens, ids, 3);
    assert_memory_equal(ids, ((int32_t[]){1, 0, 0}), 3 * sizeof *ids);
    tokens_free(&tokens);
    assert_int_equal(tokenize(&s.cx, t, text, strlen(text), 0, &tokens), DL_OK);
    assert_int_equal(tokens.count, 6); /* self </s> self unknown self </s> */
    assert_string_equal(tokens.pieces[2], "\xe2\x96\x81self");
    assert_string_equal(tokens.pieces[3], "<unk>");
    tokens_free(&tokens);
    assert_int_equal(tokenize(&s.cx, t, text, strlen(text), 3, &tokens), DL_OK);
    assert_int_equal(tokens.count, 3);
    assert_int_equal(tokens.ids[2], 1);
    assert_string_equal(tokens.cut, "self<unk> self");
    tokens_free(&tokens);
    assert_int_equal(tokenize(&s.cx, t, "a\xff", 2, 77, &tokens), DL_USAGE);
    tokenizer_close(t);
    scratch_end(&s);
}

static void test_megabyte(void **state) {
    const char *const units[] = {"a", " ", "self ", "\xe2\x98\x83", "</s>", "\xef\xb7\xba"};
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    copy_main(&s);
    struct tokenizer *t = open_dir(&s, s.dir);
    check_megabytes(&s, t, units, sizeof units / sizeof *units);
    tokenizer_close(t);
    scratch_end(&s);
}

/* ---- damaged files --------------------------------------------------------------------------- */

static int try_open(struct scratch *s) {
    return try_folder(
        s, "T5TokenizerFast",
        "The \xc3\xa9t\xc3\xa9 \xe2\x98\x83 self <extra_id_3>\tin </s>1990\xef\xac\x81!");
}

static void refuses_model(struct scratch *s, const char *model, size_t size, const char *why) {
    scratch_file(s, "spiece.model", model, size);
    if (try_open(s) != DL_MODEL)
        fail_msg("accepted a model that should be refused for \"%s\"", why);
    assert_contains(s->cx.message, why);
}

#define REFUSES(s, model, why) refuses_model(s, model, sizeof(model) - 1, why)

/* Pieces in wire format: field 1 (a message of n bytes): text (field 1), score (2), type (3). */
#define PAD "\x0a\x09\x0a\x05<pad>\x18\x03"
#define EOS "\x0a\x08\x0a\x04</s>\x18\x03"
#define UNK "\x0a\x09\x0a\x05<unk>\x18\x02"
#define LETTER                                                                                     \
    "\x0a\x08\x0a\x01"                                                                             \
    "a\x15\x00\x00\x80\xbf"

/* The two messages behind them, fields 2 and 3, empty. */
#define SPECS "\x12\x00\x1a\x00"

static void test_malformed_model(void **state) {
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    assert_int_equal(try_open(&s), DL_MODEL);
    assert_contains(s.cx.message, "spiece.model");
    scratch_file(&s, "spiece.model", PAD EOS UNK LETTER SPECS,
                 sizeof(PAD EOS UNK LETTER SPECS) - 1);
    assert_int_equal(try_open(&s), DL_OK);
    REFUSES(&s, PAD EOS UNK LETTER, "no trainer_spec");
    REFUSES(&s, PAD EOS UNK LETTER "\x12\x00", "no normalizer_spec");
    REFUSES(&s, "", "0 pieces");
    REFUSES(&s, "\x0a", "");
    REFUSES(&s, PAD EOS LETTER, "no unknown piece");
    REFUSES(&s, PAD EOS UNK, "no normal pieces");
    REFUSES(&s, PAD EOS UNK UNK LETTER, "two unknown");
    REFUSES(&s, PAD EOS UNK LETTER LETTER SPECS, "twice");
    REFUSES(&s, PAD EOS UNK LETTER "\x0a\x02\x0a\x00", "0 bytes");
    REFUSES(&s, PAD EOS UNK LETTER "\x0a\x02\x18\x01", "pieces");
    REFUSES(&s,
            PAD EOS UNK LETTER "\x0a\x05\x0a\x01"
                               "b\x18\x07",
            "type");
    REFUSES(&s,
            PAD EOS UNK LETTER "\x0a\x08\x0a\x01"
                               "b\x15\x00\x00\xc0\x7f",
            "score");
    REFUSES(&s,
            PAD EOS UNK LETTER "\x0a\x08\x0a\x01"
                               "b\x15\x00\x00\x80\x7f",
            "score");
    REFUSES(&s, PAD EOS UNK LETTER "\x0a\x05\x0a\x01\xff\x18\x01", "UTF-8");
    REFUSES(&s, PAD EOS UNK LETTER "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "end of file");
    REFUSES(&s, PAD EOS UNK LETTER "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "end");
    REFUSES(&s, PAD EOS UNK LETTER "\x0b", "end of file");     /* group, an old wire type */
    REFUSES(&s, PAD EOS UNK LETTER "\x00\x00", "end of file"); /* field 0 */
    REFUSES(&s, PAD EOS UNK LETTER "\x12\x02\x18\x02", "unigram");
    REFUSES(&s, PAD EOS UNK LETTER "\x12\x03\x98\x02\x01\x12\x03\x98\x02\x01", "byte_fallback");
    REFUSES(&s, PAD EOS UNK LETTER "\x12\x01\x18", "trainer_spec");
    REFUSES(&s,
            PAD EOS UNK LETTER "\x1a\x03\x12\x05"
                               "a",
            "normalizer_spec");
    REFUSES(&s,
            PAD EOS UNK LETTER "\x1a\x03\x12\x01"
                               "a",
            "precompiled_charsmap");
    REFUSES(&s,
            PAD EOS UNK LETTER "\x1a\x0b\x12\x09\xff\xff\xff\xff"
                               "abcd\x00",
            "precompiled_charsmap");
    scratch_end(&s);
}

static void test_cut_model(void **state) {
    struct scratch s;
    size_t size;
    (void)state;
    scratch_begin(&s);
    copy_main(&s);
    char *data = read_whole(scratch_path(&s, "spiece.model"), &size);
    for (size_t part = 0; part < 20; part++) {
        scratch_file(&s, "spiece.model", data, size * part / 20);
        assert_int_equal(try_open(&s), DL_MODEL);
        assert_contains(s.cx.message, "spiece.model");
    }
    scratch_file(&s, "spiece.model", data, size);
    assert_int_equal(try_open(&s), DL_OK);
    scratch_text(&s, "tokenizer_config.json", "{\"extra_ids\": -1}");
    assert_int_equal(try_open(&s), DL_MODEL);
    scratch_text(&s, "tokenizer_config.json", "{\"extra_ids\": 2147483648}");
    assert_int_equal(try_open(&s), DL_MODEL);
    free(data);
    scratch_end(&s);
}

static void test_json_values(void **state) {
    const char *const bad[] = {
        "{}",
        "{\"model\": {\"type\": \"BPE\"}}",
        "{\"model\": {\"vocab\": {\"a\": 1}}}",
        "{\"model\": {\"vocab\": []}}",
        "{\"model\": {\"vocab\": [[\"a\"]]}}",
        "{\"model\": {\"vocab\": [[\"a\", \"b\"]]}}",
        "{\"model\": {\"vocab\": [[\"a\", 0], [\"a\", 0], [\"<unk>\", 0]]}}",
        "{\"model\": {\"vocab\": [[\"a\", 0]], \"unk_id\": 5}}",
        "{\"model\": {\"vocab\": [[\"a\", 1e300], [\"b\", 0], [\"<unk>\", 0]]}}",
        "{\"normalizer\": {\"precompiled_charsmap\": 5}, \"model\": {\"vocab\": [[\"a\", 0], "
        "[\"b\", 0], [\"<unk>\", 0]]}}",
        "{\"normalizer\": {\"precompiled_charsmap\": \"a*b\"}, \"model\": {\"vocab\": [[\"a\", "
        "0], [\"b\", 0], [\"<unk>\", 0]]}}",
        "{\"normalizer\": {\"precompiled_charsmap\": \"AAAA\"}, \"model\": {\"vocab\": [[\"a\", "
        "0], [\"b\", 0], [\"<unk>\", 0]]}}",
    };
    struct scratch s;
    (void)state;
    scratch_begin(&s);
    scratch_text(&s, "tokenizer.json",
                 "{\"model\": {\"vocab\": [[\"a\", 0], [\"b\", 0], [\"<unk>\", 0]]}}");
    assert_int_equal(try_open(&s), DL_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        scratch_text(&s, "tokenizer.json", bad[i]);
        if (try_open(&s) != DL_MODEL)
            fail_msg("accepted: %s", bad[i]);
        assert_contains(s.cx.message, s.dir);
    }
    scratch_end(&s);
}

static void test_random_damage(void **state) {
    const char *const files[] = {"tests/data/t5/tokenizer/spiece.model.gz",
                                 "tests/data/t5/tokenizer-bytes/spiece.model",
                                 "tests/data/t5/tokenizer-json/tokenizer.json"};
    const char *const names[] = {"spiece.model", "spiece.model", "tokenizer.json"};
    const int rounds[] = {60, 400, 100};
    struct scratch s;
    uint64_t random = 88172645463325252u;
    (void)state;
    scratch_begin(&s);
    for (size_t n = 0; n < 3; n++) {
        copy_into(&s, files[n], names[n]);
        check_damage(&s, names[n], rounds[n], &random, try_open);
    }
    scratch_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentencepiece),  cmocka_unit_test(test_bytes_and_user_pieces),
        cmocka_unit_test(test_tokenizer_json), cmocka_unit_test(test_special_tokens_and_cut),
        cmocka_unit_test(test_megabyte),       cmocka_unit_test(test_malformed_model),
        cmocka_unit_test(test_cut_model),      cmocka_unit_test(test_json_values),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests_name("T5 tokenizer", tests, NULL, NULL);
}
