/* times.csv: how long each picture took, for runs whose other files are to be the same whoever
 * makes them, and when. */
#include "lens/manifest.h"

#include "base/file.h"
#include "out/csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int times_write(dl_context *cx, const struct grid *grid, const char *folder) {
    struct buffer text = {0};
    csv_row(&text, (const char *const[]){"file", "seconds"}, 2);
    for (size_t i = 0; i < grid_count(grid); i++) {
        char seconds[32];
        if (!grid->cells[i].made || grid->cells[i].seconds < 0)
            continue;
        snprintf(seconds, sizeof seconds, "%.3f", grid->cells[i].seconds);
        csv_row(&text, (const char *const[]){grid->cells[i].file, seconds}, 2);
    }
    char *path = path_join(folder, "times.csv");
    int status = buffer_check(cx, &text, "times.csv");
    if (status == DL_OK)
        status =
            path ? file_write(cx, path, text.data, text.length) : fail_memory(cx, "times.csv", 0);
    free(path);
    buffer_free(&text);
    return status;
}

/* Rows stand in the grid's order, so one pass over the cells finds them all; a row that is none of
 * the grid's ends the reading. */
static void take_times(struct grid *grid, const struct csv *csv) {
    size_t cell = 0;
    for (size_t row = 0; row < csv->rows && csv->columns >= 2; row++) {
        size_t i = cell;
        char *end;
        while (i < grid_count(grid) && strcmp(grid->cells[i].file, csv_cell(csv, row, 0)) != 0)
            i++;
        const double seconds = strtod(csv_cell(csv, row, 1), &end);
        if (i == grid_count(grid) || *end || !(seconds >= 0 && seconds < 1e12))
            return;
        grid->cells[i].seconds = seconds;
        cell = i + 1;
    }
}

int times_read(dl_context *cx, struct grid *grid, const char *folder) {
    struct csv csv = {0};
    char *path = path_join(folder, "times.csv");
    if (!path)
        return fail_memory(cx, "times.csv", 0);
    if (file_exists(path) && csv_read(cx, path, &csv) == DL_OK)
        take_times(grid, &csv);
    csv_free(&csv);
    free(path);
    return DL_OK;
}
