/* Two runs side by side: two encoders, two ablations. What both have is matched:
 *
 *   prompts    by their text (the k-th of a text with the k-th)
 *   layers     by relative layer k/L; where the runs' layers lie at other places, the second run's
 *              scores are interpolated linearly between its layers
 *   questions  by name
 *   pictures   by prompt, seed and relative layer, where both were made in the same size
 *
 * The unit is the prompt: its score is the mean over its seeds, and every difference is B - A of
 * the same prompt, so the intervals (bootstrap over prompts) and tests are paired. */
#ifndef DLENS_STUDY_COMPARE_H
#define DLENS_STUDY_COMPARE_H

#include "stats/compare.h"
#include "study/report_data.h"

struct compared_layer {
    double relative;
    int layer;                    /* of the first run */
    size_t n;                     /* prompts with scores in both */
    double a, b;                  /* mean scores */
    double difference, low, high; /* b - a, 95 % interval */
};

/* Relative layers of emergence, b against a: above 0, b emerges later. */
struct compared_emergence {
    size_t n; /* prompts */
    double a, b, difference, low, high;
    struct rank_test test; /* Wilcoxon's signed-rank test, rank-biserial correlation */
    double p_holm;         /* over the questions */
};

struct compared_question {
    const char *name;
    size_t prompts, layers;
    bool interpolated;
    struct compared_layer *layer; /* (layers) */
    struct compared_emergence emergence[ROWS_COUNTED_KINDS];
};

/* Pictures of one layer: peak signal-to-noise ratio 10 log10(255^2 / mean squared difference). */
struct compared_pictures {
    int layer_a, layer_b; /* -1: native */
    size_t n, identical;
    double psnr; /* mean over the pairs that differ, dB; NAN: none */
    double least;
};

struct prompt_pair {
    size_t a, b; /* numbers in either run */
};

struct runs_compared {
    struct study a, b;
    struct prompt_pair *prompts; /* (prompt_count), matched */
    size_t prompt_count;
    struct compared_question *questions;
    size_t question_count;
    struct compared_pictures *pictures; /* (picture_layers) */
    size_t picture_layers;
};

/* Reads and compares two folders. DL_USAGE where one is no run's or is a shard, or where they have
 * no prompt in common. Freed with compare_free, also after failure. */
int compare_runs(dl_context *cx, const char *a, const char *b, uint64_t seed,
                 struct runs_compared *out);
void compare_free(struct runs_compared *compared);

/* As text, and as the object that `compare --json` prints. */
void compare_print(struct buffer *out, const struct runs_compared *compared);
void compare_json(struct buffer *out, const struct runs_compared *compared);

/* Writes the page; plots, as .svg and .csv, to FOLDER/plots where folder is not NULL. */
int compare_write(dl_context *cx, const struct runs_compared *compared, const char *path,
                  const char *folder);

#endif
