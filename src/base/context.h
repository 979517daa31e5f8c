/* The context: what one session of the library carries through every call.
 *
 * It holds the last error, the log, the number of threads, the kernel table chosen for this
 * machine and the arena. There is no other state: two contexts never influence each other.
 *
 * Errors. A function that can fail returns 0 (DL_OK) or a status of include/dlens.h; the message
 * is written once, where the failure is found, as "WHAT: WHY" (file, tensor or option first, then
 * expected and actual, then a hint after "; "). DL_TRY hands a status up. Nothing here prints,
 * exits or aborts. */
#ifndef DLENS_BASE_CONTEXT_H
#define DLENS_BASE_CONTEXT_H

#include "base/arena.h"
#include "base/pages.h"
#include "dlens.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernels; /* kernels/kernels.h */
struct products;
struct op_log;  /* kernels/op_log.h */

enum { MESSAGE_MAX = 2048 };

/* What a context does to need less memory, each at the price of time; chosen by a plan
 * (family/memory.h). */
struct thrift {
    size_t limit;   /* resident memory allowed; 0: as much as the machine has */
    bool give_back; /* weights are given back after each use (base/pages.h) */
    bool halves;    /* the two halves of guidance one after another */
    size_t strips;  /* so many levels of a decoder, the finest first, are computed in strips */
    int threads;    /* not 0: the context's threads before some were given up */
};

struct dl_context {
    int status;                /* of the last failure; DL_OK before the first */
    char message[MESSAGE_MAX]; /* its message, UTF-8, no newline at the end */
    dl_log_fn log;             /* receives warnings and notes; NULL: dropped */
    void *log_user;
    int threads;                   /* at least 1 */
    const struct kernels *kernels; /* never NULL */
    const struct products *fast;   /* for products in less than f32; NULL: in f32 */
    const struct products *matrices; /* for those of f32 matrices; NULL: those of `kernels` */
    bool hold_f16;                 /* activations held while others are made: in f16 (nn/held.h) */
    struct op_log *op_log;         /* takes note of what is planned; NULL: nobody asks */
    char version[96];              /* text of dl_version */
    struct arena arena;            /* activations and scratch of the running forward pass */
    struct paging paging;          /* and its weights' file pages */
    struct thrift thrift;
};

#if defined(__GNUC__)
#define PRINTF_LIKE(format_index, first_argument)                                                  \
    __attribute__((format(printf, format_index, first_argument)))
#else
#define PRINTF_LIKE(format_index, first_argument)
#endif

/* Writes the message of a failure and returns `status`, so that one writes
 * `return fail(cx, DL_MODEL, "%s: tensor %s is missing", path, name);` */
int fail(dl_context *cx, int status, const char *format, ...) PRINTF_LIKE(3, 4);

/* The message for memory that the system does not give: `what` names the thing wanted. */
int fail_memory(dl_context *cx, const char *what, size_t bytes);

/* Tells the log (level DL_LOG_WARNING or DL_LOG_NOTE); the work goes on. */
void tell(dl_context *cx, int level, const char *format, ...) PRINTF_LIKE(3, 4);

#define DL_TRY(call)                                                                               \
    do {                                                                                           \
        int dl_try_status = (call);                                                                \
        if (dl_try_status != DL_OK)                                                                \
            return dl_try_status;                                                                  \
    } while (0)

/* Size arithmetic that says when it does not fit: false on overflow, *out is then untouched. */
bool size_mul(size_t a, size_t b, size_t *out);
bool size_add(size_t a, size_t b, size_t *out);

/* calloc with a message: *out is zeroed memory for count elements (of at least one byte), freed by
 * the caller with free(). DL_FAILED with `what` in the message when it cannot be had. */
int allocate(dl_context *cx, const char *what, size_t count, size_t size, void **out);

#endif
