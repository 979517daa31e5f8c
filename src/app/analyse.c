/* dlens analyse: statistics of annotation files, how far they agree, and the paper's comparisons.
 */
#include "app/commands.h"

#include "base/file.h"
#include "lens/select.h"
#include "stats/agree.h"
#include "stats/compare.h"
#include "stats/order.h"
#include "stats/summary.h"
#include "study/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The files of a call: annotation files first, then (for --compare) prompt sets. */
struct files {
    struct score_table *tables; /* (count), owned */
    size_t count, annotations;
    uint64_t seed;
};

static void files_free(struct files *files) {
    for (size_t i = 0; i < files->count; i++)
        table_free(&files->tables[i]);
    free(files->tables);
}

/* ---- the call -------------------------------------------------------------------------------- */

int read_one_seed(const struct invocation *call, uint64_t *seed) {
    uint64_t *seeds = NULL;
    size_t count = 1;
    *seed = 0;
    if (!call->options->seed_list)
        return DL_OK;
    DL_TRY(parse_seeds(call->cx, call->options->seed_list, &seeds, &count));
    *seed = seeds[0];
    free(seeds);
    if (count > 1)
        return fail(call->cx, DL_USAGE, "--seed %s: one is wanted", call->options->seed_list);
    return DL_OK;
}

/* The n-th number of --scale, the last one where there are fewer; 1 where nothing is said. */
static int read_scale(const struct invocation *call, size_t n, double *scale) {
    const char *list = call->options->scale ? call->options->scale : "1";
    for (const char *comma; n > 0 && (comma = strchr(list, ',')) != NULL; n--)
        list = comma + 1;
    char text[64];
    const size_t length = strcspn(list, ",");
    snprintf(text, sizeof text, "%.*s", length < sizeof text ? (int)length : 0, list);
    if (parse_score(text, scale) && *scale > 0.0)
        return DL_OK;
    return fail(call->cx, DL_USAGE,
                "--scale %s: must be the highest score, above 0, or one for each annotation file, "
                "joined by commas",
                call->options->scale);
}

/* --scale names one scale, or as many as there are annotation files. */
static int check_scales(const struct invocation *call, size_t annotations) {
    size_t scales = 1;
    double scale;
    for (const char *c = call->options->scale ? call->options->scale : ""; *c; c++)
        scales += *c == ',';
    for (size_t n = 0; n < scales; n++)
        DL_TRY(read_scale(call, n, &scale));
    if (scales == 1 || scales == annotations)
        return DL_OK;
    return fail(call->cx, DL_USAGE, "--scale %s: names %zu scales for %zu annotation files",
                call->options->scale, scales, annotations);
}

static int read_file(const struct invocation *call, const char *path, size_t annotation,
                     struct score_table *out) {
    double scale;
    memset(out, 0, sizeof *out);
    if (dir_exists(path))
        return fail(call->cx, DL_USAGE, "%s: is a folder; a run's folder is analysed by itself",
                    path);
    DL_TRY(read_scale(call, annotation, &scale));
    DL_TRY(table_read(call->cx, path, scale, out));
    if (out->outside)
        tell(call->cx, DL_LOG_WARNING, "%s: %zu score%s not from 0 to %g%s", path, out->outside,
             out->outside == 1 ? " is" : "s are", scale,
             scale < 10 ? "; --scale 10 is for 0 to 10" : "");
    return DL_OK;
}

/* Reads all files; with prompt sets behind the annotation files. */
static int read_files(const struct invocation *call, struct files *files) {
    const struct options *o = call->options;
    struct score_table *tables;
    DL_TRY(allocate(call->cx, "files", 2 * o->argument_count, sizeof *tables, (void **)&tables));
    files->tables = tables;
    struct score_table *sets = tables + o->argument_count;
    size_t set_count = 0;
    int status = DL_OK;
    for (size_t i = 0; i < o->argument_count && status == DL_OK; i++) {
        struct score_table *t = &tables[files->annotations];
        status = read_file(call, o->arguments[i], files->annotations, t);
        if (status != DL_OK)
            table_free(t);
        else if (t->layers)
            files->annotations++;
        else
            sets[set_count++] = *t;
    }
    memmove(tables + files->annotations, sets, set_count * sizeof *sets);
    files->count = files->annotations + set_count;
    return status == DL_OK ? check_scales(call, files->annotations) : status;
}

/* ---- results --------------------------------------------------------------------------------- */

static int print_buffer(dl_context *cx, const struct buffer *b) {
    DL_TRY(buffer_check(cx, b, "result"));
    if (b->length)
        fwrite(b->data, 1, b->length, stdout);
    return flush_output(cx);
}

/* A whole result as text or as one line of JSON. */
static int print_result(const struct invocation *call, struct buffer *b) {
    buffer_text(b, call->options->json ? "\n" : "");
    return print_buffer(call->cx, b);
}

/* One file's statistics, appended to b. */
static int summarise_file(const struct invocation *call, const char *path, size_t index,
                          uint64_t seed, struct buffer *b) {
    struct score_table table;
    struct summary summary = {0};
    int status = read_file(call, path, index, &table);
    if (status == DL_OK)
        status = summarise(call->cx, &table, seed, &summary);
    if (status == DL_OK) {
        buffer_text(b, call->options->json ? (index ? "," : "[") : (index ? "\n" : ""));
        (call->options->json ? summary_json : summary_print)(b, &summary);
    }
    summary_free(&summary);
    table_free(&table);
    return status;
}

/* File by file: text at once, JSON as a whole. */
static int summarise_files(const struct invocation *call, uint64_t seed) {
    const struct options *o = call->options;
    struct buffer b = {0};
    int status = check_scales(call, o->argument_count);
    for (size_t i = 0; i < o->argument_count && status == DL_OK; i++) {
        status = summarise_file(call, o->arguments[i], i, seed, &b);
        if (status == DL_OK && !o->json) {
            status = print_buffer(call->cx, &b);
            buffer_free(&b);
        }
    }
    buffer_text(&b, o->json ? "]\n" : "");
    if (status == DL_OK)
        status = print_buffer(call->cx, &b);
    buffer_free(&b);
    return status;
}

/* Every pair of files. */
static int agree_files(const struct invocation *call, const struct files *files) {
    const bool json = call->options->json;
    struct buffer b = {0};
    int status = DL_OK;
    for (size_t i = files->annotations; i < files->count; i++)
        DL_TRY(table_need_layers(call->cx, &files->tables[i]));
    if (files->annotations < 2)
        return fail(call->cx, DL_USAGE, "--agree: %zu annotation file%s given; wanted: two or more",
                    files->annotations, files->annotations == 1 ? " is" : "s are");
    for (size_t i = 0; i < files->annotations; i++)
        for (size_t j = i + 1; j < files->annotations && status == DL_OK; j++) {
            struct agreement agreement;
            buffer_text(&b, j > 1 ? (json ? "," : "\n") : json ? "[" : "");
            status = agree(call->cx, &files->tables[i], &files->tables[j], files->seed, &agreement);
            if (status == DL_OK)
                (json ? agreement_json : agreement_print)(&b, &agreement);
            agreement_free(&agreement);
        }
    buffer_text(&b, json ? "]\n" : "");
    if (status == DL_OK)
        status = print_buffer(call->cx, &b);
    buffer_free(&b);
    return status;
}

/* Which noun comes first. */
static int order_files(const struct invocation *call, const struct files *files) {
    struct order order;
    struct buffer b = {0};
    int status = compare_order(call->cx, files->tables, files->annotations,
                               files->tables + files->annotations,
                               files->count - files->annotations, &order);
    if (status == DL_OK) {
        (call->options->json ? order_json : order_print)(&b, &order);
        status = print_result(call, &b);
    }
    order_free(&order);
    buffer_free(&b);
    return status;
}

static int compare_files(const struct invocation *call, const struct files *files) {
    const char *name = call->options->compare;
    enum comparison_kind kind = 0;
    struct comparison comparison;
    struct buffer b = {0};
    if (strcmp(name, "order") == 0)
        return order_files(call, files);
    while (kind < COMPARE_KINDS && strcmp(comparison_name(kind), name) != 0)
        kind++;
    if (kind == COMPARE_KINDS)
        return fail(call->cx, DL_USAGE,
                    "--compare %s: must be complexity, binding, natural, common, coarse or order",
                    name);
    int status = compare_tables(call->cx, kind, files->tables, files->annotations,
                                files->tables + files->annotations,
                                files->count - files->annotations, files->seed, &comparison);
    if (status == DL_OK) {
        (call->options->json ? comparison_json : comparison_print)(&b, &comparison);
        status = print_result(call, &b);
    }
    comparison_free(&comparison);
    buffer_free(&b);
    return status;
}

/* An experiment's folder: its report made anew, or with --json its questions' statistics. */
static int analyse_folder(const struct invocation *call, const char *folder, uint64_t seed) {
    struct study study;
    struct buffer b = {0};
    if (!call->options->json) {
        DL_TRY(study_report(call->cx, folder));
        printf("%s/index.html\n", folder);
        return flush_output(call->cx);
    }
    int status = study_open(call->cx, folder, seed, &study);
    buffer_text(&b, "[");
    for (size_t i = 0; status == DL_OK && i < study.question_count; i++) {
        buffer_text(&b, i ? "," : "");
        study.questions[i].summary.name = study.questions[i].path;
        summary_json(&b, &study.questions[i].summary);
    }
    buffer_text(&b, "]\n");
    study_close(&study);
    if (status == DL_OK)
        status = print_buffer(call->cx, &b);
    buffer_free(&b);
    return status;
}

int command_analyse(const struct invocation *call) {
    const struct options *o = call->options;
    struct files files = {0};
    if (!o->argument_count)
        return fail(call->cx, DL_USAGE, "FILE.csv: none is given; see dlens analyse --help");
    if (o->agree && o->compare)
        return fail(call->cx, DL_USAGE, "--agree: not together with --compare");
    DL_TRY(read_one_seed(call, &files.seed));
    if (!o->agree && !o->compare && o->argument_count == 1 && dir_exists(o->arguments[0]))
        return analyse_folder(call, o->arguments[0], files.seed);
    if (!o->agree && !o->compare)
        return summarise_files(call, files.seed);
    int status = read_files(call, &files);
    if (status == DL_OK)
        status = o->agree ? agree_files(call, &files) : compare_files(call, &files);
    files_free(&files);
    return status;
}
