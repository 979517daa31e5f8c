/* How fast does a prompt's picture settle? Prints for each layer of the text encoder how far its
 * picture is from the last layer's, in 8-bit levels (root mean square).
 *
 *     cc -o layers tools/examples/layers.c $(pkg-config --cflags --libs dlens) -lm
 *     ./layers weights/emoji-clip "a dog" */
#include <dlens.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pictures {
    uint8_t *rgb[256]; /* by layer */
    size_t bytes;
    int last;
};

static int keep(void *user, const dl_picture *picture) {
    struct pictures *p = user;
    p->bytes = (size_t)picture->width * (size_t)picture->height * 3;
    p->last = picture->layer;
    p->rgb[picture->layer] = malloc(p->bytes);
    if (!p->rgb[picture->layer])
        return 1; /* stop */
    memcpy(p->rgb[picture->layer], picture->rgb, p->bytes);
    return 0;
}

int main(int argc, char **argv) {
    dl_context *cx;
    dl_model *model = NULL;
    dl_options options;
    struct pictures p = {{NULL}, 0, 0};
    const char *prompt = argc > 2 ? argv[2] : "a dog";
    int status = dl_context_new(&cx);
    dl_options_init(&options);
    if (!status)
        status = dl_model_open(cx, argc > 1 ? argv[1] : "emoji-clip", &model);
    if (!status)
        status = dl_lens(cx, model, &options, &prompt, 1, keep, &p);
    if (status)
        fprintf(stderr, "layers: %s\n", dl_message(cx));
    for (int layer = 0; !status && layer <= p.last; layer++) {
        double sum = 0;
        for (size_t i = 0; i < p.bytes; i++)
            sum += pow((double)p.rgb[layer][i] - p.rgb[p.last][i], 2);
        printf("layer %2d  %5.1f\n", layer, sqrt(sum / (double)p.bytes));
    }
    for (int layer = 0; layer < 256; layer++)
        free(p.rgb[layer]);
    dl_model_close(model);
    dl_context_free(cx);
    return status;
}
