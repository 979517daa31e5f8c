/* The commands: each is a row of the table in main.c. */
#ifndef DLENS_APP_COMMANDS_H
#define DLENS_APP_COMMANDS_H

#include "app/options.h"

/* What every command is given. Each returns a status; the message stands in the context. */
struct invocation {
    dl_context *cx;
    const struct options *options;
    int argc;
    char *const *argv;
};

int command_lens(const struct invocation *call);
int command_generate(const struct invocation *call);
int command_encode(const struct invocation *call);
int encode_units(const struct invocation *call); /* encode --units */
int command_tokenize(const struct invocation *call);
int command_inspect(const struct invocation *call);
int command_analyse(const struct invocation *call);
int command_bench(const struct invocation *call);
int command_compare(const struct invocation *call);
int command_score(const struct invocation *call);
int command_experiment(const struct invocation *call);
int command_convert(const struct invocation *call);
int command_merge(const struct invocation *call);

/* The model of -m, $DLENS_MODEL, or the bundled one: its path, and itself, closed by the caller. */
const char *model_path(const struct options *options);
int open_model(const struct invocation *call, dl_model **model);
int open_text(const struct invocation *call, dl_model **model); /* its text_only */

/* The seed of resampling, --seed; 0 where none is said. */
int read_one_seed(const struct invocation *call, uint64_t *seed);

/* Prints JSON, frees it, and says so if standard output cannot take it. */
struct cJSON;
int print_json(const struct invocation *call, struct cJSON *json);

/* DL_FAILED if standard output could not be written. */
int flush_output(dl_context *cx);

/* Prints the path of a result as a line. */
int print_path(dl_context *cx, const char *path);

/* Prints what a run into a folder has made (with --json its manifest), frees it, and returns how
 * the command ends. */
int report_run(const struct invocation *call, int status, dl_run_result *result);

/* Makes ready for a file that comes after long work (file_prepare); DL_USAGE for a folder. */
int prepare_output(dl_context *cx, const char *path);

#endif
