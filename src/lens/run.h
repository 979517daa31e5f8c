/* A lens into a folder: pictures, manifest, contact sheets, report; resumed where it stopped. */
#ifndef DLENS_LENS_RUN_H
#define DLENS_LENS_RUN_H

#include "lens/lens.h"
#include "lens/manifest.h"

struct cJSON;

/* A run's folder, as its last step sees it. */
struct run_folder {
    const char *path;
    const struct cJSON *manifest; /* without or with the list of pictures; see manifest_begin */
    struct grid *grid;
    bool stopped; /* the run was interrupted */
    bool again;   /* it was finished before: what stands beside it has come */
};

/* What a caller that builds on a run (an experiment) asks of it, and of its controls, beside
 * dl_run; zero what is not said. */
struct run_plan {
    const char *base;             /* default folder, in place of lens-out/SLUG; NULL: that */
    size_t shard, shards;         /* makes this part, from 1, of so many; shards 0: everything */
    bool times_apart;             /* see struct grid */
    const char *const *own_files; /* what the caller writes beside the run's files; may be NULL */
    /* Called for a folder that holds this run: whether what the caller has written there was made
     * as it would be now; where not, `what` names what differs. May be NULL. */
    int (*check)(void *user, const char *folder, bool *same, char what[256]);
    /* Called with all pictures made, or as many as there are when stopped, in place of `present`;
     * NULL: that. */
    int (*finish)(void *user, const struct run_folder *folder);
    void *user;
};

/* See dl_lens_run. plan may be NULL. */
int lens_run(dl_context *cx, const dl_model *model, const dl_options *options,
             const char *const *prompts, size_t prompt_count, const dl_run *run,
             const struct run_plan *plan, dl_run_result *result);

/* The folder of a run, kept from other processes until it is released. */
struct claim {
    char *folder;
    int lock;
};

/* folder/NAME for NAME, NAME-2, ... : the first that is free or holds the run of this manifest; or
 * the folder given alone, DL_USAGE where it holds something else and is not to be overwritten, or
 * where another process is at work. The folder is made, and what is there is taken into the grid.
 * The claim is to be released in any case. */
int choose_folder(dl_context *cx, const struct cJSON *manifest, struct grid *grid,
                  const dl_run *run, const struct run_plan *plan, struct claim *claim);
void release_folder(struct claim *claim);

/* Writes one picture with the text chunks that say how it was made; `identity` (settings_identity)
 * is one more of them, NULL: none. */
int picture_write(dl_context *cx, const dl_model *model, const struct settings *settings,
                  const char *identity, const char *prompt, const dl_picture *picture,
                  const char *path);

/* Name of a picture's final latents in their file: "layer.4.seed.0", with several prompts
 * "prompt.1.layer.4.seed.0"; the family's own conditioning is "native" in place of the layer. */
void latents_name(char out[96], size_t prompts, size_t prompt, int layer, uint64_t seed);

/* Contact sheets and index.html from the pictures in the folder and from what the manifest says of
 * them: no model is needed. */
int present(dl_context *cx, const struct cJSON *manifest, const struct grid *grid,
            const char *folder);

/* About the memory that these need for all pictures of a grid, beside the process itself. */
size_t present_memory(const struct grid *grid);

/* The contact sheets alone: the caller writes a report of its own. */
int present_sheets(dl_context *cx, const struct cJSON *manifest, const struct grid *grid,
                   const char *folder);

#endif
