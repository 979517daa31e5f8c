/* The file pages of weights.
 *
 * Weights are mapped from files: a page becomes resident when it is first read and stays so until
 * it is given back; reading it again costs a page fault, or the disk where the system has dropped
 * it from its cache. A context that is told to (thrift.give_back) gives the pages of a weight back
 * as soon as the product with it is done, so that one weight at a time is resident, and asks the
 * system to read the next one meanwhile: the order of the weights is known from the plan, whose
 * pass over the layers is the same.
 *
 *     pages_use(cx, w);  ... a product with w ...  pages_done(cx, w);
 *
 * Only weights that lie in the files named to the context are given back: their contents never
 * change. */
#ifndef DLENS_BASE_PAGES_H
#define DLENS_BASE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

struct dl_context;
struct mapping; /* base/file.h */
struct tensor;  /* base/tensor.h */

struct paging {
    struct mapping *files; /* (file_count) of weights that may be given back */
    size_t file_count;
    struct tensor *order;     /* (count) the last plan's weights in order of first use */
    size_t count, room, next; /* next: where the running pass is */
};

/* Starts a plan; see arena_plan, which calls it. */
void pages_plan(struct dl_context *cx);

/* Before and after the use of a weight. In plan mode pages_use notes it in the order. */
void pages_use(struct dl_context *cx, const struct tensor *w);
void pages_done(struct dl_context *cx, const struct tensor *w);

/* Bytes of weights that are resident at once in the pass last planned: all of them, or the largest
 * where they are given back. */
size_t pages_planned(const struct dl_context *cx);

/* Names a file whose weights may be given back; it stays mapped until pages_forget, which names
 * none. DL_FAILED without memory. */
int pages_add_file(struct dl_context *cx, const struct mapping *file);
void pages_forget(struct dl_context *cx);

/* Advises the system on a part of a file mapped read-only: give its pages back; read them ahead;
 * from now on read what is asked for alone, or along with what lies beside it (the usual). Pages
 * that it maps along with others, when those are read, are given back along with them. */
enum pages_advice { PAGES_GIVE_BACK, PAGES_READ_AHEAD, PAGES_SCATTERED, PAGES_USUAL };
void pages_advise(const struct mapping *file, const void *data, size_t bytes,
                  enum pages_advice advice);

void pages_free(struct dl_context *cx);

/* Resident memory of this process now; 0 where the system does not tell. */
size_t resident_memory(void);

#endif
