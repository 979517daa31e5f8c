/* The weights of a part in another dtype. See weights.h. */
#include "convert/weights.h"

#include "base/file.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the plan -------------------------------------------------------------------------------- */

enum { NAME_ROOM = 256 + sizeof STORE_SCALES }; /* longer names keep their floats */

/* Whether NAME.weight is a table that is looked up, not multiplied with. */
static bool is_table(const char *name) {
    static const char *const tables[] = {"shared",          "embed_tokens",
                                         "token_embedding", "position_embedding",
                                         "class_embedding", "relative_attention_bias"};
    const char *end = strrchr(name, '.'), *begin = end;
    while (begin > name && begin[-1] != '.')
        begin--;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (strlen(tables[i]) == (size_t)(end - begin) &&
            strncmp(tables[i], begin, strlen(tables[i])) == 0)
            return true;
    return false;
}

static bool becomes_integers(const struct store *store, const struct tensor *t) {
    static const char ending[] = ".weight";
    char scales[NAME_ROOM];
    const size_t length = strlen(t->name), end = sizeof ending - 1;
    if (!dtype_is_float(t->dtype) || (t->ndim != 2 && t->ndim != 4) ||
        tensor_row(t) < INTEGER_ROW || length <= end || length + sizeof STORE_SCALES > NAME_ROOM ||
        strcmp(t->name + length - end, ending) != 0 || is_table(t->name))
        return false;
    snprintf(scales, sizeof scales, "%s%s", t->name, STORE_SCALES);
    return !store_find(store, scales);
}

static void add(struct part *p, const struct tensor *from, enum dtype dtype, enum making making) {
    p->made[p->count] = *from;
    p->made[p->count].dtype = dtype;
    p->made[p->count].data = p->made[p->count].scales = NULL;
    p->sources[p->count] = (struct source){from, making};
    p->count++;
}

/* Scales in front of the integers, as any F32 tensor is in the file. */
static void add_integers(struct part *p, const struct tensor *t) {
    char *name = p->names + p->count * NAME_ROOM;
    snprintf(name, NAME_ROOM, "%s%s", t->name, STORE_SCALES);
    add(p, t, DTYPE_F32, MAKE_SCALES);
    p->made[p->count - 1].name = name;
    p->made[p->count - 1].ndim = 1;
    add(p, t, DTYPE_I8, MAKE_INTEGERS);
}

static void plan_tensor(struct part *p, const struct tensor *t) {
    const bool weights = dtype_is_float(t->dtype) || (t->dtype == DTYPE_I8 && t->scales);
    if (p->convert && p->to != DTYPE_I8 && store_is_scales(p->store, t))
        return; /* its integers become floats */
    if (!p->convert || !weights || t->dtype == p->to)
        add(p, t, t->dtype, MAKE_COPY);
    else if (p->to != DTYPE_I8)
        add(p, t, p->to, MAKE_FLOATS);
    else if (becomes_integers(p->store, t))
        add_integers(p, t);
    else
        add(p, t, t->dtype, MAKE_COPY);
}

/* The dtype of most weights. */
static enum dtype most_common(const struct tensor *tensors, size_t count) {
    size_t values[DTYPES] = {0};
    enum dtype most = DTYPE_F32;
    for (size_t i = 0; i < count; i++) {
        const enum dtype dtype = tensors[i].dtype;
        if (dtype_is_float(dtype) || dtype == DTYPE_I8)
            values[dtype] += tensor_count(&tensors[i]);
        most = values[dtype] > values[most] ? dtype : most;
    }
    return most;
}

int part_plan(dl_context *cx, struct part *p, enum dtype to) {
    const size_t old = store_count(p->store), most = 2 * old;
    p->to = to;
    p->before = store_bytes(p->store);
    DL_TRY(allocate(cx, p->name, most, sizeof *p->made, (void **)&p->made));
    DL_TRY(allocate(cx, p->name, most, sizeof *p->sources, (void **)&p->sources));
    DL_TRY(allocate(cx, p->name, most, NAME_ROOM, (void **)&p->names));
    for (size_t i = 0; i < old; i++)
        plan_tensor(p, store_at(p->store, i));
    p->from = most_common(store_at(p->store, 0), old);
    p->to = most_common(p->made, p->count);
    for (size_t i = 0; i < p->count; i++) {
        p->tensors += p->sources[i].making == MAKE_FLOATS || p->sources[i].making == MAKE_INTEGERS;
        p->after += tensor_count(&p->made[i]) * dtype_size(p->made[i].dtype);
    }
    return DL_OK;
}

void part_free(struct part *part) {
    store_close(part->store);
    free(part->name);
    free(part->made);
    free(part->sources);
    free(part->names);
    memset(part, 0, sizeof *part);
}

/* ---- writing --------------------------------------------------------------------------------- */

enum { PIECE = 1 << 15 }; /* values at a time */

struct writing {
    struct part *part;
    part_step step;
    void *user;
    float wide[PIECE];  /* old values */
    float again[PIECE]; /* and what is left of them */
    union {
        uint16_t halves[PIECE];
        int8_t integers[PIECE];
    } out;
    double error, top; /* of the tensor: largest difference, largest value */
};

/* Values [from, from + n) of row i, in f32. */
static void widen_piece(dl_context *cx, struct writing *w, const struct tensor *t, size_t i,
                        size_t from, size_t n) {
    const size_t at = i * tensor_row(t) + from;
    cx->kernels->widen(w->wide, (const char *)t->data + at * dtype_size(t->dtype), t->dtype,
                       t->scales ? t->scales[i] : 1.0f, n);
}

static void note_error(struct writing *w, size_t n) {
    for (size_t k = 0; k < n; k++) {
        const double error = fabs((double)w->again[k] - (double)w->wide[k]);
        w->error = error > w->error ? error : w->error;
        w->top = fmax(w->top, fabs((double)w->wide[k]));
    }
}

/* n floats as `dtype`; what was finite stays so. */
static int write_floats(dl_context *cx, FILE *stream, struct writing *w, const struct tensor *t,
                        enum dtype dtype, size_t n) {
    if (dtype == DTYPE_F32) {
        fwrite(w->wide, sizeof *w->wide, n, stream);
        return DL_OK;
    }
    for (size_t k = 0; k < n; k++)
        w->out.halves[k] = dtype == DTYPE_F16 ? f32_to_f16(w->wide[k]) : f32_to_bf16(w->wide[k]);
    cx->kernels->widen(w->again, w->out.halves, dtype, 1.0f, n);
    for (size_t k = 0; k < n; k++)
        if (isinf(w->again[k]) && isfinite(w->wide[k]))
            return fail(cx, DL_FAILED, "%s: tensor %s: %g is too large for %s%s",
                        store_path(w->part->store), t->name, (double)w->wide[k],
                        dtype == DTYPE_F16 ? "f16, which ends at 65504" : "bf16",
                        dtype == DTYPE_F16 ? "; --to bf16 holds it" : "");
    note_error(w, n);
    fwrite(w->out.halves, sizeof *w->out.halves, n, stream);
    return DL_OK;
}

/* The scale of row i: its largest value becomes 127. */
static int find_scale(dl_context *cx, struct writing *w, const struct tensor *t, size_t i,
                      float *scale) {
    const size_t width = tensor_row(t);
    float largest = 0.0f;
    for (size_t from = 0; from < width; from += PIECE) {
        const size_t n = min(PIECE, width - from);
        widen_piece(cx, w, t, i, from, n);
        for (size_t k = 0; k < n; k++) {
            if (!isfinite(w->wide[k]))
                return fail(
                    cx, DL_FAILED,
                    "%s: tensor %s: row %zu holds %g, which int8 cannot; --to bf16 keeps it",
                    store_path(w->part->store), t->name, i, (double)w->wide[k]);
            largest = fmaxf(largest, fabsf(w->wide[k]));
        }
    }
    *scale = largest / 127.0f;
    return DL_OK;
}

static int write_scales(dl_context *cx, FILE *stream, struct writing *w, const struct tensor *t) {
    for (size_t i = 0; i < t->shape[0]; i++) {
        float scale;
        DL_TRY(find_scale(cx, w, t, i, &scale));
        fwrite(&scale, sizeof scale, 1, stream);
    }
    return DL_OK;
}

/* The nearest of the integers -127 .. 127, ties to even. A scale so small that it is 0 makes 0. */
static int8_t quantised(float x, float scale) {
    const float q = scale > 0.0f ? rintf(x / scale) : 0.0f;
    return (int8_t)fmaxf(-127.0f, fminf(127.0f, q));
}

static int write_integers(dl_context *cx, FILE *stream, struct writing *w, const struct tensor *t) {
    const size_t width = tensor_row(t);
    for (size_t i = 0; i < t->shape[0]; i++) {
        float scale;
        DL_TRY(find_scale(cx, w, t, i, &scale));
        for (size_t from = 0; from < width; from += PIECE) {
            const size_t n = min(PIECE, width - from);
            if (width > PIECE) /* else it is there still */
                widen_piece(cx, w, t, i, from, n);
            for (size_t k = 0; k < n; k++) {
                w->out.integers[k] = quantised(w->wide[k], scale);
                w->again[k] = scale * (float)w->out.integers[k];
            }
            note_error(w, n);
            fwrite(w->out.integers, 1, n, stream);
        }
    }
    return DL_OK;
}

/* Floats in pieces; those of a tensor of integers row by row, as each has a scale of its own. */
static int write_converted(dl_context *cx, FILE *stream, struct writing *w, const struct tensor *t,
                           enum dtype dtype) {
    struct tensor flat = *t;
    if (!t->scales) {
        flat.shape[0] = 1;
        flat.shape[1] = tensor_count(t);
        flat.ndim = 2;
    }
    const size_t width = tensor_row(&flat);
    for (size_t i = 0; i < flat.shape[0]; i++)
        for (size_t from = 0; from < width; from += PIECE) {
            const size_t n = min(PIECE, width - from);
            widen_piece(cx, w, &flat, i, from, n);
            DL_TRY(write_floats(cx, stream, w, t, dtype, n));
        }
    return DL_OK;
}

/* A tensor_writer. */
static int write_tensor(dl_context *cx, void *stream, const struct tensor *made, void *user) {
    struct writing *w = user;
    struct part *p = w->part;
    const struct source *source = &p->sources[made - p->made];
    const struct tensor *t = source->tensor;
    int status = DL_OK;
    w->error = w->top = 0.0;
    switch (source->making) {
    case MAKE_COPY:
        fwrite(t->data, dtype_size(t->dtype), tensor_count(t), stream);
        break;
    case MAKE_FLOATS:
        status = write_converted(cx, stream, w, t, made->dtype);
        break;
    case MAKE_SCALES:
        status = write_scales(cx, stream, w, t);
        break;
    case MAKE_INTEGERS:
        status = write_integers(cx, stream, w, t);
        break;
    }
    if (w->top > 0.0)
        p->largest_error = fmax(p->largest_error, w->error / w->top);
    store_drop_tensor(p->store, t);
    return status == DL_OK ? w->step(cx, w->user) : status;
}

int part_write(dl_context *cx, struct part *part, const char *path, part_step step, void *user) {
    static const char *const metadata[] = {"format", "pt", NULL}; /* transformers asks for it */
    struct writing *w;
    struct mapping file;
    DL_TRY(allocate(cx, part->name, 1, sizeof *w, (void **)&w));
    w->part = part;
    w->step = step;
    w->user = user;
    int status = store_write_with(cx, path, part->made, part->count, metadata, write_tensor, w);
    free(w);
    DL_TRY(status);
    DL_TRY(file_map(cx, path, &file));
    part->after = file.size;
    file_unmap(&file);
    return DL_OK;
}
