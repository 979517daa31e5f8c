/* dlens score: how well pictures and texts match, by a CLIP model. */
#include "app/commands.h"

#include "lens/manifest.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is compared: M texts with one picture after the other. P: size of an embedding. */
struct scoring {
    dl_judge *judge;
    dl_judge_info info;
    const char *const *texts;
    size_t text_count;               /* M */
    float *text, *picture;           /* (M,P), (P) */
    float *similarity, *probability; /* (M), (M) */
};

static void scoring_free(struct scoring *s) {
    free(s->text);
    free(s->picture);
    free(s->similarity);
    free(s->probability);
    dl_judge_close(s->judge);
}

static int scoring_begin(const struct invocation *call, struct scoring *s) {
    dl_context *cx = call->cx;
    const size_t M = s->text_count;
    DL_TRY(dl_judge_open(cx, call->options->judge, &s->judge));
    dl_judge_describe(s->judge, &s->info);
    const size_t row = s->info.size * sizeof(float);
    DL_TRY(allocate(cx, "texts", M, row, (void **)&s->text));
    DL_TRY(allocate(cx, "picture", 1, row, (void **)&s->picture));
    DL_TRY(allocate(cx, "scores", M, sizeof(float), (void **)&s->similarity));
    DL_TRY(allocate(cx, "scores", M, sizeof(float), (void **)&s->probability));
    return dl_judge_texts(cx, s->judge, s->texts, M, s->text);
}

/* The scores of one picture in s->similarity and s->probability. */
static int score_picture(dl_context *cx, struct scoring *s, const char *path) {
    DL_TRY(dl_judge_file(cx, s->judge, path, s->picture));
    dl_judge_compare(s->judge, s->picture, s->text, s->text_count, s->similarity, s->probability);
    return DL_OK;
}

/* One block for each picture, at once. A single text has no others to be more probable than. */
static void print_scores(const struct scoring *s, const char *path) {
    puts(path);
    for (size_t m = 0; m < s->text_count; m++) {
        printf("  %7.4f", round(1e4 * (double)s->similarity[m]) / 1e4 + 0.0); /* no "-0.0000" */
        if (s->text_count > 1)
            printf("  %6.2f %%", 100 * (double)s->probability[m]);
        printf("  %s\n", s->texts[m]);
    }
}

static void add_scores(const struct scoring *s, const char *path, cJSON *images) {
    cJSON *image = cJSON_CreateObject();
    cJSON_AddItemToObject(image, "file", json_text(path));
    cJSON *scores = cJSON_AddArrayToObject(image, "scores");
    for (size_t m = 0; m < s->text_count; m++) {
        cJSON *score = cJSON_CreateObject();
        cJSON_AddItemToObject(score, "text", json_text(s->texts[m]));
        cJSON_AddNumberToObject(score, "similarity", (double)s->similarity[m]);
        cJSON_AddNumberToObject(score, "probability", (double)s->probability[m]);
        cJSON_AddItemToArray(scores, score);
    }
    cJSON_AddItemToArray(images, image);
}

static int print_all(const struct invocation *call, struct scoring *s) {
    const struct options *o = call->options;
    for (size_t i = 0; i < o->argument_count; i++) {
        DL_TRY(score_picture(call->cx, s, o->arguments[i]));
        print_scores(s, o->arguments[i]);
        DL_TRY(flush_output(call->cx));
    }
    return DL_OK;
}

static int print_all_json(const struct invocation *call, struct scoring *s) {
    const struct options *o = call->options;
    cJSON *json = cJSON_CreateObject(), *images = cJSON_CreateArray();
    int status = DL_OK;
    for (size_t i = 0; i < o->argument_count && status == DL_OK; i++) {
        status = score_picture(call->cx, s, o->arguments[i]);
        if (status == DL_OK)
            add_scores(s, o->arguments[i], images);
    }
    cJSON_AddItemToObject(json, "judge", json_text(s->info.path));
    cJSON_AddNumberToObject(json, "scale", s->info.scale);
    cJSON_AddItemToObject(json, "images", images);
    if (status == DL_OK)
        return print_json(call, json);
    cJSON_Delete(json);
    return status;
}

int command_score(const struct invocation *call) {
    const struct options *o = call->options;
    struct scoring s = {.texts = o->texts, .text_count = o->text_count};
    if (!o->argument_count)
        return fail(call->cx, DL_USAGE, "IMAGE: none is given; dlens score IMAGE... --text T...");
    if (!o->text_count)
        return fail(call->cx, DL_USAGE, "--text: none is given; dlens score IMAGE... --text T...");
    int status = scoring_begin(call, &s);
    if (status == DL_OK)
        status = o->json ? print_all_json(call, &s) : print_all(call, &s);
    scoring_free(&s);
    return status;
}
