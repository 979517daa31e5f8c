/* The folder that a conversion writes: made beside its final name, then put there in one rename, so
 * that it is complete or absent. */
#ifndef DLENS_CONVERT_FOLDER_H
#define DLENS_CONVERT_FOLDER_H

#include "base/context.h"

/* The files of a folder and of those below it that a new model's folder gets as they are: all but
 * weights and names that begin with a dot; one that is too large to be a model's small file is left
 * out and told, and so are weights that are not a component's own. */
struct listing {
    char **files; /* (count) paths inside the folder */
    size_t count, room;
    size_t bytes;
};
int listing_read(dl_context *cx, const char *dir, struct listing *out);
void listing_free(struct listing *listing);

/* Copies them to another folder; folders are made as they are needed. */
int listing_copy(dl_context *cx, const struct listing *listing, const char *from, const char *to);

/* Where results go, and what they are called until they are complete. */
struct place {
    const char *source; /* the caller's: what is converted */
    bool overwrite;
    char *path;    /* without a slash at the end, a link resolved */
    char *working; /* PATH.converting: new, or that of a process that is no more */
    char *former;  /* PATH.replaced: what --overwrite takes away, for a moment */
};

/* Checks that a conversion of `source` may go to `path`: not to itself, into itself or around
 * itself; not over a file or a folder that is not empty, unless `overwrite` and it holds a model.
 * DL_USAGE says which. Nothing is written yet,
 * but that what an --overwrite killed at its very end had put aside is put back. `source` is kept,
 * not copied. */
int place_choose(dl_context *cx, const char *source, const char *path, bool overwrite,
                 struct place *out);

/* DL_FAILED where the disk has no room for so many bytes. */
int place_has_room(dl_context *cx, const struct place *place, size_t bytes);

/* Makes the working folder, anew where a killed process left one, and checks again, as a path with
 * .. may lead elsewhere once the folders on its way are there. */
int place_begin(dl_context *cx, const struct place *place);

/* Gives the working folder its name. */
int place_finish(dl_context *cx, const struct place *place);

/* Removes the working folder. */
void place_abandon(const struct place *place);

void place_free(struct place *place);

#endif
