/* Published lists of timesteps for pixel cascades: more steps where they matter. */
#ifndef DLENS_DIFFUSION_TIMESTEP_LISTS_H
#define DLENS_DIFFUSION_TIMESTEP_LISTS_H

#include <stddef.h>

/* The list of this name ("fast27"), falling, of *count timesteps; NULL if there is none. For
 * sampling_begin_at. */
const int *timestep_list(const char *name, size_t *count);

/* All names, NULL-terminated. */
const char *const *timestep_list_names(void);

#endif
