/* One safetensors file, mapped. Layout (huggingface.co/docs/safetensors):
 *
 *     u64 little endian N | N bytes of JSON | data
 *     {"NAME": {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]}, ...,
 *      "__metadata__": {"KEY": "VALUE", ...}}
 *
 * Offsets count from the start of the data; tensors lie in it without gaps or overlaps. */
#ifndef DLENS_STORE_SAFETENSORS_H
#define DLENS_STORE_SAFETENSORS_H

#include "base/file.h"
#include "base/tensor.h"

struct cJSON;

struct safetensors {
    struct mapping map;
    struct tensor *tensors; /* (count) in the header's order */
    size_t count;
    struct cJSON *metadata; /* the header's __metadata__, NULL where it has none */
    char *names;            /* memory of the tensors' names */
};

/* Maps a file and checks its header. DL_MODEL if it is not a whole, valid safetensors file. On
 * failure nothing needs to be closed. */
int safetensors_open(dl_context *cx, const char *path, struct safetensors *out);

void safetensors_close(struct safetensors *file);

#endif
