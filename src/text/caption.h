/* Prompts as pixel cascades take them: in lower case and stripped, as Python does it. */
#ifndef DLENS_TEXT_CAPTION_H
#define DLENS_TEXT_CAPTION_H

#include "out/buffer.h"

/* Appends text.lower().strip() of Python 3 to out. The text is valid UTF-8 without NUL
 * (utf8_check). Here, other than in the tokenizers, a Σ that ends a word becomes ς. */
void caption_lower_strip(struct buffer *out, const char *text, size_t length);

#endif
