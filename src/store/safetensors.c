/* Reading one safetensors file. The header is hostile until checked: its length against the file,
 * the JSON, then of each tensor the name, the dtype, every dimension, the product of the shape
 * against the offsets, and at last that all tensors together fill the data without overlap. */
#include "store/safetensors.h"

#include "base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Real headers have some 100 kB. cJSON takes up to 40 bytes per byte of text. */
enum { LENGTH_BYTES = 8, HEADER_MAX = 16 << 20, NAME_MAX_BYTES = 400 };

static const char METADATA[] = "__metadata__";

/* A file while it is read. */
struct reader {
    dl_context *cx;
    const char *path;
    struct safetensors *file;
    const unsigned char *data; /* start of the tensors' data */
    size_t data_size;
};

/* ---- header -------------------------------------------------------------------------------- */

static bool starts_with(const struct mapping *map, const char *text) {
    size_t length = strlen(text);
    return map->size >= length && memcmp(map->data, text, length) == 0;
}

/* What a file that is no safetensors file probably is. */
static const char *guess(const struct mapping *map) {
    if (starts_with(map, "version https://git-lfs"))
        return "; this is a Git LFS pointer, fetch the file itself with git lfs pull";
    if (starts_with(map, "PK\x03\x04") || starts_with(map, "\x80\x02"))
        return "; this is a PyTorch file, which is not read: save the model as safetensors";
    if (starts_with(map, "GGUF"))
        return "; this is a GGUF file";
    return "";
}

/* True if the text holds a NUL, as a byte or as the escape \u0000 (a backslash that is itself
 * escaped begins none): in C it would cut a name short. */
static bool holds_nul(const char *text, size_t length) {
    bool escaped = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\0' || (escaped && length - i >= 5 && memcmp(text + i, "u0000", 5) == 0))
            return true;
        escaped = text[i] == '\\' && !escaped;
    }
    return false;
}

/* Parses the header. *root is freed by the caller with cJSON_Delete. */
static int read_header(struct reader *r, cJSON **root) {
    const struct mapping *map = &r->file->map;
    if (map->size < LENGTH_BYTES)
        return fail(r->cx, DL_MODEL, "%s: %s: %zu bytes, a safetensors file has more", r->path,
                    map->size ? "cut short" : "empty", map->size);
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        length = length << 8 | map->data[i];
    if (length > HEADER_MAX || length > map->size - LENGTH_BYTES)
        return fail(r->cx, DL_MODEL,
                    "%s: header of %llu bytes in a file of %zu: not a safetensors file, or cut "
                    "short%s",
                    r->path, (unsigned long long)length, map->size, guess(map));
    const char *text = (const char *)map->data + LENGTH_BYTES, *end = NULL;
    r->data = map->data + LENGTH_BYTES + length;
    r->data_size = map->size - LENGTH_BYTES - (size_t)length;
    if (holds_nul(text, (size_t)length))
        return fail(r->cx, DL_MODEL, "%s: the header holds a NUL character", r->path);
    DL_TRY(json_parse(r->cx, r->path, text, (size_t)length, false, &end, root));
    while (*root && end < (const char *)r->data && strchr(" \n\r\t", *end))
        end++;
    if (!cJSON_IsObject(*root) || end != (const char *)r->data)
        return fail(r->cx, DL_MODEL, "%s: the header is not a JSON object", r->path);
    return DL_OK;
}

/* ---- one tensor ---------------------------------------------------------------------------- */

/* A JSON number that is an integer from 0 to 2^53, beyond which doubles are not exact. */
static bool to_size(const cJSON *value, size_t *out) {
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0) ||
        value->valuedouble > 9007199254740992.0 ||
        floor(value->valuedouble) != value->valuedouble || value->valuedouble > (double)PTRDIFF_MAX)
        return false;
    *out = (size_t)value->valuedouble;
    return true;
}

static int bad(struct reader *r, const struct tensor *t, const char *why) {
    return fail(r->cx, DL_MODEL, "%s: tensor %s: %s", r->path, t->name, why);
}

static int read_shape(struct reader *r, const cJSON *list, struct tensor *t) {
    const cJSON *item;
    if (!cJSON_IsArray(list))
        return bad(r, t, "shape is missing or not a list");
    cJSON_ArrayForEach(item, list) {
        if (t->ndim == TENSOR_DIMS)
            return bad(r, t, "more than 5 dimensions");
        if (!to_size(item, &t->shape[t->ndim++]))
            return bad(r, t, "shape is not a list of integers from 0 up");
    }
    return DL_OK;
}

/* Byte count of the shape, false if it does not fit in size_t. Zeros are left to the end, so that
 * the product without them fits too and nobody who multiplies in another order overflows. */
static bool shape_bytes(const struct tensor *t, size_t element_bytes, size_t *bytes) {
    bool empty = false;
    *bytes = element_bytes;
    for (size_t i = 0; i < t->ndim; i++) {
        empty = empty || t->shape[i] == 0;
        if (t->shape[i] != 0 && !size_mul(*bytes, t->shape[i], bytes))
            return false;
    }
    if (empty)
        *bytes = 0;
    return true;
}

/* The part of the data that a tensor takes. */
struct span {
    size_t begin, end;
    size_t index; /* of its tensor */
};

static int read_tensor(struct reader *r, const cJSON *item, struct tensor *t, struct span *span) {
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    size_t bytes;
    if (!cJSON_IsObject(item) || !cJSON_IsString(dtype))
        return bad(r, t, "dtype is missing");
    if (!dtype_find(dtype->valuestring, &t->dtype))
        return fail(r->cx, DL_MODEL, "%s: tensor %s: unknown dtype %.40s", r->path, t->name,
                    dtype->valuestring);
    DL_TRY(read_shape(r, cJSON_GetObjectItemCaseSensitive(item, "shape"), t));
    if (!shape_bytes(t, dtype_size(t->dtype), &bytes))
        return bad(r, t, "the shape is larger than any memory");
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !to_size(offsets->child, &span->begin) || !to_size(offsets->child->next, &span->end))
        return bad(r, t, "data_offsets are not two integers from 0 up");
    if (span->begin > span->end || span->end > r->data_size)
        return fail(r->cx, DL_MODEL,
                    "%s: tensor %s: data from %zu to %zu, but the file holds %zu bytes of data; it "
                    "is damaged or cut short",
                    r->path, t->name, span->begin, span->end, r->data_size);
    if (span->end - span->begin != bytes)
        return fail(r->cx, DL_MODEL, "%s: tensor %s: %zu bytes of data, its shape takes %zu",
                    r->path, t->name, span->end - span->begin, bytes);
    t->data = r->data + span->begin;
    return DL_OK;
}

/* ---- all tensors --------------------------------------------------------------------------- */

static int by_begin(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Sorts the spans and checks that they fill the data, each beginning where the last ended. */
static int check_spans(struct reader *r, struct span *spans) {
    size_t end = 0, count = r->file->count;
    qsort(spans, count, sizeof *spans, by_begin);
    for (size_t i = 0; i < count; i++) {
        if (spans[i].begin != end)
            return bad(r, &r->file->tensors[spans[i].index],
                       spans[i].begin < end ? "its data overlaps another tensor's"
                                            : "there is a gap before its data");
        end = spans[i].end;
    }
    if (end != r->data_size)
        return fail(r->cx, DL_MODEL, "%s: %zu bytes of data follow the last tensor", r->path,
                    r->data_size - end);
    return DL_OK;
}

/* Counts the tensors and copies their names, which are bounded, into one block. */
static int read_names(struct reader *r, const cJSON *root) {
    struct safetensors *f = r->file;
    size_t bytes = 0;
    const cJSON *item;
    void *memory;
    cJSON_ArrayForEach(item, root) {
        size_t length = strlen(item->string);
        if (strcmp(item->string, METADATA) == 0)
            continue;
        if (length == 0 || length > NAME_MAX_BYTES)
            return fail(r->cx, DL_MODEL, "%s: tensor %.40s...: a name of %zu bytes", r->path,
                        item->string, length);
        bytes += length + 1;
        f->count++;
    }
    DL_TRY(allocate(r->cx, r->path, bytes, 1, &memory));
    f->names = memory;
    DL_TRY(allocate(r->cx, r->path, f->count, sizeof *f->tensors, &memory));
    f->tensors = memory;
    char *name = f->names;
    struct tensor *t = f->tensors;
    cJSON_ArrayForEach(item, root) {
        if (strcmp(item->string, METADATA) == 0)
            continue;
        size_t size = strlen(item->string) + 1;
        t++->name = memcpy(name, item->string, size);
        name += size;
    }
    return DL_OK;
}

static int read_metadata(struct reader *r, cJSON *root) {
    const cJSON *item;
    cJSON *metadata = cJSON_DetachItemFromObjectCaseSensitive(root, METADATA);
    r->file->metadata = metadata;
    if (metadata && !cJSON_IsObject(metadata))
        return fail(r->cx, DL_MODEL, "%s: %s is not an object", r->path, METADATA);
    cJSON_ArrayForEach(item, metadata) {
        if (!cJSON_IsString(item))
            return fail(r->cx, DL_MODEL, "%s: %s: %.40s is not a string", r->path, METADATA,
                        item->string);
    }
    return DL_OK;
}

static int read_tensors(struct reader *r, const cJSON *root, struct span *spans) {
    const cJSON *item;
    size_t i = 0;
    cJSON_ArrayForEach(item, root) {
        if (strcmp(item->string, METADATA) == 0)
            return fail(r->cx, DL_MODEL, "%s: %s is there twice", r->path, METADATA);
        spans[i].index = i;
        DL_TRY(read_tensor(r, item, &r->file->tensors[i], &spans[i]));
        i++;
    }
    return check_spans(r, spans);
}

/* ---- the file ------------------------------------------------------------------------------ */

static int read_file(struct reader *r) {
    cJSON *root = NULL;
    void *spans = NULL;
    int status = read_header(r, &root);
    if (status == DL_OK)
        status = read_metadata(r, root);
    if (status == DL_OK)
        status = read_names(r, root);
    if (status == DL_OK)
        status = allocate(r->cx, r->path, r->file->count, sizeof(struct span), &spans);
    if (status == DL_OK)
        status = read_tensors(r, root, spans);
    free(spans);
    cJSON_Delete(root);
    return status;
}

int safetensors_open(dl_context *cx, const char *path, struct safetensors *out) {
    struct reader r = {.cx = cx, .path = path, .file = out};
    memset(out, 0, sizeof *out);
    DL_TRY(file_map(cx, path, &out->map));
    int status = read_file(&r);
    if (status != DL_OK)
        safetensors_close(out);
    return status;
}

void safetensors_close(struct safetensors *file) {
    free(file->tensors);
    free(file->names);
    cJSON_Delete(file->metadata);
    file_unmap(&file->map);
    memset(file, 0, sizeof *file);
}
