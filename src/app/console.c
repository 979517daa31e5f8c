/* Messages, progress and pictures on the terminal. */
#include "app/console.h"

#include "base/clock.h"
#include "out/buffer.h"
#include "out/progress.h"
#include "out/term.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- interruption ---------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void say(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* nobody is left to be told */
}

static void end_at_once(int number) {
    (void)number;
    say("dlens: interrupted\n");
    _exit(DL_CANCELLED);
}

static void ask_for_a_stop(int number) {
    (void)number;
    if (!interrupted && isatty(STDERR_FILENO))
        say("\r\033[Kdlens: stopping after this step; Ctrl-C again kills\n");
    interrupted = 1;
}

void console_on_interrupt(enum on_interrupt what) {
    const bool asks = what == INTERRUPT_ASKS;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = asks ? ask_for_a_stop : end_at_once;
    action.sa_flags = (int)SA_RESETHAND; /* the second one kills */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* A closed pipe ends what only prints; work goes on, and the error is told at its end. */
    signal(SIGPIPE, asks ? SIG_IGN : SIG_DFL);
    signal(SIGXFSZ, SIG_IGN); /* a file beyond the limit is a write error like others */
}

bool console_interrupted(void) {
    return interrupted != 0;
}

void console_open_descriptors(void) {
    int fd;
    do /* 0 cannot be read, 1 and 2 cannot be written */
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Whether standard error is a terminal that knows escape sequences. */
static bool is_terminal(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

/* NO_COLOR counts where it is not empty (no-color.org). */
static bool wants_color(void) {
    const char *no_color = getenv("NO_COLOR");
    return is_terminal() && !(no_color && no_color[0]);
}

static void clear_line(void) {
    if (is_terminal())
        fputs("\r\033[K", stderr);
}

void console_error(const char *message, bool color) {
    color = color && wants_color();
    clear_line();
    fprintf(stderr, "%sdlens:%s %s\n", color ? "\033[1;31m" : "", color ? "\033[0m" : "", message);
}

void console_log(void *user, int level, const char *line) {
    const struct options *o = user;
    if (o->quiet || (level == DL_LOG_NOTE && !o->verbose))
        return;
    const bool color = !o->no_color && wants_color();
    const char *word = level == DL_LOG_WARNING ? "warning" : "note";
    clear_line();
    fprintf(stderr, "dlens: %s%s:%s %s\n", color ? "\033[1;33m" : "", word, color ? "\033[0m" : "",
            line);
}

/* ---- progress -------------------------------------------------------------------------------- */

static int terminal_columns(int fd) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void console_progress_begin(struct console_progress *p, const struct options *options) {
    const char *mode = options->progress ? options->progress : "auto";
    *p = (struct console_progress){.options = options, .start = clock_seconds()};
    p->on =
        strcmp(mode, "on") == 0 || (strcmp(mode, "auto") == 0 && !options->quiet && is_terminal());
}

/* The part of the running picture that is done; decoding counts as one step more. */
static double fraction(const dl_progress *g) {
    return (double)g->step / (double)(g->steps + 1);
}

static bool is_utf8(void) {
    const char *names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0])
            return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "utf-8");
    }
    return false;
}

static void name_picture(char out[64], int layer, uint64_t seed) {
    if (layer < 0)
        snprintf(out, 64, "native, seed %" PRIu64, seed);
    else
        snprintf(out, 64, "layer %d, seed %" PRIu64, layer, seed);
}

/* What a line says of the running picture; encoding, of many prompts at once, annotation, which
 * counts pictures as its steps, and conversion, which counts tensors, belong to none. */
static struct progress_line describe(const dl_progress *g, double elapsed, char detail[64]) {
    struct progress_line line = {
        .stage = g->stage,
        .step = g->step,
        .steps = g->steps,
        .seconds_left = -1,
        .ascii = !is_utf8(),
    };
    if (strcmp(g->stage, "encode") == 0 || strcmp(g->stage, "annotate") == 0 ||
        strcmp(g->stage, "convert") == 0)
        return line;
    name_picture(detail, g->layer, g->seed);
    line.detail = detail;
    line.image = g->image;
    line.images = g->images;
    line.seconds_left = seconds_left(elapsed, (double)g->image + fraction(g), (double)g->images);
    return line;
}

int console_progress(void *user, const dl_progress *g) {
    struct console_progress *p = user;
    char text[512], detail[64];
    const bool terminal = is_terminal();
    const double t = clock_seconds(), pause = terminal ? 0.05 : 1;
    const bool due = !p->shown || t - p->last_draw >= pause || (terminal && g->step == g->steps);
    if (!p->on || !due || console_interrupted())
        return console_interrupted();
    const struct progress_line line = describe(g, t - p->start, detail);
    progress_text(text, sizeof text, terminal_columns(STDERR_FILENO) - 1, &line);
    fprintf(stderr, terminal ? "\r\033[K%s" : "%s\n", text);
    fflush(stderr);
    p->shown = true;
    p->last_draw = t;
    return console_interrupted();
}

void console_progress_end(struct console_progress *p) {
    if (p->shown)
        clear_line();
    p->shown = false;
}

/* ---- pictures -------------------------------------------------------------------------------- */

static const char *lookup(void *user, const char *name) {
    (void)user;
    return getenv(name);
}

int console_show(dl_context *cx, const dl_picture *picture) {
    struct buffer text = {0};
    char name[64];
    const int columns = terminal_columns(STDOUT_FILENO);
    clear_line();
    name_picture(name, picture->layer, picture->seed);
    buffer_format(&text, "prompt %zu, %s\n", picture->prompt, name);
    int status = term_picture(cx, &text, term_detect(lookup, NULL), picture->rgb, picture->width,
                              picture->height, columns < 64 ? columns : 64);
    if (status == DL_OK)
        status = buffer_check(cx, &text, "picture");
    if (status == DL_OK)
        fwrite(text.data, 1, text.length, stdout);
    fflush(stdout);
    buffer_free(&text);
    return status;
}

void console_name(const char *name, int width) {
    struct buffer clean = {0};
    buffer_utf8(&clean, name);
    printf("%-*s", width, clean.data ? clean.data : "");
    buffer_free(&clean);
}
