/* The store: named tensors mapped from safetensors files, never copied.
 *
 * One file, or shards listed by *.index.json. Every header is checked before use: its length, the
 * JSON, names, dtypes, products of shapes, offsets inside the file, overlaps. Every tensor points
 * into the mapping, aligned or not. */
#ifndef DLENS_STORE_STORE_H
#define DLENS_STORE_STORE_H

#include "base/context.h"
#include "base/tensor.h"

struct store;

#define STORE_SCALES "_scale"

/* Opens the weights of one component folder. `stem` is the usual name without ending
 * ("model", "diffusion_pytorch_model"). Tried in order: STEM.safetensors,
 * STEM.safetensors.index.json, STEM.fp16.safetensors, STEM.safetensors.index.fp16.json (also
 * STEM.fp16.safetensors.index.json), the same with bf16. If only .bin/.ckpt/.pt/.msgpack weights
 * are there, the message tells how to convert. DL_MODEL on failure. */
int store_open(dl_context *cx, const char *dir, const char *stem, struct store **out);

/* Whether the folder holds weights that store_open would open. */
int store_find_weights(dl_context *cx, const char *dir, const char *stem, bool *there);

/* Whether the folder holds weights in a format that is not read. */
bool store_foreign(const char *dir);

/* Opens one safetensors file by its path. */
int store_open_file(dl_context *cx, const char *path, struct store **out);

void store_close(struct store *store); /* NULL is allowed */

/* By name; NULL if absent. */
const struct tensor *store_find(const struct store *store, const char *name);

size_t store_count(const struct store *store);
const struct tensor *store_at(const struct store *store, size_t index); /* sorted by name */

/* The scales of an I8 tensor NAME: the tensor NAME_scale (STORE_SCALES), F32 of shape (rows), finite and not
 * negative, which store_open has checked and put into the tensor. NULL where there is none. */
const struct tensor *store_scales(const struct store *store, const struct tensor *t);

/* Whether a tensor is the scales of another. */
bool store_is_scales(const struct store *store, const struct tensor *t);

/* Metadata entry of the (first) file's header, NULL if absent. */
const char *store_metadata(const struct store *store, const char *key);

/* The path that was opened (file or index), for messages. */
const char *store_path(const struct store *store);

/* Sum of the files' sizes in bytes. */
size_t store_bytes(const struct store *store);

/* Tells the system that the mapped pages will not be needed soon (madvise DONTNEED). */
void store_drop_pages(const struct store *store);

/* The same for the pages of one tensor, and its opposite: they will be needed in a moment, so that
 * the system may read them meanwhile. Both only advise; neither changes what is read. */
void store_drop_tensor(const struct store *store, const struct tensor *t);
void store_fetch_tensor(const struct store *store, const struct tensor *t);

/* How the weights will be read: single vectors and samples, nothing of what lies beside them (with
 * the usual reading ahead a disk reads most of a model for its vectors), or whole tensors, as a
 * store is opened. */
void store_read_scattered(const struct store *store);
void store_read_whole(const struct store *store);

/* Names the store's files to the context as such whose weights may be given back after each use
 * (base/pages.h). */
int store_allow_giving_back(dl_context *cx, const struct store *store);

/* Memory that lives as long as the store (for vectors widened to f32); NULL when short. */
void *store_allocate(struct store *store, size_t bytes);

/* Writing: a safetensors file with these tensors (data in native order; the scales of I8 are
 * tensors of their own) and metadata pairs (key, value, key, value, ..., NULL; may be NULL).
 * Complete or absent. */
int store_write(dl_context *cx, const char *path, const struct tensor *tensors, size_t count,
                const char *const *metadata);

/* The same with data that need not be in memory: `writer` writes that of one tensor (an element of
 * `tensors`, whose data is not looked at) to a stdio stream; called once for each, in the file's
 * order, where the widest elements come first. Not DL_OK: the file is not made. */
typedef int (*tensor_writer)(dl_context *cx, void *stream_FILE, const struct tensor *t, void *user);
int store_write_with(dl_context *cx, const char *path, const struct tensor *tensors, size_t count,
                     const char *const *metadata, tensor_writer writer, void *user);

#endif
