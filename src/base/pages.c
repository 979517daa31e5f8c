/* The file pages of weights. See pages.h. */
#include "base/pages.h"

#include "base/context.h"
#include "base/file.h"
#include "base/tensor.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Around a page that is read Linux maps those that are in its cache, in an aligned window of this
 * size (fault_around_bytes). */
enum { WINDOW = 1 << 16 };

static size_t bytes_of(const struct tensor *w) {
    return tensor_count(w) * dtype_size(w->dtype);
}

void pages_advise(const struct mapping *file, const void *data, size_t bytes,
                  enum pages_advice advice) {
    static const int advices[] = {[PAGES_GIVE_BACK] = MADV_DONTNEED,
                                  [PAGES_READ_AHEAD] = MADV_WILLNEED,
                                  [PAGES_SCATTERED] = MADV_RANDOM,
                                  [PAGES_USUAL] = MADV_NORMAL};
    const uintptr_t start = (uintptr_t)file->data, stop = start + file->size;
    uintptr_t first = (uintptr_t)data / WINDOW * WINDOW;
    uintptr_t last = ((uintptr_t)data + bytes + WINDOW - 1) / WINDOW * WINDOW;
    if (first < start) /* mappings begin with a page */
        first = start;
    if (last > stop)
        last = stop;
    /* a wish: nothing depends on it */
    madvise((void *)first, last - first, advices[advice]);
}

/* ---- the files ------------------------------------------------------------------------------- */

int pages_add_file(dl_context *cx, const struct mapping *file) {
    struct paging *p = &cx->paging;
    struct mapping *files = realloc(p->files, (p->file_count + 1) * sizeof *files);
    if (!files)
        return fail_memory(cx, "weights", (p->file_count + 1) * sizeof *files);
    p->files = files;
    p->files[p->file_count++] = *file;
    return DL_OK;
}

void pages_forget(dl_context *cx) {
    cx->paging.file_count = 0;
    cx->paging.count = 0;
}

/* The file that a weight lies in; NULL for another's. */
static const struct mapping *file_of(const struct paging *p, const struct tensor *w) {
    for (size_t i = 0; i < p->file_count; i++) {
        const uintptr_t start = (uintptr_t)p->files[i].data, at = (uintptr_t)w->data;
        if (at >= start && at - start < p->files[i].size)
            return &p->files[i];
    }
    return NULL;
}

static void advise(const struct paging *p, const struct tensor *w, enum pages_advice advice) {
    const struct mapping *file = file_of(p, w);
    if (file)
        pages_advise(file, w->data, bytes_of(w), advice);
}

/* ---- the order of use ------------------------------------------------------------------------ */

void pages_plan(dl_context *cx) {
    cx->paging.count = cx->paging.next = 0;
}

/* Finds w in the order, from where the pass was last, and moves the pass behind it. */
static bool find(struct paging *p, const struct tensor *w) {
    for (size_t i = 0; i < p->count; i++) {
        const size_t at = (p->next + i) % p->count;
        if (p->order[at].data != w->data)
            continue;
        p->next = (at + 1) % p->count;
        return true;
    }
    return false;
}

/* Without memory for it the order is not known in full, and less is read ahead. */
static void append(struct paging *p, const struct tensor *w) {
    if (p->count == p->room) {
        const size_t room = p->room ? 2 * p->room : 256;
        struct tensor *order = realloc(p->order, room * sizeof *order);
        if (!order)
            return;
        p->order = order;
        p->room = room;
    }
    p->order[p->count++] = *w;
    p->next = 0; /* what comes next, if it is known, is the first weight of another pass */
}

void pages_use(dl_context *cx, const struct tensor *w) {
    struct paging *p = &cx->paging;
    const bool known = (planning(cx) || cx->thrift.give_back) && find(p, w);
    if (planning(cx) && !known)
        append(p, w);
    else if (!planning(cx) && known && p->order[p->next].data != w->data)
        advise(p, &p->order[p->next], PAGES_READ_AHEAD);
}

void pages_done(dl_context *cx, const struct tensor *w) {
    if (cx->thrift.give_back && !planning(cx))
        advise(&cx->paging, w, PAGES_GIVE_BACK);
}

size_t pages_planned(const dl_context *cx) {
    const struct paging *p = &cx->paging;
    size_t all = 0, largest = 0;
    for (size_t i = 0; i < p->count; i++) {
        const size_t bytes = file_of(p, &p->order[i]) ? bytes_of(&p->order[i]) : 0;
        all += bytes;
        largest = bytes > largest ? bytes : largest;
    }
    return cx->thrift.give_back && largest > 0 ? largest + 2 * WINDOW : all;
}

void pages_free(dl_context *cx) {
    free(cx->paging.order);
    free(cx->paging.files);
    cx->paging = (struct paging){0};
}

/* ---- the process ----------------------------------------------------------------------------- */

size_t resident_memory(void) {
    unsigned long total, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    const bool read = fscanf(f, "%lu %lu", &total, &pages) == 2;
    fclose(f);
    return read ? pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
}
