/* The arena: a stack of 64-byte aligned pieces in one anonymous mapping.
 *
 * `used` is a multiple of ALIGN and the only state of the stack: a mark is its value, a release
 * sets it back. In plan mode the same arithmetic runs without a block behind it and saturates
 * instead of overflowing, so that an absurd size ends in a refusal by arena_reserve.
 *
 * Under AddressSanitizer each piece is followed by a zone that may not be touched, freed pieces
 * may not be touched either, and fresh ones are filled with NaN: an overrun or a value read before
 * it is written shows. */
#include "base/context.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECKED_ARENA
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CHECKED_ARENA
#endif

enum { ALIGN = 64, LARGE_PAGE = 2 << 20 };

#ifdef CHECKED_ARENA
#include <sanitizer/asan_interface.h>
enum { RED_ZONE = ALIGN };
static void forbid(void *start, size_t bytes) {
    __asan_poison_memory_region(start, bytes);
}
static void permit(void *start, size_t bytes) {
    __asan_unpoison_memory_region(start, bytes);
}
static void make_nan(void *start, size_t bytes) {
    memset(start, 0xff, bytes);
}
#else
enum { RED_ZONE = 0 };
static void forbid(void *start, size_t bytes) {
    (void)start, (void)bytes;
}
static void permit(void *start, size_t bytes) {
    (void)start, (void)bytes;
}
static void make_nan(void *start, size_t bytes) {
    (void)start, (void)bytes;
}
#endif

/* The largest count in plan mode; saturation keeps it a multiple of ALIGN. */
static const size_t LIMIT = SIZE_MAX / ALIGN * ALIGN;

/* What `bytes` take in the arena: rounded up to ALIGN, at least one piece. */
static size_t piece_size(size_t bytes) {
    if (bytes > LIMIT - ALIGN - RED_ZONE)
        return LIMIT;
    return (bytes + ALIGN - 1) / ALIGN * ALIGN + RED_ZONE + (bytes == 0 ? ALIGN : 0);
}

void arena_plan(dl_context *cx) {
    struct arena *a = &cx->arena;
    assert(a->used == 0 && "arena_plan: something is live");
    a->planning = true;
    a->used = a->peak = 0;
    a->work = 0;
    a->rounds = 1;
    pages_plan(cx);
}

size_t arena_plan_end(dl_context *cx) {
    cx->arena.planning = false;
    cx->arena.used = 0;
    return cx->arena.peak;
}

/* Kilobytes behind a key of /proc/meminfo. */
static bool meminfo(const char *text, const char *key, unsigned long long *kilobytes) {
    const char *line = strstr(text, key);
    return line && sscanf(line + strlen(key), "%llu", kilobytes) == 1;
}

/* The start of a small file of the system, "" if it is not there. */
static void read_start(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "r");
    const size_t n = file ? fread(text, 1, size - 1, file) : 0;
    text[n] = '\0';
    if (file)
        fclose(file);
}

size_t machine_memory(void) {
    static const char *const limits[] = {"/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    char text[4096];
    unsigned long long memory, swap, limit, least = SIZE_MAX;
    read_start("/proc/meminfo", text, sizeof text);
    if (meminfo(text, "MemTotal:", &memory) && meminfo(text, "SwapTotal:", &swap))
        least = (memory + swap) * 1024;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        read_start(limits[i], text, sizeof text); /* "max" where there is none */
        if (sscanf(text, "%llu", &limit) == 1 && limit > 0 && limit < least)
            least = limit;
    }
    return (size_t)least;
}

/* Gives back what a larger plan left resident behind the first `bytes`. */
static void trim(const struct arena *a, size_t bytes) {
    const uintptr_t end = (uintptr_t)a->base + a->capacity;
    const uintptr_t first = ((uintptr_t)a->base + bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    if (first < end)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

int arena_reserve(dl_context *cx, const char *what) {
    struct arena *a = &cx->arena;
    size_t bytes = arena_plan_end(cx);
    if (bytes <= a->capacity) {
        trim(a, bytes);
        return DL_OK;
    }
    arena_free(cx);
    if (bytes > PTRDIFF_MAX || bytes > machine_memory())
        return fail_memory(cx, what, bytes);
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return fail_memory(cx, what, bytes);
#ifdef MADV_HUGEPAGE
    /* Rows of pictures lie pages apart: large pages spare the kernels the look-up of each (5 to 8 %
     * of a matrix product's time). A wish: whether it is granted does not matter. */
    madvise(block, bytes, MADV_HUGEPAGE);
#endif
    forbid(block, bytes);
    a->base = block;
    a->capacity = a->peak = bytes;
    return DL_OK;
}

void *arena_bytes(dl_context *cx, size_t bytes) {
    struct arena *a = &cx->arena;
    size_t start = a->used, size = piece_size(bytes);
    if (a->planning) {
        a->used = size > LIMIT - start ? LIMIT : start + size;
        if (a->used > a->peak)
            a->peak = a->used;
        return (void *)(uintptr_t)(ALIGN + (start < LIMIT - ALIGN ? start : 0));
    }
    /* The real pass asks for what the plan counted; anything else is an error in the program. */
    assert(a->base && size <= a->capacity - start && "arena: more than was planned");
    permit(a->base + start, bytes);
    make_nan(a->base + start, bytes);
    a->used = start + size;
    return a->base + start;
}

float *floats(dl_context *cx, size_t count) {
    size_t bytes;
    return arena_bytes(cx, size_mul(count, sizeof(float), &bytes) ? bytes : LIMIT);
}

size_t arena_mark(const dl_context *cx) {
    return cx->arena.used;
}

void arena_release(dl_context *cx, size_t mark) {
    struct arena *a = &cx->arena;
    assert(mark <= a->used);
    if (!a->planning && a->base)
        forbid(a->base + mark, a->used - mark);
    a->used = mark;
}

float *floats_settle(dl_context *cx, size_t mark, const float *from, size_t count) {
    return floats_spread(cx, mark, from, count, count, 0);
}

float *floats_spread(dl_context *cx, size_t mark, const float *from, size_t count, size_t total,
                     size_t at) {
    struct arena *a = &cx->arena;
    if (a->planning) {
        arena_release(cx, mark);
        return floats(cx, total);
    }
    size_t bytes = total * sizeof *from; /* fits, and is there: the plan has made the piece */
    float *piece = (float *)(void *)(a->base + mark);
    assert(from >= piece && piece_size(bytes) <= a->capacity - mark);
    permit(piece, a->capacity - mark);
    memmove(piece + at, from, count * sizeof *from);
    a->used = a->capacity; /* forbids all behind the piece */
    arena_release(cx, mark);
    permit(piece, bytes);
    a->used = mark + piece_size(bytes);
    return piece;
}

size_t plan_rounds(dl_context *cx, size_t rounds) {
    cx->arena.rounds = planning(cx) ? rounds : 1;
    return cx->arena.rounds;
}

bool planning(const dl_context *cx) {
    return cx->arena.planning;
}

void arena_free(dl_context *cx) {
    struct arena *a = &cx->arena;
    if (a->base) {
        permit(a->base, a->capacity);
        munmap(a->base, a->capacity);
    }
    memset(a, 0, sizeof *a);
}
