/* Prompts before they are tokenized: Python's lower().strip(), and DeepFloyd's caption cleaning
 * against diffusers (tests/data/if-cascade/captions.json). */
#include "reference.h"

#include "text/caption.h"
#include "text/clean_caption.h"

/* Expected values are Python's. */
static void prompts_are_lowered_and_stripped(void **state) {
    static const char *const cases[][2] = {
        {"", ""},
        {" \t\n\x1c\x1f\xc2\x85\xc2\xa0\xe3\x80\x80", ""},
        {"  A  b\x0b", "a  b"},
        {"\xe2\x80\x8b X", "\xe2\x80\x8b x"}, /* U+200B is no space */
        {"ΟΔΟΣ", "οδος"},
        {"ΟΔΟΣ ΟΔΟΣ.", "οδος οδος."},
        {"Σ ΣΑΣ ΑΣΑ", "σ σας ασα"},
        {"ΑΣ'Α ΑΣ' Α", "ασ'α ας' α"},
        {"Α'Σ ᾼΣ 1Σ ªΣ", "α'ς ᾳς 1σ ªς"},
        {"İSTANBUL IŞIK", "i̇stanbul işik"},
        {"ẞ Ǆ ǅΣ Ⓐ Ⅷ", "ß ǆ ǆς ⓐ ⅷ"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out = {0};
        buffer_text(&out, "|");
        caption_lower_strip(&out, cases[i][0], strlen(cases[i][0]));
        if (strcmp(out.data + 1, cases[i][1]) != 0)
            fail_msg("case %zu: \"%s\" gives \"%s\"", i, cases[i][0], out.data + 1);
        assert_int_equal(out.length, strlen(out.data));
        buffer_free(&out);
    }
}

/* Every text of the reference's as diffusers cleans it. */
static void captions_are_cleaned_as_diffusers(void **state) {
    cJSON *cases;
    const cJSON *item;
    dl_context *cx;
    size_t count = 0;
    (void)state;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    cases = reference_json("tests/data/if-cascade/captions.json");
    cJSON_ArrayForEach(item, cases) {
        const char *text = cJSON_GetArrayItem(item, 0)->valuestring;
        const char *want = cJSON_GetArrayItem(item, 1)->valuestring;
        struct buffer out = {0};
        assert_int_equal(clean_caption(cx, &out, text, strlen(text)), DL_OK);
        if (strcmp(out.data ? out.data : "", want) != 0)
            fail_msg("\"%s\" gives \"%s\", not \"%s\"", text, out.data, want);
        buffer_free(&out);
        count++;
    }
    assert_true(count > 800);
    cJSON_Delete(cases);
    dl_context_free(cx);
}

/* Long and odd texts end, in time and memory that their length bounds. */
static void odd_captions_are_cleaned(void **state) {
    static const char *const pieces[] = {"<a",  "&",    "a.",  "<script>", "%ff", "%00", "&#0;",
                                         "1x1", "a.co", "-",   "\"=<a ",   "a/",  ".",   "Σ'",
                                         "é",   "<!--", "&am", "http:",    "@a",  "1a1a"};
    uint64_t random = 88172645463325252u;
    char *text = malloc(1 << 16);
    dl_context *cx;
    (void)state;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    for (size_t k = 0; k < 200; k++) {
        const size_t kinds = sizeof pieces / sizeof *pieces, most = k < kinds ? 9000 : 60;
        struct buffer out = {0};
        size_t n = 0;
        for (size_t i = 0; n < most; i++) {
            const char *piece = pieces[k < kinds ? k : scratch_random(&random) % kinds];
            memcpy(text + n, piece, strlen(piece));
            n += strlen(piece);
        }
        assert_int_equal(clean_caption(cx, &out, text, n), DL_OK);
        assert_true(!out.data || strlen(out.data) == out.length);
        buffer_free(&out);
    }
    struct buffer out = {0};
    memset(text, 'a', 1 << 16);
    assert_int_equal(clean_caption(cx, &out, text, 1 << 16), DL_USAGE);
    assert_int_equal(clean_caption(cx, &out, text, 0), DL_OK);
    assert_int_equal(out.length, 0);
    dl_context_free(cx);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_are_lowered_and_stripped),
        cmocka_unit_test(captions_are_cleaned_as_diffusers),
        cmocka_unit_test(odd_captions_are_cleaned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
