/* store/: safetensors files that are right, and every way of being wrong. */
#include "scratch.h"
#include "store/store.h"

#include <cjson/cJSON.h>

/* Writes a file with this header (its length put before it) and `data_size` bytes of data, byte i
 * being i. Returns its path. */
static const char *raw_file(struct scratch *s, const char *name, const char *header,
                            size_t data_size) {
    size_t length = strlen(header);
    unsigned char *bytes = malloc(8 + length + data_size);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_size; i++)
        bytes[8 + length + i] = (unsigned char)i;
    scratch_file(s, name, bytes, 8 + length + data_size);
    free(bytes);
    return s->path;
}

/* Opens a file with this header, which must be refused with `why` in the message. */
static void refused(struct scratch *s, const char *header, size_t data_size, const char *why) {
    struct store *store;
    const char *path = raw_file(s, "bad.safetensors", header, data_size);
    if (store_open_file(&s->cx, path, &store) != DL_MODEL)
        fail_msg("accepted: %.200s", header);
    assert_null(store);
    assert_contains(s->cx.message, "bad.safetensors: ");
    assert_contains(s->cx.message, why);
}

/* Three tensors and metadata, written by store_write. */
static const char *sample(struct scratch *s, const char *name) {
    static const float a[6] = {1, 2, 3, 4, 5, 6};
    static const uint16_t h[3] = {0x3c00, 0x4000, 0x4200};
    static const int64_t ids[2] = {-1, 49407};
    static const char *const metadata[] = {"prompt", "a \"dog\"\n\xc3\xa9", "format", "pt", NULL};
    const struct tensor tensors[] = {{"h", DTYPE_F16, 1, {3}, h, NULL},
                                     {"a.weight", DTYPE_F32, 2, {2, 3}, a, NULL},
                                     {"ids", DTYPE_I64, 2, {1, 2}, ids, NULL},
                                     {"empty", DTYPE_BF16, 2, {0, 4}, h, NULL},
                                     {"scalar", DTYPE_F32, 0, {0}, a + 5, NULL}};
    assert_int_equal(store_write(&s->cx, scratch_path(s, name), tensors, 5, metadata), DL_OK);
    return s->path;
}

/* ---- what is right ------------------------------------------------------------------------- */

static void check_sample(const struct store *store) {
    const struct tensor *t = store_find(store, "a.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, DTYPE_F32);
    assert_int_equal(t->ndim, 2);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 3);
    assert_int_equal((uintptr_t)t->data % 4, 0);
    assert_true(((const float *)t->data)[5] == 6);
    t = store_find(store, "ids");
    assert_int_equal(((const int64_t *)t->data)[1], 49407);
    t = store_find(store, "h");
    assert_int_equal(((const uint16_t *)t->data)[2], 0x4200);
    t = store_find(store, "scalar");
    assert_int_equal(t->ndim, 0);
    assert_int_equal(tensor_count(t), 1);
    assert_true(((const float *)t->data)[0] == 6);
    assert_int_equal(tensor_count(store_find(store, "empty")), 0);
    assert_null(store_find(store, "a"));
}

static void what_is_written_is_read(void **state) {
    struct scratch *s = *state;
    struct store *store;
    assert_int_equal(store_open_file(&s->cx, sample(s, "m.safetensors"), &store), DL_OK);
    check_sample(store);
    assert_int_equal(store_count(store), 5);
    for (size_t i = 1; i < 5; i++)
        assert_true(strcmp(store_at(store, i - 1)->name, store_at(store, i)->name) < 0);
    assert_string_equal(store_metadata(store, "prompt"), "a \"dog\"\n\xc3\xa9");
    assert_null(store_metadata(store, "none"));
    assert_string_equal(store_path(store), s->path);
    struct stat info;
    assert_int_equal(stat(s->path, &info), 0);
    assert_int_equal(store_bytes(store), info.st_size);
    unsigned char *memory = store_allocate(store, 1000);
    assert_non_null(memory);
    memset(memory, 1, 1000);
    assert_null(store_allocate(store, SIZE_MAX - 8));
    store_drop_pages(store);
    check_sample(store);
    store_close(store);
    store_close(NULL);
}

/* Before version 0.3 headers had any length: data may lie at odd addresses, and is not copied. */
static void unaligned_tensors_are_read(void **state) {
    struct scratch *s = *state;
    int odd = 0;
    for (int pad = 0; pad < 8; pad++) {
        struct store *store;
        char header[256];
        snprintf(header, sizeof header,
                 "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"f\":{\"dtype\":"
                 "\"F32\",\"shape\":[2],\"data_offsets\":[1,9]},\"h\":{\"dtype\":\"F16\","
                 "\"shape\":[1],\"data_offsets\":[9,11]}}%*s",
                 pad, "");
        assert_int_equal(store_open_file(&s->cx, raw_file(s, "odd", header, 11), &store), DL_OK);
        const struct tensor *f = store_find(store, "f"), *h = store_find(store, "h");
        float wide[2], expected[2];
        odd += !tensor_is_aligned(f);
        const unsigned char bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
        assert_memory_equal(f->data, bytes, 8);
        assert_memory_equal(h->data, bytes + 8, 2);
        memcpy(expected, bytes, sizeof expected);
        tensor_widen(wide, f);
        assert_memory_equal(wide, expected, sizeof wide);
        tensor_widen(wide, h);
        assert_true(wide[0] == f16_to_f32(0x0a09));
        store_close(store);
    }
    assert_int_equal(odd, 6);
}

static void a_file_may_be_empty_of_tensors(void **state) {
    struct scratch *s = *state;
    struct store *store;
    assert_int_equal(store_open_file(&s->cx, raw_file(s, "none", "{}", 0), &store), DL_OK);
    assert_int_equal(store_count(store), 0);
    assert_null(store_find(store, "x"));
    assert_null(store_metadata(store, "x"));
    store_close(store);
}

/* ---- what is wrong ------------------------------------------------------------------------- */

static void cut_files_are_refused(void **state) {
    struct scratch *s = *state;
    struct stat info;
    struct store *store;
    sample(s, "m.safetensors");
    assert_int_equal(stat(s->path, &info), 0);
    char *bytes = malloc((size_t)info.st_size);
    FILE *stream = fopen(s->path, "rb");
    assert_true(bytes && stream);
    assert_int_equal(fread(bytes, 1, (size_t)info.st_size, stream), info.st_size);
    fclose(stream);
    for (int part = 0; part < 20; part++) {
        const char *path =
            scratch_file(s, "cut.safetensors", bytes, (size_t)info.st_size * (size_t)part / 20);
        assert_int_equal(store_open_file(&s->cx, path, &store), DL_MODEL);
        assert_contains(s->cx.message, "cut.safetensors: ");
    }
    free(bytes);
    assert_int_equal(store_open_file(&s->cx, scratch_path(s, "absent"), &store), DL_MODEL);
    assert_int_equal(store_open_file(&s->cx, s->dir, &store), DL_MODEL);
}

static void header_lengths_are_checked(void **state) {
    struct scratch *s = *state;
    struct store *store;
    const uint64_t lengths[] = {0,
                                3,
                                5,
                                6,
                                100,
                                1u << 24,
                                (uint64_t)1 << 31,
                                (uint64_t)1 << 32,
                                (uint64_t)1 << 63,
                                UINT64_MAX,
                                UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        unsigned char bytes[12] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}', ' ', '1'};
        for (int k = 0; k < 8; k++)
            bytes[k] = (unsigned char)(lengths[i] >> 8 * k);
        const char *path = scratch_file(s, "length", bytes, sizeof bytes);
        if (store_open_file(&s->cx, path, &store) != DL_MODEL)
            fail_msg("accepted length %llu", (unsigned long long)lengths[i]);
    }
    static const char *const guesses[][2] = {
        {"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"},
        {"PK\x03\x04 more than eight bytes", "PyTorch file"},
        {"GGUF\x03 more than eight bytes", "GGUF"}};
    for (size_t i = 0; i < 3; i++) {
        const char *path = scratch_text(s, "other", guesses[i][0]);
        assert_int_equal(store_open_file(&s->cx, path, &store), DL_MODEL);
        assert_contains(s->cx.message, guesses[i][1]);
    }
}

static void headers_that_are_no_json_are_refused(void **state) {
    struct scratch *s = *state;
    enum { DEPTH = 20000 };
    refused(s, " ", 0, "not a JSON object");
    refused(s, "[]", 0, "not a JSON object");
    refused(s, "{}x", 0, "not a JSON object");
    refused(s, "{} {}", 0, "not a JSON object");
    refused(s, "{\"a\":", 0, "not a JSON object");
    refused(s, "hello, world", 0, "not a JSON object");
    refused(s, "\xff\xff\xff", 0, "not a JSON object");
    char *deep = malloc(DEPTH + 6);
    assert_non_null(deep);
    memcpy(deep, "{\"a\":", 5);
    memset(deep + 5, '[', DEPTH);
    deep[5 + DEPTH] = '\0';
    refused(s, deep, 0, "not a JSON object");
    refused(s, deep + 5, 0, "not a JSON object");
    free(deep);
}

static void names_are_checked(void **state) {
    struct scratch *s = *state;
    static const char rest[] = "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    enum { LONG = 10240 };
    char *header = malloc(LONG + 128);
    assert_non_null(header);
    memcpy(header, "{\"", 2);
    memset(header + 2, 'x', LONG);
    memcpy(header + 2 + LONG, rest, sizeof rest);
    refused(s, header, 4, "a name of 10240 bytes");
    free(header);
    refused(s, "{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "name of 0");
    refused(s, "{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
            "NUL");
    refused(s, "{\"\\\\\\u0000b\":{}}", 4, "NUL");
    refused(s,
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":"
            "\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
            8, "tensor a is there twice");
    refused(s, "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "there twice");
    refused(s, "{\"__metadata__\":[]}", 0, "not an object");
    refused(s, "{\"__metadata__\":{\"a\":1}}", 0, "not a string");
    struct store *store; /* an escaped backslash before u0000 is no NUL */
    const char *path = raw_file(
        s, "ok", "{\"\\\\u0000\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    assert_int_equal(store_open_file(&s->cx, path, &store), DL_OK);
    store_close(store);
}

static void tensors_are_checked(void **state) {
    struct scratch *s = *state;
    /* dtype, shape, offsets, bytes of data, part of the message */
    static const struct {
        const char *dtype, *shape, *offsets;
        size_t data;
        const char *why;
    } cases[] = {
        {"\"F33\"", "[1]", "[0,4]", 4, "unknown dtype F33"},
        {"7", "[1]", "[0,4]", 4, "dtype is missing"},
        {"null", "[1]", "[0,4]", 4, "dtype is missing"},
        {"\"F32\"", "[-1]", "[0,4]", 4, "shape is not"},
        {"\"F32\"", "[1.5]", "[0,4]", 4, "shape is not"},
        {"\"F32\"", "[\"1\"]", "[0,4]", 4, "shape is not"},
        {"\"F32\"", "[1e999]", "[0,4]", 4, "shape is not"},
        {"\"F32\"", "[18446744073709551616]", "[0,4]", 4, "shape is not"},
        {"\"F32\"", "1", "[0,4]", 4, "not a list"},
        {"\"F32\"", "null", "[0,4]", 4, "not a list"},
        {"\"F32\"", "[1,1,1,1,1,1]", "[0,4]", 4, "5 dimensions"},
        {"\"F32\"", "[4294967296,4294967296]", "[0,0]", 0, "larger than any memory"},
        {"\"F32\"", "[4611686018427387904]", "[0,0]", 0, "shape is not"},
        {"\"F32\"", "[2147483648,2147483648]", "[0,0]", 0, "larger than any memory"},
        {"\"F32\"", "[0,4294967296,4294967296]", "[0,0]", 0, "larger than any memory"},
        {"\"F32\"", "[1]", "[4,0]", 4, "cut short"},
        {"\"F32\"", "[1]", "[0,8]", 4, "cut short"},
        {"\"F32\"", "[1]", "[0,4503599627370496]", 4, "cut short"},
        {"\"F32\"", "[1]", "[4503599627370492,4503599627370496]", 4, "cut short"},
        {"\"F32\"", "[1]", "[-4,0]", 4, "data_offsets are not"},
        {"\"F32\"", "[1]", "[0]", 4, "data_offsets are not"},
        {"\"F32\"", "[1]", "[0,4,8]", 4, "data_offsets are not"},
        {"\"F32\"", "[1]", "[]", 4, "data_offsets are not"},
        {"\"F32\"", "[1]", "{\"a\":0,\"b\":4}", 4, "data_offsets are not"},
        {"\"F32\"", "[1]", "null", 4, "data_offsets are not"},
        {"\"F32\"", "[2]", "[0,4]", 4, "4 bytes of data, its shape takes 8"},
        {"\"F16\"", "[3]", "[0,4]", 4, "4 bytes of data, its shape takes 6"},
        {"\"F32\"", "[]", "[0,8]", 8, "8 bytes of data, its shape takes 4"},
        {"\"F32\"", "[1]", "[4,8]", 8, "gap before"},
        {"\"F32\"", "[1]", "[0,4]", 8, "4 bytes of data follow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[512];
        snprintf(header, sizeof header, "{\"t\":{\"dtype\":%s,\"shape\":%s,\"data_offsets\":%s}}",
                 cases[i].dtype, cases[i].shape, cases[i].offsets);
        refused(s, header, cases[i].data, cases[i].why);
    }
    refused(s, "{\"t\":7}", 0, "dtype is missing");
    refused(s, "{\"t\":{}}", 0, "dtype is missing");
    refused(s,
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":"
            "\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
            12, "overlaps");
    refused(s,
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":"
            "\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
            4, "overlaps");
}

/* ---- folders ------------------------------------------------------------------------------- */

static void folder(struct scratch *s, char *dir, size_t size) {
    snprintf(dir, size, "%s", scratch_path(s, "unet"));
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void folders_are_searched(void **state) {
    struct scratch *s = *state;
    struct store *store;
    char dir[SCRATCH_PATH_MAX];
    assert_int_equal(store_open(&s->cx, scratch_path(s, "unet"), "model", &store), DL_MODEL);
    assert_contains(s->cx.message, "no such folder");
    folder(s, dir, sizeof dir);
    assert_int_equal(store_open(&s->cx, dir, "model", &store), DL_MODEL);
    assert_contains(s->cx.message, "expected model.safetensors");
    scratch_text(s, "unet/pytorch_model.bin", "x");
    assert_int_equal(store_open(&s->cx, dir, "model", &store), DL_MODEL);
    assert_contains(s->cx.message, "pytorch_model.bin");
    assert_contains(s->cx.message, "safe_serialization=True");
    static const char *const variants[] = {"model.bf16.safetensors", "model.fp16.safetensors",
                                           "model.safetensors"};
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "unet/%s", variants[i]);
        sample(s, name);
        assert_int_equal(store_open(&s->cx, dir, "model", &store), DL_OK);
        assert_contains(store_path(store), variants[i]);
        store_close(store);
    }
}

static const char ONE[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
static const char TWO[] = "{\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
                          "\"__metadata__\":{\"k\":\"v\"}}";

static void shards_are_joined(void **state) {
    struct scratch *s = *state;
    struct store *store;
    char dir[SCRATCH_PATH_MAX];
    static const char *const names[] = {
        "unet/m.safetensors.index.json", "unet/m.safetensors.index.fp16.json",
        "unet/m.fp16.safetensors.index.json", "unet/m.safetensors.index.bf16.json"};
    folder(s, dir, sizeof dir);
    raw_file(s, "unet/m-1.safetensors", ONE, 4);
    raw_file(s, "unet/m-2.safetensors", TWO, 4);
    for (size_t i = 0; i < 4; i++) {
        const char *path = scratch_text(s, names[i],
                                        "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"b\":"
                                        "\"m-2.safetensors\",\"a\":\"m-1.safetensors\"}}");
        char index[SCRATCH_PATH_MAX];
        snprintf(index, sizeof index, "%s", path);
        assert_int_equal(store_open(&s->cx, dir, "m", &store), DL_OK);
        assert_int_equal(store_count(store), 2);
        assert_int_equal(store_find(store, "b")->dtype, DTYPE_F16);
        assert_string_equal(store_metadata(store, "k"), "v");
        assert_string_equal(store_path(store), index);
        store_close(store);
        unlink(index);
    }
}

static void broken_indices_are_refused(void **state) {
    struct scratch *s = *state;
    struct store *store;
    char dir[SCRATCH_PATH_MAX];
    static const char *const cases[][2] = {
        {"", "not valid JSON"},
        {"[]", "not a JSON object"},
        {"{}", "weight_map is missing"},
        {"{\"weight_map\":7}", "weight_map is missing"},
        {"{\"weight_map\":{}}", "weight_map is missing"},
        {"{\"weight_map\":{\"a\":7}}", "not in a file of this folder"},
        {"{\"weight_map\":{\"a\":\"\"}}", "not in a file of this folder"},
        {"{\"weight_map\":{\"a\":\"../m-1.safetensors\"}}", "not in a file of this folder"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "not in a file of this folder"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "not in a file of this folder"},
        {"{\"weight_map\":{\"a\":\"sub/m-1.safetensors\"}}", "not in a file of this folder"},
        {"{\"weight_map\":{\"a\":\".\"}}", "not a regular file"},
        {"{\"weight_map\":{\"a\":\"m-9.safetensors\"}}", "m-9.safetensors: cannot open"},
        {"{\"weight_map\":{\"z\":\"m-1.safetensors\"}}", "tensor z is not in m-1.safetensors"},
        {"{\"weight_map\":{\"a\":\"m-1.safetensors\",\"z\":\"m-2.safetensors\"}}",
         "tensor a is there twice"},
    };
    folder(s, dir, sizeof dir);
    raw_file(s, "unet/m-1.safetensors", ONE, 4);
    raw_file(s, "unet/m-2.safetensors", ONE, 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_text(s, "unet/m.safetensors.index.json", cases[i][0]);
        if (store_open(&s->cx, dir, "m", &store) != DL_MODEL)
            fail_msg("accepted: %s", cases[i][0]);
        assert_null(store);
        assert_contains(s->cx.message, cases[i][1]);
    }
    char *many = malloc(64 * 1100); /* a thousand shards are more than any model has */
    assert_non_null(many);
    size_t used = (size_t)sprintf(many, "{\"weight_map\":{\"t\":\"m-1.safetensors\"");
    for (int i = 0; i < 1001; i++)
        used += (size_t)sprintf(many + used, ",\"t%d\":\"s%d.safetensors\"", i, i);
    sprintf(many + used, "}}");
    scratch_text(s, "unet/m.safetensors.index.json", many);
    free(many);
    assert_int_equal(store_open(&s->cx, dir, "m", &store), DL_MODEL);
    assert_contains(s->cx.message, "more than 1000 files");
}

/* ---- writing ------------------------------------------------------------------------------- */

static void writing_fails_cleanly(void **state) {
    struct scratch *s = *state;
    const float x = 1;
    const struct tensor good = {"x", DTYPE_F32, 1, {1}, &x, NULL};
    assert_int_equal(store_write(&s->cx, scratch_path(s, "no/f"), &good, 1, NULL), DL_FAILED);
    assert_int_equal(scratch_count(s), 0);
    assert_int_equal(store_write(&s->cx, scratch_path(s, "f"), &good, 1, NULL), DL_OK);
    assert_int_equal(scratch_count(s), 1);
}

/* ---- memory -------------------------------------------------------------------------------- */

static long denied_after; /* cJSON's allocations until one is denied; 0: none is */

static void *scarce(size_t size) {
    return denied_after > 0 && --denied_after == 0 ? NULL : malloc(size);
}

/* The n-th allocation of cJSON fails, for every n: a message, nothing lost (the sanitizer says). */
static void json_without_memory(void **state) {
    struct scratch *s = *state;
    cJSON_Hooks hooks = {scarce, free};
    const float x = 1;
    const struct tensor t = {"x", DTYPE_F32, 1, {1}, &x, NULL};
    static const char *const metadata[] = {"key", "value", NULL};
    cJSON_InitHooks(&hooks);
    int failures = 0;
    for (long n = 1, done = 0; !done; n++) {
        struct store *store = NULL;
        denied_after = n;
        int status = store_write(&s->cx, scratch_path(s, "f"), &t, 1, metadata);
        if (status == DL_OK)
            status = store_open_file(&s->cx, s->path, &store);
        done = denied_after > 0; /* got through before the n-th */
        denied_after = 0;
        failures += status != DL_OK;
        assert_true(done == (status == DL_OK));
        store_close(store);
    }
    cJSON_InitHooks(NULL);
    assert_in_range(failures, 20, 200);
}

/* ---- mutation ------------------------------------------------------------------------------ */

/* Whatever bytes a file holds: it is refused with a message, or all that it promises is there. */
static void files_survive_mutation(void **state) {
    struct scratch *s = *state;
    struct stat info;
    unsigned char original[1024], bytes[1024];
    uint64_t random = 2463534242u;
    int accepted = 0;
    sample(s, "m.safetensors");
    assert_int_equal(stat(s->path, &info), 0);
    assert_in_range(info.st_size, 1, sizeof original);
    FILE *stream = fopen(s->path, "rb");
    assert_non_null(stream);
    size_t size = fread(original, 1, sizeof original, stream);
    fclose(stream);
    for (int i = 0; i < 4000; i++) {
        struct store *store;
        memcpy(bytes, original, size);
        const char *path = scratch_file(s, "x", bytes, scratch_mutate(&random, bytes, size));
        if (store_open_file(&s->cx, path, &store) != DL_OK) {
            assert_contains(s->cx.message, "x: ");
            continue;
        }
        accepted++;
        unsigned sum = 0;
        for (size_t k = 0; k < store_count(store); k++) {
            const struct tensor *t = store_at(store, k);
            const unsigned char *data = t->data;
            for (size_t b = 0; b < tensor_count(t) * dtype_size(t->dtype); b++)
                sum += data[b];
            assert_ptr_equal(store_find(store, t->name), t);
        }
        assert_true(sum < 256 * sizeof bytes);
        store_close(store);
    }
    assert_in_range(accepted, 1, 3999);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        T(what_is_written_is_read),
        T(unaligned_tensors_are_read),
        T(a_file_may_be_empty_of_tensors),
        T(cut_files_are_refused),
        T(header_lengths_are_checked),
        T(headers_that_are_no_json_are_refused),
        T(names_are_checked),
        T(tensors_are_checked),
        T(folders_are_searched),
        T(shards_are_joined),
        T(broken_indices_are_refused),
        T(writing_fails_cleanly),
        T(json_without_memory),
        T(files_survive_mutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
