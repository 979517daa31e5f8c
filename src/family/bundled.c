/* Where bundled models are: found by name, wherever program and library were installed or moved.
 *
 * Looked for, in order: in $DLENS_WEIGHTS; beside the program and beside the library that this code
 * is in (weights/ of a source tree, ../share/dlens/weights of an installation); where `make
 * install` put them. */
#define _GNU_SOURCE /* dladdr, which every system with shared libraries has */
#include "family/family.h"

#include "base/file.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* DIR/NAME, with links and .. resolved, if it is a model's folder; else NULL. */
static char *model_in(const char *dir, const char *name) {
    char *path = path_join(dir, name);
    char *index = path ? path_join(path, "model_index.json") : NULL;
    char *found = index && file_exists(index) ? realpath(path, NULL) : NULL;
    free(index);
    free(path);
    return found;
}

/* The model among those that lie beside `file`, a program or a library. */
static char *model_beside(const char *file, const char *name) {
    static const char *const relative[] = {"weights", "../weights", "../share/dlens/weights"};
    char *folder = realpath(file, NULL), *found = NULL;
    char *slash = folder ? strrchr(folder, '/') : NULL;
    if (slash)
        *slash = '\0';
    for (size_t i = 0; slash && !found && i < sizeof relative / sizeof relative[0]; i++) {
        char *dir = path_join(folder, relative[i]);
        found = dir ? model_in(dir, name) : NULL;
        free(dir);
    }
    free(folder);
    return found;
}

char *bundled_model(const char *name) {
    static const char here;
    const char *variable = getenv("DLENS_WEIGHTS");
    Dl_info library;
    char *found = variable ? model_in(variable, name) : NULL;
    if (!found)
        found = model_beside("/proc/self/exe", name);
    if (!found && dladdr(&here, &library) && library.dli_fname)
        found = model_beside(library.dli_fname, name);
    return found ? found : model_in(DLENS_DATADIR "/weights", name);
}

int judge_locate(dl_context *cx, const char *path, char **out) {
    const char *name = path ? path : "emoji-clip";
    char *model = NULL;
    *out = NULL;
    if (!path || (!dir_exists(path) && path[0] && !strchr(path, '/')))
        model = bundled_model(name);
    if (model)
        *out = path_join(model, "judge");
    else if (path)
        *out = strdup(path);
    else
        return fail(cx, DL_MODEL, "%s: the bundled model is not where it should be, nor its judge",
                    name);
    free(model);
    if (!*out)
        return fail_memory(cx, name, strlen(name) + 1);
    if (dir_exists(*out))
        return DL_OK;
    int status =
        fail(cx, DL_MODEL, "%s: no such folder; a judge is the folder of a CLIP model", *out);
    free(*out);
    *out = NULL;
    return status;
}
