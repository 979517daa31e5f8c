/* The time that runs evenly, for measuring: seconds since some moment of the past. */
#ifndef DLENS_BASE_CLOCK_H
#define DLENS_BASE_CLOCK_H

double clock_seconds(void);

#endif
