/* The progress line. See progress.h. */
#include "out/progress.h"

#include "out/buffer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PARTS = 5, BAR_MAX = 32, BAR_MIN = 8, PART_BYTES = 128 };

void duration_text(char *out, size_t size, double seconds) {
    if (!(seconds >= 0.0) || seconds > 3.6e9) { /* a million hours; also NaN */
        snprintf(out, size, "?");
        return;
    }
    unsigned long s = (unsigned long)(seconds + 0.5);
    if (seconds < 9.95)
        snprintf(out, size, "%.1f s", seconds);
    else if (s < 60)
        snprintf(out, size, "%lu s", s);
    else if (s < 3600)
        snprintf(out, size, "%lu min %02lu s", s / 60, s % 60);
    else
        snprintf(out, size, "%lu h %02lu min", s / 3600, s / 60 % 60);
}

double seconds_left(double elapsed, double done, double total) {
    return done > 0.0 && elapsed > 0.0 ? elapsed * fmax(total - done, 0.0) / done : -1.0;
}

/* Character cells of a text, counted as one per code point: stages and labels hold no wide ones. */
static int cells_of(const char *text) {
    int cells = 0;
    while (utf8_next(&text))
        cells++;
    return cells;
}

/* The share of the run that is done, in [0,1]. */
static double share_done(const struct progress_line *p) {
    double images = p->images ? (double)p->images : 1.0;
    double step = p->steps ? fmin((double)p->step / (double)p->steps, 1.0) : 0.0;
    return fmin(((double)p->image + step) / images, 1.0);
}

static void put_bar(struct buffer *b, int width, double share, bool ascii) {
    int full = (int)(share * width + 0.5);
    for (int i = 0; i < width; i++)
        buffer_text(b, i < full ? (ascii ? "#" : "\xE2\x94\x81") : (ascii ? "-" : "\xE2\x94\x80"));
}

/* Copies a text, cut to `columns` cells and size - 1 bytes between code points. */
static size_t copy_cut(char *out, size_t size, int columns, const char *text) {
    const char *end = text;
    for (int cells = 0; cells < columns && *end; cells++) {
        const char *next = end;
        utf8_next(&next);
        if ((size_t)(next - text) >= size)
            break;
        end = next;
    }
    size_t length = (size_t)(end - text);
    memcpy(out, text, length);
    out[length] = '\0';
    return length;
}

size_t progress_text(char *out, size_t size, int columns, const struct progress_line *p) {
    /* in the order of the line; the bar stands between 0 and 1 */
    char part[PARTS][PART_BYTES] = {{0}};
    static const int drop_order[PARTS] = {3, 1, 4, 2, 0};
    if (size == 0)
        return 0;
    snprintf(part[0], PART_BYTES, "%s", p->stage ? p->stage : "");
    if (p->steps)
        snprintf(part[1], PART_BYTES, "step %zu/%zu", p->step, p->steps);
    if (p->images)
        snprintf(part[2], PART_BYTES, "picture %zu/%zu",
                 p->image < p->images ? p->image + 1 : p->images, p->images);
    snprintf(part[3], PART_BYTES, "%s", p->detail ? p->detail : "");
    if (p->seconds_left >= 0.0) {
        duration_text(part[4], PART_BYTES - 6, p->seconds_left);
        strcat(part[4], " left");
    }
    int used = 0, dropped = 0;
    for (int i = 0; i < PARTS; i++)
        used += part[i][0] ? cells_of(part[i]) + 2 : 0;
    for (; used + BAR_MIN > columns && dropped < PARTS - 1; dropped++) {
        char *text = part[drop_order[dropped]];
        used -= text[0] ? cells_of(text) + 2 : 0;
        text[0] = '\0';
    }
    struct buffer line = {0};
    int bar = columns - used < BAR_MAX ? columns - used : BAR_MAX;
    buffer_format(&line, "%s", part[0]);
    if (bar >= BAR_MIN) {
        buffer_text(&line, part[0][0] ? "  " : "");
        put_bar(&line, bar, share_done(p), p->ascii);
    }
    for (int i = 1; i < PARTS; i++)
        if (part[i][0])
            buffer_format(&line, "  %s", part[i]);
    size_t length = copy_cut(out, size, columns, line.data && !line.failed ? line.data : "");
    buffer_free(&line);
    return length;
}
