/* The tiny cascade of tests/data/if-cascade: its folders, and a model opened beside what diffusers
 * made of it. */
#ifndef DLENS_TESTS_CASCADE_SUPPORT_H
#define DLENS_TESTS_CASCADE_SUPPORT_H

#include "model_support.h"

#include "dlens.h"

#define CASCADE "tests/data/if-cascade/"
#define ONE     CASCADE "IF-I-T-v1.0"
#define TWO     CASCADE "IF-II-T-v1.0"
#define THREE   CASCADE "stable-diffusion-x4-upscaler"

struct fixture {
    dl_context *cx;
    dl_model *model;
    struct store *expected;
    char *prompt, *negative;
};

static inline char *text_of(const struct store *store, const char *name) {
    const struct tensor *t = store_find(store, name);
    assert_non_null(t);
    char *text = calloc(t->shape[0] + 1, 1);
    memcpy(text, t->data, t->shape[0]);
    return text;
}

static inline void open_fixture(struct fixture *f, const char *folder, int stages) {
    const dl_open_options how = {.stages = stages};
    assert_int_equal(dl_context_new(&f->cx), DL_OK);
    dl_set_log(f->cx, quiet, NULL);
    if (dl_model_open_with(f->cx, folder, &how, &f->model) != DL_OK)
        fail_msg("%s", dl_message(f->cx));
    assert_int_equal(store_open_file(f->cx, CASCADE "expected.safetensors", &f->expected), DL_OK);
    f->prompt = text_of(f->expected, "prompt");
    f->negative = text_of(f->expected, "negative");
}

static inline void close_fixture(struct fixture *f) {
    store_close(f->expected);
    dl_model_close(f->model);
    dl_context_free(f->cx);
    free(f->prompt);
    free(f->negative);
}

/* The settings of the reference. */
static inline void reference_options(const struct fixture *f, dl_options *o) {
    dl_options_init(o);
    o->steps = 5;
    o->guidance = 4;
    o->negative = f->negative;
}

#endif
