/* Files: bounded reading, read-only mapping, and writing that is complete or absent.
 *
 * Only regular files are read: a folder, a device or a pipe under a model's file name is refused
 * instead of waited for (O_NONBLOCK lets the open itself return). */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

char *path_join(const char *dir, const char *name) {
    size_t length = strlen(dir);
    size_t size = length + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s%s", dir, length && dir[length - 1] != '/' ? "/" : "", name);
    return path;
}

const char *path_name(const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    const char *name = path + end;
    while (name > path && name[-1] != '/')
        name--;
    return name;
}

bool file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool dir_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Opens a regular file for reading; *size is its size now. The caller closes *descriptor. */
static int open_regular(dl_context *cx, int status, const char *path, int *descriptor,
                        size_t *size) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(cx, status, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0)
        status = fail(cx, status, "%s: cannot read: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = fail(cx, status, "%s: not a regular file", path);
    else if ((uintmax_t)info.st_size > PTRDIFF_MAX - 1)
        status = fail(cx, status, "%s: too large for this machine", path);
    else
        status = DL_OK;
    if (status != DL_OK) {
        close(fd);
        return status;
    }
    *descriptor = fd;
    *size = (size_t)info.st_size;
    return DL_OK;
}

/* Reads up to *size bytes; *size is then what was there (less if the file has just shrunk). */
static int read_all(dl_context *cx, int status, const char *path, int fd, char *data,
                    size_t *size) {
    size_t got = 0;
    while (got < *size) {
        ssize_t n = read(fd, data + got, *size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(cx, status, "%s: cannot read: %s", path, strerror(errno));
        if (n == 0)
            break;
        got += (size_t)n;
    }
    *size = got;
    return DL_OK;
}

int file_read(dl_context *cx, int status, const char *path, size_t max_bytes, char **data,
              size_t *size) {
    int fd = -1, result;
    size_t bytes = 0;
    void *memory = NULL;
    *data = NULL;
    DL_TRY(open_regular(cx, status, path, &fd, &bytes));
    if (bytes > max_bytes)
        result =
            fail(cx, status, "%s: %zu bytes; such a file has at most %zu", path, bytes, max_bytes);
    else
        result = allocate(cx, path, bytes + 1, 1, &memory);
    if (result == DL_OK)
        result = read_all(cx, status, path, fd, memory, &bytes);
    close(fd);
    if (result != DL_OK) {
        free(memory);
        return result;
    }
    *data = memory; /* zeroed by allocate: the NUL is there */
    if (size)
        *size = bytes;
    return DL_OK;
}

int file_map(dl_context *cx, const char *path, struct mapping *out) {
    int fd = -1, status = DL_OK;
    size_t size = 0;
    *out = (struct mapping){NULL, 0};
    DL_TRY(open_regular(cx, DL_MODEL, path, &fd, &size));
    if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = fail(cx, DL_MODEL, "%s: cannot map: %s", path, strerror(errno));
        else
            *out = (struct mapping){data, size};
    }
    close(fd);
    return status;
}

void file_unmap(struct mapping *mapping) {
    if (mapping->data)
        munmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (struct mapping){NULL, 0};
}

/* ---- writing ------------------------------------------------------------------------------- */

/* Creates PATH.PID-N.tmp, a name that no file has yet. *name is freed by the caller. */
static int open_temporary(dl_context *cx, const char *path, char **name, FILE **stream) {
    size_t size = strlen(path) + 64;
    struct stat info;
    void *memory;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return fail(cx, DL_FAILED, "%s: cannot write: exists and is not a regular file", path);
    DL_TRY(allocate(cx, path, size, 1, &memory));
    *name = memory;
    int fd = -1;
    for (int n = 0; fd < 0 && n < 1000; n++) {
        snprintf(*name, size, "%s.%ld-%d.tmp", path, (long)getpid(), n);
        fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    *stream = fd < 0 ? NULL : fdopen(fd, "wb");
    if (*stream)
        return DL_OK;
    int error = errno;
    if (fd >= 0) {
        close(fd);
        unlink(*name);
    }
    free(*name);
    return fail(cx, DL_FAILED, "%s: cannot write: %s", path, strerror(error));
}

/* Hands what was written to the disk and closes. Returns 0 or the errno of what was lost. */
static int finish(FILE *stream) {
    int error = ferror(stream) ? (errno ? errno : EIO) : 0;
    if (!error && fflush(stream) != 0)
        error = errno;
    /* Some file systems cannot sync: EINVAL. */
    if (!error && fsync(fileno(stream)) != 0 && errno != EINVAL && errno != ENOTSUP)
        error = errno;
    if (fclose(stream) != 0 && !error)
        error = errno;
    return error;
}

int file_write_with(dl_context *cx, const char *path, file_writer writer, void *user) {
    char *name;
    FILE *stream;
    DL_TRY(open_temporary(cx, path, &name, &stream));
    int status = writer(cx, stream, user);
    int error = finish(stream);
    if (status == DL_OK && !error && rename(name, path) != 0)
        error = errno;
    if (status == DL_OK && error)
        status = fail(cx, DL_FAILED, "%s: cannot write: %s", path, strerror(error));
    if (status != DL_OK)
        unlink(name);
    free(name);
    return status;
}

struct bytes {
    const void *data;
    size_t size;
};

static int write_bytes(dl_context *cx, void *stream, void *user) {
    const struct bytes *b = user;
    (void)cx;
    fwrite(b->data, 1, b->size, stream); /* an error stays in the stream: see finish */
    return DL_OK;
}

int file_write(dl_context *cx, const char *path, const void *data, size_t size) {
    struct bytes b = {data, size};
    return file_write_with(cx, path, write_bytes, &b);
}

int file_prepare(dl_context *cx, const char *path) {
    char *name;
    FILE *stream;
    DL_TRY(dir_make_above(cx, path));
    DL_TRY(open_temporary(cx, path, &name, &stream));
    fclose(stream);
    unlink(name);
    free(name);
    return DL_OK;
}

/* The process that made a temporary file, by its name; 0 if the name is none of open_temporary. */
static long temporary_owner(const char *name) {
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
        long owner;
        int number, end = 0;
        if (sscanf(dot, ".%ld-%d.tmp%n", &owner, &number, &end) == 2 && end && !dot[end])
            return owner > 0 ? owner : 0;
    }
    return 0;
}

bool file_is_temporary(const char *name) {
    return temporary_owner(name) != 0;
}

void file_sweep(const char *dir) {
    DIR *stream = opendir(dir);
    for (struct dirent *e = stream ? readdir(stream) : NULL; e; e = readdir(stream)) {
        const long owner = temporary_owner(e->d_name);
        if (!owner || kill((pid_t)owner, 0) == 0 || errno != ESRCH)
            continue;
        char *path = path_join(dir, e->d_name);
        if (path)
            unlink(path);
        free(path);
    }
    if (stream)
        closedir(stream);
}

/* ---- folders ------------------------------------------------------------------------------- */

int dir_make(dl_context *cx, const char *path) {
    void *memory;
    size_t length = strlen(path);
    int status = DL_OK;
    DL_TRY(allocate(cx, path, length + 1, 1, &memory));
    char *part = memcpy(memory, path, length + 1);
    /* "a/b/c": makes a, a/b, a/b/c; one that is there already is no failure. */
    for (size_t i = 1; i <= length && status == DL_OK; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        part[i] = '\0';
        int error = mkdir(part, 0777) != 0 ? errno : 0;
        if (error && !dir_exists(part))
            status =
                error == EEXIST || error == ENOTDIR
                    ? fail(cx, DL_USAGE, "%s: is no folder; choose another path", part)
                    : fail(cx, DL_FAILED, "%s: cannot make the folder: %s", part, strerror(error));
        part[i] = path[i];
    }
    free(memory);
    return status;
}

int dir_make_above(dl_context *cx, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return DL_OK;
    char *dir = strdup(path);
    if (!dir)
        return fail_memory(cx, path, strlen(path) + 1);
    dir[slash - path] = '\0';
    int status = dir_make(cx, dir);
    free(dir);
    return status;
}

bool path_same(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool dir_lock(const char *path, int *lock) {
    *lock = open(path, O_RDONLY | O_CLOEXEC);
    if (*lock < 0 || flock(*lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    const bool taken = errno == EWOULDBLOCK;
    close(*lock);
    *lock = -1;
    return !taken;
}
