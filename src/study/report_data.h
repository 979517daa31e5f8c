/* What an experiment's folder says, read back for its report and for comparisons: pictures,
 * answers, their statistics, failure signatures. Neither model nor judge is needed. The folder of a
 * plain lens is read, too: it has no questions.
 *
 * N prompts   S seeds   l layers of the run, with native behind them   L layers of a table */
#ifndef DLENS_STUDY_REPORT_DATA_H
#define DLENS_STUDY_REPORT_DATA_H

#include "lens/record.h"
#include "stats/summary.h"

/* Signatures of failure, as bits.
 *
 *   blank       of a picture: no variance (out/flags.h)
 *   noise       its spectrum is that of noise: Geary's ratio above 0.6 (out/flags.h)
 *   incoherent  the judge recognises nothing: of no question does any candidate but "nothing
 *               recognisable" reach half of the probability (annotations/best)
 *   never       of a row and question: the last layer's score is below half
 *   unstable    likewise: at least half at some layer, then below, later at least half again */
enum signature {
    SIGN_BLANK = 1,
    SIGN_NOISE = 2,
    SIGN_INCOHERENT = 4,
    SIGN_NEVER = 8,
    SIGN_UNSTABLE = 16
};
enum { SIGNATURES = 5 };
extern const char *const signature_names[SIGNATURES];    /* in the order of the bits */
extern const char *const signature_measures[SIGNATURES]; /* how each is told, in words */

struct study_question {
    const char *name, *wording; /* "{class}" stands for a column's value */
    char *path;                 /* of its scores */
    struct score_table table;
    struct summary summary;
    double *scores;    /* (N,S,l), NAN: none */
    double *by_prompt; /* (N,L) mean over the seeds, NAN */
    int *first;        /* (N,S) index of the layer of emergence in the table, or EMERGES_... */
    bool *unstable;    /* (N,S) */
};

/* A prompt's text and its number, for finding it. */
struct study_prompt {
    const char *text;
    size_t index;
};

struct study {
    struct record record;
    struct cJSON *facts, *reliability; /* experiment.json, reliability.json; NULL: none */
    const char *name;                  /* of the prompt set; NULL: a plain lens */
    char *set_path;
    struct score_table set;           /* prompts.csv; no rows: none */
    struct study_question *questions; /* those that are answered */
    size_t question_count;
    struct study_prompt *by_text; /* (N) sorted by text, then number */
    int blocks;                   /* L of the encoder: relative layer k/L */
    unsigned *signs;              /* (N,S,l) of pictures */
};

/* The interval of every mean is drawn with `seed`. DL_USAGE where the folder is no run's. Freed
 * with study_close, also after failure. */
int study_open(dl_context *cx, const char *folder, uint64_t seed, struct study *out);
void study_close(struct study *study);

/* A question's wording for a prompt, with the values of its columns put in. */
void study_wording(const struct study *study, const struct study_question *q, size_t prompt,
                   struct buffer *out);

/* The object of a question in reliability.json; NULL: none. */
const struct cJSON *study_reliability(const struct study *study, const char *question);

#endif
