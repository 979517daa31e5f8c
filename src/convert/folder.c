/* The folder that a conversion writes. See folder.h.
 *
 * Folders that are there for a moment, the working one and the one that is replaced, hold a file
 * with the number of the process they belong to: so what a killed process left is known from what
 * another one is making, and from folders of other people. */
#include "convert/folder.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char OWNER[] = ".dlens-convert";

/* ---- what is copied -------------------------------------------------------------------------- */

enum { SMALL_FILE = 64 << 20, DEPTH_MAX = 8, FILES_MAX = 10000 };

static bool ends_with(const char *text, const char *end) {
    const size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* Weights in any format, and the lists of their shards. */
static bool is_weights(const char *name) {
    static const char *const ends[] = {
        ".safetensors", ".bin", ".ckpt",      ".pt",   ".pth", ".msgpack",       ".h5",
        ".onnx",        ".pb",  ".onnx_data", ".gguf", ".ot",  ".bin.index.json"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i]))
            return true;
    return ends_with(name, ".json") &&
           (strstr(name, ".safetensors.index.") || strstr(name, ".bin.index."));
}

/* The weights of a component, in some format and variant: COMPONENT/model.fp16.safetensors. */
static bool is_of_component(const char *inner) {
    static const char *const stems[] = {
        "model",   "diffusion_pytorch_model", "diffusion_flax_model", "pytorch_model", "flax_model",
        "tf_model"};
    const char *slash = strchr(inner, '/'), *name = slash ? slash + 1 : "";
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
        const size_t length = strlen(stems[i]);
        if (strncmp(name, stems[i], length) == 0 && (name[length] == '.' || name[length] == '-'))
            return !strchr(name, '/');
    }
    return false;
}

static int add_file(dl_context *cx, struct listing *l, const char *path, size_t bytes) {
    if (l->count == FILES_MAX)
        return fail(cx, DL_MODEL, "%s: more than %d files; is this a model's folder?", path,
                    FILES_MAX);
    if (l->count == l->room) {
        const size_t room = l->room ? 2 * l->room : 64;
        char **files = realloc(l->files, room * sizeof *files);
        if (!files)
            return fail_memory(cx, path, room * sizeof *files);
        l->files = files;
        l->room = room;
    }
    l->files[l->count] = strdup(path);
    if (!l->files[l->count])
        return fail_memory(cx, path, strlen(path));
    l->count++;
    l->bytes += bytes;
    return DL_OK;
}

static int list_folder(dl_context *cx, const char *dir, const char *inner, int depth,
                       struct listing *l);

/* One entry, `inner` its path inside the folder. */
static int list_entry(dl_context *cx, const char *dir, const char *inner, int depth,
                      struct listing *l) {
    struct stat info;
    char *path = path_join(dir, inner);
    if (!path)
        return fail_memory(cx, inner, strlen(dir) + strlen(inner));
    int status = DL_OK;
    if (stat(path, &info) != 0)
        status = fail(cx, DL_MODEL, "%s: cannot read: %s", path, strerror(errno));
    else if (S_ISDIR(info.st_mode) && depth == DEPTH_MAX)
        status = fail(cx, DL_MODEL, "%s: more than %d folders in one another", path, DEPTH_MAX);
    else if (S_ISDIR(info.st_mode))
        status = list_folder(cx, dir, inner, depth + 1, l);
    else if (S_ISREG(info.st_mode) && !is_weights(path_name(inner))) {
        if (info.st_size > SMALL_FILE)
            tell(cx, DL_LOG_WARNING, "%s: %lld MB, no model's small file: left out", path,
                 (long long)info.st_size / 1000000);
        else
            status = add_file(cx, l, inner, (size_t)info.st_size);
    } else if (S_ISREG(info.st_mode) && !is_of_component(inner)) {
        tell(cx, DL_LOG_WARNING, "%s: weights, but not those of a component: left out", path);
    }
    free(path);
    return status;
}

/* `inner` "": the folder itself. */
static int list_folder(dl_context *cx, const char *dir, const char *inner, int depth,
                       struct listing *l) {
    char *path = path_join(dir, inner);
    DIR *stream = path ? opendir(path) : NULL;
    int status =
        stream ? DL_OK : fail(cx, DL_MODEL, "%s/%s: cannot read: %s", dir, inner, strerror(errno));
    for (struct dirent *e = stream ? readdir(stream) : NULL; e && status == DL_OK;
         e = readdir(stream)) {
        if (e->d_name[0] == '.')
            continue;
        char *name = inner[0] ? path_join(inner, e->d_name) : strdup(e->d_name);
        status = name ? list_entry(cx, dir, name, depth, l) : fail_memory(cx, path, 0);
        free(name);
    }
    if (stream)
        closedir(stream);
    free(path);
    return status;
}

int listing_read(dl_context *cx, const char *dir, struct listing *out) {
    memset(out, 0, sizeof *out);
    int status = list_folder(cx, dir, "", 0, out);
    if (status != DL_OK)
        listing_free(out);
    return status;
}

void listing_free(struct listing *listing) {
    for (size_t i = 0; i < listing->count; i++)
        free(listing->files[i]);
    free(listing->files);
    memset(listing, 0, sizeof *listing);
}

static int copy_file(dl_context *cx, const char *from, const char *to) {
    struct mapping file;
    DL_TRY(dir_make_above(cx, to));
    DL_TRY(file_map(cx, from, &file));
    int status = file_write(cx, to, file.size ? (const void *)file.data : "", file.size);
    file_unmap(&file);
    return status;
}

int listing_copy(dl_context *cx, const struct listing *listing, const char *from, const char *to) {
    int status = DL_OK;
    for (size_t i = 0; i < listing->count && status == DL_OK; i++) {
        char *old = path_join(from, listing->files[i]), *new = path_join(to, listing->files[i]);
        status = old && new ? copy_file(cx, old, new) : fail_memory(cx, listing->files[i], 0);
        free(old);
        free(new);
    }
    return status;
}

/* ---- whose a folder is ----------------------------------------------------------------------- */

static int write_owner(dl_context *cx, const char *dir) {
    char pid[32], *path = path_join(dir, OWNER);
    if (!path)
        return fail_memory(cx, OWNER, 0);
    snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    int status = file_write(cx, path, pid, strlen(pid));
    free(path);
    return status;
}

/* The process that a folder belongs to; 0 where no file says so. */
static long read_owner(dl_context *cx, const char *dir) {
    enum { DIGITS = 32 };
    char *text = NULL, *path = path_join(dir, OWNER);
    long owner = 0;
    if (path && file_exists(path) && file_read(cx, DL_FAILED, path, DIGITS, &text, NULL) == DL_OK)
        owner = strtol(text, NULL, 10);
    free(path);
    free(text);
    return owner > 0 ? owner : 0;
}

static bool is_running(long process) {
    return process == (long)getpid() || kill((pid_t)process, 0) == 0 || errno != ESRCH;
}

static bool is_link(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

static void remove_owner(const char *dir) {
    char *path = path_join(dir, OWNER);
    if (path)
        unlink(path);
    free(path);
}

/* Removes a folder with all that is in it, the owner's file last; links are not followed. */
static void remove_tree(const char *path) {
    DIR *stream = is_link(path) ? NULL : opendir(path);
    for (struct dirent *e = stream ? readdir(stream) : NULL; e; e = readdir(stream)) {
        struct stat info;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, OWNER) == 0)
            continue;
        char *inner = path_join(path, e->d_name);
        if (inner && lstat(inner, &info) == 0 && S_ISDIR(info.st_mode))
            remove_tree(inner);
        else if (inner)
            unlink(inner);
        free(inner);
    }
    if (stream)
        closedir(stream);
    remove_owner(path);
    rmdir(path);
}

/* Takes away what a killed process has left under one of our names. */
static int clear_leftover(dl_context *cx, const char *path) {
    if (!dir_exists(path))
        return DL_OK;
    file_sweep(path); /* the owner's file itself may have been what it was writing */
    if (rmdir(path) == 0)
        return DL_OK;
    const long owner = read_owner(cx, path);
    if (!owner)
        return fail(cx, DL_USAGE,
                    "%s: is in the way, and not dlens's; move it or choose another -o", path);
    if (is_running(owner))
        return fail(cx, DL_FAILED, "%s: process %ld is converting to this folder", path, owner);
    remove_tree(path);
    return DL_OK;
}

/* What --overwrite had put aside when the process was killed goes back to its place, unless the new
 * folder is there. */
static void recover(dl_context *cx, const struct place *p) {
    struct stat info;
    const long owner = read_owner(cx, p->former);
    if (owner && !is_running(owner) && lstat(p->path, &info) != 0 && errno == ENOENT &&
        rename(p->former, p->path) == 0)
        remove_owner(p->path);
}

/* ---- where it goes --------------------------------------------------------------------------- */

static char *with_ending(const char *path, const char *ending) {
    const size_t size = strlen(path) + strlen(ending) + 1;
    char *out = malloc(size);
    if (out)
        snprintf(out, size, "%s%s", path, ending);
    return out;
}

/* The longest beginning of a path that is there, links and .. resolved; NULL without memory. */
static char *existing_part(const char *path) {
    char *part = strdup(path), *real = part ? realpath(part, NULL) : NULL;
    while (part && !real) {
        char *slash = strrchr(part, '/');
        if (slash)
            *(slash == part ? slash + 1 : slash) = '\0';
        real = realpath(slash ? part : ".", NULL);
        if (!slash || slash == part)
            break;
    }
    free(part);
    return real;
}

/* True if a is b, or lies in it; both resolved. */
static bool lies_in(const char *a, const char *b) {
    const size_t length = strlen(b);
    return strncmp(a, b, length) == 0 &&
           (a[length] == '\0' || a[length] == '/' || b[length - 1] == '/');
}

static bool is_empty(const char *path) {
    bool empty = true;
    DIR *stream = opendir(path);
    for (struct dirent *e = stream ? readdir(stream) : NULL; e; e = readdir(stream))
        empty = empty && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
    if (stream)
        closedir(stream);
    return stream && empty;
}

static bool holds_model(const char *path) {
    char *index = path_join(path, "model_index.json");
    const bool there = index && file_exists(index);
    free(index);
    return there;
}

static int check_apart(dl_context *cx, const struct place *p) {
    char *from = realpath(p->source, NULL), *to = existing_part(p->path);
    struct stat info;
    int status = DL_OK;
    if (!from || !to)
        status = fail_memory(cx, p->path, 0);
    else if (stat(p->path, &info) == 0 && strcmp(from, to) == 0)
        status = fail(cx, DL_USAGE, "--output %s: this is the model itself; choose another folder",
                      p->path);
    else if (lies_in(to, from) || (stat(p->path, &info) == 0 && lies_in(from, to)))
        status =
            fail(cx, DL_USAGE, "--output %s: must lie beside the model %s, not in or around it",
                 p->path, p->source);
    free(from);
    free(to);
    return status;
}

static int check_free(dl_context *cx, const struct place *p) {
    struct stat info;
    if (stat(p->path, &info) == 0 ? !S_ISDIR(info.st_mode) : is_link(p->path))
        return fail(cx, DL_USAGE, "--output %s: is no folder; choose another path", p->path);
    if (!dir_exists(p->path) || is_empty(p->path) || (p->overwrite && holds_model(p->path)))
        return DL_OK;
    if (p->overwrite)
        return fail(cx, DL_USAGE,
                    "--output %s: holds no model (no model_index.json), so it is not overwritten; "
                    "choose another folder",
                    p->path);
    return fail(cx, DL_USAGE, "--output %s: is there and not empty; --overwrite replaces %s",
                p->path,
                holds_model(p->path) ? "the model in it" : "only folders that hold a model");
}

static int check_place(dl_context *cx, const struct place *p) {
    DL_TRY(check_apart(cx, p));
    return check_free(cx, p);
}

int place_choose(dl_context *cx, const char *source, const char *path, bool overwrite,
                 struct place *out) {
    size_t length = strlen(path);
    *out = (struct place){.source = source, .overwrite = overwrite};
    while (length > 1 && path[length - 1] == '/')
        length--;
    out->path = strndup(path, length);
    if (out->path && is_link(out->path) && dir_exists(out->path)) {
        free(out->path);
        out->path = realpath(path, NULL); /* its folder is replaced, the link stays */
    }
    out->working = out->path ? with_ending(out->path, ".converting") : NULL;
    out->former = out->path ? with_ending(out->path, ".replaced") : NULL;
    int status = out->former && out->working ? DL_OK : fail_memory(cx, path, 0);
    if (status == DL_OK)
        recover(cx, out);
    if (status == DL_OK)
        status = check_place(cx, out);
    if (status != DL_OK)
        place_free(out);
    return status;
}

int place_has_room(dl_context *cx, const struct place *place, size_t bytes) {
    struct statvfs disk;
    char *above = existing_part(place->path);
    const bool known = above && statvfs(above, &disk) == 0;
    free(above);
    if (!known)
        return DL_OK; /* the disk itself will tell */
    const double room = (double)disk.f_bavail * (double)disk.f_frsize;
    if ((double)bytes > room)
        return fail(cx, DL_FAILED, "--output %s: %.0f MB are needed, the disk has room for %.0f MB",
                    place->path, (double)bytes / 1e6 + 1, room / 1e6);
    return DL_OK;
}

/* ---- making it ------------------------------------------------------------------------------- */

int place_begin(dl_context *cx, const struct place *place) {
    DL_TRY(clear_leftover(cx, place->working));
    DL_TRY(clear_leftover(cx, place->former));
    DL_TRY(dir_make(cx, place->working));
    int status = check_place(cx, place);
    if (status == DL_OK)
        status = write_owner(cx, place->working);
    if (status != DL_OK)
        rmdir(place->working);
    return status;
}

/* Hands a folder's names to the disk; some file systems cannot. */
static void sync_folder(const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

static void sync_above(const char *path) {
    char *above = strdup(path), *slash = above ? strrchr(above, '/') : NULL;
    if (slash)
        *(slash == above ? slash + 1 : slash) = '\0';
    if (above)
        sync_folder(slash ? above : ".");
    free(above);
}

/* Puts the old folder aside, and the new one into its place. */
static int replace(dl_context *cx, const struct place *place) {
    DL_TRY(write_owner(cx, place->path));
    if (rename(place->path, place->former) != 0)
        return fail(cx, DL_FAILED, "%s: cannot be replaced: %s", place->path, strerror(errno));
    if (rename(place->working, place->path) == 0)
        return DL_OK;
    int status = fail(cx, DL_FAILED, "%s: cannot be written: %s", place->path, strerror(errno));
    if (rename(place->former, place->path) == 0)
        remove_owner(place->path);
    return status;
}

int place_finish(dl_context *cx, const struct place *place) {
    const bool there = dir_exists(place->path) && !is_empty(place->path);
    sync_folder(place->working);
    if (there)
        DL_TRY(replace(cx, place));
    else if (rename(place->working, place->path) != 0)
        return fail(cx, DL_FAILED, "%s: cannot be written: %s", place->path, strerror(errno));
    remove_owner(place->path);
    sync_above(place->path);
    if (there)
        remove_tree(place->former);
    return DL_OK;
}

void place_abandon(const struct place *place) {
    remove_tree(place->working);
}

void place_free(struct place *place) {
    free(place->path);
    free(place->working);
    free(place->former);
    memset(place, 0, sizeof *place);
}
