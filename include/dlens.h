/* dlens: the Diffusion Lens (arXiv 2403.05846) as a C library.
 *
 * A text-to-image model's encoder builds a prompt's meaning block by block. The lens takes the
 * hidden state behind every block, applies the encoder's final layer norm, conditions the
 * diffusion model on it and makes one image per layer.
 *
 *     dl_context *cx;
 *     dl_model *model;
 *     dl_options options;
 *     const char *prompt = "a dog";
 *     if (dl_context_new(&cx)) return 1;
 *     dl_options_init(&options);
 *     if (dl_model_open(cx, "weights/emoji-clip", &model) ||
 *         dl_lens(cx, model, &options, &prompt, 1, on_image, NULL))
 *         fprintf(stderr, "%s\n", dl_message(cx));
 *
 * Rules that hold everywhere
 *   - A function that can fail returns a dl_status; dl_message then says what, where and why. The
 *     library never prints, exits or aborts and keeps no global state.
 *   - A context and what is done with it belong to one thread at a time. A model is read-only once
 *     open and may be used from several contexts at once.
 *   - Strings are UTF-8. Arrays are f32, contiguous, in PyTorch's order (last index fastest).
 *   - Each function says who owns what it returns. */
#ifndef DLENS_H
#define DLENS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DL_API __attribute__((visibility("default")))
#else
#define DL_API
#endif

#define DLENS_VERSION "0.1.0"

/* The program's exit statuses are the same numbers. */
enum dl_status {
    DL_OK = 0,
    DL_FAILED = 1,     /* the work failed: memory, disk */
    DL_USAGE = 2,      /* the call was wrong: an option, a prompt */
    DL_MODEL = 3,      /* the model is missing, damaged or unsupported */
    DL_CANCELLED = 130 /* a callback asked to stop */
};

typedef struct dl_context dl_context;
typedef struct dl_model dl_model;

/* ---- context ------------------------------------------------------------------------------ */

enum dl_log_level { DL_LOG_WARNING = 0, DL_LOG_NOTE = 1 };

/* Receives one line without a newline; the text dies when the call returns. */
typedef void (*dl_log_fn)(void *user, int level, const char *line);

/* A new context, freed with dl_context_free. DL_FAILED without memory (*cx is then NULL); DL_USAGE
 * if the environment variable DLENS_ISA names an instruction set that this machine lacks (*cx is
 * then usable only for dl_message and dl_context_free). */
DL_API int dl_context_new(dl_context **cx);
DL_API void dl_context_free(dl_context *cx); /* NULL is allowed */

/* Why the last call failed: "WHAT: WHY". Empty if none did. Lives until the next call. */
DL_API const char *dl_message(const dl_context *cx);

DL_API void dl_set_log(dl_context *cx, dl_log_fn log, void *user);
DL_API int dl_set_threads(dl_context *cx, int threads); /* 0: all cores; DL_USAGE if out of range */

/* What numbers are multiplied in, from now on. DL_FAST: matrix products, convolutions and attention
 * round what they multiply to bf16 and add up in f32, where the processor has instructions for that
 * (AMX, AMD's AVX-512 BF16); elsewhere it is DL_F32, and the log says so. README.md states the error. */
enum dl_precision { DL_F32, DL_FAST };
DL_API int dl_set_precision(dl_context *cx, int precision);

/* What activations lie in while others are made (the skip connections of a UNet, the pictures
 * inside AutoencoderKL's decoder, which then works in strips): in f16 they take half the memory,
 * rounded to 11 bits. README.md states the error. */
enum dl_activations { DL_ACTIVATIONS_F32, DL_ACTIVATIONS_F16 };
DL_API int dl_set_activations(dl_context *cx, int activations);

/* "0.1.0 (OpenMP; avx512)": version, build options, instruction set in use. The text
 * lives as long as the context. */
DL_API const char *dl_version(dl_context *cx);

/* ---- models ------------------------------------------------------------------------------- */

/* Opens a diffusers directory, or a bundled model by its name. Weights are mapped, not read.
 * *model is freed with dl_model_close and does not depend on the context that opened it. */
DL_API int dl_model_open(dl_context *cx, const char *path, dl_model **model);
DL_API void dl_model_close(dl_model *model); /* NULL is allowed */

/* How a model is opened; zero what is not said. */
typedef struct dl_open_options {
    int stages;         /* pixel cascades: how many stages; 0: all that are found */
    const char *stage2; /* folder of the second stage; NULL: a sibling folder by name */
    const char *stage3; /* and of the third */
    int clean_caption;  /* not 0: prompts go through DeepFloyd's caption cleaning */
    int text_only;      /* not 0: tokenizer and text encoder alone, for dl_tokenize, dl_encode and
                           units; no other weights need be there, and no pictures can be made */
} dl_open_options;

/* DL_USAGE for options that the model's family does not have. */
DL_API int dl_model_open_with(dl_context *cx, const char *path, const dl_open_options *options,
                              dl_model **model);

typedef struct dl_model_info {
    const char *path;    /* as opened; lives as long as the model */
    const char *family;  /* "stable-diffusion" */
    const char *encoder; /* class of the text encoder the lens looks through */
    int layers;          /* L, the number of its blocks; hidden states are 0..L */
    int tokens;          /* T, its sequence length */
    int hidden_size;     /* D, width of its hidden states */
    int width, height;   /* the model's own picture size */
    int latent_channels; /* C of the latents (3 for a pixel model) */
    int latent_scale;    /* pixels per latent, 8 for Stable Diffusion, 1 for a pixel model */
    int noise_channels;  /* of the start noise: as the latents, but that */
    int noise_scale;     /* of a cascade is the first stage's */
    int steps;           /* the model's own number of steps */
    double guidance;     /* and guidance scale */
    const char *sampler; /* and sampler */
    int stages;          /* of a pixel cascade; 0: the model is none */
} dl_model_info;

DL_API void dl_model_describe(const dl_model *model, dl_model_info *info);

enum { DL_STAGES_MAX = 3 };

/* One stage of a pixel cascade and its own settings; index from 0; DL_USAGE behind the last. */
typedef struct dl_stage {
    const char *name;     /* "stage 2" */
    const char *pipeline; /* "IFSuperResolutionPipeline" */
    const char *path;     /* its folder */
    int width, height;    /* of its pictures at the model's own size */
    int steps;
    double guidance;
    const char *sampler;
    int noise_level; /* put on the picture that it enlarges, in timesteps; -1: the first stage */
} dl_stage;

DL_API int dl_model_stage(const dl_model *model, size_t index, dl_stage *stage);

/* One component of a model, for inspection: index from 0 until the call returns DL_USAGE. */
typedef struct dl_component {
    const char *name;       /* "text_encoder" */
    const char *class_name; /* "CLIPTextModel" */
    const char *file;       /* weights file, NULL where it has none */
    size_t parameters;
    size_t bytes;
    const char *dtype; /* of most of its parameters: "F32" */
} dl_component;

DL_API int dl_model_component(const dl_model *model, size_t index, dl_component *component);

/* Tensor `tensor` of component `component`; DL_USAGE behind the last. */
typedef struct dl_tensor_info {
    const char *name;
    const char *dtype;
    size_t ndim;
    size_t shape[5];
} dl_tensor_info;

DL_API int dl_model_tensor(const dl_model *model, size_t component, size_t tensor,
                           dl_tensor_info *info);

/* ---- tokens ------------------------------------------------------------------------------- */

typedef struct dl_tokens {
    size_t count;  /* with the special tokens, without padding */
    int32_t *ids;  /* (count) */
    char **pieces; /* (count) as the vocabulary writes them */
    size_t padded_count;
    int32_t *padded; /* (padded_count) as the encoder gets them */
    char *cut;       /* what did not fit and was cut off, NULL if all fitted */
} dl_tokens;

DL_API int dl_tokenize(dl_context *cx, const dl_model *model, const char *text, size_t length,
                       dl_tokens *tokens);
DL_API void dl_tokens_free(dl_tokens *tokens);

/* ---- options ------------------------------------------------------------------------------ */

/* What a layer's state passes through before it conditions:
 *     FINAL  the encoder's final norm, as the last layer's state does
 *     NONE   nothing
 *     BLOCK  the norm that the next block itself puts before its attention (the last layer: the
 *            final norm)
 *     MATCH  each token is scaled to the root mean square that the last layer's conditioning has at
 *            this token; nothing else changes */
enum dl_norm { DL_NORM_FINAL, DL_NORM_NONE, DL_NORM_BLOCK, DL_NORM_MATCH };

/* Baselines: the prompt's tokens shuffled, none but padding, a text encoder of random weights. */
enum dl_control { DL_CONTROL_NONE, DL_CONTROL_SHUFFLED, DL_CONTROL_PADDING, DL_CONTROL_RANDOM };

/* What the progress callback is told. Pictures of a small model are made side by side: the callback is
 * told of them as if one came after another, in larger strides. */
typedef struct dl_progress {
    const char *stage;    /* "encode", "denoise", "decode" */
    size_t step, steps;   /* of the running image; step counts from 1 */
    size_t image, images; /* the running image from 0, and how many there are */
    size_t prompt;        /* index of its prompt */
    int layer;            /* its layer */
    uint64_t seed;        /* its seed */
} dl_progress;

/* Called after every step. Not 0: stop; the call returns DL_CANCELLED. */
typedef int (*dl_progress_fn)(void *user, const dl_progress *progress);

typedef struct dl_options {
    const char *layers;      /* as --layers: "all", "last", "0,4,8", "0::4" */
    const char *skip_layers; /* blocks left out, numbered from 1 as layers are; NULL: none */
    const uint64_t *seeds;   /* NULL: seed 0 alone */
    size_t seed_count;
    int steps;               /* 0: the model's own */
    const char *sampler;     /* NULL: the model's own */
    double guidance;         /* negative: the model's own; up to 1: none */
    double eta;              /* DDIM's: 0 deterministic, 1 as DDPM */
    int reuse;               /* the deep part of the UNet is computed every so many steps and used
                                again in between (DeepCache); 0 or 1: in every step, exactly */
    int width, height;       /* in pixels; 0: the model's own */
    const char *negative;    /* negative prompt; NULL: empty */
    int norm;                /* enum dl_norm */
    int control;             /* enum dl_control */
    int native;              /* not 0: also the family's own conditioning, as layer -1 */
    const float *noise;      /* (1,noise_channels,H/noise_scale,W/noise_scale) start noise for all;
                                NULL: from the seed */
    const char *timesteps;   /* pixel cascades: published lists of timesteps in place of steps, one
                                name ("fast27") for all stages or one for each, joined by commas;
                                NULL: none */
    const char *cache;       /* folder of encodings kept from run to run, which another run takes in
                                place of the encoder's work; NULL: none */
    int keep_latents;        /* not 0: dl_picture.latents is set */
    dl_progress_fn progress; /* NULL: none */
    void *progress_user;
} dl_options;

DL_API void dl_options_init(dl_options *options); /* the defaults named above */

/* Reads a layer specification for an encoder of `layers` blocks. *out: the layers in rising order
 * without repetition, freed by the caller with dl_free. DL_USAGE with the part at fault. */
DL_API int dl_layers_parse(dl_context *cx, const char *spec, int layers, int **out, size_t *count);

DL_API void dl_free(void *memory);

/* ---- the lens ----------------------------------------------------------------------------- */

typedef struct dl_picture {
    size_t prompt; /* index */
    int layer;     /* 0..L; -1: the family's own conditioning */
    uint64_t seed;
    int width, height;
    const uint8_t *rgb;   /* (height,width,3), lives until the callback returns */
    const float *latents; /* (1,C,h,w) if keep_latents, else NULL; the same life */
    double seconds;       /* time this picture took */
} dl_picture;

/* Called for each finished picture. Not 0: stop; the call returns DL_CANCELLED, or, where a
 * function called in here with the same context has failed, that failure. */
typedef int (*dl_picture_fn)(void *user, const dl_picture *picture);

/* Asked before each picture whether to make it: not 0 skips it (resume). */
typedef int (*dl_skip_fn)(void *user, size_t prompt, int layer, uint64_t seed);

/* The lens: for every prompt, seed and chosen layer one picture, in this order. */
DL_API int dl_lens(dl_context *cx, dl_model *model, const dl_options *options,
                   const char *const *prompts, size_t prompt_count, dl_picture_fn emit, void *user);

/* The same, asking `skip` (may be NULL) with the same `user`. */
DL_API int dl_lens_resumed(dl_context *cx, dl_model *model, const dl_options *options,
                           const char *const *prompts, size_t prompt_count, dl_skip_fn skip,
                           dl_picture_fn emit, void *user);

/* Ordinary text-to-image with the full encoding, one picture per prompt and seed. */
DL_API int dl_generate(dl_context *cx, dl_model *model, const dl_options *options,
                       const char *const *prompts, size_t prompt_count, dl_picture_fn emit,
                       void *user);

/* The same, asking `skip` (may be NULL) with the same `user`. */
DL_API int dl_generate_resumed(dl_context *cx, dl_model *model, const dl_options *options,
                               const char *const *prompts, size_t prompt_count, dl_skip_fn skip,
                               dl_picture_fn emit, void *user);

/* A text that tells dl_generate's pictures of one prompt and seed from those of another model or of
 * other options. */
enum { DL_IDENTITY = 32 };
DL_API int dl_generate_identity(dl_context *cx, dl_model *model, const dl_options *options,
                                char out[DL_IDENTITY]);

/* ---- a lens into a folder ------------------------------------------------------------------- */

/* What the program's `lens` does: dl_lens, written to a folder with manifest, contact sheet and
 * report, resumed where an earlier run with the same settings stopped. */
typedef struct dl_run {
    const char *folder;         /* NULL: lens-out/SLUG of the first prompt */
    int overwrite;              /* not 0: results of other settings are replaced */
    const char *const *command; /* argv, for the manifest; may be NULL */
    size_t command_count;
    const char *latents_file; /* NULL, or where all final latents are written */
    int explain;              /* not 0: other ways of looking, too: heat maps of the attention to
                                 each word, the text encoder's attention, nearest pieces, similarity
                                 of layers; as safetensors and in the report */
    dl_picture_fn on_picture; /* told of each new picture; may be NULL */
    void *on_picture_user;
    const char *controls; /* runs beside it in folder/controls/NAME, in the same report: shuffled,
                             padding, random, norm-none, norm-block, norm-match, joined by commas;
                             "all"; or NULL */
    int skip_each;        /* not 0: also a run without each block of the text encoder in turn, in
                             folder/skip-each/block-01, ..., as rows of the same report */
} dl_run;

typedef struct dl_run_result {
    char *report;   /* path of index.html, NULL for a shard; freed with dl_free */
    char *manifest; /* path of manifest.json; freed with dl_free */
    size_t made;    /* pictures made now */
    size_t found;   /* pictures that were there */
} dl_run_result;

/* On DL_CANCELLED what is finished is kept, and *result is filled in as well. */
DL_API int dl_lens_run(dl_context *cx, dl_model *model, const dl_options *options,
                       const char *const *prompts, size_t prompt_count, const dl_run *run,
                       dl_run_result *result);

/* Writes a picture as PNG with the text chunks of its making: complete or absent. `identity` (see
 * dl_generate_identity; NULL: none) becomes one of them. */
DL_API int dl_picture_write(dl_context *cx, const dl_model *model, const dl_options *options,
                            const char *prompt, const dl_picture *picture, const char *path);
DL_API int dl_picture_write_as(dl_context *cx, const dl_model *model, const dl_options *options,
                               const char *identity, const char *prompt,
                               const dl_picture *picture, const char *path);

/* ---- experiments ---------------------------------------------------------------------------- */

/* A lens over a prompt set, annotated: what the program's `experiment` does. */
typedef struct dl_experiment {
    const char *prompts;   /* a CSV file with a column `prompt`, or the name of a built-in set */
    const char *judge;     /* folder of the CLIP model that annotates, or a bundled model's name;
                              NULL: the default one; "none": no annotation */
    const char *questions; /* which are asked, joined by commas; NULL: all that the columns allow */
    int shard, shards;     /* makes the shard-th (from 1) of so many equal parts; 0, 0: all */
    dl_run run;            /* folder NULL: experiment-out/NAME; latents_file must be NULL; its
                              controls are experiments, too, with the same judge and questions */
} dl_experiment;

/* Where options->layers is NULL, every fourth layer and the last (of some built-in sets all); where
 * options->seeds is NULL, seeds 0 to 3. Otherwise as dl_lens_run. */
DL_API int dl_experiment_run(dl_context *cx, dl_model *model, const dl_options *options,
                             const dl_experiment *experiment, dl_run_result *result);

/* A built-in prompt set, in the words of the bundled models' world; index from 0, DL_USAGE behind
 * the last. The strings are constants. */
typedef struct dl_prompt_set {
    const char *name, *summary, *layers;
} dl_prompt_set;
DL_API int dl_experiment_set(size_t index, dl_prompt_set *set);

/* Puts the shards of one experiment, and of its controls, together in run->folder, which is then
 * what the experiment in one piece would have written, byte for byte but for times.csv. DL_USAGE
 * for parts that are no shards of the same experiment, DL_FAILED where pictures, annotations or a
 * control are missing. */
DL_API int dl_merge(dl_context *cx, const char *const *parts, size_t count, const dl_run *run,
                    dl_run_result *result);

/* Makes the report of an experiment's (or a lens') folder anew, from what is in it: index.html,
 * plots/, signatures.csv. DL_USAGE where the folder is no run's, or a shard. */
DL_API int dl_report(dl_context *cx, const char *folder);

/* Sets two runs side by side, their prompts, relative layers, questions and pictures matched: what
 * the program's `compare` does. The page goes to the file `page`, plots to FOLDER/plots unless
 * folder is NULL; seed is that of the resampling. *json, if json is not NULL, is what `compare
 * --json` prints, freed with dl_free. DL_USAGE where a folder is no run's, or a shard, or the runs
 * have no prompt in common. */
DL_API int dl_compare(dl_context *cx, const char *a, const char *b, uint64_t seed,
                      const char *page, const char *folder, char **json);

/* ---- parts -------------------------------------------------------------------------------- */

/* Every layer of one prompt. Freed with dl_encoding_free. */
typedef struct dl_encoding {
    size_t layers;       /* L; there are L+1 hidden states */
    size_t tokens;       /* T */
    size_t hidden_size;  /* D */
    size_t pooled_size;  /* 0 where the encoder pools nothing */
    float *hidden;       /* (L+1,T,D) raw */
    float *conditioning; /* (L+1,T,D) after the final norm (or not: options->norm) */
    float *pooled;       /* (pooled_size) or NULL */
    int64_t *ids;        /* (T) */
} dl_encoding;

DL_API int dl_encode(dl_context *cx, dl_model *model, const dl_options *options, const char *prompt,
                     dl_encoding *encoding);
DL_API void dl_encoding_free(dl_encoding *encoding);

/* Writes an encoding as safetensors: hidden.K, cond.K, ids, pooled. */
DL_API int dl_encoding_write(dl_context *cx, const dl_model *model, const char *prompt,
                             const dl_encoding *encoding, const char *path);

/* One call of the denoiser, as a reference check or a building block: out and latents
 * (batch,C,h,w), states (batch,T,D) a conditioning. No guidance. */
DL_API int dl_denoise(dl_context *cx, dl_model *model, float *out, const float *latents,
                      size_t batch, size_t h, size_t w, double timestep, const float *states,
                      size_t tokens);

/* Decodes latents (1,C,h,w), scaled as the sampler leaves them, to image (1,3,h*scale,w*scale) in
 * about [-1,1], not clamped. */
DL_API int dl_decode(dl_context *cx, dl_model *model, float *image, const float *latents, size_t h,
                     size_t w);

/* Start noise as torch.randn with torch.Generator("cpu").manual_seed(seed) draws it. */
DL_API void dl_noise(uint64_t seed, float *out, size_t count);

/* ---- judging pictures ------------------------------------------------------------------------ */

/* A CLIP model, which says how well pictures and texts match:
 *
 *     dl_judge_open(cx, NULL, &judge);
 *     dl_judge_describe(judge, &info);
 *     dl_judge_texts(cx, judge, texts, count, text);            text (count,info.size)
 *     dl_judge_file(cx, judge, "dog.png", picture);             picture (info.size)
 *     dl_judge_compare(judge, picture, text, count, cosine, probability);
 */
typedef struct dl_judge dl_judge;

/* Opens a CLIPModel's folder in transformers layout (config.json, model.safetensors,
 * preprocessor_config.json, tokenizer files), or the judge of the bundled model of this name; NULL:
 * of the default one. *judge is freed with dl_judge_close, is read-only, may be used from several
 * contexts at once, and does not depend on the context that opened it. */
DL_API int dl_judge_open(dl_context *cx, const char *path, dl_judge **judge);
DL_API void dl_judge_close(dl_judge *judge); /* NULL is allowed */

typedef struct dl_judge_info {
    const char *path;  /* its folder; lives as long as the judge */
    size_t size;       /* P, the length of an embedding */
    double scale;      /* what cosines are multiplied with before the softmax */
    int width, height; /* of the pictures that the model sees; others are resized and cropped */
} dl_judge_info;

DL_API void dl_judge_describe(const dl_judge *judge, dl_judge_info *info);

/* embeddings (count,P), each of length 1. A text that is too long is cut, with a warning. DL_USAGE
 * for a text that is not UTF-8. */
DL_API int dl_judge_texts(dl_context *cx, const dl_judge *judge, const char *const *texts,
                          size_t count, float *embeddings);

/* embedding (P) of length 1, of a picture rgb (height,width,3) or of a PNG file. DL_USAGE where
 * the picture cannot be read. */
DL_API int dl_judge_picture(dl_context *cx, const dl_judge *judge, const uint8_t *rgb, int width,
                            int height, float *embedding);
DL_API int dl_judge_file(dl_context *cx, const dl_judge *judge, const char *path, float *embedding);

/* Of one picture (P) and texts (count,P): the cosines (count), and the probability of each text if
 * one of them is right (count), which sum to 1. Either may be NULL. */
DL_API void dl_judge_compare(const dl_judge *judge, const float *picture, const float *texts,
                             size_t count, float *cosine, float *probability);

/* ---- costs ----------------------------------------------------------------------------------- */

/* What one picture with these options costs, from a dry run of the networks. */
typedef struct dl_plan {
    size_t resident; /* peak resident memory of the process, file pages included; */
    size_t weights;  /* of it file pages of weights */
    size_t bytes;    /* peak of what a run allocates: activations, states, the picture */
    char measures[160]; /* what is done to need less, in words; "" nothing */
    double encode;  /* multiply-adds: of the text encoder for one prompt, */
    double step;    /* of one denoising step (of the first stage), guidance included, */
    double decode;  /* of decoding one picture, */
    double picture; /* of one picture, all steps and stages */
    struct {
        int steps;
        double step, decode;
    } stages[DL_STAGES_MAX]; /* of a pixel cascade */
} dl_plan;

DL_API int dl_plan_picture(dl_context *cx, dl_model *model, const dl_options *options,
                           dl_plan *plan);

/* Chooses how work in this context, until the next call, needs less memory: a picture with these
 * options, in a run over so many prompts, then stays below `limit` bytes resident, at the price of
 * time; pictures stay the same to the bit. limit 0: what costs next to nothing, towards 1.4 GB; this
 * is no promise. Of a model that is open for its text only, what is meant is dl_encode. DL_FAILED, with
 * the least size in the message, where `limit` is too small, or the machine. plan may be NULL. */
DL_API int dl_limit_memory(dl_context *cx, dl_model *model, const dl_options *options,
                           size_t prompts, size_t limit, dl_plan *plan);

/* Multiply-adds per second that this machine does in a large matrix product, measured now (about
 * 0.3 s). DL_FAILED without memory. */
DL_API int dl_measure_speed(dl_context *cx, double *speed);

/* ---- converting --------------------------------------------------------------------------- */

typedef struct dl_convert_options {
    const char *to;     /* "f32", "f16", "bf16", "int8" */
    const char *parts;  /* "text_encoder,unet": the folders whose weights change; NULL: all */
    const char *output; /* the new model's folder */
    int overwrite;      /* not 0: a model that is there is replaced */
    dl_progress_fn progress; /* after each tensor, stage "convert"; NULL: none */
    void *user;
} dl_convert_options;

typedef struct dl_converted_part {
    char name[64];        /* of its folder */
    const char *from;     /* dtype of most weights, a constant: "F32", ... */
    const char *to;       /* and now */
    size_t tensors;       /* in the new file */
    size_t changed;       /* weights with another dtype than before */
    size_t before, after; /* bytes of the files */
    double largest_error; /* of a weight, as a share of its tensor's largest */
} dl_converted_part;

typedef struct dl_converted {
    dl_converted_part *parts;
    size_t count;
    size_t before, after;
} dl_converted;

/* Rewrites a model's folder in diffusers layout (or a bundled model, by name) with its weights in
 * another dtype; README.md states the formats. One tensor at a time is in memory. The new folder is
 * complete or absent. DL_USAGE for an output that is not free, the model's own folder, or a single
 * file as the model; DL_MODEL where the model cannot be read; DL_FAILED where the disk is full or a
 * value does not fit; DL_CANCELLED if the callback asked to stop. The result is freed with
 * dl_converted_free. */
DL_API int dl_convert(dl_context *cx, const char *model, const dl_convert_options *options,
                      dl_converted *result);
DL_API void dl_converted_free(dl_converted *result);

#ifdef __cplusplus
}
#endif

#endif
