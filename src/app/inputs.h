/* Reading what pictures are made from: prompts, start noise, seeds, sizes. */
#ifndef DLENS_APP_INPUTS_H
#define DLENS_APP_INPUTS_H

#include "app/options.h"

struct prompt_list {
    char **texts; /* owned */
    size_t count;
};

/* The arguments, then those of --prompts. DL_USAGE if there is none. Freed with prompts_free, also
 * after failure. */
int prompts_read(dl_context *cx, const struct options *options, struct prompt_list *out);
void prompts_free(struct prompt_list *list);

/* Everything of struct dl_options that the command line can say. `storage` owns the arrays and is
 * freed with inputs_free, also after failure. */
struct inputs {
    dl_options options;
    uint64_t *seeds;
    float *noise;
};
int inputs_read(dl_context *cx, const dl_model *model, const struct options *options,
                struct inputs *out);
void inputs_free(struct inputs *inputs);

/* Makes a run over so many prompts stay below --max-memory; its plan, which may be NULL. DL_FAILED,
 * before work starts, if that cannot be, or if the run needs more than the machine has. */
int limit_memory(dl_context *cx, dl_model *model, const struct options *options,
                 const dl_options *run, size_t prompts, dl_plan *plan);

/* The same for a run over many prompts. */
int check_memory(dl_context *cx, dl_model *model, const struct options *options,
                 const dl_options *run);

#endif
