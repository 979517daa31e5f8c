/* manifest.json: everything needed to run a lens again, and what was made. Always valid JSON on
 * disk. Its model, options and prompts decide whether a folder holds "the same run". */
#ifndef DLENS_LENS_MANIFEST_H
#define DLENS_LENS_MANIFEST_H

#include "lens/distance.h"
#include "lens/settings.h"
#include "out/flags.h"
#include "out/image.h"

struct cJSON;

/* One picture of a run. */
struct cell {
    char *file;      /* relative to the folder: "0-a-dog/seed-0/layer-04.png" */
    bool made;       /* the file is there */
    bool elsewhere;  /* not to be made here: another shard does */
    double seconds;  /* it took; negative: not known */
    double distance; /* of the picture from the last layer's, see distance.h; NAN: not known */
    const char *flags[IMAGE_FLAGS_MAX];
    size_t flag_count;
};

/* A run over prompts, seeds and layers: cells (prompts,seeds,layers), the layers being the chosen
 * ones and, with native, layer -1 behind them.
 *
 * Times differ from run to run, so where two folders of the same pictures are to be equal byte for
 * byte, times_apart keeps them out of manifest and report: they stand in times.csv alone. Nor does
 * the manifest have distances of pictures then, of which a part of a run may know only some. */
struct grid {
    const struct settings *settings;
    const char *const *prompts; /* borrowed */
    size_t prompt_count, seed_count, layer_count;
    struct cell *cells;
    struct distance *conditionings; /* (prompts,layers) from the ordinary one */
    size_t seed_found;              /* where grid_find found the last seed */
    bool times_apart;
};

/* DL_USAGE for more than 100,000 pictures: sheet and report are made in memory. */
int grid_init(dl_context *cx, struct grid *grid, const struct settings *settings,
              const char *const *prompts, size_t prompt_count);
void grid_free(struct grid *grid);
struct cell *grid_at(const struct grid *grid, size_t prompt, size_t seed, size_t layer);
int grid_layer(const struct grid *grid, size_t layer); /* its number; -1: native */
size_t grid_count(const struct grid *grid);            /* of cells */
/* The picture of a cell that is made, freed with image_free. DL_FAILED where it cannot be read. */
int cell_read(dl_context *cx, const char *folder, const struct cell *cell, struct image *out);
/* The cell of these; quick where seeds are asked for in their order. */
struct cell *grid_find(struct grid *grid, size_t prompt, uint64_t seed, int layer);
bool grid_complete(const struct grid *grid); /* all made that are to be made here */

/* Leaves to this run the shard-th (from 1) of `shards` equal parts of the cells, in their order: a
 * prompt's pictures stay together, and parts differ by one picture at most. */
void grid_shard(struct grid *grid, size_t shard, size_t shards);

/* "a-red-dog": lower-case ASCII letters and digits, the rest as single hyphens; at most 40 bytes;
 * "prompt" where nothing is left. */
void slug(char out[48], const char *prompt);

/* A text, or a whole number, of a part of a manifest that was read; "?" or 0 where it lacks it. */
const char *manifest_text(const struct cJSON *object, const char *key);
int manifest_number(const struct cJSON *object, const char *key);

/* JSON of what a double or UTF-8 may not hold: a whole number of 64 bits; a text from the command
 * line or the file system, made valid UTF-8. */
struct cJSON *json_u64(uint64_t value);
struct cJSON *json_text(const char *text);

/* The manifest without its pictures: schema, version, command, model, options, prompts; of one of
 * several shards also {"shard": {"index", "of"}}. */
int manifest_begin(dl_context *cx, const dl_model *model, const struct grid *grid,
                   const dl_run *run, size_t shard, size_t shards, struct cJSON **out);

/* A checksum of weights, options and prompts: marks other files of the run as its own. */
void manifest_identity(const struct cJSON *manifest, char out[16]);

/* Writes FOLDER/manifest.json with the grid's pictures, and times.csv where times are kept apart.
 */
int manifest_write(dl_context *cx, struct cJSON *manifest, const struct grid *grid,
                   const char *folder);

/* FOLDER/times.csv: columns `file`, `seconds`. Reading takes what is there for the grid's pictures;
 * a file that is missing or broken holds no times. */
int times_write(dl_context *cx, const struct grid *grid, const char *folder);
int times_read(dl_context *cx, struct grid *grid, const char *folder);

/* A number that other pictures of the same prompt and seed have otherwise: of the model and of all
 * options but layers and seeds. */
int settings_identity(dl_context *cx, const dl_model *model, const struct settings *settings,
                      char out[DL_IDENTITY]);

/* What a folder is to a run. */
enum folder_state {
    FOLDER_FREE,             /* not there, or empty */
    FOLDER_SAME,             /* holds this run, whole or in part */
    FOLDER_SAME_AND_FOREIGN, /* the same, among files that no run has made */
    FOLDER_OTHER,            /* holds a run with other settings */
    FOLDER_FOREIGN,          /* holds files that no run has made */
    FOLDER_TAKEN             /* another process is at work there; not from folder_compare */
};

enum { MANIFEST_BYTES_MAX = 256 << 20 };

/* Compares; *what names the setting or file that differs (a short text in a buffer of the
 * caller's). Where the run is the same, times and flags of the pictures are taken into the grid.
 * own_files: names that the caller writes beside the run's, ended by NULL; may be NULL. */
int folder_compare(dl_context *cx, const char *folder, const struct cJSON *manifest,
                   struct grid *grid, const char *latents_file, const char *const *own_files,
                   enum folder_state *state, char what[256]);

/* Whether two manifests say the same run: schema, model (by its weights, wherever it lies),
 * options, prompts, shard; where not, *what names what differs. */
int manifest_same(dl_context *cx, const struct cJSON *manifest, const struct cJSON *there,
                  bool *is_same, char what[256]);

/* The times of the grid's pictures, from times.csv or from a manifest's list. */
int folder_take_times(dl_context *cx, struct grid *grid, const char *folder,
                      const struct cJSON *images);

/* The grid's pictures that are there and whole become `made`, with their flags. */
void folder_take_files(dl_context *cx, struct grid *grid, const char *folder);

/* Removes the pictures, sheets and report that the manifest in `folder` lists. */
int folder_clear(dl_context *cx, const char *folder);

#endif
