/* Opening a model: the directory (or the bundled model of that name), model_index.json, tokenizer
 * and text encoder, then the family named by the index. */
#include "family/family.h"

#include "base/file.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const struct family *const families[] = {&family_stable_diffusion, &family_deepfloyd_if};
enum { FAMILY_COUNT = sizeof families / sizeof families[0] };

const char *index_class(const struct config *index, const char *name) {
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(index->root, name);
    if (!cJSON_IsArray(entry))
        return NULL;
    const cJSON *class_name = cJSON_GetArrayItem(entry, 1);
    return cJSON_IsString(class_name) ? class_name->valuestring : NULL;
}

int model_add_component(dl_context *cx, dl_model *model, const char *name, const char *class_name,
                        const struct store *store) {
    if (model->component_count == COMPONENTS_MAX)
        return fail(cx, DL_FAILED, "%s: more than %d components", model->path, COMPONENTS_MAX);
    struct component *c = &model->components[model->component_count];
    c->class_name = strdup(class_name);
    if (!c->class_name)
        return fail_memory(cx, name, strlen(class_name) + 1);
    c->name = name;
    c->store = store;
    model->component_count++;
    return DL_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

int model_locate(dl_context *cx, const char *path, char **out) {
    *out = NULL;
    if (!dir_exists(path) && !file_exists(path) && path[0] && !strchr(path, '/'))
        *out = bundled_model(path);
    if (*out)
        return DL_OK;
    if (file_exists(path))
        return fail(cx, DL_MODEL,
                    "%s: this is a file; a model is a folder in diffusers layout with a "
                    "model_index.json",
                    path);
    if (!dir_exists(path))
        return fail(cx, DL_MODEL, "%s: no such model folder, and no bundled model has this name",
                    path);
    *out = strdup(path);
    return *out ? DL_OK : fail_memory(cx, path, strlen(path) + 1);
}

static int open_text(dl_context *cx, dl_model *model, const struct config *index) {
    const char *tokenizer = index_class(index, "tokenizer");
    const char *encoder = index_class(index, "text_encoder");
    if (!tokenizer || !encoder)
        return fail(cx, DL_MODEL, "%s: names no %s", index->path,
                    tokenizer ? "text_encoder" : "tokenizer");
    char *dir = path_join(model->path, "tokenizer");
    int status = dir ? tokenizer_open(cx, dir, tokenizer, &model->tokenizer)
                     : fail_memory(cx, "tokenizer", 0);
    free(dir);
    DL_TRY(status);
    dir = path_join(model->path, "text_encoder");
    status = dir ? text_encoder_open(cx, dir, encoder, &model->encoder)
                 : fail_memory(cx, "text_encoder", 0);
    free(dir);
    DL_TRY(status);
    if (tokenizer_vocab_size(model->tokenizer) > model->encoder->vocab_size)
        tell(cx, DL_LOG_WARNING,
             "%s: the tokenizer has %zu pieces, the text encoder embeddings for %zu only",
             model->path, tokenizer_vocab_size(model->tokenizer), model->encoder->vocab_size);
    size_t limit = model->encoder->max_tokens;
    model->tokens = tokenizer_max_length(model->tokenizer);
    if (!model->tokens || (limit && model->tokens > limit))
        model->tokens = limit;
    DL_TRY(model_add_component(cx, model, "tokenizer", tokenizer, NULL));
    return model_add_component(cx, model, "text_encoder", encoder,
                               text_encoder_store(model->encoder));
}

/* Tokenizer and encoder must belong together: the tokens around every prompt, and the padding,
 * need an embedding. */
static int check_tokens(dl_context *cx, const dl_model *model) {
    struct tokens tokens = {0};
    int32_t *ids;
    if (!model->tokens)
        return fail(cx, DL_MODEL, "%s/tokenizer: model_max_length is missing", model->path);
    DL_TRY(allocate(cx, "token ids", model->tokens, sizeof *ids, (void **)&ids));
    int status = model_tokenize(cx, model, "", 0, &tokens);
    if (status == DL_USAGE)
        status = fail(cx, DL_MODEL, "%s/tokenizer: %s", model->path, cx->message);
    if (status == DL_OK)
        tokenizer_pad(model->tokenizer, &tokens, ids, model->tokens);
    for (size_t i = 0; i < model->tokens && status == DL_OK; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= model->encoder->vocab_size)
            status = fail(cx, DL_MODEL,
                          "%s: the tokenizer's special token has id %d, the text encoder "
                          "embeddings for 0 to %zu; do they belong together?",
                          model->path, (int)ids[i], model->encoder->vocab_size - 1);
    tokens_free(&tokens);
    free(ids);
    return status;
}

static const struct family *find_family(const char *pipeline) {
    for (size_t f = 0; f < FAMILY_COUNT; f++)
        for (const char *const *name = families[f]->pipelines; *name; name++)
            if (strcmp(*name, pipeline) == 0)
                return families[f];
    return NULL;
}

static int open_parts(dl_context *cx, dl_model *model, struct config *index,
                      const dl_open_options *how) {
    const char *pipeline = config_string(index, "_class_name", NULL);
    if (!pipeline)
        return fail(cx, DL_MODEL, "%s: _class_name is missing", index->path);
    model->family = find_family(pipeline);
    if (!model->family)
        return fail(cx, DL_MODEL,
                    "%s: _class_name %s is not supported; Stable Diffusion pipelines are, and "
                    "DeepFloyd's IFPipeline",
                    index->path, pipeline);
    DL_TRY(open_text(cx, model, index));
    model->sampler = "ddim";
    model->steps = 50;
    model->guidance = 7.5;
    DL_TRY(model->family->open(cx, model, index, how));
    DL_TRY(check_tokens(cx, model));
    if (model->noise_scale)
        return DL_OK;
    model->noise_channels = model->latent_channels;
    model->noise_scale = model->latent_scale;
    return DL_OK;
}

int model_open(dl_context *cx, const char *path, const dl_open_options *how, dl_model **out) {
    const dl_open_options defaults = {0};
    *out = NULL;
    dl_model *model = calloc(1, sizeof *model);
    if (!model)
        return fail_memory(cx, path, sizeof *model);
    struct config index;
    int status = model_locate(cx, path, &model->path);
    if (status == DL_OK)
        status = config_open(cx, model->path, "model_index.json", &index);
    if (status == DL_OK) {
        status = open_parts(cx, model, &index, how ? how : &defaults);
        int index_status = config_end(&index);
        status = status ? status : index_status;
    }
    if (status != DL_OK) {
        model_close(model);
        return status;
    }
    *out = model;
    return DL_OK;
}

int model_draws(dl_context *cx, const dl_model *model) {
    return model->parts ? DL_OK
                        : fail(cx, DL_USAGE, "%s: is open for its text alone; it makes no pictures",
                               model->path);
}

void model_close(dl_model *model) {
    if (!model)
        return;
    if (model->family)
        model->family->close(model);
    text_encoder_close(model->encoder);
    tokenizer_close(model->tokenizer);
    for (size_t i = 0; i < model->component_count; i++)
        free(model->components[i].class_name);
    free(model->path);
    free(model);
}

int model_tokenize(dl_context *cx, const dl_model *model, const char *text, size_t length,
                   struct tokens *out) {
    struct buffer prepared = {0};
    memset(out, 0, sizeof *out);
    if (!model->family->prepare_prompt)
        return tokenize(cx, model->tokenizer, text, length, model->tokens, out);
    int status = model->family->prepare_prompt(cx, model, text, length, &prepared);
    if (status == DL_OK)
        status = buffer_check(cx, &prepared, "prompt");
    if (status == DL_OK)
        status = tokenize(cx, model->tokenizer, prepared.data ? prepared.data : "", prepared.length,
                          model->tokens, out);
    buffer_free(&prepared);
    return status;
}

void sample_free(struct sample *sample) {
    free(sample->latents);
    free(sample->rgb);
    sample->latents = NULL;
    sample->rgb = NULL;
}
