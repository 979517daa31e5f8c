/* A look at the cross-attention; formula and shape letters in attention_map.h. */
#include "diffusion/attention_map.h"

#include <math.h>

/* x + n, where there is an x: in plan mode inputs may be missing. */
static const float *behind(const float *x, size_t n) {
    return x ? x + n : NULL;
}

void attention_show(dl_context *cx, struct attention_view *view, const void *w, const float *q,
                    const float *k, const struct attention_shape *shape, size_t T) {
    if (!view || shape->batch <= view->tap->first)
        return;
    struct attention_shape s = *shape;
    const size_t first = view->tap->first, C = s.heads * s.head_dim, mark = arena_mark(cx);
    s.batch -= first;
    float *map = floats(cx, s.batch * s.heads * s.queries * T); /* (items,h,P,T) */
    op_attention_map(cx, map, q + first * s.queries * C, k + first * s.keys * C, &s, T);
    if (!planning(cx))
        view->tap->fn(view->tap->user, &(struct attention_look){.attention = w,
                                                                .middle = view->middle,
                                                                .map = map,
                                                                .items = s.batch,
                                                                .heads = s.heads,
                                                                .H = view->H,
                                                                .W = view->W,
                                                                .tokens = T});
    arena_release(cx, mark);
}

void attention_show_cross(dl_context *cx, struct attention_view *view, const float *n,
                          const float *s, const struct attention *w, size_t B, size_t P, size_t T) {
    if (!view || B <= view->tap->first)
        return;
    const size_t first = view->tap->first, items = B - first, mark = arena_mark(cx);
    const struct attention_shape shape = {.batch = items,
                                          .heads = w->heads,
                                          .queries = P,
                                          .keys = T,
                                          .head_dim = w->C / w->heads,
                                          .scale = 1.0f / sqrtf((float)(w->C / w->heads))};
    const struct attention_tap all = {view->tap->fn, view->tap->user, 0};
    struct attention_view rest = {&all, view->H, view->W, view->middle};
    float *q = floats(cx, items * P * w->C); /* (items,P,C) */
    float *k = floats(cx, items * T * w->C); /* (items,T,C) */
    linear(cx, q, behind(n, first * P * w->C), &w->q, items * P);
    linear(cx, k, behind(s, first * T * w->D), &w->k, items * T);
    attention_show(cx, &rest, w, q, k, &shape, T);
    arena_release(cx, mark);
}
