/* Loops of tasks over threads. See threads.h. */
#include "kernels/threads.h"

#include "base/size.h"

#include <assert.h>

void run_tasks(dl_context *cx, const struct task_loop *loop) {
    const size_t mark = arena_mark(cx);
    const size_t threads = min((size_t)threads_for(cx, loop->work), loop->tasks);
    void *counted[24]; /* in plan mode there is no memory behind the arena's pointers */
    assert(loop->scratch_size <= sizeof counted);
    char *scratch = arena_bytes(cx, threads * loop->scratch_size);
    for (size_t t = 0; t < threads; t++)
        loop->take(cx, loop->job,
                   planning(cx) ? (void *)counted : scratch + t * loop->scratch_size);
    if (planning(cx)) {
        cx->arena.work += (double)cx->arena.rounds * loop->work;
    } else {
#pragma omp parallel num_threads((int)threads)
        {
            if (loop->enter)
                loop->enter();
#pragma omp for schedule(dynamic, 1)
            for (size_t i = 0; i < loop->tasks; i++)
                loop->run(loop->job, scratch + thread_index() * loop->scratch_size, i);
            if (loop->leave)
                loop->leave();
        }
    }
    arena_release(cx, mark);
}
