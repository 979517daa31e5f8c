/* Binding weights by name and shape; see bind.h. Failures are gathered, not returned, so that one
 * message names all that is wrong with a file, and layers bind in straight lines. */
#include "store/bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FULL_NAME_MAX = 1024, NAMES_SHOWN = 6 };

int bind_begin(struct binder *b, dl_context *cx, struct store *store) {
    void *used;
    memset(b, 0, sizeof *b);
    b->cx = cx;
    b->store = store;
    DL_TRY(allocate(cx, store_path(store), store_count(store), 1, &used));
    b->used = used;
    store_read_scattered(store);
    return DL_OK;
}

size_t bind_enter(struct binder *b, const char *format, ...) {
    size_t outer = strlen(b->prefix), room = sizeof b->prefix - outer;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(b->prefix + outer, room, format, arguments);
    va_end(arguments);
    if ((n < 0 || (size_t)n >= room) && b->status == DL_OK)
        b->status = fail(b->cx, DL_MODEL, "%s: a tensor's name would be too long: %s",
                         store_path(b->store), b->prefix);
    return outer;
}

void bind_leave(struct binder *b, size_t outer) {
    b->prefix[outer] = '\0';
}

/* ---- names --------------------------------------------------------------------------------- */

/* Writes prefix + the first of the alternatives "a|b|c" to `full` and returns what follows it,
 * NULL after the last. */
static const char *next_name(const struct binder *b, const char *names, char full[FULL_NAME_MAX]) {
    size_t length = strcspn(names, "|");
    snprintf(full, FULL_NAME_MAX, "%s%.*s", b->prefix, (int)length, names);
    return names[length] ? names + length + 1 : NULL;
}

/* The first of the alternatives that is in the store, NULL if none is. */
static const struct tensor *find(const struct binder *b, const char *names) {
    char full[FULL_NAME_MAX];
    const struct tensor *t = NULL;
    while (names && !t) {
        names = next_name(b, names, full);
        t = store_find(b->store, full);
    }
    return t;
}

bool bind_has(const struct binder *b, const char *names) {
    return find(b, names) != NULL;
}

/* With integers their scales are used. */
static void mark(struct binder *b, const struct tensor *t) {
    const struct tensor *scales = store_scales(b->store, t);
    b->used[t - store_at(b->store, 0)] = 1;
    if (scales)
        b->used[scales - store_at(b->store, 0)] = 1;
}

void bind_ignore(struct binder *b, const char *names) {
    char full[FULL_NAME_MAX];
    while (names) {
        names = next_name(b, names, full);
        size_t length = strlen(full);
        bool all = length > 0 && full[length - 1] == '*';
        for (size_t i = 0; i < store_count(b->store); i++) {
            const char *name = store_at(b->store, i)->name;
            if (all ? strncmp(name, full, length - 1) == 0 : strcmp(name, full) == 0)
                mark(b, store_at(b->store, i));
        }
    }
}

/* ---- shapes -------------------------------------------------------------------------------- */

/* "[320,4,3,3]" */
static void print_shape(char *out, size_t size, size_t ndim, const size_t *shape) {
    size_t used = (size_t)snprintf(out, size, "[");
    for (size_t i = 0; i < ndim && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, i ? ",%zu" : "%zu", shape[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
}

static size_t without_trailing_ones(size_t ndim, const size_t *shape) {
    while (ndim > 0 && shape[ndim - 1] == 1)
        ndim--;
    return ndim;
}

/* Trailing ones do not move data: a 1x1 convolution (N,K,1,1) is the matrix (N,K). */
static bool same_shape(const struct tensor *t, size_t ndim, const size_t *shape) {
    size_t n = without_trailing_ones(t->ndim, t->shape);
    return n == without_trailing_ones(ndim, shape) &&
           (n == 0 || memcmp(t->shape, shape, n * sizeof *shape) == 0);
}

/* Counts a failure; the first few go into the report. */
static void complain(struct binder *b, const char *format, ...) PRINTF_LIKE(2, 3);
static void complain(struct binder *b, const char *format, ...) {
    char line[FULL_NAME_MAX];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size_t used = strlen(b->report);
    if (n > 0 && b->failures < NAMES_SHOWN && used + strlen(line) + 3 < sizeof b->report) {
        strcat(b->report, used ? "; " : "");
        strcat(b->report, line);
    }
    b->failures++;
}

/* Whether values of this type can be used; complains where not. */
static bool usable(struct binder *b, const struct tensor *t, bool integers) {
    if (dtype_is_float(t->dtype) || (integers && t->dtype == DTYPE_I8 && t->scales))
        return true;
    if (integers && t->dtype == DTYPE_I8)
        complain(b, "tensor %s has dtype I8, but its scales, %s_scale, are missing", t->name,
                 t->name);
    else
        complain(b, "tensor %s has dtype %s, expected F32, F16%s", t->name, dtype_name(t->dtype),
                 integers ? ", BF16 or I8" : " or BF16");
    return false;
}

/* The tensor of that name and shape, or NULL after complaining; `integers`: may be I8. */
static const struct tensor *take(struct binder *b, const char *names, size_t ndim,
                                 const size_t *shape, bool integers) {
    const struct tensor *t = find(b, names);
    if (!t) {
        char full[FULL_NAME_MAX];
        next_name(b, names, full);
        complain(b, "tensor %s is missing", full);
        return NULL;
    }
    mark(b, t);
    if (!same_shape(t, ndim, shape)) {
        char actual[128], expected[128];
        print_shape(actual, sizeof actual, t->ndim, t->shape);
        print_shape(expected, sizeof expected, ndim, shape);
        complain(b, "tensor %s has shape %s, expected %s", t->name, actual, expected);
        return NULL;
    }
    return usable(b, t, integers) ? t : NULL;
}

/* ---- binding ------------------------------------------------------------------------------- */

static void bind_as(struct binder *b, struct tensor *out, const char *names, size_t ndim,
                    const size_t *shape, bool integers) {
    const struct tensor *t = take(b, names, ndim, shape, integers);
    memset(out, 0, sizeof *out);
    if (!t)
        return;
    *out = *t;
    out->ndim = ndim;
    for (size_t i = 0; i < TENSOR_DIMS; i++)
        out->shape[i] = i < ndim ? shape[i] : 0;
}

void bind_tensor(struct binder *b, struct tensor *out, const char *names, size_t ndim,
                 const size_t *shape) {
    bind_as(b, out, names, ndim, shape, false);
}

void bind_weight(struct binder *b, struct tensor *out, const char *names, size_t ndim,
                 const size_t *shape) {
    bind_as(b, out, names, ndim, shape, true);
}

void bind_matrix(struct binder *b, struct tensor *out, const char *names, size_t rows,
                 size_t columns) {
    const size_t shape[2] = {rows, columns};
    bind_tensor(b, out, names, 2, shape);
}

void bind_vector(struct binder *b, const float **out, const char *names, size_t n) {
    const struct tensor *t = take(b, names, 1, &n, false);
    *out = NULL;
    if (!t)
        return;
    size_t bytes = n * sizeof(float); /* fits: the file holds n values of at least two bytes */
    float *wide = store_allocate(b->store, bytes);
    if (!wide) {
        b->status = fail_memory(b->cx, t->name, bytes);
        return;
    }
    tensor_widen(wide, t);
    *out = wide;
}

/* One line of the log with the count and the first names of what nobody asked for. */
static void tell_unused(const struct binder *b) {
    char names[512];
    size_t count = 0, used = 0;
    names[0] = '\0';
    for (size_t i = 0; i < store_count(b->store); i++) {
        if (b->used[i] || count++ >= NAMES_SHOWN)
            continue;
        int n = snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                         store_at(b->store, i)->name);
        if (n > 0 && (size_t)n < sizeof names - used)
            used += (size_t)n;
        names[used] = '\0';
    }
    if (count > 0)
        tell(b->cx, DL_LOG_WARNING, "%s: %zu %s not used: %s%s", store_path(b->store), count,
             count == 1 ? "tensor is" : "tensors are", names, count > NAMES_SHOWN ? ", ..." : "");
}

int bind_end(struct binder *b) {
    if (b->status == DL_OK && b->failures > 1)
        b->status = fail(b->cx, DL_MODEL, "%s: %s (%zu tensors do not fit the config)",
                         store_path(b->store), b->report, b->failures);
    else if (b->status == DL_OK && b->failures == 1)
        b->status = fail(b->cx, DL_MODEL, "%s: %s", store_path(b->store), b->report);
    else if (b->status == DL_OK)
        tell_unused(b);
    free(b->used);
    b->used = NULL;
    store_drop_pages(b->store); /* vectors are copied; matrices will be read when they are needed */
    store_read_whole(b->store);
    return b->status;
}
