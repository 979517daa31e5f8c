/* Pictures of tests/data/clip-vision. */
#ifndef DLENS_TESTS_PICTURE_SUPPORT_H
#define DLENS_TESTS_PICTURE_SUPPORT_H

#include "reference.h"
#include "vision/preprocess.h"

#define DATA "tests/data/clip-vision"

static inline struct image open_picture(dl_context *cx, const char *name) {
    char path[256];
    struct image image;
    snprintf(path, sizeof path, DATA "/pictures/%s.png", name);
    if (picture_read(cx, path, &image) != DL_OK)
        fail_msg("%s", dl_message(cx));
    return image;
}

#endif
