/* The denoiser: diffusers' UNet2DConditionModel, built from its config.json.
 *
 *     eps (B,C',H,W) = UNet(x_t (B,C,H,W), t, states (B,T,D))
 *
 * A U-shaped convolutional network (Ho et al. 2020, arXiv 2006.11239, appendix B; with
 * cross-attention to the text: Rombach et al. 2022, arXiv 2112.10752, section 3.3). Levels go down
 * from fine to coarse, pass a middle, and come up again, where each layer is also given what its
 * twin on the way down put out.
 *
 * B batch   C channels   H, W sides of the latents   T tokens   D width of the states */
#ifndef DLENS_DIFFUSION_UNET_H
#define DLENS_DIFFUSION_UNET_H

#include "diffusion/attention_map.h"
#include "store/store.h"

enum {
    UNET_LEVELS_MAX = 8,        /* entries of block_out_channels */
    UNET_LAYERS_MAX = 16,       /* layers_per_block */
    UNET_TRANSFORMERS_MAX = 64, /* transformer_layers_per_block */
    UNET_CHANNELS_MAX = 1 << 16 /* any width */
};

/* What attends in a block, and how it changes the picture's size: a block type is a pair. */
enum block_attention {
    ATTENTION_NONE,        /* DownBlock2D, UpBlock2D, ResnetDownsampleBlock2D, ... */
    ATTENTION_SELF,        /* AttnDownBlock2D, AttnUpBlock2D: the picture alone */
    ATTENTION_TRANSFORMER, /* CrossAttnDownBlock2D, ...: Transformer2DModel */
    ATTENTION_ADDED_KV     /* SimpleCrossAttnDownBlock2D, ...: text and picture at once */
};
enum block_resampler {
    RESAMPLE_CONV,  /* a convolution */
    RESAMPLE_RESNET /* a residual block that changes the size of both its branches */
};

/* One level on the way down or up, or the middle: the config's lists, expanded. */
struct unet_level {
    enum block_attention attention;
    enum block_resampler resampler;
    size_t channels;           /* block_out_channels */
    size_t layers;             /* layers_per_block (one more on the way up) */
    size_t heads;              /* of the transformer: `attention_head_dim`, a misnomer */
    size_t head_dim;           /* of the other attentions: the same key, at its word */
    size_t transformer_layers; /* blocks in each Transformer2DModel */
    size_t cross_attention_dim;
    bool only_cross_attention; /* the first attention of a block looks at the text, too */
    bool resample;             /* all levels but the last change the size */
};

/* A second number that is put into the time embedding, as the noise level of upscalers. */
enum class_embedding {
    CLASS_NONE,
    CLASS_TIMESTEP, /* class_embed_type timestep: through sinusoids, as the time */
    CLASS_TABLE     /* num_class_embeds: a row of a table */
};

/* config.json, its defaults filled in. */
struct unet_config {
    const char *class_name;             /* "UNet2DConditionModel" */
    size_t in_channels, out_channels;   /* of the sample and of the result */
    size_t sample_height, sample_width; /* the model's own size in latents; 0: the file has none */
    size_t cross_attention_dim;         /* width of what the attentions see */
    size_t states_dim;                  /* D: the same, or encoder_hid_dim */
    bool project_states;                /* encoder_hid_dim: from there to cross_attention_dim */
    size_t time_cond_proj_dim;          /* width of unet_condition.timestep_cond, 0: takes none */
    enum class_embedding class_embedding; /* what unet_condition.class_labels is for */
    size_t num_class_embeds;              /* rows of CLASS_TABLE */
    size_t levels;
    struct unet_level down[UNET_LEVELS_MAX], up[UNET_LEVELS_MAX]; /* up in the order it runs */
    bool has_mid;
    struct unet_level mid; /* layers: its attentions (there is one more resnet) */

    bool center_input_sample; /* 2x - 1 first */
    bool flip_sin_to_cos;     /* cosines before sines in the time embedding */
    double freq_shift;
    size_t time_embed_dim;
    enum activation act;                                   /* of resnets, time MLP and output */
    enum activation timestep_post_act, time_embedding_act; /* ACT_NONE: none */
    size_t norm_num_groups;
    float norm_eps;
    size_t downsample_padding;    /* 1, or 0 for zeros on the right and below only */
    float mid_block_scale_factor; /* the mid resnets' sums are divided by it */
    bool scale_shift;             /* resnet_time_scale_shift */

    /* blocks that resample by RESAMPLE_RESNET and their middle (DeepFloyd IF) */
    float resnet_out_scale_factor; /* their resnets' sums are divided by it */
    bool resnet_skip_time_act;     /* their resnets take temb without activation */
    bool cross_attention_norm;     /* a group norm over the text before added keys and values */
    bool text_embedding;           /* addition_embed_type text: the text pooled into temb */
    size_t text_embedding_heads;   /* addition_embed_type_num_heads */
    size_t conv_in_kernel, conv_out_kernel;
};

struct unet;

/* Opens DIR/config.json and DIR/diffusion_pytorch_model.*. *out is freed with unet_close. DL_MODEL
 * naming the file and key or tensor when something is missing, wrong or not supported. */
int unet_open(dl_context *cx, const char *dir, struct unet **out);
void unet_close(struct unet *u); /* NULL is allowed */

/* Both live as long as the UNet. */
const struct unet_config *unet_config(const struct unet *u);
const struct store *unet_store(const struct unet *u);

/* Shows the output of each module by its name in the checkpoint, for tests: "time_embedding"
 * (B,1,1,C), "conv_in", "down_blocks.0", "mid_block", "up_blocks.0", "conv_out". data (B,H,W,C) is
 * channels last and dies when the call returns. */
struct unet_tap {
    void (*fn)(void *user, const char *name, const float *data, size_t B, size_t H, size_t W,
               size_t C);
    void *user;
};

/* What stays the same in many calls for one picture, computed once, in the caller's arena. Equal to
 * the bit to what a call would compute, but for `deep`. */
struct unet_memory {
    size_t items;     /* N: of the picture, the batch of a call is a part of them */
    float *text;      /* keys and values of all attentions to the text (text_keys.h) */
    size_t text_last; /* where those of the last layer begin */
    float *pooled;    /* (N,E) the pooled text of config.text_embedding, else NULL */
    /* (N,H,W,C) the activation that enters the last layer on the way up, left by the last whole
     * call; NULL: not kept. C are that layer's channels. */
    float *deep;
};

/* What the UNet is told beside the sample and the time. Zero what is not needed. */
struct unet_condition {
    const float *states;        /* (B,T,D) the text, D = config.states_dim */
    size_t tokens;              /* T */
    const float *timestep_cond; /* (B,time_cond_proj_dim) guidance embedding of LCM, or NULL */
    const float *class_labels;  /* (B) noise levels for config.class_embedding; NULL: 0 */
    const struct unet_tap *tap; /* or NULL */
    const struct attention_tap *attention; /* looks at all attentions to the text; or NULL */
    /* The distinct samples S: item b is of sample b mod S, whose timestep_cond and class_labels
     * must be equal, too; up to the first look at the text each is computed once. 0: all B. */
    size_t samples;
    const struct unet_memory *memory; /* of these states and more; or NULL */
    size_t first;                     /* the batch are the memory's items from here on */
    bool reuse;                       /* takes memory->deep in place of all that leads to it */
};

/* Fills *memory for N items: condition->states (N,T,D). deep: also room for that, for samples of
 * H x W. What it takes from the arena lives until the caller releases it. Runs in plan mode. */
void unet_remember(dl_context *cx, const struct unet *u, struct unet_memory *memory, size_t N,
                   size_t H, size_t W, bool deep, const struct unet_condition *condition);

/* out (B,C',H,W) from sample (S,C,H,W), both in PyTorch's order. Any H, W >= 1. timestep may be
 * fractional. Scratch comes from the arena; runs in plan mode, where no input is read.
 *
 * With `reuse` the deep part of the network is left out (DeepCache, Ma et al. 2023, arXiv
 * 2312.00858, section 3.3, its shallowest skip branch): conv_in, the last layer on the way up, to
 * which conv_in's output is the skip connection, and conv_out run; what the last whole call had put
 * into that layer enters it again. */
void unet_forward(dl_context *cx, const struct unet *u, float *out, const float *sample, size_t B,
                  size_t H, size_t W, float timestep, const struct unet_condition *c);

#endif
