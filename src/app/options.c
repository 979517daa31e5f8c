/* Parsing the command line by a table. --name value, --name=value, -x value, -xvalue; flags of one
 * letter may be put together (-qv is -q -v); behind -- all is argument. */
#include "app/options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_FLAG, KIND_TEXT, KIND_WHOLE, KIND_NUMBER };

struct option {
    const char *name;
    char letter; /* 0: none */
    enum kind kind;
    const char *value; /* its name in the help; NULL for a flag */
    const char *help;
    size_t offset; /* of the field in struct options */
    int commands;  /* that take it */
    double min, max;
};

#define AT(field) offsetof(struct options, field)

/* clang-format off */
static const struct option table[] = {
    {"model", 'm', KIND_TEXT, "PATH", "model folder (diffusers layout) or the name of a bundled model; default $DLENS_MODEL, else emoji-clip", AT(model), CMD_ALL, 0, 0},
    {"output", 'o', KIND_TEXT, "PATH", "where results go", AT(output), CMD_PICTURES | CMD_ENCODE, 0, 0},
    {"prompts", 0, KIND_TEXT, "FILE", "prompts from a file, one a line, or a .csv with a column `prompt`; - reads standard input", AT(prompts_file), CMD_PICTURES, 0, 0},
    {"layers", 'l', KIND_TEXT, "SPEC", "all, last, a list 0,4,8, a slice start:end:step as in Python, or a mix; default all", AT(layers), CMD_LENS, 0, 0},
    {"seed", 's', KIND_TEXT, "N[,N...]", "the seeds; default 0", AT(seed_list), CMD_PICTURES, 0, 0},
    {"seeds", 0, KIND_WHOLE, "K", "K seeds counted from the first", AT(seed_count), CMD_PICTURES, 1, 1000000},
    {"steps", 0, KIND_WHOLE, "N", "denoising steps; default the model's own", AT(steps), CMD_PICTURES, 1, 1000},
    {"timesteps", 0, KIND_TEXT, "LIST", "pixel cascades: a published list of timesteps in place of --steps (fast27, smart50, super40, ...), or one for each stage: fast27,super40", AT(timesteps), CMD_PICTURES, 0, 0},
    {"sampler", 0, KIND_TEXT, "NAME", "ddim, dpm++2m, euler, euler-a, lcm, ddpm; default the model's own", AT(sampler), CMD_PICTURES, 0, 0},
    {"guidance", 0, KIND_NUMBER, "G", "classifier-free guidance scale; up to 1 none; default the model's own", AT(guidance), CMD_PICTURES, 0, 1000},
    {"eta", 0, KIND_NUMBER, "X", "DDIM's noise: 0 none, 1 as DDPM; default 0", AT(eta), CMD_PICTURES, 0, 1},
    {"size", 0, KIND_TEXT, "WxH", "size in pixels; default the model's own", AT(size), CMD_PICTURES | CMD_INSPECT | CMD_BENCH, 0, 0},
    {"negative", 0, KIND_TEXT, "TEXT", "negative prompt; keeps its full encoding at every layer", AT(negative), CMD_PICTURES, 0, 0},
    {"norm", 0, KIND_TEXT, "final|none", "ablation: condition without the final layer norm", AT(norm), CMD_LENS | CMD_ENCODE, 0, 0},
    {"skip-layer", 0, KIND_TEXT, "SPEC", "ablation: leave these encoder blocks (1 to L) out", AT(skip_layers), CMD_LENS | CMD_ENCODE, 0, 0},
    {"encoder", 0, KIND_WHOLE, "N", "which text encoder the lens looks through, from 1", AT(encoder), CMD_LENS | CMD_ENCODE | CMD_TOKENIZE, 1, 1000},
    {"native", 0, KIND_FLAG, NULL, "also the picture of the family's own conditioning, as a control", AT(native), CMD_LENS, 0, 0},
    {"stages", 0, KIND_WHOLE, "N", "pixel cascades: how many stages; default all that are found", AT(stages), CMD_ALL, 1, DL_STAGES_MAX},
    {"stage2", 0, KIND_TEXT, "PATH", "folder of a cascade's second stage; default a sibling folder by name", AT(stage2), CMD_ALL, 0, 0},
    {"stage3", 0, KIND_TEXT, "PATH", "folder of its third stage; default a sibling folder by name", AT(stage3), CMD_ALL, 0, 0},
    {"noise", 0, KIND_TEXT, "FILE", "start from tensor `noise` [1,C,H,W] of this safetensors file", AT(noise), CMD_PICTURES, 0, 0},
    {"latents", 0, KIND_TEXT, "FILE", "also write the final latents (safetensors)", AT(latents), CMD_LENS, 0, 0},
    {"overwrite", 0, KIND_FLAG, NULL, "replace results of other settings in the output folder", AT(overwrite), CMD_LENS, 0, 0},
    {"show", 0, KIND_FLAG, NULL, "draw the pictures in the terminal", AT(show), CMD_PICTURES, 0, 0},
    {"tensors", 0, KIND_FLAG, NULL, "list every tensor", AT(tensors), CMD_INSPECT, 0, 0},
    {"repeats", 0, KIND_WHOLE, "N", "how often each part is timed; default 3", AT(repeats), CMD_BENCH, 1, 1000},
    {"threads", 'j', KIND_WHOLE, "N", "threads; default all cores", AT(threads), CMD_ALL, 1, 1024},
    {"precision", 0, KIND_TEXT, "f32|fast", "f32: as the reference; fast: the fastest kernels", AT(precision), CMD_PICTURES | CMD_BENCH, 0, 0},
    {"max-memory", 0, KIND_TEXT, "SIZE", "refuse to start if more memory is needed (300M, 2G)", AT(max_memory), CMD_PICTURES, 0, 0},
    {"json", 0, KIND_FLAG, NULL, "machine-readable result on standard output", AT(json), CMD_ALL, 0, 0},
    {"progress", 0, KIND_TEXT, "auto|on|off", "progress line on standard error; default auto: on a terminal", AT(progress), CMD_PICTURES, 0, 0},
    {"quiet", 'q', KIND_FLAG, NULL, "no progress, no notes, no warnings", AT(quiet), CMD_ALL, 0, 0},
    {"verbose", 'v', KIND_FLAG, NULL, "tell more", AT(verbose), CMD_ALL, 0, 0},
    {"no-color", 0, KIND_FLAG, NULL, "no colours in messages", AT(no_color), CMD_ALL, 0, 0},
    {"help", 'h', KIND_FLAG, NULL, "this text", AT(help), CMD_ALL, 0, 0},
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

static const struct option *find_name(const char *name, size_t length) {
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (strlen(table[i].name) == length && strncmp(table[i].name, name, length) == 0)
            return &table[i];
    return NULL;
}

static const struct option *find_letter(char letter) {
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (table[i].letter && table[i].letter == letter)
            return &table[i];
    return NULL;
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
    if (o->kind == KIND_TEXT) {
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
    if (end == text || *end || errno || !(number >= o->min && number <= o->max))
        return fail(cx, DL_USAGE, "--%s %s: must be a %snumber from %g to %g", o->name, text,
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
    const struct option *o = find_name(word + 2, length);
    if (!o)
        return unknown(cx, word, command);
    DL_TRY(check_command(cx, o, command));
    if (o->kind == KIND_FLAG && equals)
        return fail(cx, DL_USAGE, "--%s: takes no value", o->name);
    if (o->kind != KIND_FLAG && !equals && *i + 1 >= argc)
        return fail(cx, DL_USAGE, "--%s: its value %s is missing", o->name, o->value);
    const char *value = equals ? equals + 1 : o->kind == KIND_FLAG ? NULL : argv[++*i];
    return set_value(cx, o, value, out);
}

/* -x, -xy, -x value, -xvalue. */
static int parse_letters(dl_context *cx, int argc, char *const *argv, int *i, int command,
                         struct options *out) {
    for (const char *c = argv[*i] + 1; *c; c++) {
        const struct option *o = find_letter(*c);
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
    options->arguments = NULL;
}

/* One option: its forms, then the help wrapped to 80 columns. */
static void print_option(const struct option *o) {
    enum { INDENT = 26, WIDTH = 80 };
    char forms[64], letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    const int n = snprintf(forms, sizeof forms, "  %s--%s%s%s", letter, o->name,
                           o->value ? " " : "", o->value ? o->value : "");
    printf("%s", forms);
    int column = n;
    if (column >= INDENT) {
        printf("\n");
        column = 0;
    }
    printf("%*s", INDENT - column, "");
    column = INDENT;
    for (const char *word = o->help; *word;) {
        const int length = (int)strcspn(word, " ");
        if (column + length + 1 > WIDTH) {
            printf("\n%*s", INDENT, "");
            column = INDENT;
        }
        printf("%.*s ", length, word);
        column += length + 1;
        word += length + (word[length] == ' ');
    }
    printf("\n");
}

void options_print(int command) {
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (table[i].commands & command)
            print_option(&table[i]);
}
