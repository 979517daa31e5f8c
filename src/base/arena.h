/* The arena: one block of memory from which a forward pass takes its activations and scratch.
 *
 *     mark = arena_mark(cx);  x = floats(cx, n);  ...  arena_release(cx, mark);
 *
 * Plan mode. A forward pass first runs with the arena in plan mode, in which it only counts and
 * every layer returns before it computes; the peak is then known before work starts, can be
 * reported or refused, and is reserved at once. The real pass makes the same calls in the same
 * order, so its allocations cannot fail and layers can return void:
 *
 *     arena_plan(cx);  forward(cx, ...);  DL_TRY(arena_reserve(cx, "UNet"));  forward(cx, ...);
 */
#ifndef DLENS_BASE_ARENA_H
#define DLENS_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct dl_context;

struct arena {
    unsigned char *base; /* page aligned, NULL before the first arena_reserve */
    size_t capacity, used, peak;
    bool planning;
    double work;   /* multiply-adds that the layers counted in the last plan */
    size_t rounds; /* what is planned now counts so often */
};

/* Starts plan mode: counting from zero. Nothing may be live in the arena. */
void arena_plan(struct dl_context *cx);

/* Ends plan mode and returns the peak in bytes, reserving nothing. */
size_t arena_plan_end(struct dl_context *cx);

/* Ends plan mode and makes the block at least as large as the peak counted. Pages are taken from
 * the system when first touched. DL_FAILED with `what` in the message if it cannot be had, or is
 * more than the machine has: a system that promises more would kill the process later. */
int arena_reserve(struct dl_context *cx, const char *what);

/* Bytes of memory and swap that this machine (or the container's limit) has; SIZE_MAX where the
 * system does not tell. */
size_t machine_memory(void);

/* Memory for count floats, 64-byte aligned, not zeroed. In plan mode the pointer is not NULL but
 * must not be followed. Lives until arena_release of an earlier mark. */
float *floats(struct dl_context *cx, size_t count);

/* The same for raw bytes. */
void *arena_bytes(struct dl_context *cx, size_t bytes);

size_t arena_mark(const struct dl_context *cx);
void arena_release(struct dl_context *cx, size_t mark);

/* Releases all behind `mark` but count floats at `from` (got since then), which move down to the
 * mark; returns their new place. So a layer's result takes the place of what it was made from. */
float *floats_settle(struct dl_context *cx, size_t mark, const float *from, size_t count);

/* The same into a larger piece, of `total` floats, where they move to place `at`; returns the
 * piece. So a result can grow over what it is made from. */
float *floats_spread(struct dl_context *cx, size_t mark, const float *from, size_t count,
                     size_t total, size_t at);

/* How many of the `rounds` rounds of a loop that are left, all of them equal, the next one stands
 * for: in plan mode all, as they take the same memory, and the work of what follows counts so often
 * until the next call; else 1. Behind the loop it is called with 1. */
size_t plan_rounds(struct dl_context *cx, size_t rounds);

/* True in plan mode: a layer returns here, after its allocations and before its arithmetic. */
bool planning(const struct dl_context *cx);

/* Gives the block back to the system. */
void arena_free(struct dl_context *cx);

#endif
