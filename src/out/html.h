/* The report of a run: one HTML file that opens offline, without network, with all pictures
 * inside (as thumbnails where they are large) and links to the full ones. */
#ifndef DLENS_OUT_HTML_H
#define DLENS_OUT_HTML_H

#include "out/beside.h"
#include "out/image.h"
#include "out/looks.h"

struct report_token {
    int32_t id;
    const char *piece; /* as the vocabulary writes it */
    bool special;      /* begin, end, padding: shown dimmed */
};

struct report_prompt {
    const char *text;                  /* UTF-8 */
    const struct report_token *tokens; /* (token_count), may be NULL */
    size_t token_count;
    const char *cut;                /* the part that did not fit the encoder; NULL: none */
    const char *sheet;              /* path of its contact sheet relative to the page; NULL: none */
    const struct report_look *look; /* other ways of looking; NULL: none */
    const struct report_beside *beside; /* distances and controls; NULL: none */
};

struct report_cell {
    const uint8_t *rgb; /* (height,width,3), full size or a thumbnail; NULL: not made */
    int width, height;
    const char *file;         /* path relative to the page; NULL: none */
    double seconds;           /* it took; negative: unknown */
    const char *const *flags; /* (flag_count), such as "blank"; may be NULL */
    size_t flag_count;
};

struct report {
    const char *version; /* of dlens */
    const char *model;   /* name or path */
    const char *family;
    const char *encoder; /* class of the text encoder */
    int encoder_layers;  /* L */
    const struct report_prompt *prompts;
    size_t prompt_count;
    const uint64_t *seeds;
    size_t seed_count;
    const int *layers; /* those of this run, rising; -1, first or last: the native one */
    size_t layer_count;
    const struct report_cell *cells; /* (prompt_count,seed_count,layer_count) */
    int width, height;               /* of the full pictures, in pixels */
    const char *const *settings;     /* key, value, ..., NULL; may be NULL */
    const char *command;             /* to reproduce the run, quoted for a shell; NULL: none */
    bool complete;                   /* false: the page says that pictures are missing */
    const char *passage;             /* what was done to a layer's state: "passed through ..." */
};

/* Cells may be given as thumbnails of this size: the page embeds none larger. */
enum { REPORT_THUMBNAIL = 256 };

/* Writes the page; the file is complete or absent. */
int report_write(dl_context *cx, const char *path, const struct report *r);

#endif
