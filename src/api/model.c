/* Public functions about models: opening, describing, tokens. */
#include "family/family.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

int dl_model_open(dl_context *cx, const char *path, dl_model **model) {
    return model_open(cx, path, NULL, model);
}

int dl_model_open_with(dl_context *cx, const char *path, const dl_open_options *options,
                       dl_model **model) {
    return model_open(cx, path, options, model);
}

void dl_model_close(dl_model *model) {
    model_close(model);
}

void dl_model_describe(const dl_model *model, dl_model_info *info) {
    *info = (dl_model_info){
        .path = model->path,
        .family = model->family->name,
        .encoder = model->encoder->class_name,
        .layers = (int)model->encoder->layers,
        .tokens = (int)model->tokens,
        .hidden_size = (int)model->encoder->hidden_size,
        .width = (int)model->width,
        .height = (int)model->height,
        .latent_channels = (int)model->latent_channels,
        .latent_scale = (int)model->latent_scale,
        .noise_channels = (int)model->noise_channels,
        .noise_scale = (int)model->noise_scale,
        .steps = (int)model->steps,
        .guidance = model->guidance,
        .sampler = model->sampler,
        .stages = (int)model->stage_count,
    };
}

int dl_model_stage(const dl_model *model, size_t index, dl_stage *stage) {
    if (index >= model->stage_count)
        return DL_USAGE;
    const struct stage_info *s = &model->stages[index];
    *stage = (dl_stage){
        .name = s->name,
        .pipeline = s->pipeline,
        .path = s->path,
        .width = (int)s->width,
        .height = (int)s->height,
        .steps = (int)s->steps,
        .guidance = s->guidance,
        .sampler = s->sampler,
        .noise_level = s->noise_level,
    };
    return DL_OK;
}

/* Parameters by dtype; scales are none, nor other integers than I8 (position ids). */
static size_t count_parameters(const struct store *store, const char **dtype) {
    size_t count[DTYPES] = {0}, total = 0;
    enum dtype most = DTYPE_F32;
    for (size_t i = 0; store && i < store_count(store); i++) {
        const struct tensor *t = store_at(store, i);
        if ((dtype_is_float(t->dtype) || t->dtype == DTYPE_I8) && !store_is_scales(store, t))
            count[t->dtype] += tensor_count(t);
    }
    for (size_t d = 0; d < DTYPES; d++) {
        total += count[d];
        if (count[d] > count[most])
            most = (enum dtype)d;
    }
    *dtype = total ? dtype_name(most) : NULL;
    return total;
}

int dl_model_component(const dl_model *model, size_t index, dl_component *component) {
    if (index >= model->component_count)
        return DL_USAGE;
    const struct component *c = &model->components[index];
    component->name = c->name;
    component->class_name = c->class_name;
    component->file = c->store ? store_path(c->store) : NULL;
    component->bytes = c->store ? store_bytes(c->store) : 0;
    component->parameters = count_parameters(c->store, &component->dtype);
    return DL_OK;
}

int dl_model_tensor(const dl_model *model, size_t component, size_t tensor, dl_tensor_info *info) {
    if (component >= model->component_count)
        return DL_USAGE;
    const struct store *store = model->components[component].store;
    if (!store || tensor >= store_count(store))
        return DL_USAGE;
    const struct tensor *t = store_at(store, tensor);
    info->name = t->name;
    info->dtype = dtype_name(t->dtype);
    info->ndim = t->ndim;
    for (size_t d = 0; d < t->ndim; d++)
        info->shape[d] = t->shape[d];
    return DL_OK;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

int dl_tokenize(dl_context *cx, const dl_model *model, const char *text, size_t length,
                dl_tokens *out) {
    struct tokens tokens;
    memset(out, 0, sizeof *out);
    DL_TRY(model_tokenize(cx, model, text, length, &tokens));
    int status =
        allocate(cx, "token ids", model->tokens, sizeof *out->padded, (void **)&out->padded);
    if (status != DL_OK) {
        tokens_free(&tokens);
        return status;
    }
    out->count = tokens.count;
    out->ids = tokens.ids;
    out->pieces = tokens.pieces;
    out->cut = tokens.cut;
    out->padded_count = model->tokens;
    tokenizer_pad(model->tokenizer, &tokens, out->padded, model->tokens);
    return DL_OK;
}

void dl_tokens_free(dl_tokens *tokens) {
    struct tokens inner = {tokens->count, tokens->ids, tokens->pieces, tokens->cut};
    tokens_free(&inner);
    free(tokens->padded);
    memset(tokens, 0, sizeof *tokens);
}
