/* Reading scheduler_config.json. */
#ifndef DLENS_DIFFUSION_SCHEDULE_CONFIG_H
#define DLENS_DIFFUSION_SCHEDULE_CONFIG_H

#include "diffusion/schedule.h"

/* Fills in a zeroed schedule but for alphas_cumprod. DL_MODEL naming file and key; what was
 * allocated by then is the schedule's (schedule_close). */
int schedule_read(dl_context *cx, const char *dir, struct schedule *s);

/* *out: a copy, freed with free(). */
int copy_text(dl_context *cx, const char *text, char **out);

#endif
