/* What drives a unit of the text encoder; see units.h. */
#include "lens/units.h"

#include "lens/words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading -------------------------------------------------------------------------------- */

/* A whole number at *text, which moves behind it; SIZE_MAX where there is none. */
static size_t take_number(const char **text) {
    size_t value = 0;
    const char *digit = *text;
    for (; *digit >= '0' && *digit <= '9' && value < (size_t)1 << 32; digit++)
        value = 10 * value + (size_t)(*digit - '0');
    if (digit == *text)
        return SIZE_MAX;
    *text = digit;
    return value;
}

/* "4.ff.0:16" at *text: its first unit and how many; false if it is nothing of the kind. */
static bool take_part(const char **text, const struct text_encoder *e, struct unit *first,
                      size_t *count) {
    first->block = take_number(text);
    if (first->block < 1 || first->block > e->layers)
        return false;
    first->inner = strncmp(*text, ".ff", 3) == 0;
    if (!first->inner && strncmp(*text, ".out", 4) != 0)
        return false;
    *text += first->inner ? 3 : 4;
    const size_t units = first->inner ? e->units : e->hidden_size;
    size_t end = units;
    first->index = 0;
    if (**text == '.') {
        ++*text;
        first->index = take_number(text);
        end = first->index + (first->index < units);
        if (**text == ':') {
            ++*text;
            end = take_number(text);
        }
    }
    *count = end - first->index;
    return first->index < end && end <= units && (**text == ',' || !**text);
}

int units_parse(dl_context *cx, const char *spec, const struct text_encoder *encoder,
                struct unit **out, size_t *count) {
    const char *part = spec, *text = spec;
    *out = NULL;
    *count = 0;
    do {
        struct unit first;
        size_t more;
        part = text;
        if (!take_part(&text, encoder, &first, &more))
            return fail(
                cx, DL_USAGE,
                "--units %.200s: \"%.*s\" is no unit; they are BLOCK.out.N, N to %zu, and "
                "BLOCK.ff.N, N to %zu, blocks 1 to %zu; examples: 4.ff.17, 4.out.0:16, 4.ff",
                spec, (int)strcspn(part, ","), part, encoder->hidden_size - 1, encoder->units - 1,
                encoder->layers);
        if (more > UNITS_MAX - *count)
            return fail(cx, DL_USAGE, "--units %.200s: more than %d units", spec, UNITS_MAX);
        struct unit *grown = realloc(*out, (*count + more) * sizeof *grown);
        if (!grown)
            return fail_memory(cx, "units", (*count + more) * sizeof *grown);
        *out = grown;
        for (size_t i = 0; i < more; i++, first.index++)
            grown[(*count)++] = first;
    } while (*text++ == ',');
    return DL_OK;
}

void unit_name(char out[64], const struct unit *unit) {
    snprintf(out, 64, "%zu.%s.%zu", unit->block, unit->inner ? "ff" : "out", unit->index);
}

/* ---- answering ------------------------------------------------------------------------------ */

struct search {
    dl_context *cx;
    const dl_model *model;
    const struct settings *settings;
    const struct unit *units;
    size_t count, prompts;
    struct answer *answers; /* (count,prompts) */
    float *inner;           /* (T,F) of one block */
};

/* The largest of column `index` of rows [first, end) of values (T,width). */
static struct answer largest(const float *values, size_t width, size_t index, size_t first,
                             size_t end) {
    struct answer best = {-INFINITY, 0};
    for (size_t t = first; t < end; t++)
        if (values[t * width + index] > best.value)
            best = (struct answer){values[t * width + index], t};
    return best;
}

/* All units of one prompt: a block's activations are made once for units that stand together. */
static int answer_prompt(struct search *s, size_t prompt, const struct encoding *e,
                         const unsigned char *mask, const struct words *words) {
    const struct text_encoder *encoder = s->model->encoder;
    const size_t first = words->has_start ? 1 : 0, end = words->tokens;
    size_t made = 0; /* the block whose activations are in s->inner */
    for (size_t i = 0; i < s->count; i++) {
        const struct unit *u = &s->units[i];
        const float *x = e->hidden + (u->block - 1) * e->stride;
        struct answer *answer = &s->answers[i * s->prompts + prompt];
        if (u->inner && made != u->block) {
            DL_TRY(text_encoder_units(s->cx, encoder, u->block - 1, s->inner, x,
                                      s->model->mask_padding ? mask : NULL, 1, e->tokens));
            made = u->block;
        }
        *answer = u->inner ? largest(s->inner, encoder->units, u->index, first, end)
                           : largest(x + e->stride, e->width, u->index, first, end);
    }
    return DL_OK;
}

/* One group of prompts, encoded together. */
static int answer_group(struct search *s, const char *const *prompts, size_t first, size_t count) {
    struct encodings encodings = {0};
    struct cache cache;
    int status = cache_open(s->cx, s->model, s->settings->cache, &cache);
    if (status == DL_OK)
        status = encode_prompts(s->cx, s->model, prompts + first, count, s->settings, &cache, NULL,
                                &encodings);
    for (size_t i = 0; i < count && status == DL_OK; i++) {
        const char *text = prompts[first + i];
        struct tokens tokens = {0};
        struct words words = {0};
        status = model_tokenize(s->cx, s->model, text, strlen(text), &tokens);
        if (status == DL_OK)
            status = words_find(s->cx, &tokens, s->model->tokens, &words);
        if (status == DL_OK)
            status = answer_prompt(s, first + i, &encodings.items[i],
                                   encodings.mask + i * s->model->tokens, &words);
        words_free(&words);
        tokens_free(&tokens);
    }
    encodings_free(&encodings);
    return status;
}

int units_answer(dl_context *cx, const dl_model *model, const struct settings *settings,
                 const char *const *prompts, size_t prompt_count, const struct unit *units,
                 size_t count, struct answer *answers) {
    struct search s = {cx, model, settings, units, count, prompt_count, answers, NULL};
    const size_t most = encode_group(cx, model);
    int status = allocate(cx, "activations", model->tokens * model->encoder->units, sizeof *s.inner,
                          (void **)&s.inner);
    if (status == DL_OK && settings->control != DL_CONTROL_NONE)
        status = fail(cx, DL_USAGE, "--units: tells nothing of a --control");
    for (size_t i = 0; i < count && status == DL_OK; i++)
        if (units[i].inner && settings->skip && settings->skip[units[i].block - 1])
            status = fail(cx, DL_USAGE, "--units: block %zu is left out", units[i].block);
    for (size_t first = 0; first < prompt_count && status == DL_OK; first += most) {
        const size_t rest = prompt_count - first;
        status = answer_group(&s, prompts, first, rest < most ? rest : most);
    }
    free(s.inner);
    return status;
}
