/* Public functions about judges: CLIP models that compare pictures with texts. */
#include "judge/judge.h"

#include "family/family.h"

#include <stdlib.h>

int dl_judge_open(dl_context *cx, const char *path, dl_judge **judge) {
    char *dir;
    *judge = NULL;
    DL_TRY(judge_locate(cx, path, &dir));
    int status = judge_open(cx, dir, judge);
    free(dir);
    return status;
}

void dl_judge_close(dl_judge *judge) {
    judge_close(judge);
}

void dl_judge_describe(const dl_judge *judge, dl_judge_info *info) {
    *info = (dl_judge_info){
        .path = judge_path(judge),
        .size = judge_size(judge),
        .scale = judge_scale(judge),
        .width = (int)judge_side(judge),
        .height = (int)judge_side(judge),
    };
}

int dl_judge_texts(dl_context *cx, const dl_judge *judge, const char *const *texts, size_t count,
                   float *embeddings) {
    return judge_texts(cx, judge, texts, count, embeddings);
}

int dl_judge_picture(dl_context *cx, const dl_judge *judge, const uint8_t *rgb, int width,
                     int height, float *embedding) {
    const struct image image = {width, height, (uint8_t *)(uintptr_t)rgb}; /* only read */
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX)
        return fail(cx, DL_USAGE, "picture of %dx%d pixels: sides must be 1 to %d", width, height,
                    IMAGE_SIDE_MAX);
    return judge_pictures(cx, judge, &image, 1, embedding);
}

int dl_judge_file(dl_context *cx, const dl_judge *judge, const char *path, float *embedding) {
    return judge_file(cx, judge, path, embedding);
}

void dl_judge_compare(const dl_judge *judge, const float *picture, const float *texts, size_t count,
                      float *cosine, float *probability) {
    const size_t P = judge_size(judge);
    float *out = cosine ? cosine : probability;
    if (!out)
        return;
    judge_cosines(out, picture, 1, texts, count, P);
    if (probability)
        judge_probabilities(judge, probability, out, 1, count);
}
