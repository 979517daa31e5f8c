/* An experiment's report: one page, complete in itself, made from the folder alone.
 *
 *     OUT/index.html             plots, tables, comparisons, pictures, annotation by people
 *     OUT/plots/NAME.svg, .csv   each plot by itself, and its numbers
 *     OUT/signatures.csv         signatures of failure: of pictures, and of rows and questions
 *     OUT/distances.csv          how far each layer is from the last one (sides.h)
 *
 * The page embeds thumbnails; the pictures beside it are linked. */
#ifndef DLENS_STUDY_REPORT_H
#define DLENS_STUDY_REPORT_H

#include "out/number.h"
#include "out/svg.h"
#include "stats/compare.h"
#include "stats/order.h"
#include "study/sides.h"

/* Writes the report of a run's folder, which holds an experiment or a plain lens; of a shard
 * DL_USAGE. */
int study_report(dl_context *cx, const char *folder);

/* ---- its parts ------------------------------------------------------------------------------- */

/* Plots: `b` is the page's text, NULL: none; files go to FOLDER/plots. */
struct plots {
    dl_context *cx;
    const char *folder; /* NULL: no files */
    struct buffer *page;
    int status; /* sticky */
};

/* A plot of each kind: to the page, and to FOLDER/plots/NAME.svg with its numbers, `csv` (which is
 * freed), as NAME.csv. */
void plots_lines(struct plots *p, const char *name, const struct svg_lines *plot,
                 struct buffer *csv);
void plots_bars(struct plots *p, const char *name, const struct svg_bars *plot, struct buffer *csv);
void plots_heat(struct plots *p, const char *name, const struct svg_heat *plot, struct buffer *csv);

/* Removes plots that an earlier report has left in FOLDER/plots. */
void plots_sweep(const char *folder);

/* The section of every question, and the one that shows all of them over relative layers. */
void report_overview(struct plots *p, const struct study *study);
void report_question(struct plots *p, const struct sides *sides, size_t question);

/* The controls, and what of every question emerges in them, beside the lens. */
void report_controls(const struct sides *sides, struct buffer *b);

/* The paper's comparisons as far as the set's columns allow. */
int report_comparisons(dl_context *cx, const struct study *study, struct buffer *b);

/* How far every layer of every run is from the last one: plots, and a table. */
void report_distances(struct plots *p, const struct sides *sides);

/* The head of a table with a column for each layer, up to <tbody>. */
void report_layer_names(struct buffer *b, const struct grid *grid, const char *first);

/* A comparison's contrasts and correlations as a table. */
void report_contrasts(struct buffer *b, const struct comparison *comparison);
void put_p_value(struct buffer *b, double p);
void cell_number(struct buffer *b, double value, int decimals); /* of a table */

/* Signatures: the section, and signatures.csv. */
void report_signatures(const struct study *study, struct buffer *b);
int signatures_write(dl_context *cx, const struct study *study);

/* The grid of pictures, and the data that the page's script reads. */
int report_pictures(dl_context *cx, const struct study *study, struct buffer *b);

/* Style and scripts, made from report.css, report.js and annotate.js; lines, ended by NULL. */
extern const char *const report_css[], *const report_js[], *const annotate_js[];

#endif
