/* --precision fast on the bundled model: its pictures stay within 35 dB (PSNR) of those of f32, and
 * are not the same, which would mean that nothing was fast. Where the processor has no instructions
 * for bf16 the definition in plain C is held to it. */
#include "kernels/kernels.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model_support.h"

enum { SIDE = 64, LAYERS = 2, VALUES = SIDE * SIDE * 3 };

struct pictures {
    uint8_t rgb[LAYERS][VALUES];
    size_t count;
};

static int take(void *user, const dl_picture *picture) {
    struct pictures *p = user;
    assert_int_equal(picture->width * picture->height * 3, VALUES);
    assert_true(p->count < LAYERS);
    memcpy(p->rgb[p->count++], picture->rgb, VALUES);
    return 0;
}

static void pictures_stay(void **state) {
    (void)state;
    static struct pictures made[2];
    const char *prompt = "a red apple";
    dl_context *cx;
    dl_model *model;
    dl_options options;
    const bool plain = !products_bf16(getenv("DLENS_ISA"));
    if (plain)
        print_message("no instructions for bf16 here: testing the definition in plain C\n");
    assert_int_equal(plain ? setenv("DLENS_ISA", "ref", 1) : 0, 0);
    assert_int_equal(dl_context_new(&cx), DL_OK);
    assert_int_equal(dl_model_open(cx, "weights/emoji-clip", &model), DL_OK);
    dl_options_init(&options);
    /* determined ones: earlier layers stand between two drawings, and tip over at any rounding */
    options.layers = "11,-1";
    options.steps = plain ? 2 : 5;
    options.width = options.height = SIDE;
    for (int precision = DL_F32; precision <= DL_FAST; precision++) {
        assert_int_equal(dl_set_precision(cx, precision), DL_OK);
        assert_int_equal(dl_lens(cx, model, &options, &prompt, 1, take, &made[precision]), DL_OK);
        assert_int_equal(made[precision].count, LAYERS);
    }
    for (size_t i = 0; i < LAYERS; i++) {
        const double db = psnr(made[DL_F32].rgb[i], made[DL_FAST].rgb[i], VALUES);
        if (!(db > 35.0 && db < 99.0))
            fail_msg("picture %zu: %.1f dB", i, db);
    }
    dl_model_close(model);
    dl_context_free(cx);
}

/* It is told where fast is not faster, and no other value is taken. */
static void take_line(void *user, int level, const char *line) {
    assert_int_equal(level, DL_LOG_WARNING);
    assert_non_null(strstr(line, "f32"));
    ++*(int *)user;
}

static void what_is_asked_for(void **state) {
    (void)state;
    int lines = 0;
    dl_context *cx;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    dl_set_log(cx, take_line, &lines);
    assert_int_equal(dl_set_precision(cx, 2), DL_USAGE);
    assert_int_equal(dl_set_precision(cx, DL_F32), DL_OK);
    assert_int_equal(lines, 0);
    const char *without = kernels_choose("avx2") ? "avx2" : "neon";
    if (kernels_choose(without)) {
        assert_int_equal(setenv("DLENS_ISA", without, 1), 0);
        assert_int_equal(dl_set_precision(cx, DL_FAST), DL_OK);
        assert_int_equal(unsetenv("DLENS_ISA"), 0);
        assert_null(cx->fast);
        assert_int_equal(lines, 1);
    }
    dl_context_free(cx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_for),
        cmocka_unit_test(pictures_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
