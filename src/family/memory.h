/* Fitting a run into the memory allowed: measures that need less, chosen by plans.
 *
 * What counts is resident memory, file pages included:
 *
 *     resident = the process itself + what is held for the run + max over phases (arena + weights)
 *
 * The phases are encoding, denoising, decoding; a plan (base/arena.h) of each says what it takes.
 * Weights stay resident from phase to phase unless they are given back. */
#ifndef DLENS_FAMILY_MEMORY_H
#define DLENS_FAMILY_MEMORY_H

#include "family/family.h"

/* Names the model's weights to the context as such that may be given back, until memory_end. Around
 * all work with the model. */
int memory_begin(dl_context *cx, const dl_model *model);
void memory_end(dl_context *cx);

/* Gives back what work with the model has left in memory: the arena and pages of weights. */
void memory_leave(dl_context *cx, const dl_model *model);

/* Adds a phase to a plan: the arena that it needs and the weights seen in the pass last planned. */
void memory_note(dl_context *cx, dl_plan *plan, size_t arena);

/* Prompts that are encoded in one pass, with room for the negative one: as many as may be held. */
size_t memory_prompts(const dl_context *cx, const dl_model *model);

/* What a picture of this request costs, of a run over so many prompts, with the measures that the
 * context has. Nothing may be live in the arena. */
int memory_plan(dl_context *cx, const dl_model *model, const struct sample_request *request,
                size_t prompts, dl_plan *plan);

/* Chooses the context's measures, in order of their cost, until the plan stays below `limit` bytes.
 * Where they do not suffice: DL_FAILED with the least size in the message. Limit 0: what costs next
 * to nothing, towards MEMORY_USUAL bytes; more is not refused unless the machine has less. */
enum { MEMORY_USUAL = 1400000000 };
int memory_choose(dl_context *cx, const dl_model *model, const struct sample_request *request,
                  size_t prompts, size_t limit, dl_plan *plan);

#endif
