/* A run's folder read back, without its model: what was asked, and which pictures are there. */
#ifndef DLENS_LENS_RECORD_H
#define DLENS_LENS_RECORD_H

#include "lens/manifest.h"

struct record {
    char *folder;
    struct cJSON *manifest; /* owned; the texts below are its */
    struct settings
        settings;         /* as far as the manifest tells: without skip, noise, timesteps, cache */
    const char **prompts; /* (prompt_count) */
    size_t prompt_count;
    struct grid grid;     /* pictures that are there and whole are `made`, with times and flags */
    size_t shard, shards; /* 0, 0: of a whole run */
};

/* DL_USAGE where the folder holds no manifest or a damaged one. Freed with record_close, also after
 * failure. */
int record_open(dl_context *cx, const char *folder, struct record *out);
void record_close(struct record *record);

#endif
