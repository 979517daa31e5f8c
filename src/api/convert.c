/* Public functions about converting models. */
#include "convert/convert.h"

#include <stdlib.h>
#include <string.h>

int dl_convert(dl_context *cx, const char *model, const dl_convert_options *options,
               dl_converted *result) {
    return convert_model(cx, model, options, result);
}

void dl_converted_free(dl_converted *result) {
    free(result->parts);
    memset(result, 0, sizeof *result);
}
