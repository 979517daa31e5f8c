/* Files: bounded reading, read-only mapping, and writing that is complete or absent. */
#ifndef DLENS_BASE_FILE_H
#define DLENS_BASE_FILE_H

#include "base/context.h"

/* DIR/NAME in fresh memory (free). NULL when memory is short. */
char *path_join(const char *dir, const char *name);

/* The last part of a path, slashes at its end included: how people know a folder. */
const char *path_name(const char *path);

bool file_exists(const char *path); /* a regular file (or a link to one) */
bool dir_exists(const char *path);

/* Reads a whole regular file of at most max_bytes into fresh memory (free), with a NUL put behind
 * it. *size may be NULL. Fails with `status` (DL_MODEL, DL_USAGE, ...) and the system's reason. */
int file_read(dl_context *cx, int status, const char *path, size_t max_bytes, char **data,
              size_t *size);

struct mapping {
    const unsigned char *data;
    size_t size;
};

/* Maps a regular file read-only. DL_MODEL on failure. An empty file maps to size 0, data NULL. */
int file_map(dl_context *cx, const char *path, struct mapping *out);
void file_unmap(struct mapping *mapping);

/* Writes to a temporary name in the same folder, flushes, and renames: the file is complete or
 * absent. The temporary file is removed on failure. DL_FAILED with the system's reason. */
int file_write(dl_context *cx, const char *path, const void *data, size_t size);

/* As file_write, from a function that writes to a stdio stream; the function returns a status. */
typedef int (*file_writer)(dl_context *cx, void *stream_FILE, void *user);
int file_write_with(dl_context *cx, const char *path, file_writer writer, void *user);

/* Makes the folder of a file and sees that the file can be written there, so that long work does
 * not fail at its end. An older file of this name stays. DL_FAILED with the system's reason. */
int file_prepare(dl_context *cx, const char *path);

/* Whether a name in a folder is one of file_write's temporary names: those are left behind where
 * the process is killed while it writes. file_sweep removes those of processes that are no more. */
bool file_is_temporary(const char *name);
void file_sweep(const char *dir);

/* Makes a folder, or the folder of a file, and the missing ones above it. DL_USAGE where something
 * else is in the way, else DL_FAILED. */
int dir_make(dl_context *cx, const char *path);
int dir_make_above(dl_context *cx, const char *path);

/* Whether two paths lead to the same folder or file, which is there. */
bool path_same(const char *a, const char *b);

/* Keeps other processes that ask from a folder until *lock is closed; false where one has it. *lock
 * is -1 on file systems without locks. */
bool dir_lock(const char *path, int *lock);

#endif
