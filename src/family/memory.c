/* Fitting a run into the memory allowed. See memory.h. */
#include "family/memory.h"

#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* ---- the model's files ----------------------------------------------------------------------- */

int memory_begin(dl_context *cx, const dl_model *model) {
    pages_forget(cx);
    for (size_t i = 0; i < model->component_count; i++)
        if (model->components[i].store)
            DL_TRY(store_allow_giving_back(cx, model->components[i].store));
    return DL_OK;
}

void memory_end(dl_context *cx) {
    pages_forget(cx);
}

void memory_leave(dl_context *cx, const dl_model *model) {
    arena_free(cx);
    for (size_t i = 0; i < model->component_count; i++)
        if (model->components[i].store)
            store_drop_pages(model->components[i].store);
}

/* ---- plans ----------------------------------------------------------------------------------- */

/* The picture as PNG, stacks of threads, small buffers. */
enum { SMALL_THINGS = 1 << 20 };

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

void memory_note(dl_context *cx, dl_plan *plan, size_t arena) {
    const size_t weights = pages_planned(cx);
    plan->bytes = larger(plan->bytes, arena);
    if (cx->thrift.give_back) {
        plan->weights = larger(plan->weights, weights);
        plan->resident = larger(plan->resident, arena + weights);
    } else {
        plan->weights += weights;
        plan->resident = plan->bytes + plan->weights;
    }
}

size_t memory_prompts(const dl_context *cx, const dl_model *model) {
    enum { SHARE = 16, BYTES = 256 << 20, PROMPTS = 32 };
    const size_t one =
        (model->encoder->layers + 1) * model->tokens * model->encoder->hidden_size * sizeof(float);
    const size_t fit = (cx->thrift.limit ? cx->thrift.limit / SHARE : BYTES) / one;
    return fit < 1 ? 1 : fit < PROMPTS ? fit : PROMPTS;
}

/* Resident memory of the process with the model open, but without pages of weights. */
static size_t process_memory(dl_context *cx, const dl_model *model) {
    memory_leave(cx, model);
    return resident_memory();
}

/* What is held beside the arena: the states of the prompts encoded together and of the negative
 * one, the conditionings of a picture, and the picture. */
static size_t held_memory(const dl_context *cx, const dl_model *model,
                          const struct sample_request *r, size_t prompts) {
    const size_t state = model->tokens * model->encoder->hidden_size * sizeof(float);
    const size_t group = memory_prompts(cx, model);
    const size_t together = (prompts < group ? prompts : group) + 1;
    return (model->encoder->layers + 1) * together * state + 4 * state +
           3 * r->width * r->height * (sizeof(float) + 1) + SMALL_THINGS;
}

/* Encoding `count` prompts together. */
static void note_encoder(dl_context *cx, const dl_model *model, size_t count, dl_plan *plan) {
    enum { HALF_BLOCK = 4 }; /* most weights of half a block */
    const bool before = cx->thrift.give_back;
    text_encoder_memory(cx, model->encoder, 1, model->tokens);
    plan->encode = cx->arena.work;
    const size_t arena = text_encoder_memory(cx, model->encoder, count, model->tokens);
    if (!model->encoder->streamed) {
        memory_note(cx, plan, arena);
        return;
    }
    cx->thrift.give_back = true;
    const size_t weights = HALF_BLOCK * pages_planned(cx);
    cx->thrift.give_back = before;
    plan->bytes = arena;
    plan->weights = weights;
    plan->resident = arena + weights;
}

static int plan_phases(dl_context *cx, const dl_model *model, const struct sample_request *r,
                       size_t prompts, dl_plan *plan) {
    const size_t group = memory_prompts(cx, model), held = held_memory(cx, model, r, prompts);
    memset(plan, 0, sizeof *plan);
    note_encoder(cx, model, (prompts < group ? prompts : group) + 1, plan);
    if (model->parts) /* else its text alone is open */
        DL_TRY(model->family->plan(cx, model, r, plan));
    plan->bytes += held;
    plan->resident += held;
    return DL_OK;
}

int memory_plan(dl_context *cx, const dl_model *model, const struct sample_request *request,
                size_t prompts, dl_plan *plan) {
    DL_TRY(model_draws(cx, model));
    const size_t process = process_memory(cx, model);
    int status = memory_begin(cx, model);
    if (status == DL_OK)
        status = plan_phases(cx, model, request, prompts, plan);
    plan->resident += process;
    memory_end(cx);
    return status;
}

/* ---- measures -------------------------------------------------------------------------------- */

/* In order of what they cost in time (bench/README.md). */
struct measure {
    const char *name;
    bool usual;                   /* costs next to nothing */
    bool (*take)(dl_context *cx); /* false: there is no more of it */
};

static bool give_back(dl_context *cx) {
    const bool more = !cx->thrift.give_back;
    cx->thrift.give_back = true;
    return more;
}

static bool strips(dl_context *cx) {
    enum { LEVELS = 3 }; /* coarser ones are small */
    return cx->thrift.strips < LEVELS ? (bool)++cx->thrift.strips : false;
}

static bool halves(dl_context *cx) {
    const bool more = !cx->thrift.halves;
    cx->thrift.halves = true;
    return more;
}

/* Each thread has scratch of its own. */
static bool fewer_threads(dl_context *cx) {
    if (cx->threads < 2)
        return false;
    cx->thrift.threads = cx->thrift.threads ? cx->thrift.threads : cx->threads;
    cx->threads /= 2;
    return true;
}

static void forget_measures(dl_context *cx, size_t limit) {
    if (cx->thrift.threads)
        cx->threads = cx->thrift.threads;
    cx->thrift = (struct thrift){.limit = limit};
}

static const struct measure measures[] = {
    {"weights given back after each use", true, give_back},
    {"decoder in strips", false, strips},
    {"halves of guidance one after another", false, halves},
    {"fewer threads", false, fewer_threads},
};

enum { MEASURES = sizeof measures / sizeof measures[0] };

static void describe(const struct thrift *t, char *out, size_t size) {
    const bool taken[MEASURES] = {t->give_back, t->strips > 0, t->halves, t->threads > 0};
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < MEASURES; i++)
        if (taken[i] && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "",
                                     measures[i].name);
}

/* The cheapest measure that lowers the peak is taken; false if none does. */
static int take_measure(dl_context *cx, const dl_model *model, const struct sample_request *request,
                        size_t prompts, bool usual, dl_plan *plan, bool *taken) {
    const struct thrift before = cx->thrift;
    const int threads = cx->threads;
    *taken = false;
    for (size_t i = 0; i < MEASURES && !*taken; i++) {
        dl_plan less;
        if (usual && !measures[i].usual)
            continue;
        if (!measures[i].take(cx))
            continue;
        DL_TRY(plan_phases(cx, model, request, prompts, &less));
        *taken = less.resident < plan->resident;
        if (*taken) {
            *plan = less;
        } else {
            cx->thrift = before;
            cx->threads = threads;
        }
    }
    return DL_OK;
}

static int choose(dl_context *cx, const dl_model *model, const struct sample_request *request,
                  size_t prompts, size_t process, size_t limit, dl_plan *plan) {
    const bool usual = limit == 0;
    const size_t wanted = usual ? MEMORY_USUAL : limit;
    bool taken = true;
    DL_TRY(plan_phases(cx, model, request, prompts, plan));
    while (taken && process + plan->resident > wanted)
        DL_TRY(take_measure(cx, model, request, prompts, usual, plan, &taken));
    plan->resident += process;
    describe(&cx->thrift, plan->measures, sizeof plan->measures);
    return DL_OK;
}

/* Tells the plan; refuses it where it is too large. */
static int judge_plan(dl_context *cx, const dl_model *model, size_t limit, size_t machine,
                      const dl_plan *plan) {
    tell(cx, DL_LOG_NOTE, "memory: up to %zu MB resident, %zu MB of it weights%s%s",
         plan->resident / 1000000 + 1, plan->weights / 1000000, plan->measures[0] ? "; " : "",
         plan->measures);
    if (limit && plan->resident > limit)
        return fail(cx, DL_FAILED,
                    "--max-memory: this run needs at least %zu MB of resident memory; %zu MB are "
                    "allowed%s%s",
                    plan->resident / 1000000 + 1, limit / 1000000,
                    model->parts ? "; a smaller --size needs less" : "",
                    model->parts && !cx->hold_f16 ? ", --activations f16 too" : "");
    if (plan->resident - plan->weights > machine)
        return fail(cx, DL_FAILED,
                    "memory: this run needs %zu MB beside the weights' file pages, more than this "
                    "machine has; --max-memory makes do with less, a smaller --size too",
                    (plan->resident - plan->weights) / 1000000 + 1);
    return DL_OK;
}

int memory_choose(dl_context *cx, const dl_model *model, const struct sample_request *request,
                  size_t prompts, size_t limit, dl_plan *plan) {
    const size_t process = process_memory(cx, model), machine = machine_memory();
    forget_measures(cx, limit);
    int status = memory_begin(cx, model);
    if (status == DL_OK)
        status = choose(cx, model, request, prompts, process, limit, plan);
    memory_end(cx);
    DL_TRY(status);
    status = judge_plan(cx, model, limit, machine, plan);
    if (status != DL_OK)
        forget_measures(cx, 0);
    return status;
}
