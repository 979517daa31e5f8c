/* The command line: one table of options for all commands. */
#ifndef DLENS_APP_OPTIONS_H
#define DLENS_APP_OPTIONS_H

#include "base/context.h"

/* Commands as bits, so that an option can say where it makes sense. */
enum {
    CMD_LENS = 1 << 0,
    CMD_GENERATE = 1 << 1,
    CMD_ENCODE = 1 << 2,
    CMD_TOKENIZE = 1 << 3,
    CMD_INSPECT = 1 << 4,
    CMD_BENCH = 1 << 5,
    CMD_EXPERIMENT = 1 << 6,
    CMD_MERGE = 1 << 7,
    CMD_ANALYSE = 1 << 8,
    CMD_SCORE = 1 << 9,
    CMD_COMPARE = 1 << 10,
    CMD_CONVERT = 1 << 11,
    CMD_ALL = (1 << 30) - 1,
    CMD_LISTED = CMD_LENS | CMD_GENERATE, /* pictures of prompts given one by one */
    CMD_PICTURES = CMD_LISTED | CMD_EXPERIMENT,
    CMD_FOLDERS = CMD_LENS | CMD_EXPERIMENT, /* lenses into a folder */
    CMD_MODEL = CMD_PICTURES | CMD_ENCODE | CMD_TOKENIZE | CMD_INSPECT | CMD_BENCH
};

enum progress_mode { PROGRESS_AUTO, PROGRESS_ON, PROGRESS_OFF };

/* What the user said; NULL or 0 where nothing was said. Strings point into argv. */
struct options {
    const char *model, *output, *layers, *sampler, *negative, *norm, *skip_layers, *noise, *latents,
        *precision, *activations, *size, *max_memory, *prompts_file, *progress, *stage2, *stage3, *timesteps,
        *cache, *shard, *units, *control, *controls, *judge, *questions, *scale, *compare, *to, *part_names;
    const char *seed_list; /* --seed */
    long seed_count;       /* --seeds */
    long top, steps, threads, encoder, repeats, stages, reuse;
    double guidance, eta; /* guidance -1: not given */
    int clean_caption, native, explain, skip_each, json, quiet, verbose, no_color, overwrite, show,
        tensors, list, agree, help;
    int parts;              /* bench without operations */
    const char **arguments; /* what is no option: prompts, a model; owned */
    size_t argument_count;
    const char **texts; /* --text; owned */
    size_t text_count;
};

/* Parses argv[first..argc). `command` is one of the CMD_ bits. DL_USAGE with the option at fault.
 * Freed with options_free, also after failure. */
int options_parse(dl_context *cx, int argc, char *const *argv, int first, int command,
                  struct options *out);
void options_free(struct options *options);

/* The command line again without what makes no difference to results (where they go, threads,
 * progress, ...): "dlens", the command, its arguments, and each option by its long name. *words is
 * freed with options_words_free, also after failure. */
int options_words(dl_context *cx, const struct options *options, const char *name, int command,
                  char ***words, size_t *count);
void options_words_free(char **words, size_t count);

/* Prints the options that a command takes, under headings. */
void options_print(int command);

/* The number of single-character changes that make one word the other, at most 99. */
int edit_distance(const char *a, const char *b);

#endif
