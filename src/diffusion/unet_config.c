/* A UNet's config.json, read with the key names and defaults of diffusers' UNet2DConditionModel
 * (models/unets/unet_2d_condition.py). A key that would change the result and is not supported is
 * refused by name; keys without effect on inference (dropout, upcast_attention: all is f32 here)
 * are passed over. */
#include "diffusion/unet_config.h"

#include "base/json.h"
#include "diffusion/added_attention.h"

#include <cjson/cJSON.h>
#include <string.h>

/* A block type is a pair: what attends, and how the size changes. */
static const struct block_type {
    const char *down, *up;
    enum block_attention attention;
    enum block_resampler resampler;
} block_types[] = {
    {"DownBlock2D", "UpBlock2D", ATTENTION_NONE, RESAMPLE_CONV},
    {"AttnDownBlock2D", "AttnUpBlock2D", ATTENTION_SELF, RESAMPLE_CONV},
    {"CrossAttnDownBlock2D", "CrossAttnUpBlock2D", ATTENTION_TRANSFORMER, RESAMPLE_CONV},
    {"ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D", ATTENTION_NONE, RESAMPLE_RESNET},
    {"SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D", ATTENTION_ADDED_KV, RESAMPLE_RESNET},
};

enum { BLOCK_TYPES = sizeof block_types / sizeof block_types[0] };

/* The lists of a config, one value per level, as they stand in the file: fine to coarse. */
struct lists {
    size_t levels;
    const char *down_types[UNET_LEVELS_MAX], *up_types[UNET_LEVELS_MAX];
    long channels[UNET_LEVELS_MAX], layers[UNET_LEVELS_MAX];
    long heads[UNET_LEVELS_MAX], head_dims[UNET_LEVELS_MAX];
    long transformers[UNET_LEVELS_MAX], up_transformers[UNET_LEVELS_MAX];
    long cross_dims[UNET_LEVELS_MAX];
    bool only_cross[UNET_LEVELS_MAX];
};

/* ---- what is not supported ------------------------------------------------------------------ */

static void refuse_if_true(struct config *file, const char *key) {
    if (config_bool(file, key, false))
        config_fail(file, key, "true is not supported");
}

/* The only value that is supported of a key with several. */
static void expect(struct config *file, const char *key, const char *value) {
    const char *const names[] = {value, NULL};
    config_choice(file, key, names, 0);
}

static void refuse_unsupported(struct config *file) {
    expect(file, "_class_name", "UNet2DConditionModel");
    expect(file, "time_embedding_type", "positional");
    expect(file, "attention_type", "default");
    refuse_if_true(file, "dual_cross_attention");
    refuse_if_true(file, "class_embeddings_concat");
}

/* ---- single values -------------------------------------------------------------------------- */

static enum activation read_activation(struct config *file, const char *key,
                                       enum activation fallback) {
    static const char *const names[] = {"silu", "swish", "gelu", "relu", NULL};
    static const enum activation acts[] = {ACT_SILU, ACT_SILU, ACT_GELU, ACT_RELU};

    return config_has(file, key) ? acts[config_choice(file, key, names, 0)] : fallback;
}

static size_t read_size(struct config *file, const char *key, long fallback, long min, long max) {
    return (size_t)config_int(file, key, fallback, min, max);
}

static size_t read_kernel(struct config *file, const char *key) {
    size_t k = read_size(file, key, 3, 1, 3);
    if (k == 2)
        config_fail(file, key, "2 is not supported; expected 1 or 3");
    return k;
}

/* One side for both, or [height, width]. */
static void read_sample_size(struct config *file, struct unet_config *out) {
    long sides[2] = {0, 0};
    size_t n = config_int_list(file, "sample_size", sides, 2, 2, 1, 1 << 14);

    if (n == 1)
        config_fail(file, "sample_size", "expected one number or [height, width]");
    out->sample_height = (size_t)sides[0];
    out->sample_width = (size_t)sides[1];
}

static void read_values(struct config *file, struct unet_config *out) {
    static const char *const shifts[] = {"default", "scale_shift", NULL};

    out->class_name = "UNet2DConditionModel";
    out->in_channels = read_size(file, "in_channels", 4, 1, UNET_CHANNELS_MAX);
    out->out_channels = read_size(file, "out_channels", 4, 1, UNET_CHANNELS_MAX);
    read_sample_size(file, out);
    out->time_cond_proj_dim = read_size(file, "time_cond_proj_dim", 0, 1, UNET_CHANNELS_MAX);
    out->time_embed_dim = read_size(file, "time_embedding_dim", 0, 1, UNET_CHANNELS_MAX);
    out->center_input_sample = config_bool(file, "center_input_sample", false);
    out->flip_sin_to_cos = config_bool(file, "flip_sin_to_cos", true);
    out->freq_shift = config_number(file, "freq_shift", 0, 0, UNET_CHANNELS_MAX);
    out->act = read_activation(file, "act_fn", ACT_SILU);
    out->timestep_post_act = read_activation(file, "timestep_post_act", ACT_NONE);
    out->time_embedding_act = read_activation(file, "time_embedding_act_fn", ACT_NONE);
    out->norm_num_groups = read_size(file, "norm_num_groups", 32, 1, UNET_CHANNELS_MAX);
    out->norm_eps = (float)config_number(file, "norm_eps", 1e-5, 0, 1);
    out->downsample_padding = read_size(file, "downsample_padding", 1, 0, 1);
    out->mid_block_scale_factor =
        (float)config_number(file, "mid_block_scale_factor", 1, 1e-6, 1e6);
    out->scale_shift = config_choice(file, "resnet_time_scale_shift", shifts, 0) == 1;
    out->conv_in_kernel = read_kernel(file, "conv_in_kernel");
    out->conv_out_kernel = read_kernel(file, "conv_out_kernel");
}

/* What is embedded beside the time. */
static void read_embeddings(struct config *file, struct unet_config *out) {
    expect(file, "class_embed_type", "timestep");
    expect(file, "addition_embed_type", "text");
    expect(file, "encoder_hid_dim_type", "text_proj");
    expect(file, "cross_attention_norm", "group_norm");
    out->num_class_embeds = read_size(file, "num_class_embeds", 0, 1, UNET_CHANNELS_MAX);
    out->class_embedding = config_has(file, "class_embed_type") ? CLASS_TIMESTEP
                           : out->num_class_embeds > 0          ? CLASS_TABLE
                                                                : CLASS_NONE;
    out->text_embedding = config_has(file, "addition_embed_type");
    out->text_embedding_heads =
        read_size(file, "addition_embed_type_num_heads", 64, 1, UNET_CHANNELS_MAX);
    out->states_dim = read_size(file, "encoder_hid_dim", 0, 1, UNET_CHANNELS_MAX);
    out->project_states = out->states_dim > 0;
    if (config_has(file, "encoder_hid_dim_type") && !out->project_states)
        config_fail(file, "encoder_hid_dim", "is missing; encoder_hid_dim_type needs it");
    out->cross_attention_norm = config_has(file, "cross_attention_norm");
    out->resnet_skip_time_act = config_bool(file, "resnet_skip_time_act", false);
    out->resnet_out_scale_factor =
        (float)config_number(file, "resnet_out_scale_factor", 1, 1e-6, 1e6);
}

/* ---- lists ---------------------------------------------------------------------------------- */

static void check_length(struct config *file, const char *key, size_t length, size_t levels) {
    if (length != levels)
        config_fail(file, key, "has %zu values; block_out_channels has %zu", length, levels);
}

/* One value for all levels, or a list of one per level. */
static void read_list(struct config *file, const char *key, size_t levels, long fallback, long min,
                      long max, long out[UNET_LEVELS_MAX]) {
    size_t length;

    for (size_t i = 0; i < UNET_LEVELS_MAX; i++)
        out[i] = fallback;
    length = config_int_list(file, key, out, UNET_LEVELS_MAX, levels, min, max);
    if (length > 0)
        check_length(file, key, length, levels);
}

static void read_types(struct config *file, const char *key, size_t levels,
                       const char *const defaults[4], const char *out[UNET_LEVELS_MAX]) {
    size_t length = config_string_list(file, key, out, UNET_LEVELS_MAX);

    if (length == 0) {
        memcpy(out, defaults, 4 * sizeof *out);
        length = 4;
    }
    check_length(file, key, length, levels);
}

static void read_lists(struct config *file, struct lists *l) {
    static const long widths[4] = {320, 640, 1280, 1280};
    static const char *const down[4] = {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                                        "CrossAttnDownBlock2D", "DownBlock2D"};
    static const char *const up[4] = {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
                                      "CrossAttnUpBlock2D"};
    size_t n;

    l->levels = config_int_list(file, "block_out_channels", l->channels, UNET_LEVELS_MAX, 1, 1,
                                UNET_CHANNELS_MAX);
    if (l->levels == 0) {
        memcpy(l->channels, widths, sizeof widths);
        l->levels = 4;
    }
    n = l->levels;
    read_types(file, "down_block_types", n, down, l->down_types);
    read_types(file, "up_block_types", n, up, l->up_types);
    read_list(file, "layers_per_block", n, 2, 1, UNET_LAYERS_MAX, l->layers);
    read_list(file, "attention_head_dim", n, 8, 1, UNET_CHANNELS_MAX, l->head_dims);
    memcpy(l->heads, l->head_dims, sizeof l->heads);
    if (config_has(file, "num_attention_heads"))
        read_list(file, "num_attention_heads", n, 8, 1, UNET_CHANNELS_MAX, l->heads);
    read_list(file, "cross_attention_dim", n, 1280, 1, UNET_CHANNELS_MAX, l->cross_dims);
    read_list(file, "transformer_layers_per_block", n, 1, 0, UNET_TRANSFORMERS_MAX,
              l->transformers);
    for (size_t i = 0; i < n; i++)
        l->up_transformers[i] = l->transformers[n - 1 - i];
    if (config_has(file, "reverse_transformer_layers_per_block"))
        read_list(file, "reverse_transformer_layers_per_block", n, 1, 0, UNET_TRANSFORMERS_MAX,
                  l->up_transformers);
    if (config_has(file, "only_cross_attention"))
        check_length(
            file, "only_cross_attention",
            config_bool_list(file, "only_cross_attention", l->only_cross, UNET_LEVELS_MAX, n), n);
}

/* ---- levels --------------------------------------------------------------------------------- */

/* Sets what the name of a block type says. */
static void read_type(struct config *file, const char *key, const char *name, bool down,
                      struct unet_level *level) {
    /* Checkpoints of the first diffusers versions prefix the names. */
    const char *plain = strncmp(name, "UNetRes", 7) == 0 ? name + 7 : name;

    for (size_t i = 0; i < BLOCK_TYPES; i++) {
        if (strcmp(plain, down ? block_types[i].down : block_types[i].up) != 0)
            continue;
        level->attention = block_types[i].attention;
        level->resampler = block_types[i].resampler;
        return;
    }
    config_fail(file, key, "block type %.64s is not supported", name);
}

/* attention_head_dim says how many heads a transformer has, but how wide those of AttnDownBlock2D
 * are; on the way up the heads run backwards, the head dims do not. */
static void read_levels(struct config *file, const struct lists *l, struct unet_config *out) {
    size_t n = out->levels = l->levels;

    out->cross_attention_dim = (size_t)l->cross_dims[0];
    for (size_t i = 0; i < n; i++) {
        size_t j = n - 1 - i;
        out->down[i] = (struct unet_level){.channels = (size_t)l->channels[i],
                                           .layers = (size_t)l->layers[i],
                                           .heads = (size_t)l->heads[i],
                                           .head_dim = (size_t)l->head_dims[i],
                                           .transformer_layers = (size_t)l->transformers[i],
                                           .cross_attention_dim = (size_t)l->cross_dims[i],
                                           .only_cross_attention = l->only_cross[i],
                                           .resample = i + 1 < n};
        out->up[i] = (struct unet_level){.channels = (size_t)l->channels[j],
                                         .layers = (size_t)l->layers[j] + 1,
                                         .heads = (size_t)l->heads[j],
                                         .head_dim = (size_t)l->head_dims[i],
                                         .transformer_layers = (size_t)l->up_transformers[i],
                                         .cross_attention_dim = (size_t)l->cross_dims[j],
                                         .only_cross_attention = l->only_cross[j],
                                         .resample = i + 1 < n};
        read_type(file, "down_block_types", l->down_types[i], true, &out->down[i]);
        read_type(file, "up_block_types", l->up_types[i], false, &out->up[i]);
    }
}

/* Whether the middle's added-kv attention looks at the text alone. */
static bool mid_only_cross(struct config *file) {
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(file->root, "only_cross_attention");
    return config_bool(file, "mid_block_only_cross_attention", cJSON_IsTrue(all));
}

/* The middle is as the coarsest level; mid_block_type null leaves it out. */
static void read_mid(struct config *file, struct unet_config *out) {
    static const struct {
        enum block_attention attention;
        size_t layers;
    } types[] = {{ATTENTION_TRANSFORMER, 1}, {ATTENTION_NONE, 0}, {ATTENTION_ADDED_KV, 1}};
    static const char *const names[] = {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D",
                                        "UNetMidBlock2DSimpleCrossAttn", NULL};
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(file->root, "mid_block_type");
    size_t i = config_choice(file, "mid_block_type", names, 0);

    out->has_mid = !cJSON_IsNull(type);
    out->mid = out->down[out->levels - 1];
    out->mid.attention = types[i].attention;
    out->mid.layers = types[i].layers;
    out->mid.resampler = i == 2 ? RESAMPLE_RESNET : RESAMPLE_CONV;
    out->mid.only_cross_attention = i == 2 && mid_only_cross(file);
}

/* ---- what must divide ----------------------------------------------------------------------- */

static void check_level(struct config *file, const struct unet_level *level,
                        const struct unet_config *c) {
    bool has_heads = level->attention == ATTENTION_TRANSFORMER;
    bool has_head_dim =
        level->attention == ATTENTION_SELF || level->attention == ATTENTION_ADDED_KV;

    if (level->channels % c->norm_num_groups != 0)
        config_fail(file, "block_out_channels", "%zu does not divide by norm_num_groups %zu",
                    level->channels, c->norm_num_groups);
    if (has_heads && level->channels % level->heads != 0)
        config_fail(file, "attention_head_dim", "%zu heads do not divide %zu channels",
                    level->heads, level->channels);
    if (has_head_dim && level->channels % level->head_dim != 0)
        config_fail(file, "attention_head_dim", "heads of %zu do not divide %zu channels",
                    level->head_dim, level->channels);
    if (c->cross_attention_norm && level->cross_attention_dim % CROSS_NORM_GROUPS != 0)
        config_fail(file, "cross_attention_dim", "%zu does not divide by %d groups",
                    level->cross_attention_dim, CROSS_NORM_GROUPS);
    if (level->cross_attention_dim != c->cross_attention_dim)
        config_fail(file, "cross_attention_dim", "%zu and %zu; there is one text for all levels",
                    c->cross_attention_dim, level->cross_attention_dim);
}

static void check(struct config *file, const struct unet_config *c) {
    size_t D = c->states_dim;

    for (size_t i = 0; i < c->levels; i++) {
        check_level(file, &c->down[i], c);
        check_level(file, &c->up[i], c);
    }
    if (c->has_mid)
        check_level(file, &c->mid, c);
    if (c->freq_shift >= (double)(c->down[0].channels / 2))
        config_fail(file, "freq_shift", "%g leaves no frequencies in %zu channels", c->freq_shift,
                    c->down[0].channels);
    if (c->text_embedding && D % c->text_embedding_heads != 0)
        config_fail(file, "addition_embed_type_num_heads", "%zu heads do not divide %zu channels",
                    c->text_embedding_heads, D);
}

int unet_config_read(dl_context *cx, const char *dir, struct unet_config *out) {
    struct config file;
    struct lists lists;

    memset(out, 0, sizeof *out);
    memset(&lists, 0, sizeof lists);
    DL_TRY(config_open(cx, dir, "config.json", &file));
    refuse_unsupported(&file);
    read_values(&file, out);
    read_embeddings(&file, out);
    read_lists(&file, &lists);
    if (file.status != DL_OK)
        return config_end(&file);

    read_levels(&file, &lists, out);
    read_mid(&file, out);
    if (!out->project_states)
        out->states_dim = out->cross_attention_dim;
    check(&file, out);
    if (out->time_embed_dim == 0)
        out->time_embed_dim = 4 * out->down[0].channels;
    return config_end(&file);
}
