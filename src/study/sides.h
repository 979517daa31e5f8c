/* The runs that a report shows side by side: the experiment, and the controls in its folder
 * (lens/beside.h); and how far each is from the experiment's last layer: means over prompts and
 * seeds, of every layer.
 *
 *     mean     m_n = m_{n-1} + (x_n - m_{n-1}) / n
 *     squares  q_n = q_{n-1} + (x_n - m_{n-1}) (x_n - m_n);   deviation sqrt(q_n / (n - 1))
 *
 * (B. P. Welford, Technometrics 4 (1962) 419.) Values are taken up one at a time, so memory does
 * not grow with their number. What the distances are: lens/distance.h.
 *
 * l layers of the experiment's run, native behind them */
#ifndef DLENS_STUDY_SIDES_H
#define DLENS_STUDY_SIDES_H

#include "lens/beside.h"
#include "study/report_data.h"

struct running_mean {
    size_t n;
    double mean, squares;
};

void running_take(struct running_mean *m, double value); /* NAN is left out */
double running_mean(const struct running_mean *m);       /* NAN: no value */
double running_deviation(const struct running_mean *m);  /* NAN: fewer than two */

/* Of one layer: pictures over prompts and seeds, conditionings over prompts. */
struct mean_distance {
    struct running_mean picture, relative, cosine;
};

struct side {
    const char *name;                /* "lens", "shuffled" */
    const char *about;               /* what it changes; NULL: the lens */
    struct study *study;             /* of a control owned */
    struct mean_distance *distances; /* (l) */
};

enum { SIDES_MAX = 1 + VARIANT_COUNT };

struct sides {
    size_t count;
    struct side items[SIDES_MAX];
};

/* Reads every picture once. A control's folder that is no control of this run, or damaged, is left
 * out, with a warning. `lens` must outlive the sides. Freed with sides_free, also after failure. */
int sides_open(dl_context *cx, struct study *lens, struct sides *out);
void sides_free(struct sides *sides);

/* A side's question of this name; NULL: it has none. */
const struct study_question *side_question(const struct side *side, const char *name);

/* FOLDER/distances.csv of the experiment: a row for each run and layer. */
int distances_write(dl_context *cx, const struct sides *sides);

#endif
