/* Writing a safetensors file (layout: safetensors.h). Tensors lie without gaps, so that the widest
 * elements come first and every tensor is aligned to its element; the header is padded with spaces
 * to a multiple of eight. */
#include "base/file.h"
#include "store/store.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_ALIGN = 8 };

/* What is written: the tensors in the order of their data, and the header's text. */
struct output {
    const struct tensor **order;
    size_t count;
    const char *header;
    tensor_writer writer;
    void *user;
};

static int by_width_then_name(const void *a, const void *b) {
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;
    size_t p = dtype_size(x->dtype), q = dtype_size(y->dtype);
    return p != q ? (p > q ? -1 : 1) : strcmp(x->name, y->name);
}

/* Appends integers to a list that may be NULL; false without memory. */
static bool add_numbers(cJSON *list, const size_t *values, size_t count) {
    for (size_t i = 0; list && i < count; i++) {
        cJSON *number = cJSON_CreateNumber((double)values[i]);
        if (!cJSON_AddItemToArray(list, number))
            return false;
    }
    return list != NULL;
}

/* Adds "NAME": {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}. */
static bool describe(cJSON *root, const struct tensor *t, const size_t offsets[2]) {
    cJSON *item = cJSON_AddObjectToObject(root, t->name);
    return cJSON_AddStringToObject(item, "dtype", dtype_name(t->dtype)) &&
           add_numbers(cJSON_AddArrayToObject(item, "shape"), t->shape, t->ndim) &&
           add_numbers(cJSON_AddArrayToObject(item, "data_offsets"), offsets, 2);
}

/* The header's JSON text (cJSON_free), NULL without memory. */
static char *make_header(const struct output *o, const char *const *metadata) {
    cJSON *root = cJSON_CreateObject();
    bool ok = root != NULL;
    cJSON *pairs = metadata && ok ? cJSON_AddObjectToObject(root, "__metadata__") : NULL;
    for (size_t i = 0; metadata && metadata[i]; i += 2)
        ok = ok && cJSON_AddStringToObject(pairs, metadata[i], metadata[i + 1]);
    size_t offsets[2] = {0, 0};
    for (size_t i = 0; i < o->count; i++) {
        const struct tensor *t = o->order[i];
        offsets[1] = offsets[0] + tensor_count(t) * dtype_size(t->dtype);
        ok = ok && describe(root, t, offsets);
        offsets[0] = offsets[1];
    }
    char *text = ok ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    return text;
}

static int write_all(dl_context *cx, void *stream_FILE, void *user) {
    const struct output *o = user;
    FILE *stream = stream_FILE;
    size_t length = strlen(o->header);
    size_t padded = (length + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN;
    /* errors stay in the stream, where file_write_with finds them */
    for (int i = 0; i < 8; i++)
        putc((int)((uint64_t)padded >> 8 * i & 255), stream);
    fprintf(stream, "%s%*s", o->header, (int)(padded - length), "");
    for (size_t i = 0; i < o->count && !ferror(stream); i++)
        DL_TRY(o->writer(cx, stream, o->order[i], o->user));
    return DL_OK;
}

int store_write_with(dl_context *cx, const char *path, const struct tensor *tensors, size_t count,
                     const char *const *metadata, tensor_writer writer, void *user) {
    void *memory;
    DL_TRY(allocate(cx, path, count, sizeof(struct tensor *), &memory));
    struct output o = {.order = memory, .count = count, .writer = writer, .user = user};
    for (size_t i = 0; i < count; i++)
        o.order[i] = &tensors[i];
    qsort(o.order, count, sizeof *o.order, by_width_then_name);
    char *header = make_header(&o, metadata);
    o.header = header;
    int status = header ? file_write_with(cx, path, write_all, &o)
                        : fail(cx, DL_FAILED, "%s: out of memory", path);
    cJSON_free(header);
    free(memory);
    return status;
}

static int write_data(dl_context *cx, void *stream_FILE, const struct tensor *t, void *user) {
    (void)cx, (void)user;
    fwrite(t->data, dtype_size(t->dtype), tensor_count(t), stream_FILE);
    return DL_OK;
}

int store_write(dl_context *cx, const char *path, const struct tensor *tensors, size_t count,
                const char *const *metadata) {
    return store_write_with(cx, path, tensors, count, metadata, write_data, NULL);
}
