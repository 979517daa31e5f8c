/* dlens: the Diffusion Lens (arXiv 2403.05846) on the command line. */
#include "app/commands.h"
#include "app/console.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    int bit;
    const char *summary, *usage, *example;
    int (*run)(const struct invocation *call);
};

/* clang-format off */
static const struct command commands[] = {
    {"lens", CMD_LENS, "one image for each text-encoder layer, seed and prompt", "PROMPT...",
     "dlens lens \"a dog\" -l 0::4 --seeds 2 -o dog\n"
     "  Makes layers 0, 4, 8, ... for seeds 0 and 1 and prints the path of the report,\n"
     "  dog/index.html. The same line again goes on where it stopped.",
     command_lens},
    {"generate", CMD_GENERATE, "ordinary text-to-image with the full encoding", "PROMPT...",
     "dlens generate \"a red dog\" -s 7 -o dog.png\n"
     "  Makes one picture with the model's own sampler and steps.",
     command_generate},
    {"encode", CMD_ENCODE, "every layer's hidden state and conditioning, to safetensors", "PROMPT",
     "dlens encode \"a dog\" -o dog.safetensors\n"
     "  Writes hidden.0, cond.0, ..., ids and pooled.",
     command_encode},
    {"tokenize", CMD_TOKENIZE, "token ids and pieces", "TEXT",
     "dlens tokenize \"a dog\" --json\n"
     "  Prints {\"ids\": [...], \"pieces\": [...], \"padded\": [...]}.",
     command_tokenize},
    {"inspect", CMD_INSPECT, "what a model is: parts, sizes, memory and time", "[MODEL]",
     "dlens inspect emoji-clip --tensors\n"
     "  Lists the model's components and every tensor.",
     command_inspect},
    {"bench", CMD_BENCH, "times the parts of a model on this machine", "",
     "dlens bench -m stable-diffusion-v1-5 --json\n"
     "  Times text encoder, one guided UNet step and the decoder.",
     command_bench},
};
/* clang-format on */
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

/* Commands that the interface names and this version does not have yet: told, not taken for
 * prompts. */
static const char *const planned[] = {"experiment", "analyse", "compare",
                                      "score",      "convert", "merge"};

static void print_usage(FILE *to) {
    fprintf(to, "dlens: the Diffusion Lens. What does a text-to-image model see in each layer of\n"
                "its text encoder? (arXiv 2403.05846)\n\n"
                "usage: dlens \"a prompt\" [options]\n"
                "       dlens COMMAND [options] ...\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n  dlens COMMAND --help tells a command's options; dlens --version the build.\n");
}

static void print_help(const struct command *c) {
    printf("usage: dlens %s %s%s[options]\n\n%s.\n\noptions:\n", c->name, c->usage,
           c->usage[0] ? " " : "", c->summary);
    options_print(c->bit);
    printf("\nexample:\n  %s\n", c->example);
    if (c->bit & CMD_PICTURES)
        printf("\nexit status: 0 done, 1 the work failed, 2 the call was wrong, 3 the model is\n"
               "unusable, 130 interrupted (what is finished is kept; run the same line again)\n");
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
    for (size_t i = 0; i < sizeof planned / sizeof planned[0]; i++)
        if (strcmp(planned[i], argv[1]) == 0)
            return fail(cx, DL_USAGE,
                        "%s: this version has no such command; for a picture of this word write "
                        "dlens lens %s",
                        argv[1], argv[1]);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (argc > 2 && edit_distance(commands[i].name, argv[1]) == 1)
            return fail(cx, DL_USAGE,
                        "%s: unknown command; did you mean %s? For a prompt write dlens lens %s",
                        argv[1], commands[i].name, argv[1]);
    *command = find_command("lens");
    return DL_OK;
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
            status = command->run(&call);
        if (status == DL_OK)
            status = flush_output(cx);
    }
    if (status != DL_OK)
        console_error(dl_message(cx), !options.no_color);
    options_free(&options);
    return status;
}

int main(int argc, char **argv) {
    dl_context *cx;
    const struct command *command;
    int first, status = dl_context_new(&cx);
    if (status == DL_OK && argc < 2) {
        print_usage(stderr);
        status = DL_USAGE;
    } else if (status == DL_OK &&
               (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))) {
        print_usage(stdout);
        status = flush_output(cx);
    } else if (status == DL_OK && strcmp(argv[1], "--version") == 0) {
        printf("dlens %s\n", dl_version(cx));
        status = flush_output(cx);
    } else {
        console_catch_interrupts();
        if (status == DL_OK)
            status = choose_command(cx, argc, argv, &command, &first);
        if (status != DL_OK)
            console_error(dl_message(cx), true);
        else
            status = run_command(cx, command, argc, argv, first);
    }
    dl_context_free(cx);
    return status;
}

/* ---- what commands share --------------------------------------------------------------------- */

int flush_output(dl_context *cx) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return DL_OK;
    return fail(cx, DL_FAILED, "standard output: %s", strerror(errno));
}

int open_model(const struct invocation *call, dl_model **model) {
    const char *path = call->options->model;
    if (!path)
        path = getenv("DLENS_MODEL");
    if (!path || !path[0])
        path = "emoji-clip";
    *model = NULL;
    if (call->options->encoder > 1)
        return fail(call->cx, DL_USAGE, "--encoder %ld: the model has one text encoder",
                    call->options->encoder);
    const dl_open_options how = {
        .stages = (int)call->options->stages,
        .stage2 = call->options->stage2,
        .stage3 = call->options->stage3,
    };
    return dl_model_open_with(call->cx, path, &how, model);
}

int print_json(const struct invocation *call, struct cJSON *json) {
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (!text)
        return fail_memory(call->cx, "JSON", 0);
    puts(text);
    cJSON_free(text);
    return flush_output(call->cx);
}
