/* The terminal: messages, the progress line, interruption. */
#ifndef DLENS_APP_CONSOLE_H
#define DLENS_APP_CONSOLE_H

#include "app/options.h"

/* Prints "dlens: MESSAGE" to standard error, behind a progress line that may stand there. */
void console_error(const char *message, bool color);

/* A dl_log_fn; user is the struct options. */
void console_log(void *user, int level, const char *line);

/* Lets Ctrl-C and SIGTERM ask for a stop; a second one kills. */
void console_catch_interrupts(void);
bool console_interrupted(void);

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

/* Draws a picture on standard output as the terminal can. */
int console_show(dl_context *cx, const dl_picture *picture);

#endif
