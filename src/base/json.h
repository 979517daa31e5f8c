/* Reading JSON configuration files (config.json, scheduler_config.json, ...) with cJSON.
 *
 * A model's file is hostile until checked: size and nesting are bounded, every value is checked
 * for type and range, and an error names the file and the key. The getters are sticky: after the
 * first failure they return the fallback and do nothing, so that a config is read in a straight
 * line and checked once with config_end. */
#ifndef DLENS_BASE_JSON_H
#define DLENS_BASE_JSON_H

#include "base/context.h"

struct cJSON;

/* Parses a text; `whole`: a NUL must end it, counted in its length. *out is NULL where it is not
 * JSON, *end then the place. DL_FAILED, naming `path`, where memory is short. */
int json_parse(dl_context *cx, const char *path, const char *text, size_t length, bool whole,
               const char **end, struct cJSON **out);

/* Parses a whole file of at most max_bytes. *out is freed with cJSON_Delete. DL_MODEL when it is
 * missing, too large, not JSON, or not an object. */
int json_read(dl_context *cx, const char *path, size_t max_bytes, struct cJSON **out);

struct config {
    dl_context *cx;
    char *path;         /* for messages */
    struct cJSON *root; /* owned */
    int status;
};

/* Opens DIR/NAME. On failure nothing needs to be closed. */
int config_open(dl_context *cx, const char *dir, const char *name, struct config *config);

/* Frees the config and returns its sticky status. Strings got from it die here. */
int config_end(struct config *config);

/* Goes on with the object under `key`, which messages then name too. False, with nothing done,
 * where there is none. */
bool config_enter(struct config *config, const char *key);

/* True if the key is there and is not null. */
bool config_has(const struct config *config, const char *key);

/* An integer in [min, max]; `fallback` (not range checked) where the key is missing or null. */
long config_int(struct config *config, const char *key, long fallback, long min, long max);

/* A number in [min, max], finite where these are. */
double config_number(struct config *config, const char *key, double fallback, double min,
                     double max);

bool config_bool(struct config *config, const char *key, bool fallback);

/* A string; may return NULL only if fallback is NULL. */
const char *config_string(struct config *config, const char *key, const char *fallback);

/* A string that must be one of the NULL-terminated `names`: its index. An unknown value is an
 * error that names the key, the value and the choices. */
size_t config_choice(struct config *config, const char *key, const char *const *names,
                     size_t fallback);

/* A list of 1..max_count integers into out; a single integer counts as a list that repeats it
 * `repeat` times (as diffusers expands it). Returns the length, 0 where the key is missing. */
size_t config_int_list(struct config *config, const char *key, long *out, size_t max_count,
                       size_t repeat, long min, long max);

/* A list of 1..max_count numbers in [min, max] into out. Returns the length, 0 where missing. */
size_t config_number_list(struct config *config, const char *key, double *out, size_t max_count,
                          double min, double max);

/* A list of booleans, with the same rules. */
size_t config_bool_list(struct config *config, const char *key, bool *out, size_t max_count,
                        size_t repeat);

/* A list of strings (pointers into the config). Returns the length, 0 where missing. */
size_t config_string_list(struct config *config, const char *key, const char **out,
                          size_t max_count);

/* Sets the sticky failure DL_MODEL with "PATH: KEY: " before the message. */
void config_fail(struct config *config, const char *key, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
