/* Parsing the command line by a table. --name value, --name=value, -x value, -xvalue; flags of one
 * letter may be put together (-qv is -q -v); behind -- all is argument. */
#include "app/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* KIND_TEXTS: all words up to the next option. */
enum kind { KIND_FLAG, KIND_TEXT, KIND_PATH, KIND_WHOLE, KIND_NUMBER, KIND_TEXTS };

/* An option, in the order of the help. An option that means something else to another command has
 * a row for each. */
struct option {
    const char *group; /* its heading in the help */
    const char *name;
    char letter; /* 0: none */
    enum kind kind;
    const char *value; /* its name in the help; NULL for a flag */
    const char *help;
    size_t offset; /* of the field in struct options */
    int commands;  /* that take it; APART: it makes no difference to results */
    double min, max;
};

enum { APART = 1 << 30 };

#define AT(field) offsetof(struct options, field)

#define INPUT    "model and prompts"
#define LOOK     "layers and ablations"
#define SAMPLING "sampling"
#define CASCADE  "pixel cascades (DeepFloyd IF)"
#define STATS    "statistics"
#define RESULTS  "results"
#define RUNNING  "running"
#define COMPARED "pictures and texts"

/* clang-format off */
static const struct option table[] = {
    {INPUT, "model", 'm', KIND_PATH, "PATH", "a folder in diffusers layout, or the name of a bundled model; default $DLENS_MODEL, else emoji-clip", AT(model), CMD_MODEL | CMD_CONVERT, 0, 0},
    {INPUT, "prompts", 0, KIND_PATH, "FILE", "prompts from a file: one a line, or a .csv with a column `prompt`; - is standard input", AT(prompts_file), CMD_LISTED | CMD_ENCODE, 0, 0},
    {INPUT, "to", 0, KIND_TEXT, "DTYPE", "f32, f16, bf16 or int8 (weights of linear layers and convolutions, with a scale for each output; all else keeps its dtype)", AT(to), CMD_CONVERT, 0, 0},
    {INPUT, "parts", 0, KIND_TEXT, "LIST", "the parts whose weights change, joined by commas: text_encoder,unet; the others stay as they are; default all", AT(part_names), CMD_CONVERT, 0, 0},
    {INPUT, "encoder", 0, KIND_WHOLE, "N", "the text encoder to look through, where a model has several; default 1", AT(encoder), CMD_FOLDERS | CMD_ENCODE | CMD_TOKENIZE, 1, 1000},

    {LOOK, "layers", 'l', KIND_TEXT, "SPEC", "all, last, a list 0,4,8, a slice start:end:step as in Python, or a mix 0,4:13:4,-1; 0 is the embeddings, k the output of block k; default all", AT(layers), CMD_LENS | CMD_INSPECT, 0, 0},
    {LOOK, "layers", 'l', KIND_TEXT, "SPEC", "all, last, a list 0,4,8, a slice start:end:step as in Python, or a mix 0,4:13:4,-1; default 0::4,-1 (of some built-in sets all)", AT(layers), CMD_EXPERIMENT, 0, 0},
    {LOOK, "norm", 0, KIND_TEXT, "NAME", "what a layer's state passes through: final, the encoder's final norm; none; block, the next block's own norm; match, a scaling to the last layer's size; default final", AT(norm), CMD_FOLDERS | CMD_ENCODE, 0, 0},
    {LOOK, "skip-layer", 0, KIND_TEXT, "SPEC", "leave these encoder blocks out (1 is the first), their input passes on; default none", AT(skip_layers), CMD_FOLDERS | CMD_ENCODE, 0, 0},
    {LOOK, "skip-each", 0, KIND_FLAG, NULL, "also a run without each encoder block in turn, in skip-each/block-01, ... of the output folder, as rows of the report; skip-each.csv tells how far their pictures are from the whole encoder's", AT(skip_each), CMD_LENS, 0, 0},
    {LOOK, "control", 0, KIND_TEXT, "NAME", "a baseline in place of the prompt's encoding: shuffled, its tokens in another order; padding, no tokens of its own; random, an encoder of random weights; default none", AT(control), CMD_FOLDERS | CMD_ENCODE, 0, 0},
    {LOOK, "controls", 0, KIND_TEXT, "LIST", "also these controls, each as a run in controls/NAME of the output folder, beside the lens in its report (of an experiment: annotated, too): shuffled, padding, random (see --control), norm-none, norm-block, norm-match (see --norm), joined by commas, or all", AT(controls), CMD_FOLDERS, 0, 0},
    {LOOK, "native", 0, KIND_FLAG, NULL, "also native.png, the picture of the conditioning that the model family itself uses: a control", AT(native), CMD_FOLDERS, 0, 0},
    {LOOK, "explain", 0, KIND_FLAG, NULL, "also look in other ways: where in the pictures each word is attended to, the encoder's attention, the pieces nearest to its states, how alike its layers are; in the report and as safetensors", AT(explain), CMD_LENS, 0, 0},
    {LOOK, "units", 0, KIND_TEXT, "SPEC", "in place of the states: which of the prompts (of --prompts, too) drive these units most: BLOCK.out.N, a coordinate of a block's output, BLOCK.ff.N, an activation of its feed-forward layer; lists 4.ff.17,5.out.3, ranges 4.ff.0:16, all 4.ff", AT(units), CMD_ENCODE, 0, 0},
    {LOOK, "top", 0, KIND_WHOLE, "K", "prompts for each unit; default 10", AT(top), CMD_ENCODE, 1, 100000},

    {SAMPLING, "seed", 's', KIND_TEXT, "N[,N...]", "the seeds; default 0", AT(seed_list), CMD_LISTED, 0, 0},
    {SAMPLING, "seeds", 0, KIND_WHOLE, "K", "K seeds counted from the first; default 1", AT(seed_count), CMD_LISTED, 1, 1000000},
    {SAMPLING, "seed", 's', KIND_TEXT, "N[,N...]", "the seeds; default 0,1,2,3", AT(seed_list), CMD_EXPERIMENT, 0, 0},
    {SAMPLING, "seeds", 0, KIND_WHOLE, "K", "K seeds counted from the first; default 4", AT(seed_count), CMD_EXPERIMENT, 1, 1000000},
    {SAMPLING, "steps", 0, KIND_WHOLE, "N", "denoising steps; default the model's own, else 50", AT(steps), CMD_PICTURES | CMD_INSPECT, 1, 1000},
    {SAMPLING, "sampler", 0, KIND_TEXT, "NAME", "ddim, dpm++2m, euler, euler-a, lcm or ddpm; default the model's own, else ddim", AT(sampler), CMD_PICTURES | CMD_INSPECT, 0, 0},
    {SAMPLING, "guidance", 0, KIND_NUMBER, "G", "scale of classifier-free guidance, up to 1 none; default the model's own, else 7.5", AT(guidance), CMD_PICTURES | CMD_INSPECT, 0, 1000},
    {SAMPLING, "negative", 0, KIND_TEXT, "TEXT", "the negative prompt; it keeps its full encoding at every layer; default empty", AT(negative), CMD_PICTURES, 0, 0},
    {SAMPLING, "size", 0, KIND_TEXT, "WxH", "width and height in pixels; default the model's own", AT(size), CMD_PICTURES | CMD_INSPECT | CMD_BENCH, 0, 0},
    {SAMPLING, "eta", 0, KIND_NUMBER, "X", "noise of ddim's steps: 0 none, 1 as much as ddpm's; default 0", AT(eta), CMD_PICTURES, 0, 1},
    {SAMPLING, "reuse", 0, KIND_WHOLE, "N", "compute the deep part of the UNet in every Nth step alone and use it again in between (DeepCache): faster, other pictures; default 1, every step", AT(reuse), CMD_PICTURES | CMD_INSPECT, 1, 1000},
    {SAMPLING, "noise", 0, KIND_PATH, "FILE", "start from the tensor `noise`, [1,C,H,W] in f32, of this safetensors file; default drawn from the seed", AT(noise), CMD_PICTURES, 0, 0},

    {CASCADE, "stages", 0, KIND_WHOLE, "N", "how many stages; default all that are found", AT(stages), CMD_MODEL, 1, DL_STAGES_MAX},
    {CASCADE, "stage2", 0, KIND_PATH, "PATH", "folder of the second stage; default a sibling folder by name", AT(stage2), CMD_MODEL, 0, 0},
    {CASCADE, "stage3", 0, KIND_PATH, "PATH", "folder of the third stage; default a sibling folder by name", AT(stage3), CMD_MODEL, 0, 0},
    {CASCADE, "clean-caption", 0, KIND_FLAG, NULL, "put prompts through DeepFloyd's caption cleaning: no addresses, HTML, file names, doubled signs, ...; default only in lower case and stripped", AT(clean_caption), CMD_PICTURES | CMD_ENCODE | CMD_TOKENIZE, 0, 0},
    {CASCADE, "timesteps", 0, KIND_TEXT, "LIST", "a published list of timesteps in place of --steps (fast27, smart50, super40, ...) for DeepFloyd's stages, or one for each: fast27,super40", AT(timesteps), CMD_PICTURES, 0, 0},

    {STATS, "scale", 0, KIND_TEXT, "S[,S...]", "the highest score, where the lowest is 0: one for all annotation files, or one for each; default 1", AT(scale), CMD_ANALYSE, 0, 0},
    {STATS, "seed", 's', KIND_TEXT, "N", "the seed of the resampling for intervals; default 0", AT(seed_list), CMD_ANALYSE | CMD_COMPARE, 0, 0},
    {STATS, "agree", 0, KIND_FLAG, NULL, "how far every two files agree, layer by layer, on rows of the same prompt and seed: percent agreement, Cohen's kappa", AT(agree), CMD_ANALYSE, 0, 0},
    {STATS, "compare", 0, KIND_TEXT, "NAME", "one of the paper's comparisons: complexity, binding, natural, common, coarse or order, as told above", AT(compare), CMD_ANALYSE, 0, 0},

    {COMPARED, "text", 0, KIND_TEXTS, "TEXT...", "the texts that every picture is compared with: all words up to the next option; may be repeated", AT(texts), CMD_SCORE | APART, 0, 0},
    {COMPARED, "judge", 0, KIND_PATH, "DIR", "the folder of a CLIP model in transformers layout, or the name of a bundled model that has a judge; default that of emoji-clip", AT(judge), CMD_SCORE | APART, 0, 0},

    {RESULTS, "output", 'o', KIND_PATH, "PATH", "folder of the results; default lens-out/SLUG, from the first prompt (SLUG-2, ... where that holds other settings)", AT(output), CMD_LENS | APART, 0, 0},
    {RESULTS, "output", 'o', KIND_PATH, "PATH", "folder of the results; default experiment-out/NAME (NAME-2, ... where that holds other settings; of a shard NAME-I-of-N)", AT(output), CMD_EXPERIMENT | APART, 0, 0},
    {RESULTS, "output", 'o', KIND_PATH, "PATH", "folder in which the parts are put together", AT(output), CMD_MERGE | APART, 0, 0},
    {RESULTS, "output", 'o', KIND_PATH, "PATH", "the page, OUT.html, or a folder, which then also gets the plots as .svg and .csv; default compare-out/A-B", AT(output), CMD_COMPARE | APART, 0, 0},
    {RESULTS, "output", 'o', KIND_PATH, "PATH", "the PNG, default out.png; of several pictures the folder, default out", AT(output), CMD_GENERATE, 0, 0},
    {RESULTS, "output", 'o', KIND_PATH, "PATH", "the file; default states.safetensors (--units: JSON, default none)", AT(output), CMD_ENCODE, 0, 0},
    {RESULTS, "output", 'o', KIND_PATH, "DIR", "folder of the new model", AT(output), CMD_CONVERT, 0, 0},
    {RESULTS, "overwrite", 0, KIND_FLAG, NULL, "replace the model that the folder holds", AT(overwrite), CMD_CONVERT, 0, 0},
    {RESULTS, "overwrite", 0, KIND_FLAG, NULL, "put the results into a folder that holds other settings' results or foreign files: the former are removed", AT(overwrite), CMD_FOLDERS | CMD_MERGE | APART, 0, 0},
    {RESULTS, "latents", 0, KIND_PATH, "FILE", "also write the final latents, layer.N.seed.S (of several prompts prompt.P.layer.N.seed.S), to this safetensors file", AT(latents), CMD_LISTED, 0, 0},
    {RESULTS, "show", 0, KIND_FLAG, NULL, "draw the pictures in the terminal", AT(show), CMD_LISTED | APART, 0, 0},
    {RESULTS, "tensors", 0, KIND_FLAG, NULL, "list every tensor", AT(tensors), CMD_INSPECT, 0, 0},
    {RESULTS, "judge", 0, KIND_PATH, "DIR", "the CLIP model that annotates, in transformers layout; none: no annotation; default that of the bundled model, which knows nothing but its small world", AT(judge), CMD_EXPERIMENT, 0, 0},
    {RESULTS, "questions", 0, KIND_TEXT, "LIST", "which questions are asked, joined by commas; default all that the set's columns allow", AT(questions), CMD_EXPERIMENT, 0, 0},
    {RESULTS, "list", 0, KIND_FLAG, NULL, "list the built-in prompt sets", AT(list), CMD_EXPERIMENT | APART, 0, 0},
    {RESULTS, "json", 0, KIND_FLAG, NULL, "the result as one JSON object on standard output", AT(json), CMD_ALL | APART, 0, 0},

    {RUNNING, "threads", 'j', KIND_WHOLE, "N", "threads; default all cores; pictures do not depend on it", AT(threads), CMD_ALL | APART, 1, 1024},
    {RUNNING, "shard", 0, KIND_TEXT, "I/N", "make the I-th (from 1) of N equal parts of the pictures, the same on any machine; dlens merge puts the parts together", AT(shard), CMD_EXPERIMENT | APART, 0, 0},
    {RUNNING, "precision", 0, KIND_TEXT, "f32|fast", "f32: as the reference; fast: the fastest kernels whose error the README states; default f32", AT(precision), CMD_PICTURES | CMD_ENCODE | CMD_INSPECT | CMD_BENCH, 0, 0},
    {RUNNING, "cache", 0, KIND_PATH, "DIR", "keep encodings in this folder and take those that are there: a large text encoder then runs once for a prompt; default none", AT(cache), CMD_PICTURES | CMD_ENCODE | APART, 0, 0},
    {RUNNING, "activations", 0, KIND_TEXT, "f32|f16", "f16: what is held between layers (skip connections, the decoder's pictures) takes half the memory, rounded to 11 bits; default f32", AT(activations), CMD_PICTURES | CMD_INSPECT | CMD_BENCH, 0, 0},
    {RUNNING, "max-memory", 0, KIND_TEXT, "SIZE", "stay below so much resident memory (300M, 2G), at the price of time, or say what is needed; default about 1.4 GB where that costs little", AT(max_memory), CMD_PICTURES | CMD_ENCODE | CMD_INSPECT | APART, 0, 0},
    {RUNNING, "parts", 0, KIND_FLAG, NULL, "time the parts alone, not each operation that they are made of", AT(parts), CMD_BENCH, 0, 0},
    {RUNNING, "repeats", 0, KIND_WHOLE, "N", "how often each part is timed, after a first run that is not; default 3", AT(repeats), CMD_BENCH, 1, 1000},
    {RUNNING, "progress", 0, KIND_TEXT, "auto|on|off", "a progress line on standard error; default auto: on a terminal", AT(progress), CMD_PICTURES | CMD_CONVERT | APART, 0, 0},
    {RUNNING, "quiet", 'q', KIND_FLAG, NULL, "no progress, no warnings", AT(quiet), CMD_ALL | APART, 0, 0},
    {RUNNING, "verbose", 'v', KIND_FLAG, NULL, "also notes, such as which folders were found", AT(verbose), CMD_ALL | APART, 0, 0},
    {RUNNING, "no-color", 0, KIND_FLAG, NULL, "no colours in messages (also with $NO_COLOR)", AT(no_color), CMD_ALL | APART, 0, 0},
    {RUNNING, "help", 'h', KIND_FLAG, NULL, "this text", AT(help), CMD_ALL | APART, 0, 0},
};
/* clang-format on */
enum { OPTION_COUNT = sizeof table / sizeof table[0] };

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Levenshtein's distance (V. Levenshtein, 1966), one row at a time. */
int edit_distance(const char *a, const char *b) {
    size_t row[64];
    const size_t n = strlen(b);
    if (n >= sizeof row / sizeof row[0] || strlen(a) > 64)
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = min_size(change, min_size(row[j], row[j - 1]) + 1);
        }
    }
    return row[n] < 99 ? (int)row[n] : 99;
}

/* The option of this name (or letter, where name is NULL): the command's row, else any. */
static const struct option *find(const char *name, size_t length, char letter, int command) {
    const struct option *found = NULL;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &table[i];
        const bool is_it = name ? strlen(o->name) == length && !strncmp(o->name, name, length)
                                : o->letter && o->letter == letter;
        if (is_it && (!found || (o->commands & command)))
            found = o;
    }
    return found;
}

static int unknown(dl_context *cx, const char *word, int command) {
    const struct option *nearest = NULL;
    int best = 3;
    for (size_t i = 0; i < OPTION_COUNT && strncmp(word, "--", 2) == 0; i++) {
        const int distance = edit_distance(word + 2, table[i].name);
        if ((table[i].commands & command) && distance < best) {
            best = distance;
            nearest = &table[i];
        }
    }
    if (nearest)
        return fail(cx, DL_USAGE, "%s: unknown option; did you mean --%s?", word, nearest->name);
    return fail(cx, DL_USAGE, "%s: unknown option; --help lists the options", word);
}

static int set_value(dl_context *cx, const struct option *o, const char *text,
                     struct options *out) {
    char *field = (char *)out + o->offset;
    char *end = NULL;
    double number;
    if (o->kind == KIND_FLAG) {
        *(int *)(void *)field = 1;
        return DL_OK;
    }
    if (o->kind == KIND_TEXTS) {
        out->texts[out->text_count++] = text;
        return DL_OK;
    }
    if (o->kind == KIND_PATH && !text[0])
        return fail(cx, DL_USAGE, "--%s: its value %s is empty", o->name, o->value);
    if (o->kind == KIND_TEXT || o->kind == KIND_PATH) {
        *(const char **)(void *)field = text;
        return DL_OK;
    }
    errno = 0;
    if (o->kind == KIND_WHOLE) {
        const long whole = strtol(text, &end, 10);
        *(long *)(void *)field = whole;
        number = (double)whole;
    } else {
        number = strtod(text, &end);
        *(double *)(void *)field = number;
    }
    if (end == text || *end || errno || strpbrk(text, " \t\r\nxX") || !(number >= o->min && number <= o->max))
        return fail(cx, DL_USAGE, "--%s %s: must be a %snumber from %.0f to %.0f", o->name, text,
                    o->kind == KIND_WHOLE ? "whole " : "", o->min, o->max);
    return DL_OK;
}

static int check_command(dl_context *cx, const struct option *o, int command) {
    if (o->commands & command)
        return DL_OK;
    return fail(cx, DL_USAGE, "--%s: this command does not take it; --help lists its options",
                o->name);
}

/* --name, --name value, --name=value. */
static int parse_long(dl_context *cx, int argc, char *const *argv, int *i, int command,
                      struct options *out) {
    const char *word = argv[*i], *equals = strchr(word, '=');
    const size_t length = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
    const struct option *o = find(word + 2, length, 0, command);
    if (!o)
        return unknown(cx, word, command);
    DL_TRY(check_command(cx, o, command));
    if (o->kind == KIND_FLAG && equals)
        return fail(cx, DL_USAGE, "--%s: takes no value", o->name);
    if (o->kind != KIND_FLAG && !equals && *i + 1 >= argc)
        return fail(cx, DL_USAGE, "--%s: its value %s is missing", o->name, o->value);
    const char *value = equals ? equals + 1 : o->kind == KIND_FLAG ? NULL : argv[++*i];
    DL_TRY(set_value(cx, o, value, out));
    while (o->kind == KIND_TEXTS && !equals && *i + 1 < argc && argv[*i + 1][0] != '-')
        DL_TRY(set_value(cx, o, argv[++*i], out));
    return DL_OK;
}

/* -x, -xy, -x value, -xvalue. */
static int parse_letters(dl_context *cx, int argc, char *const *argv, int *i, int command,
                         struct options *out) {
    for (const char *c = argv[*i] + 1; *c; c++) {
        const struct option *o = find(NULL, 0, *c, command);
        if (!o)
            return unknown(cx, argv[*i], command);
        DL_TRY(check_command(cx, o, command));
        if (o->kind == KIND_FLAG) {
            DL_TRY(set_value(cx, o, NULL, out));
            continue;
        }
        if (!c[1] && *i + 1 >= argc)
            return fail(cx, DL_USAGE, "-%c: its value %s is missing", *c, o->value);
        return set_value(cx, o, c[1] ? c + 1 : argv[++*i], out);
    }
    return DL_OK;
}

int options_parse(dl_context *cx, int argc, char *const *argv, int first, int command,
                  struct options *out) {
    bool only_arguments = false;
    memset(out, 0, sizeof *out);
    out->guidance = -1;
    DL_TRY(allocate(cx, "arguments", (size_t)argc + 1, sizeof *out->arguments,
                    (void **)&out->arguments));
    DL_TRY(allocate(cx, "arguments", (size_t)argc + 1, sizeof *out->texts, (void **)&out->texts));
    for (int i = first; i < argc; i++) {
        const char *word = argv[i];
        if (only_arguments || word[0] != '-' || !word[1])
            out->arguments[out->argument_count++] = word;
        else if (strcmp(word, "--") == 0)
            only_arguments = true;
        else if (word[1] == '-')
            DL_TRY(parse_long(cx, argc, argv, &i, command, out));
        else
            DL_TRY(parse_letters(cx, argc, argv, &i, command, out));
    }
    return DL_OK;
}

void options_free(struct options *options) {
    free(options->arguments);
    free(options->texts);
    options->arguments = options->texts = NULL;
}

/* ---- the command line again ------------------------------------------------------------------ */

struct word_list {
    dl_context *cx;
    char **words;
    size_t count, room;
    int status;
};

static void add_word(struct word_list *list, const char *word) {
    if (list->status != DL_OK || list->count == list->room)
        return;
    char *copy = strdup(word);
    if (copy)
        list->words[list->count++] = copy;
    else
        list->status = fail_memory(list->cx, "command", strlen(word) + 1);
}

/* One option, where it was given. */
static void add_option(struct word_list *list, const struct option *o,
                       const struct options *options) {
    const char *field = (const char *)options + o->offset;
    char name[64], number[32] = "";
    const char *value = NULL;
    if (o->kind == KIND_FLAG && !*(const int *)(const void *)field)
        return;
    if (o->kind == KIND_TEXT || o->kind == KIND_PATH) {
        value = *(const char *const *)(const void *)field;
        if (!value)
            return;
    } else if (o->kind == KIND_WHOLE) {
        snprintf(number, sizeof number, "%ld", *(const long *)(const void *)field);
        if (strcmp(number, "0") == 0)
            return;
    } else if (o->kind == KIND_NUMBER) {
        const double given = *(const double *)(const void *)field;
        if (given < 0 || (given <= 0 && o->offset == AT(eta))) /* the defaults */
            return;
        snprintf(number, sizeof number, "%.15g", given);
    }
    snprintf(name, sizeof name, "--%s", o->name);
    add_word(list, name);
    if (o->kind != KIND_FLAG)
        add_word(list, value ? value : number);
}

int options_words(dl_context *cx, const struct options *options, const char *name, int command,
                  char ***words, size_t *count) {
    struct word_list list = {.cx = cx, .room = options->argument_count + 2 * OPTION_COUNT + 2};
    *words = NULL;
    *count = 0;
    DL_TRY(allocate(cx, "command", list.room, sizeof *list.words, (void **)&list.words));
    add_word(&list, "dlens");
    add_word(&list, name);
    for (size_t i = 0; i < options->argument_count; i++)
        add_word(&list, options->arguments[i]);
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if ((table[i].commands & command) && !(table[i].commands & APART))
            add_option(&list, &table[i], options);
    *words = list.words;
    *count = list.count;
    return list.status;
}

void options_words_free(char **words, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(words[i]);
    free(words);
}

/* ---- help ------------------------------------------------------------------------------------ */

/* Prints words from `column` on, wrapped to 80 columns with this indent. */
static void print_wrapped(const char *text, int column, int indent) {
    enum { WIDTH = 80 };
    for (const char *space = ""; *text; space = " ") {
        const int length = (int)strcspn(text, " ");
        if (*space && column + 1 + length > WIDTH - 1) {
            printf("\n%*s", indent, "");
            column = indent;
            space = "";
        }
        printf("%s%.*s", space, length, text);
        column += length + (*space != '\0');
        text += length + (text[length] == ' ');
    }
    printf("\n");
}

/* One option: its forms, then the help. */
static void print_option(const struct option *o) {
    enum { INDENT = 26 };
    char letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    int column =
        printf("  %s--%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
    if (column + 2 > INDENT) {
        printf("\n");
        column = 0;
    }
    printf("%*s", INDENT - column, "");
    print_wrapped(o->help, INDENT, INDENT);
}

void options_print(int command) {
    const char *group = "";
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (!(table[i].commands & command))
            continue;
        if (strcmp(group, table[i].group) != 0)
            printf("\n%s:\n", group = table[i].group);
        print_option(&table[i]);
    }
}
