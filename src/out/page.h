/* The fixed parts of the report page; lines, ended by NULL. */
#ifndef DLENS_OUT_PAGE_H
#define DLENS_OUT_PAGE_H

extern const char *const page_style[];  /* CSS */
extern const char *const page_script[]; /* JavaScript */

#endif
