/* Reading JSON configuration files with cJSON.
 *
 * cJSON bounds the nesting (1000) and needs about 40 bytes of memory per byte of text at worst, so
 * a bound on the file's size bounds memory too. Where a key is there twice the last one counts, as
 * in Python. */
#include "base/json.h"

#include "base/file.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 1 << 20 };

/* Integers beyond this are not exact in cJSON's doubles. */
static const double EXACT_MAX = 9007199254740992.0; /* 2^53 */

/* ---- parsing ------------------------------------------------------------------------------- */

static size_t line_of(const char *text, const char *position) {
    size_t line = 1;
    for (const char *c = text; c < position; c++)
        line += *c == '\n';
    return line;
}

/* Python writes infinities as words, which JSON does not have (lambda_min_clipped: -Infinity in
 * many a scheduler_config.json): outside strings they become numbers beyond any double, of the same
 * length, which read as infinities. */
static void spell_infinities(char *text) {
    static const char word[] = "Infinity", number[] = "1e99999 ";
    bool in_string = false;
    for (char *c = text; *c; c++) {
        if (in_string && *c == '\\' && c[1])
            c++;
        else if (*c == '"')
            in_string = !in_string;
        else if (!in_string && strncmp(c, word, sizeof word - 1) == 0)
            memcpy(c, number, sizeof word - 1);
    }
}

int json_parse(dl_context *cx, const char *path, const char *text, size_t length, bool whole,
               const char **end, struct cJSON **out) {
    errno = 0; /* cJSON does not tell, but malloc does */
    *out = cJSON_ParseWithLengthOpts(text, length, end, whole);
    return !*out && errno == ENOMEM ? fail_memory(cx, path, length) : DL_OK;
}

int json_read(dl_context *cx, const char *path, size_t max_bytes, struct cJSON **out) {
    char *text;
    size_t size;
    *out = NULL;
    DL_TRY(file_read(cx, DL_MODEL, path, max_bytes, &text, &size));
    if (memchr(text, '\0', size)) {
        free(text);
        return fail(cx, DL_MODEL, "%s: not JSON: holds a NUL byte", path);
    }
    spell_infinities(text);
    const char *end = NULL;
    cJSON *root;
    int status = json_parse(cx, path, text, size + 1, true, &end, &root);
    size_t line = root || !end ? 0 : line_of(text, end);
    free(text);
    DL_TRY(status);
    if (!root)
        return fail(cx, DL_MODEL, "%s: not valid JSON (line %zu, or nested too deep)", path, line);
    if (!cJSON_IsObject(root)) {
        cJSON_Delete(root);
        return fail(cx, DL_MODEL, "%s: not a JSON object", path);
    }
    *out = root;
    return DL_OK;
}

int config_open(dl_context *cx, const char *dir, const char *name, struct config *config) {
    *config = (struct config){cx, path_join(dir, name), NULL, DL_OK};
    if (!config->path)
        return fail_memory(cx, name, strlen(dir) + strlen(name));
    int status = json_read(cx, config->path, CONFIG_MAX_BYTES, &config->root);
    if (status != DL_OK)
        free(config->path);
    return status;
}

int config_end(struct config *config) {
    cJSON_Delete(config->root);
    free(config->path);
    config->root = NULL;
    config->path = NULL;
    return config->status;
}

/* ---- looking up ---------------------------------------------------------------------------- */

/* The value of a key, NULL if it is missing or null or the config has failed before. */
static const cJSON *lookup(const struct config *config, const char *key) {
    const cJSON *found = NULL, *item;
    if (config->status != DL_OK)
        return NULL;
    cJSON_ArrayForEach(item, config->root) {
        if (strcmp(item->string, key) == 0)
            found = item;
    }
    return cJSON_IsNull(found) ? NULL : found;
}

bool config_enter(struct config *config, const char *key) {
    cJSON *inner = (cJSON *)(uintptr_t)lookup(config, key); /* the config owns it */
    if (!cJSON_IsObject(inner))
        return false;
    const size_t size = strlen(config->path) + strlen(key) + 3;
    char *path = malloc(size);
    if (!path) {
        config->status = fail_memory(config->cx, config->path, size);
        return false;
    }
    snprintf(path, size, "%s: %s", config->path, key);
    free(config->path);
    config->path = path;
    cJSON_DetachItemViaPointer(config->root, inner);
    cJSON_Delete(config->root);
    config->root = inner;
    return true;
}

static const char *kind_of(const cJSON *value) {
    return cJSON_IsString(value)   ? "a string"
           : cJSON_IsNumber(value) ? "a number"
           : cJSON_IsBool(value)   ? "true or false"
           : cJSON_IsArray(value)  ? "a list"
           : cJSON_IsObject(value) ? "an object"
                                   : "null";
}

void config_fail(struct config *config, const char *key, const char *format, ...) {
    char why[MESSAGE_MAX / 2];
    va_list arguments;
    if (config->status != DL_OK)
        return;
    va_start(arguments, format);
    if (vsnprintf(why, sizeof why, format, arguments) < 0)
        why[0] = '\0';
    va_end(arguments);
    config->status = fail(config->cx, DL_MODEL, "%s: %s: %s", config->path, key, why);
}

bool config_has(const struct config *config, const char *key) {
    return lookup(config, key) != NULL;
}

/* ---- single values ------------------------------------------------------------------------- */

/* False after config_fail if the value is no integer in [min, max]. */
static bool to_int(struct config *config, const char *key, const cJSON *value, long min, long max,
                   long *out) {
    if (!cJSON_IsNumber(value)) {
        config_fail(config, key, "must be an integer, is %s", kind_of(value));
        return false;
    }
    double number = value->valuedouble;
    if (!(fabs(number) <= EXACT_MAX) || floor(number) != number || number < (double)min ||
        number > (double)max) {
        config_fail(config, key, "is %g, must be an integer from %ld to %ld", number, min, max);
        return false;
    }
    *out = (long)number;
    return true;
}

static bool to_bool(struct config *config, const char *key, const cJSON *value, bool *out) {
    if (!cJSON_IsBool(value)) {
        config_fail(config, key, "must be true or false, is %s", kind_of(value));
        return false;
    }
    *out = cJSON_IsTrue(value);
    return true;
}

long config_int(struct config *config, const char *key, long fallback, long min, long max) {
    const cJSON *value = lookup(config, key);
    long result = fallback;
    if (value && !to_int(config, key, value, min, max, &result))
        return fallback;
    return result;
}

double config_number(struct config *config, const char *key, double fallback, double min,
                     double max) {
    const cJSON *value = lookup(config, key);
    if (!value)
        return fallback;
    if (!cJSON_IsNumber(value)) {
        config_fail(config, key, "must be a number, is %s", kind_of(value));
        return fallback;
    }
    if (!(value->valuedouble >= min && value->valuedouble <= max)) {
        config_fail(config, key, "is %g, must be from %g to %g", value->valuedouble, min, max);
        return fallback;
    }
    return value->valuedouble;
}

bool config_bool(struct config *config, const char *key, bool fallback) {
    const cJSON *value = lookup(config, key);
    bool result = fallback;
    if (value && !to_bool(config, key, value, &result))
        return fallback;
    return result;
}

const char *config_string(struct config *config, const char *key, const char *fallback) {
    const cJSON *value = lookup(config, key);
    if (!value)
        return fallback;
    if (!cJSON_IsString(value)) {
        config_fail(config, key, "must be a string, is %s", kind_of(value));
        return fallback;
    }
    return value->valuestring;
}

size_t config_choice(struct config *config, const char *key, const char *const *names,
                     size_t fallback) {
    char choices[512];
    size_t used = 0;
    const char *value = config_string(config, key, NULL);
    if (!value)
        return fallback;
    choices[0] = '\0';
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(names[i], value) == 0)
            return i;
        int n = snprintf(choices + used, sizeof choices - used, "%s%s", i ? ", " : "", names[i]);
        if (n > 0 && (size_t)n < sizeof choices - used)
            used += (size_t)n;
    }
    config_fail(config, key, "is \"%.100s\", which is not supported; known are %s", value, choices);
    return fallback;
}

/* ---- lists --------------------------------------------------------------------------------- */

/* The list's length; 0 if the key is missing or, after config_fail, if it is no list of 1 to
 * max_count values. A single value gives `repeat` (which is 0 where it is not allowed). */
static size_t list_length(struct config *config, const char *key, const cJSON *value,
                          size_t max_count, size_t repeat) {
    if (!value)
        return 0;
    bool list = cJSON_IsArray(value);
    if (!list && repeat == 0) {
        config_fail(config, key, "must be a list, is %s", kind_of(value));
        return 0;
    }
    size_t count = repeat;
    if (list) {
        const cJSON *item;
        count = 0;
        cJSON_ArrayForEach(item, value) count++;
    }
    if (count < 1 || count > max_count) {
        config_fail(config, key, "has %zu values, must have 1 to %zu", count, max_count);
        return 0;
    }
    return count;
}

/* The value after `item` in a list; a single value follows itself. */
static const cJSON *after(const cJSON *value, const cJSON *item) {
    return cJSON_IsArray(value) ? item->next : item;
}

static const cJSON *first(const cJSON *value) {
    return cJSON_IsArray(value) ? value->child : value;
}

size_t config_int_list(struct config *config, const char *key, long *out, size_t max_count,
                       size_t repeat, long min, long max) {
    const cJSON *value = lookup(config, key);
    size_t count = list_length(config, key, value, max_count, repeat);
    const cJSON *item = count ? first(value) : NULL;
    for (size_t i = 0; i < count; i++, item = after(value, item)) {
        if (!to_int(config, key, item, min, max, &out[i]))
            return 0;
    }
    return count;
}

size_t config_number_list(struct config *config, const char *key, double *out, size_t max_count,
                          double min, double max) {
    const cJSON *value = lookup(config, key);
    size_t count = list_length(config, key, value, max_count, 0);
    const cJSON *item = count ? first(value) : NULL;
    for (size_t i = 0; i < count; i++, item = item->next) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= min && item->valuedouble <= max)) {
            config_fail(config, key, "must hold numbers from %g to %g; value %zu is not", min, max,
                        i);
            return 0;
        }
        out[i] = item->valuedouble;
    }
    return count;
}

size_t config_bool_list(struct config *config, const char *key, bool *out, size_t max_count,
                        size_t repeat) {
    const cJSON *value = lookup(config, key);
    size_t count = list_length(config, key, value, max_count, repeat);
    const cJSON *item = count ? first(value) : NULL;
    for (size_t i = 0; i < count; i++, item = after(value, item)) {
        if (!to_bool(config, key, item, &out[i]))
            return 0;
    }
    return count;
}

size_t config_string_list(struct config *config, const char *key, const char **out,
                          size_t max_count) {
    const cJSON *value = lookup(config, key);
    size_t count = list_length(config, key, value, max_count, 0);
    const cJSON *item = count ? first(value) : NULL;
    for (size_t i = 0; i < count; i++, item = after(value, item)) {
        if (!cJSON_IsString(item)) {
            config_fail(config, key, "must be a list of strings, holds %s", kind_of(item));
            return 0;
        }
        out[i] = item->valuestring;
    }
    return count;
}
