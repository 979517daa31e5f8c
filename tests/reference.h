/* For tests against reference data: a context with kernels, tensors of tests/data, comparing. */
#ifndef DLENS_TESTS_REFERENCE_H
#define DLENS_TESTS_REFERENCE_H

#include "scratch.h"
#include "store/store.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <zlib.h>

static inline dl_context *reference_context(void) {
    dl_context *cx;
    assert_int_equal(dl_context_new(&cx), DL_OK);
    return cx;
}

/* tests/data/FOLDER/NAME.safetensors, closed by the caller. */
static inline struct store *reference_open_in(dl_context *cx, const char *folder,
                                              const char *name) {
    char path[256];
    struct store *store;
    snprintf(path, sizeof path, "tests/data/%s/%s.safetensors", folder, name);
    if (store_open_file(cx, path, &store) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return store;
}

static inline struct store *reference_open(dl_context *cx, const char *name) {
    return reference_open_in(cx, "expected", name);
}

/* Links a file of tests/data into the scratch folder under this name. */
static inline void reference_link(struct scratch *s, const char *path, const char *name) {
    char here[SCRATCH_PATH_MAX / 2], target[SCRATCH_PATH_MAX];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(target, sizeof target, "%s/%s", here, path);
    assert_int_equal(symlink(target, scratch_path(s, name)), 0);
}

/* A whole JSON file, deleted by the caller. */
static inline cJSON *reference_json(const char *path) {
    FILE *stream = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    cJSON *json;
    assert_non_null(stream);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, stream) > 0);
    fclose(stream);
    json = cJSON_Parse(text);
    assert_non_null(json);
    free(text);
    return json;
}

/* Writes the values of `changes` over those of `config` into the scratch folder's config.json. */
static inline void reference_config(struct scratch *s, const cJSON *config, const char *changes) {
    cJSON *all = cJSON_Duplicate(config, 1), *changed = cJSON_Parse(changes);
    char *text;
    assert_non_null(all);
    assert_non_null(changed);
    while (changed->child) {
        cJSON *item = cJSON_DetachItemViaPointer(changed, changed->child);
        cJSON_DeleteItemFromObjectCaseSensitive(all, item->string);
        cJSON_AddItemToObject(all, item->string, item);
    }
    text = cJSON_Print(all);
    scratch_text(s, "config.json", text);
    cJSON_free(text);
    cJSON_Delete(all);
    cJSON_Delete(changed);
}

/* Unpacks tests/data/FOLDER/NAME.safetensors.gz into the scratch folder's weights. */
static inline void reference_unpack(struct scratch *s, const char *folder, const char *name) {
    enum { MAX = 1 << 22 };
    char path[256];
    void *data = malloc(MAX);
    gzFile packed;
    int size;
    snprintf(path, sizeof path, "tests/data/%s/%s.safetensors.gz", folder, name);
    packed = gzopen(path, "rb");
    assert_non_null(data);
    assert_non_null(packed);
    size = gzread(packed, data, MAX);
    assert_true(size > 0 && size < MAX);
    assert_int_equal(gzclose(packed), Z_OK);
    scratch_file(s, "diffusion_pytorch_model.safetensors", data, (size_t)size);
    free(data);
}

/* One entry of tests/data/FOLDER/index.json: name, kind, weights, config. */
typedef void (*reference_variant_fn)(struct scratch *s, const char *name, const cJSON *config);

/* Calls fn for every variant of a kind, its weights and config laid into the scratch folder. */
static inline size_t reference_variants(const char *folder, const char *kind,
                                        reference_variant_fn fn) {
    char path[256];
    cJSON *index;
    const cJSON *item;
    size_t count = 0;
    snprintf(path, sizeof path, "tests/data/%s/index.json", folder);
    index = reference_json(path);
    cJSON_ArrayForEach(item, index) {
        struct scratch s;
        const cJSON *config = cJSON_GetObjectItem(item, "config");
        if (strcmp(cJSON_GetObjectItem(item, "kind")->valuestring, kind) != 0)
            continue;
        scratch_begin(&s);
        reference_config(&s, config, "{}");
        reference_unpack(&s, folder, cJSON_GetObjectItem(item, "weights")->valuestring);
        fn(&s, cJSON_GetObjectItem(item, "name")->valuestring, config);
        scratch_end(&s);
        count++;
    }
    cJSON_Delete(index);
    return count;
}

/* Opens and closes something in a folder; the status. */
typedef int (*reference_opener)(dl_context *cx, const char *dir);

/* Random damage to MODEL's config.json beside its weights: opening fails with DL_MODEL or works. */
static inline void reference_damage_config(const char *model, reference_opener open, int rounds) {
    char path[256], text[8192], damaged[sizeof text];
    struct scratch s;
    dl_context *cx = reference_context();
    uint64_t random = 88172645463325252u;
    FILE *stream;
    size_t size;

    scratch_begin(&s);
    snprintf(path, sizeof path, "%s/config.json", model);
    stream = fopen(path, "rb");
    assert_non_null(stream);
    size = fread(text, 1, sizeof text, stream);
    fclose(stream);
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", model);
    reference_link(&s, path, "diffusion_pytorch_model.safetensors");
    for (int i = 0; i < rounds; i++) {
        int status;
        memcpy(damaged, text, size);
        scratch_file(&s, "config.json", damaged,
                     scratch_mutate(&random, (unsigned char *)damaged, size));
        status = open(cx, s.dir);
        assert_true(status == DL_OK || status == DL_MODEL);
    }
    scratch_end(&s);
    dl_context_free(cx);
}

/* A tensor PREFIX + NAME that must be there, in f32. */
static inline const struct tensor *reference_tensor(const struct store *store, const char *prefix,
                                                    const char *name) {
    char full[256];
    const struct tensor *t;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    t = store_find(store, full);
    if (!t || t->dtype != DTYPE_F32)
        fail_msg("%s: no f32 tensor %s", store_path(store), full);
    return t;
}

/* Fails unless every difference is within tolerance times the largest expected value. */
static inline void assert_close(const char *what, const float *actual, const float *expected,
                                size_t count, double tolerance) {
    double largest = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)actual[i] - expected[i]);
        largest = fmax(largest, fabs(expected[i]));
        worst = difference > worst || isnan(difference) ? difference : worst;
    }
    if (getenv("DLENS_TEST_VERBOSE"))
        printf("%s: %.2g of the largest value\n", what, worst / largest);
    if (!(worst <= tolerance * largest))
        fail_msg("%s: differs by %g of the largest value", what, worst / largest);
}

#endif
