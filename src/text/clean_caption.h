/* DeepFloyd's caption cleaning: what its training texts went through, and with --clean-caption the
 * prompts do, too. */
#ifndef DLENS_TEXT_CLEAN_CAPTION_H
#define DLENS_TEXT_CLEAN_CAPTION_H

#include "out/buffer.h"

/* Appends the cleaned text, in lower case and stripped, to out. The text is valid UTF-8 without NUL
 * (utf8_check). DL_USAGE for one of more than 10,000 characters; DL_FAILED without memory. */
int clean_caption(dl_context *cx, struct buffer *out, const char *text, size_t length);

#endif
