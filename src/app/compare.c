/* dlens compare: two runs side by side. */
#include "app/commands.h"

#include "base/file.h"
#include "lens/manifest.h"
#include "study/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the page goes: a file that ends in .html, or a folder, which then also gets the plots. */
struct target {
    char *path, *folder; /* folder NULL: a file by itself */
};

/* The last part of a path, as a word for a file's name. */
static void short_name(char out[48], const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && path[start - 1] != '/')
        start--;
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)(end - start < 255 ? end - start : 255), path + start);
    slug(out, name);
}

static int choose_target(const struct invocation *call, struct target *out) {
    const struct options *o = call->options;
    char a[48], b[48], name[128];
    short_name(a, o->arguments[0]);
    short_name(b, o->arguments[1]);
    snprintf(name, sizeof name, "compare-out/%s-%s", a, b);
    const char *output = o->output ? o->output : name;
    const size_t length = strlen(output);
    if (length > 5 && strcmp(output + length - 5, ".html") == 0) {
        out->path = strdup(output);
        return out->path ? prepare_output(call->cx, output) : fail_memory(call->cx, output, 0);
    }
    out->folder = strdup(output);
    out->path = path_join(output, "index.html");
    char *manifest = path_join(output, "manifest.json");
    int status = out->folder && out->path && manifest ? DL_OK : fail_memory(call->cx, output, 0);
    if (status == DL_OK && file_exists(manifest))
        status = fail(call->cx, DL_USAGE,
                      "--output %s: holds a run, whose report would be replaced", output);
    free(manifest);
    return status == DL_OK ? dir_make(call->cx, output) : status;
}

static int print_result(const struct invocation *call, const struct runs_compared *compared,
                        const struct target *target) {
    struct buffer b = {0};
    if (call->options->json) {
        compare_json(&b, compared);
    } else {
        compare_print(&b, compared);
        buffer_format(&b, "\n%s\n", target->path);
    }
    int status = buffer_check(call->cx, &b, "result");
    if (status == DL_OK)
        fwrite(b.data, 1, b.length, stdout);
    buffer_free(&b);
    return status == DL_OK ? flush_output(call->cx) : status;
}

int command_compare(const struct invocation *call) {
    const struct options *o = call->options;
    struct runs_compared compared = {0};
    struct target target = {0};
    uint64_t seed;
    if (o->argument_count != 2)
        return fail(call->cx, DL_USAGE, "A B: %zu folder%s given; wanted: two", o->argument_count,
                    o->argument_count == 1 ? " is" : "s are");
    DL_TRY(read_one_seed(call, &seed));
    int status = compare_runs(call->cx, o->arguments[0], o->arguments[1], seed, &compared);
    if (status == DL_OK)
        status = choose_target(call, &target);
    if (status == DL_OK)
        status = compare_write(call->cx, &compared, target.path, target.folder);
    if (status == DL_OK)
        status = print_result(call, &compared, &target);
    compare_free(&compared);
    free(target.path);
    free(target.folder);
    return status;
}
