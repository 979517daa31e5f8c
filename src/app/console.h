/* The terminal: messages, the progress line, interruption. */
#ifndef DLENS_APP_CONSOLE_H
#define DLENS_APP_CONSOLE_H

#include "app/options.h"

/* Prints "dlens: MESSAGE" to standard error, behind a progress line that may stand there. */
void console_error(const char *message, bool color);

/* A dl_log_fn; user is the struct options. */
void console_log(void *user, int level, const char *line);

/* What Ctrl-C and SIGTERM do: end the program at once with DL_CANCELLED, or, while there is work
 * whose finished part is kept, ask for a stop; a second one then kills. */
enum on_interrupt { INTERRUPT_ENDS, INTERRUPT_ASKS };
void console_on_interrupt(enum on_interrupt what);
bool console_interrupted(void);

/* File descriptors 0 to 2 that the caller has closed are opened, so that no file of ours gets their
 * number and messages in it; what is written there then fails as it should. */
void console_open_descriptors(void);

struct console_progress {
    const struct options *options;
    bool on, shown;
    double start;     /* of the first picture */
    double last_draw; /* seconds */
};

void console_progress_begin(struct console_progress *p, const struct options *options);

/* A dl_progress_fn; user is the struct console_progress. Not 0 once interrupted. */
int console_progress(void *user, const dl_progress *progress);

/* Clears the line. */
void console_progress_end(struct console_progress *p);

/* Prints a name from a model's file, without what a terminal would obey, padded to `width`. */
void console_name(const char *name, int width);

/* Draws a picture on standard output as the terminal can. */
int console_show(dl_context *cx, const dl_picture *picture);

#endif
