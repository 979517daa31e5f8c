/* Plain C99 definitions of every operation, one loop after the other: a first version. */
#include "kernels/kernels.h"
#include "kernels/ops.h"

#include <math.h>
#include <string.h>

static const struct kernels naive = {"ref"};

const struct kernels *kernels_choose(const char *name)
{
    return !name || strcmp(name, "ref") == 0 ? &naive : NULL;
}

static float act1(float x, enum activation act)
{
    switch (act) {
    case ACT_SILU:
        return x / (1.0f + expf(-x));
    case ACT_GELU:
        return 0.5f * x * erfcf(-x * 0.70710678f);
    case ACT_GELU_TANH:
        return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case ACT_QUICK_GELU:
        return x / (1.0f + expf(-1.702f * x));
    case ACT_RELU:
        return x > 0 ? x : 0;
    default:
        return x;
    }
}

static float at(const void *x, enum dtype dtype, size_t i)
{
    if (dtype == DTYPE_F32)
        return ((const float *)x)[i];
    uint16_t u = ((const uint16_t *)x)[i];
    if (dtype == DTYPE_BF16) {
        uint32_t bits = (uint32_t)u << 16;
        float y;
        memcpy(&y, &bits, 4);
        return y;
    }
    int e = (u >> 10) & 31, m = u & 1023;
    float y = e == 31  ? (m ? NAN : INFINITY)
              : e == 0 ? ldexpf((float)m, -24)
                       : ldexpf((float)(m + 1024), e - 25);
    return u & 0x8000 ? -y : y;
}

static float finish(float sum, const struct epilogue *ep, size_t m, size_t n, size_t N)
{
    if (!ep)
        return sum;
    sum = act1(sum + (ep->bias ? ep->bias[n] : 0), ep->act);
    return sum + (ep->residual ? ep->residual[m * N + n] : 0);
}

void op_linear(dl_context *cx, float *y, const float *x, const struct tensor *w, size_t M,
               const struct epilogue *ep)
{
    size_t N = w->shape[0], K = w->shape[1];
    if (planning(cx))
        return;
    for (size_t n = 0; n < N; n++)
        for (size_t m = 0; m < M; m++) {
            float sum = 0;
            for (size_t k = 0; k < K; k++)
                sum += x[m * K + k] * at(w->data, w->dtype, n * K + k);
            y[m * N + n] = finish(sum, ep, m, n, N);
        }
}

void op_conv2d(dl_context *cx, float *y, const float *x, const struct tensor *w,
               const struct conv_shape *s, const struct epilogue *ep)
{
    size_t N = w->shape[0], K = w->shape[1], k = w->ndim == 4 ? w->shape[2] : 1;
    size_t H = s->up_H ? s->up_H : s->H, W = s->up_W ? s->up_W : s->W;
    size_t P = s->pad_before + s->pad_after;
    size_t OH = (H + P - k) / s->stride + 1, OW = (W + P - k) / s->stride + 1;
    if (planning(cx))
        return;
    for (size_t b = 0; b < s->B; b++)
        for (size_t i = 0; i < OH; i++)
            for (size_t j = 0; j < OW; j++)
                for (size_t n = 0; n < N; n++) {
                    float sum = 0;
                    for (size_t p = 0; p < k; p++)
                        for (size_t q = 0; q < k; q++) {
                            size_t ih = i * s->stride + p, iw = j * s->stride + q;
                            if (ih < s->pad_before || iw < s->pad_before ||
                                ih - s->pad_before >= H || iw - s->pad_before >= W)
                                continue;
                            ih = (ih - s->pad_before) * s->H / H;
                            iw = (iw - s->pad_before) * s->W / W;
                            const float *in = x + ((b * s->H + ih) * s->W + iw) * K;
                            for (size_t c = 0; c < K; c++)
                                sum += in[c] *
                                       at(w->data, w->dtype, ((n * K + c) * k + p) * k + q);
                        }
                    size_t m = (b * OH + i) * OW + j;
                    y[m * N + n] = finish(sum, ep, m, n, N);
                }
}

void op_attention(dl_context *cx, float *out, const float *q, const float *k, const float *v,
                  const struct attention_shape *s)
{
    size_t h = s->heads, d = s->head_dim, D = h * d;
    size_t mark = arena_mark(cx);
    float *p = floats(cx, s->keys);
    if (!planning(cx))
        for (size_t b = 0; b < s->batch; b++)
            for (size_t a = 0; a < h; a++)
                for (size_t i = 0; i < s->queries; i++) {
                    float max = -INFINITY;
                    size_t n = s->causal && i + 1 < s->keys ? i + 1 : s->keys;
                    for (size_t j = 0; j < n; j++) {
                        float sum = 0;
                        for (size_t c = 0; c < d; c++)
                            sum += q[(b * s->queries + i) * D + a * d + c] *
                                   k[(b * s->keys + j) * D + a * d + c];
                        sum *= s->scale;
                        if (s->bias)
                            sum += s->bias[(a * s->queries + i) * s->keys + j];
                        if (s->key_bias)
                            sum += s->key_bias[b * s->keys + j];
                        p[j] = sum;
                        max = fmaxf(max, sum);
                    }
                    float total = 0;
                    for (size_t j = 0; j < n; j++)
                        total += p[j] = expf(p[j] - max);
                    float *y = out + (b * s->queries + i) * D + a * d;
                    memset(y, 0, d * sizeof *y);
                    for (size_t j = 0; j < n; j++)
                        for (size_t c = 0; c < d; c++)
                            y[c] += p[j] / total * v[(b * s->keys + j) * D + a * d + c];
                }
    arena_release(cx, mark);
}

void op_layer_norm(dl_context *cx, float *y, const float *x, const float *weight,
                   const float *bias, size_t M, size_t C, float eps)
{
    if (planning(cx))
        return;
    for (size_t m = 0; m < M; m++, x += C, y += C) {
        double mean = 0, var = 0;
        for (size_t c = 0; c < C; c++)
            mean += x[c];
        mean /= (double)C;
        for (size_t c = 0; c < C; c++)
            var += (x[c] - mean) * (x[c] - mean);
        double r = 1.0 / sqrt(var / (double)C + (double)eps);
        for (size_t c = 0; c < C; c++)
            y[c] = (float)((x[c] - mean) * r) * (weight ? weight[c] : 1) + (bias ? bias[c] : 0);
    }
}

void op_rms_norm(dl_context *cx, float *y, const float *x, const float *weight, size_t M, size_t C,
                 float eps)
{
    if (planning(cx))
        return;
    for (size_t m = 0; m < M; m++, x += C, y += C) {
        double var = 0;
        for (size_t c = 0; c < C; c++)
            var += (double)x[c] * x[c];
        double r = 1.0 / sqrt(var / (double)C + (double)eps);
        for (size_t c = 0; c < C; c++)
            y[c] = (float)(x[c] * r) * weight[c];
    }
}

void op_group_norm(dl_context *cx, float *y, const float *x, const float *weight,
                   const float *bias, const float *scale, const float *shift, size_t B, size_t P,
                   size_t C, size_t groups, float eps, enum activation act)
{
    if (planning(cx))
        return;
    size_t G = C / groups;
    for (size_t b = 0; b < B; b++)
        for (size_t g = 0; g < groups; g++) {
            double sum = 0, squares = 0, n = (double)(P * G);
            for (size_t p = 0; p < P; p++)
                for (size_t c = g * G; c < (g + 1) * G; c++) {
                    double value = x[(b * P + p) * C + c];
                    sum += value;
                    squares += value * value;
                }
            double mean = sum / n, var = squares / n - mean * mean;
            double r = 1.0 / sqrt((var > 0 ? var : 0) + (double)eps);
            for (size_t p = 0; p < P; p++)
                for (size_t c = g * G; c < (g + 1) * G; c++) {
                    size_t i = (b * P + p) * C + c;
                    float value = (float)((x[i] - mean) * r) * weight[c] + bias[c];
                    if (scale)
                        value *= 1 + scale[b * C + c];
                    if (shift)
                        value += shift[b * C + c];
                    y[i] = act1(value, act);
                }
        }
}

void op_activate(dl_context *cx, float *y, const float *x, size_t n, enum activation act)
{
    if (!planning(cx))
        for (size_t i = 0; i < n; i++)
            y[i] = act1(x[i], act);
}

void op_gated(dl_context *cx, float *y, const float *x, size_t M, size_t C, enum activation act)
{
    if (!planning(cx))
        for (size_t m = 0; m < M; m++)
            for (size_t c = 0; c < C; c++)
                y[m * C + c] = x[m * 2 * C + c] * act1(x[m * 2 * C + C + c], act);
}

void op_add(dl_context *cx, float *y, const float *x, size_t n)
{
    if (!planning(cx))
        for (size_t i = 0; i < n; i++)
            y[i] += x[i];
}

void op_add_channels(dl_context *cx, float *y, const float *x, size_t B, size_t P, size_t C)
{
    if (!planning(cx))
        for (size_t i = 0; i < B * P; i++)
            for (size_t c = 0; c < C; c++)
                y[i * C + c] += x[i / P * C + c];
}

void op_scale(dl_context *cx, float *y, float s, size_t n)
{
    if (!planning(cx))
        for (size_t i = 0; i < n; i++)
            y[i] *= s;
}

void op_concat(dl_context *cx, float *y, const float *a, size_t A, const float *b, size_t B,
               size_t M)
{
    if (!planning(cx))
        for (size_t m = 0; m < M; m++, y += A + B) {
            memcpy(y, a + m * A, A * sizeof *y);
            memcpy(y + A, b + m * B, B * sizeof *y);
        }
}

void op_to_channels_last(dl_context *cx, float *y, const float *x, size_t B, size_t C, size_t P)
{
    if (!planning(cx))
        for (size_t b = 0; b < B; b++)
            for (size_t c = 0; c < C; c++)
                for (size_t p = 0; p < P; p++)
                    y[(b * P + p) * C + c] = x[(b * C + c) * P + p];
}

void op_to_channels_first(dl_context *cx, float *y, const float *x, size_t B, size_t C, size_t P)
{
    op_to_channels_last(cx, y, x, B, P, C);
}

void op_embedding_row(dl_context *cx, float *y, const struct tensor *table, size_t index)
{
    if (!planning(cx))
        for (size_t i = 0, C = table->shape[1]; i < C; i++)
            y[i] = at(table->data, table->dtype, index * C + i);
}

void op_widen(dl_context *cx, float *y, const void *x, enum dtype dtype, size_t n)
{
    if (!planning(cx))
        for (size_t i = 0; i < n; i++)
            y[i] = at(x, dtype, i);
}
