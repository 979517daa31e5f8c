/* Small changes to English captions: articles, words exchanged. */
#ifndef DLENS_STUDY_CAPTION_H
#define DLENS_STUDY_CAPTION_H

#include "out/buffer.h"

/* "a" or "an", by the letter that follows: an apple, an umbrella, a unicorn. */
const char *article(const char *word);

/* Appends "a dog", "an owl"; a plural ("flowers") stays bare. */
void put_noun(struct buffer *out, const char *noun);

/* Appends `text` with words in other words' places: where `from` stands as a whole word (ASCII case
 * ignored) comes `to`, and, with `back`, where `to` stands comes `from`. A capital at the text's
 * start and the articles "a" and "an" in front are put right. False, with nothing appended, where
 * `from` (or with `back` either of them) is not found, or where they overlap. */
bool put_exchanged(struct buffer *out, const char *text, const char *from, const char *to,
                   bool back);

#endif
