/* What an annotation file says by itself: the mean score of each layer, and the layer from which on
 * the thing asked for is there.
 *
 *   mean       over all scores of the layer, divided by the scale; its interval by the bootstrap
 *              over prompts
 *   emergence  of a row without missing cells: the first layer from which the score is at least
 * half the scale and stays so to the last never      the row's last layer is below half unstable at
 * least half at some layer, then below, and later at least half again */
#ifndef DLENS_STATS_SUMMARY_H
#define DLENS_STATS_SUMMARY_H

#include "out/buffer.h"
#include "stats/table.h"

/* Where a row emerges: index of the layer, or one of these. */
enum { EMERGES_NEVER = -1, EMERGES_UNKNOWN = -2 /* a cell is missing */ };

/* scores (L) of a row. */
int emergence(const double *scores, size_t layers, double scale);

/* For a row without missing cells. */
bool emergence_is_unstable(const double *scores, size_t layers, double scale);

struct layer_summary {
    int layer;
    size_t n; /* scores */
    double mean, low, high;
    size_t emerged; /* rows that emerge here */
};

struct summary {
    const char *name; /* the table's */
    double scale;
    size_t prompts, rows, missing, outside, layers;
    struct layer_summary *layer;      /* (L) */
    size_t complete, never, unstable; /* rows: without missing cells, of these */
    double median_layer;              /* over the rows that emerge; NaN without any */
};

/* Freed with summary_free, also after failure. */
int summarise(dl_context *cx, const struct score_table *table, uint64_t seed, struct summary *out);
void summary_free(struct summary *summary);

/* As a table with bars. */
void summary_print(struct buffer *out, const struct summary *summary);

/* As the object that `analyse --json` prints. */
void summary_json(struct buffer *out, const struct summary *summary);

#endif
