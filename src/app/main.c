/* dlens: the Diffusion Lens (arXiv 2403.05846) on the command line. */
#include "app/commands.h"
#include "app/console.h"

#include "base/file.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
    const char *name;
    int bit;
    const char *summary, *arguments, *description, *example;
    int (*run)(const struct invocation *call);
};

/* clang-format off */
static const struct command commands[] = {
    {"lens", CMD_LENS, "one picture for each text-encoder layer, seed and prompt", "PROMPT...",
     "Makes, for every prompt and seed, the picture that the diffusion model sees in\n"
     "each layer of the text encoder, with a contact sheet and a report that opens in\n"
     "any browser. The last line on standard output is the report's path.",
     "  dlens lens \"a dog\" -l 0::4 --seeds 2 -o dog\n\n"
     "makes layers 0, 4, 8, ... for seeds 0 and 1 and writes dog/index.html. The same\n"
     "line again goes on where it was stopped and remakes nothing that is there.",
     command_lens},
    {"generate", CMD_GENERATE, "ordinary text-to-image with the full encoding", "PROMPT...",
     "Makes the ordinary picture of each prompt and seed: the lens' last layer. Prints\n"
     "the path of each picture.",
     "  dlens generate \"a red dog\" -s 7 -o dog.png\n\n"
     "makes one picture with the model's own sampler and number of steps.",
     command_generate},
    {"encode", CMD_ENCODE, "every layer's hidden state and conditioning, to a file", "PROMPT",
     "Writes a safetensors file with the hidden states hidden.0, hidden.1, ... as they\n"
     "leave the blocks, the conditionings cond.0, cond.1, ... behind the final norm,\n"
     "each [1,T,D] in f32, the token ids and, where there is one, the pooled state.\n"
     "With --units: the prompts of a set that drive units of the encoder most.",
     "  dlens encode \"a dog\" -o dog.safetensors\n"
     "  dlens encode --units 4.ff.17,6.out.0:8 --prompts set.csv --top 5",
     command_encode},
    {"tokenize", CMD_TOKENIZE, "token ids and pieces", "TEXT",
     "Prints the ids and pieces that the model's tokenizer makes of a text.",
     "  dlens tokenize \"a dog\" --json\n\n"
     "prints {\"ids\": [...], \"pieces\": [...], \"padded\": [...]}.",
     command_tokenize},
    {"inspect", CMD_INSPECT, "what a model is: parts, sizes, memory and time", "[MODEL]",
     "Tells a model's family, encoder, layers, sizes, number formats and parameter\n"
     "counts, and estimates the memory and time of a lens on this machine.",
     "  dlens inspect emoji-clip --tensors\n\n"
     "also lists every tensor.",
     command_inspect},
    {"experiment", CMD_EXPERIMENT, "a lens over a prompt set, annotated", "FILE.csv|NAME",
     "Makes, for every prompt of a set and four seeds, the pictures of every fourth\n"
     "layer and the last. A set is a CSV with a column `prompt`; its other columns\n"
     "name what is in the prompt (class, color, class1, ...). Some sets are built in:\n"
     "--list shows them. The same line again goes on where it was stopped.",
     "  dlens experiment colors\n\n"
     "runs a built-in set into experiment-out/colors. On four machines, then on one:\n\n"
     "  dlens experiment set.csv -m MODEL --shard 1/4 -o part-1     (2/4, 3/4, 4/4)\n"
     "  dlens merge -o whole part-1 part-2 part-3 part-4\n\n"
     "With controls, annotated like the lens, in the same plots and tables:\n\n"
     "  dlens experiment colors --controls shuffled,norm-none",
     command_experiment},
    {"merge", CMD_MERGE, "puts the shards of an experiment together", "-o OUT PART...",
     "Puts together what dlens experiment --shard I/N has made, in any order. The\n"
     "parts must be all N shards of one experiment: same weights, options and\n"
     "prompts, no picture missing. The result is what the experiment in one piece\n"
     "writes, byte for byte but for times.csv. The model is not needed.",
     "  dlens merge -o whole part-1 part-2 part-3 part-4\n\n"
     "writes whole/index.html and prints its path.",
     command_merge},
    {"analyse", CMD_ANALYSE, "statistics of annotations, and the paper's comparisons", "FILE.csv...",
     "Reads annotation files: a CSV with the columns prompt and seed, and one for each\n"
     "layer, headed by its number, with scores from 0 to --scale. For each file prints\n"
     "the layers' mean scores with 95 % intervals (bootstrap over prompts) and where the\n"
     "thing asked for emerges: the first layer from which the score is at least half the\n"
     "scale and stays so. Cells that are no number are left out and counted.\n\n"
     "--compare sets files side by side, with effect sizes, intervals and tests:\n"
     "  complexity SIMPLE COMPOUND...   do compound prompts emerge later?\n"
     "  binding PART... BINDING         are the parts there before they are bound?\n"
     "  natural FILE... SET...          do unnatural pairs (is_natural 0) emerge later?\n"
     "  common COMMON UNCOMMON SET...   do uncommon nouns, and how with\n"
     "                                  avg_daily_views or frequency?\n"
     "  coarse COARSE... FINE           are coarse features there before fine ones?\n"
     "  order FIRST SECOND... SET...    which noun comes first: that written first, or\n"
     "                                  the head? For each question the two nouns' files.\n"
     "A SET is a prompt set with these columns (for order noun_0, noun_1, head), joined\n"
     "by the prompt; not needed where the annotation files have them.\n\n"
     "Of an experiment's folder in place of files, its report is made anew.",
     "  dlens analyse annotations/*.csv --scale 10\n\n"
     "shows a table for each file. Whether people and the automatic annotator agree:\n\n"
     "  dlens analyse human.csv auto.csv --agree --scale 1,10\n\n"
     "Whether uncommon animals come later, with the figures as JSON:\n\n"
     "  dlens analyse --compare common common.csv uncommon.csv animals.csv --json",
     command_analyse},
    {"compare", CMD_COMPARE, "two runs side by side: encoders, ablations", "A B",
     "Reads the folders of two runs, of dlens lens or dlens experiment. What both\n"
     "have is matched: prompts by text, layers by relative layer (layer / number of\n"
     "blocks), questions by name, pictures by prompt and seed. For each question\n"
     "prints the mean scores by layer with the difference B - A of the same prompts\n"
     "(95 % interval by bootstrap over prompts), the difference of the layers of\n"
     "emergence (Wilcoxon's signed-rank test), and for pictures the peak\n"
     "signal-to-noise ratio. The last line is the path of a page with plots and\n"
     "pictures of both.",
     "  dlens experiment colors -o with\n"
     "  dlens experiment colors --norm none -o without\n"
     "  dlens compare with without -o norm\n\n"
     "tells what the final norm does and writes norm/index.html and norm/plots.",
     command_compare},
    {"score", CMD_SCORE, "how well pictures and texts match, by a CLIP model", "IMAGE...",
     "Prints, for every picture (PNG) and every text, the cosine similarity of their\n"
     "CLIP embeddings and, of several texts, the probability of each if one of them is\n"
     "right (zero-shot classification).",
     "  dlens score dog.png --text \"a dog\" \"a cat\" \"nothing\"\n\n"
     "prints a line for each text. With a CLIP model from Hugging Face:\n\n"
     "  dlens score *.png --judge clip-vit-base-patch32 --json \\\n"
     "      --text \"a photo of a dog\" \"a photo of a cat\"",
     command_score},
    {"convert", CMD_CONVERT, "a model's weights as f32, f16, bf16 or int8", "-o DIR --to DTYPE",
     "Writes a model's folder anew with its weights in another number format. All that\n"
     "has weights is converted, or what --parts names; configs, tokenizers and other\n"
     "small files are copied. Models of f32, f16 and bf16 load in diffusers, too; int8\n"
     "is dlens's own: README.md states the format. One tensor at a time is in memory,\n"
     "and the folder is complete or absent. The last line on standard output is its\n"
     "path; the largest error is a weight's, as a share of its tensor's largest.",
     "  dlens convert -m stable-diffusion-v1-5 -o sd15-int8 --to int8\n\n"
     "makes a model of 1.2 GB of one of 4.3; dlens lens \"a dog\" -m sd15-int8 runs it.",
     command_convert},
    {"bench", CMD_BENCH, "times the parts of a model on this machine", "",
     "Times the text encoder, one guided denoising step and the decoder, beside a\n"
     "large matrix product as the yardstick.",
     "  dlens bench -m stable-diffusion-v1-5 --json",
     command_bench},
};
/* clang-format on */
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *to) {
    fprintf(to, "dlens: the Diffusion Lens. What does a text-to-image model see in each layer of\n"
                "its text encoder? (arXiv 2403.05846)\n\n"
                "usage: dlens \"a prompt\" [options]     short for dlens lens \"a prompt\"\n"
                "       dlens COMMAND [options] ...\n\n"
                "commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n"
                "  dlens COMMAND --help   a command's options, with an example\n"
                "  dlens --version        version, build options, instruction set in use\n\n"
                "environment:\n"
                "  DLENS_MODEL            the model where -m says none\n"
                "  DLENS_WEIGHTS          folder in which bundled models are looked for first\n"
                "  DLENS_ISA              instruction set to use: ref, avx2, avx512, amx or neon\n");
}

static void print_help(const struct command *c) {
    printf("usage: dlens %s %s%s[options]\n\n%s\n", c->name, c->arguments,
           c->arguments[0] ? " " : "", c->description);
    options_print(c->bit);
    printf("\nexample:\n%s\n", c->example);
    printf("\nexit status: 0 done, 1 the work failed, 2 the call was wrong, 3 the model is\n"
           "unusable, 130 interrupted%s\n",
           c->bit & CMD_FOLDERS ? " (what is finished is kept)" : "");
}

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* The command that argv means, and where its words begin: `dlens "a prompt"` is `dlens lens`. */
static int choose_command(dl_context *cx, int argc, char *const *argv,
                          const struct command **command, int *first) {
    *command = find_command(argv[1]);
    *first = *command ? 2 : 1;
    if (*command)
        return DL_OK;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (argc > 2 && edit_distance(commands[i].name, argv[1]) == 1)
            return fail(cx, DL_USAGE,
                        "%s: unknown command; did you mean %s? For a prompt write dlens lens %s",
                        argv[1], commands[i].name, argv[1]);
    *command = find_command("lens");
    return DL_OK;
}

/* *is_second: whether the word says `second`, where f32 is the default; DL_USAGE if it is neither.
 */
static int f32_or(dl_context *cx, const char *option, const char *word, const char *second,
                  bool *is_second) {
    *is_second = word && strcmp(word, second) == 0;
    if (!word || *is_second || strcmp(word, "f32") == 0)
        return DL_OK;
    return fail(cx, DL_USAGE, "%s %s: must be f32 or %s", option, word, second);
}

static int set_formats(dl_context *cx, const struct options *options) {
    bool fast, f16;
    DL_TRY(f32_or(cx, "--precision", options->precision, "fast", &fast));
    DL_TRY(f32_or(cx, "--activations", options->activations, "f16", &f16));
    DL_TRY(dl_set_precision(cx, fast ? DL_FAST : DL_F32));
    return dl_set_activations(cx, f16 ? DL_ACTIVATIONS_F16 : DL_ACTIVATIONS_F32);
}

static int run_command(dl_context *cx, const struct command *command, int argc, char *const *argv,
                       int first) {
    struct options options;
    int status = options_parse(cx, argc, argv, first, command->bit, &options);
    if (status == DL_OK && options.help) {
        print_help(command);
        status = flush_output(cx);
    } else if (status == DL_OK) {
        const struct invocation call = {cx, &options, argc, argv};
        dl_set_log(cx, console_log, &options);
        status = dl_set_threads(cx, (int)options.threads);
        if (status == DL_OK)
            status = set_formats(cx, &options);
        if (status == DL_OK)
            status = command->run(&call);
        if (status == DL_OK)
            status = flush_output(cx);
    }
    dl_set_log(cx, NULL, NULL);
    options_free(&options);
    return status;
}

/* The options may be what is wrong, so this one is looked for by itself. */
static bool has_no_color(int argc, char *const *argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--no-color") == 0)
            return true;
    return false;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c) {
    return !strcmp(word, a) || !strcmp(word, b) || !strcmp(word, c);
}

/* `dlens help [COMMAND]`. */
static int help(dl_context *cx, const char *name) {
    const struct command *command = name ? find_command(name) : NULL;
    if (name && !command)
        return fail(cx, DL_USAGE, "help %s: no such command; dlens --help lists them", name);
    if (command)
        print_help(command);
    else
        print_usage(stdout);
    return flush_output(cx);
}

static int dispatch(dl_context *cx, int argc, char *const *argv) {
    const struct command *command;
    int first;
    if (argc < 2) {
        print_usage(stderr);
        return fail(cx, DL_USAGE, "PROMPT: no prompt and no command is given");
    }
    if (is_one_of(argv[1], "--help", "-h", "help"))
        return help(cx, argc > 2 ? argv[2] : NULL);
    if (is_one_of(argv[1], "--version", "-V", "version")) {
        printf("dlens %s\n", dl_version(cx));
        return flush_output(cx);
    }
    DL_TRY(choose_command(cx, argc, argv, &command, &first));
    return run_command(cx, command, argc, argv, first);
}

/* cJSON tells of no memory only by leaving things out: it is noticed here, so that what is printed
 * lacks nothing. */
static bool json_failed;

static void *json_allocate(size_t size) {
    void *memory = malloc(size);
    json_failed = json_failed || !memory;
    return memory;
}

/* A thread that is done with its part of a loop spins until the others are done too: with libgomp
 * for tens of milliseconds, in which, on a busy machine, it keeps those that it waits for from the
 * core. A small model's picture then took 50 times as long; after this number of turns it takes 4
 * times as long, and no longer than before on an idle machine (bench/README.md). libgomp reads the
 * number when it is loaded, so the program starts itself again; where it can't, nothing is lost. */
static void spin_briefly(char **argv) {
    char path[4096];
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") ||
        setenv("GOMP_SPINCOUNT", "10000", 0) != 0)
        return;
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return;
    path[length] = '\0';
    execv(path, argv);
}

int main(int argc, char **argv) {
    dl_context *cx;
    spin_briefly(argv);
    cJSON_InitHooks(&(cJSON_Hooks){json_allocate, free});
    console_open_descriptors();
    console_on_interrupt(INTERRUPT_ENDS);
    int status = dl_context_new(&cx);
    if (status == DL_OK)
        status = dispatch(cx, argc, argv);
    if (status != DL_OK)
        console_error(dl_message(cx), !has_no_color(argc, argv));
    dl_context_free(cx);
    return status;
}

/* ---- what commands share --------------------------------------------------------------------- */

int flush_output(dl_context *cx) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return DL_OK;
    return fail(cx, DL_FAILED, "standard output: %s", strerror(errno));
}

int print_path(dl_context *cx, const char *path) {
    puts(path);
    return flush_output(cx);
}

int prepare_output(dl_context *cx, const char *path) {
    const size_t length = strlen(path);
    if (dir_exists(path) || (length && path[length - 1] == '/'))
        return fail(cx, DL_USAGE, "%s: is a folder; the result goes to a file", path);
    return file_prepare(cx, path);
}

const char *model_path(const struct options *options) {
    const char *path = options->model ? options->model : getenv("DLENS_MODEL");
    return path && path[0] ? path : "emoji-clip";
}

static int open_with(const struct invocation *call, int text_only, dl_model **model) {
    *model = NULL;
    if (call->options->encoder > 1)
        return fail(call->cx, DL_USAGE, "--encoder %ld: the model has one text encoder",
                    call->options->encoder);
    const dl_open_options how = {
        .stages = (int)call->options->stages,
        .stage2 = call->options->stage2,
        .stage3 = call->options->stage3,
        .clean_caption = call->options->clean_caption,
        .text_only = text_only,
    };
    return dl_model_open_with(call->cx, model_path(call->options), &how, model);
}

int open_model(const struct invocation *call, dl_model **model) {
    return open_with(call, 0, model);
}

int open_text(const struct invocation *call, dl_model **model) {
    return open_with(call, 1, model);
}

int print_json(const struct invocation *call, struct cJSON *json) {
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (!text || json_failed) {
        cJSON_free(text);
        return fail_memory(call->cx, "JSON", 0);
    }
    puts(text);
    cJSON_free(text);
    return flush_output(call->cx);
}
