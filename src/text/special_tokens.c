/* Which strings are tokens of their own, and which of them begin, end, pad.
 *
 * Real repositories say it in up to four files, which may contradict each other. transformers
 * (tokenization_utils_base.py, _from_pretrained; tokenization_utils_tokenizers.py, __init__ and
 * _post_init) does this:
 *   1. Named tokens (bos_token, ...) come from tokenizer_config.json. If that has no
 *      added_tokens_decoder, special_tokens_map.json wins over it (so Stable Diffusion 2 pads
 *      with "!").
 *   2. Other tokens come from added_tokens_decoder or, where it is missing, from added_tokens.json
 *      and the added_tokens of tokenizer.json.
 *   3. A named token that is in that list takes its flags from there. Then all are defined once
 *      more in this order: the list by rising id, named tokens, additional special tokens; the
 *      last definition of a string wins. A named token written as plain string is not normalized.
 */
#include "text/special_tokens.h"

#include "base/file.h"
#include "base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const KEYS[NAMED_TOKENS] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

enum { JSON_MAX_BYTES = 1 << 26 };

/* What is being read: the sources of the tokens, parsed. */
struct sources {
    const char *dir;
    cJSON *config;               /* tokenizer_config.json, NULL if missing */
    cJSON *map;                  /* special_tokens_map.json, NULL if missing or overruled */
    cJSON *added;                /* added_tokens.json, the same */
    const cJSON *tokenizer_json; /* NULL if missing or overruled */
};

/* ---- single tokens ------------------------------------------------------------------------- */

static int wrong(dl_context *cx, const struct sources *s, const char *key, const char *why) {
    return fail(cx, DL_MODEL, "%s: tokenizer files: %s: %s", s->dir, key, why);
}

/* A flag of an added token; `fallback` where it is missing. */
static bool flag(const cJSON *object, const char *key, bool fallback) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsBool(value) ? cJSON_IsTrue(value) : fallback;
}

/* A token as string or as object {content, lstrip, ...}; content points into the JSON. special:
 * what an object means that does not say. */
static int read_token(dl_context *cx, const struct sources *s, const char *key, const cJSON *value,
                      bool special, struct added_token *out) {
    const cJSON *content = value;
    if (cJSON_IsObject(value)) {
        content = cJSON_GetObjectItemCaseSensitive(value, "content");
        special = flag(value, "special", special);
    }
    if (!cJSON_IsString(content))
        return wrong(cx, s, key, "must be a string or an object with a string \"content\"");
    *out = (struct added_token){.content = content->valuestring,
                                .file_id = HUGE_VAL,
                                .id = -1,
                                .normalized = flag(value, "normalized", !special),
                                .lstrip = flag(value, "lstrip", false),
                                .rstrip = flag(value, "rstrip", false),
                                .single_word = flag(value, "single_word", false)};
    return DL_OK;
}

/* ---- the list of added tokens -------------------------------------------------------------- */

static int check_id(dl_context *cx, const struct sources *s, const char *content, double id) {
    if (!(id >= 0 && id < VOCABULARY_MAX) || floor(id) != id)
        return wrong(cx, s, content, "the id of an added token must be an integer from 0");
    return DL_OK;
}

/* added_tokens_decoder: {"600": {content, ...}, ...} */
static int read_decoder(dl_context *cx, const struct sources *s, const cJSON *decoder,
                        struct added_tokens *list) {
    const cJSON *item;
    cJSON_ArrayForEach(item, decoder) {
        struct added_token token;
        char *end;
        if (!cJSON_IsObject(item))
            return wrong(cx, s, "added_tokens_decoder", "must hold objects");
        DL_TRY(read_token(cx, s, "added_tokens_decoder", item, false, &token));
        token.file_id = strtod(item->string, &end);
        DL_TRY(check_id(cx, s, token.content, *end ? -1 : token.file_id));
        DL_TRY(added_define(cx, list, &token));
    }
    return DL_OK;
}

static bool is_named(char *const named[NAMED_TOKENS], const char *content) {
    for (size_t i = 0; i < NAMED_TOKENS; i++) {
        if (named[i] && strcmp(named[i], content) == 0)
            return true;
    }
    return false;
}

/* added_tokens.json: {"<cat>": 602, ...} */
static int read_added_json(dl_context *cx, const struct sources *s, char *const named[NAMED_TOKENS],
                           struct added_tokens *list) {
    const cJSON *item;
    cJSON_ArrayForEach(item, s->added) {
        struct added_token token = {.content = item->string,
                                    .file_id = cJSON_IsNumber(item) ? item->valuedouble : -1,
                                    .id = -1,
                                    .normalized = !is_named(named, item->string)};
        DL_TRY(check_id(cx, s, token.content, token.file_id));
        DL_TRY(added_define(cx, list, &token));
    }
    return DL_OK;
}

/* added_tokens of tokenizer.json: [{"id": 600, "content": ...}, ...] */
static int read_tokenizer_json(dl_context *cx, const struct sources *s, struct added_tokens *list) {
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(s->tokenizer_json, "added_tokens");
    const cJSON *item;
    if (array && !cJSON_IsNull(array) && !cJSON_IsArray(array))
        return wrong(cx, s, "added_tokens", "must be a list");
    cJSON_ArrayForEach(item, array) {
        struct added_token token;
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");
        DL_TRY(read_token(cx, s, "added_tokens", item, false, &token));
        token.file_id = cJSON_IsNumber(id) ? id->valuedouble : -1;
        DL_TRY(check_id(cx, s, token.content, token.file_id));
        DL_TRY(added_define(cx, list, &token));
    }
    return DL_OK;
}

static int compare_file_ids(const void *a, const void *b) {
    double x = ((const struct added_token *)a)->file_id,
           y = ((const struct added_token *)b)->file_id;
    return (x > y) - (x < y);
}

static int read_list(dl_context *cx, const struct sources *s, const cJSON *decoder,
                     struct special_tokens *out) {
    if (decoder)
        DL_TRY(read_decoder(cx, s, decoder, &out->added));
    DL_TRY(read_added_json(cx, s, out->named, &out->added));
    if (s->tokenizer_json)
        DL_TRY(read_tokenizer_json(cx, s, &out->added));
    if (out->added.count > 1)
        qsort(out->added.items, out->added.count, sizeof *out->added.items, compare_file_ids);
    return DL_OK;
}

/* ---- named and additional tokens ----------------------------------------------------------- */

/* The value of a key in special_tokens_map.json or else in tokenizer_config.json; NULL if neither
 * has it (or it is null). */
static const cJSON *setting(const struct sources *s, const char *key) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(s->map, key);
    if (!value)
        value = cJSON_GetObjectItemCaseSensitive(s->config, key);
    return cJSON_IsNull(value) ? NULL : value;
}

/* The named tokens as the files or else the class name them; content points into the JSON or to
 * `defaults` and is NULL where there is none. */
static int read_named(dl_context *cx, const struct sources *s,
                      const char *const defaults[NAMED_TOKENS],
                      struct added_token named[NAMED_TOKENS]) {
    for (size_t i = 0; i < NAMED_TOKENS; i++) {
        const cJSON *value = setting(s, KEYS[i]);
        named[i] = (struct added_token){.content = NULL, .file_id = HUGE_VAL, .id = -1};
        if (value)
            DL_TRY(read_token(cx, s, KEYS[i], value, true, &named[i]));
        else if (defaults[i])
            named[i].content = defaults[i];
    }
    return DL_OK;
}

static int copy_names(dl_context *cx, const struct added_token named[NAMED_TOKENS],
                      struct special_tokens *out) {
    for (size_t i = 0; i < NAMED_TOKENS; i++) {
        if (!named[i].content)
            continue;
        out->named[i] = strdup(named[i].content);
        if (!out->named[i])
            return fail_memory(cx, "special tokens", strlen(named[i].content) + 1);
    }
    return DL_OK;
}

static int define_named(dl_context *cx, const struct added_token named[NAMED_TOKENS],
                        struct special_tokens *out) {
    bool listed[NAMED_TOKENS]; /* by the files' list, whose flags stay */
    for (size_t i = 0; i < NAMED_TOKENS; i++)
        listed[i] = named[i].content && added_find(&out->added, named[i].content);
    for (size_t i = 0; i < NAMED_TOKENS; i++) {
        if (named[i].content && !listed[i])
            DL_TRY(added_define(cx, &out->added, &named[i]));
    }
    return DL_OK;
}

static int define_additional(dl_context *cx, const struct sources *s, struct special_tokens *out) {
    struct added_tokens *list = &out->added;
    static const char *const names[] = {"additional_special_tokens", "extra_special_tokens"};
    for (size_t i = 0; i < 2; i++) {
        const cJSON *array = setting(s, names[i]), *item;
        if (array && !cJSON_IsArray(array) && !cJSON_IsObject(array))
            return wrong(cx, s, names[i], "must be a list");
        out->additional = out->additional || array;
        cJSON_ArrayForEach(item, array) {
            struct added_token token;
            DL_TRY(read_token(cx, s, names[i], item, true, &token));
            const struct added_token *old = added_find(list, token.content);
            token.file_id = old ? old->file_id : HUGE_VAL;
            DL_TRY(added_define(cx, list, &token));
        }
    }
    return DL_OK;
}

/* ---- files --------------------------------------------------------------------------------- */

/* Parses DIR/NAME if it is there, else *out = NULL. */
static int read_optional(dl_context *cx, const char *dir, const char *name, cJSON **out) {
    char *path = path_join(dir, name);
    if (!path)
        return fail_memory(cx, name, strlen(dir) + strlen(name) + 2);
    int status = file_exists(path) ? json_read(cx, path, JSON_MAX_BYTES, out) : DL_OK;
    free(path);
    return status;
}

static int read_max_length(dl_context *cx, const struct sources *s, size_t *out) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(s->config, "model_max_length");
    *out = 0;
    if (!value || cJSON_IsNull(value))
        return DL_OK;
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 1))
        return wrong(cx, s, "model_max_length", "must be a number from 1");
    if (value->valuedouble < VOCABULARY_MAX)
        *out = (size_t)value->valuedouble;
    return DL_OK;
}

static int read_all(dl_context *cx, struct sources *s, const char *const defaults[NAMED_TOKENS],
                    struct special_tokens *out) {
    struct added_token named[NAMED_TOKENS];
    DL_TRY(read_optional(cx, s->dir, "tokenizer_config.json", &s->config));
    const cJSON *decoder = cJSON_GetObjectItemCaseSensitive(s->config, "added_tokens_decoder");
    if (decoder) {
        s->tokenizer_json = NULL;
    } else {
        DL_TRY(read_optional(cx, s->dir, "special_tokens_map.json", &s->map));
        DL_TRY(read_optional(cx, s->dir, "added_tokens.json", &s->added));
    }
    DL_TRY(read_max_length(cx, s, &out->max_length));
    DL_TRY(read_named(cx, s, defaults, named));
    DL_TRY(copy_names(cx, named, out));
    DL_TRY(read_list(cx, s, decoder, out));
    DL_TRY(define_named(cx, named, out));
    return define_additional(cx, s, out);
}

int special_tokens_read(dl_context *cx, const char *dir, const cJSON *tokenizer_json,
                        const char *const defaults[NAMED_TOKENS], struct special_tokens *out) {
    struct sources s = {dir, NULL, NULL, NULL, tokenizer_json};
    *out = (struct special_tokens){0};
    int status = read_all(cx, &s, defaults, out);
    cJSON_Delete(s.config);
    cJSON_Delete(s.map);
    cJSON_Delete(s.added);
    return status;
}

void special_tokens_free(struct special_tokens *s) {
    added_free(&s->added);
    for (size_t i = 0; i < NAMED_TOKENS; i++)
        free(s->named[i]);
    *s = (struct special_tokens){0};
}
