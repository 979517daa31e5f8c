/* CLIP's tokenizer: byte-level byte pair encoding of lower-cased words.
 *
 *   1. Normal form C, runs of whitespace to one space, lower case.
 *   2. Words: letters together, digits singly, anything else together; 's 't 're 've 'm 'll 'd.
 *   3. A word's UTF-8 bytes, each written as one letter of an alphabet of 256 visible characters;
 *      the last letter is marked with </w>.
 *   4. Byte pair encoding.
 *
 * Source: Radford et al. 2021 (arXiv 2103.00020), simple_tokenizer.py; here as transformers 5 does
 * it (models/clip/tokenization_clip.py), which normalizes without unescaping HTML. The files are
 * tokenizer.json, or else vocab.json and merges.txt; of tokenizer.json only vocabulary, merges and
 * added tokens count, as the class builds the rest itself.
 *
 * Ids equal the reference's but for characters that are newer than utf8proc's tables (Unicode 15 in
 * version 2.8), which count as unassigned here, and for the pair U+11935 U+11930, which the
 * reference's older tables do not compose. */
#include "base/file.h"
#include "base/json.h"
#include "text/bpe.h"
#include "text/tokenizer_class.h"
#include "text/unicode.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const char START[] = "<|startoftext|>", END[] = "<|endoftext|>", WORD_END[] = "</w>";

enum { FILE_MAX_BYTES = 1 << 26, LETTERS_END = 0x144 /* one more than the last letter */ };

struct clip {
    struct bpe bpe;
    int32_t letter_of[256];              /* code point of a byte's letter */
    int16_t byte_of[LETTERS_END];        /* and back; -1: no letter */
    int32_t first_id[256], last_id[256]; /* piece of a byte; of a byte that ends a word */
};

/* ---- the alphabet -------------------------------------------------------------------------- */

/* The letter that stands for a byte (GPT-2's bytes_to_unicode): visible characters of Latin-1
 * stand for themselves, the others follow from U+0100 on, in order. */
static void make_alphabet(struct clip *clip) {
    int32_t shifted = 0x100;
    for (size_t i = 0; i < LETTERS_END; i++)
        clip->byte_of[i] = -1;
    for (int32_t b = 0; b < 256; b++) {
        bool visible = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        clip->letter_of[b] = visible ? b : shifted++;
        clip->byte_of[clip->letter_of[b]] = (int16_t)b;
    }
}

/* The id of a byte's letter with `suffix`; the unknown token's where the vocabulary lacks it. */
static int find_letter(dl_context *cx, const char *dir, const struct tokenizer *t, size_t byte,
                       const char *suffix, int32_t *id) {
    const struct clip *clip = t->own;
    const char *unknown = t->special.named[TOKEN_UNK];
    struct buffer piece = {0};
    utf8_put(&piece, clip->letter_of[byte]);
    buffer_text(&piece, suffix);
    int status = buffer_check(cx, &piece, "vocabulary");
    if (status == DL_OK) {
        *id = vocabulary_find(&t->vocabulary, piece.data, piece.length);
        if (*id < 0 && unknown)
            *id = vocabulary_find(&t->vocabulary, unknown, strlen(unknown));
        if (*id < 0)
            status = fail(cx, DL_MODEL,
                          "%s: the vocabulary has neither the piece \"%s\" (byte 0x%02zx) nor an "
                          "unknown token",
                          dir, piece.data, byte);
    }
    buffer_free(&piece);
    return status;
}

static int find_letters(dl_context *cx, const char *dir, struct tokenizer *t) {
    struct clip *clip = t->own;
    make_alphabet(clip);
    for (size_t b = 0; b < 256; b++) {
        DL_TRY(find_letter(cx, dir, t, b, "", &clip->first_id[b]));
        DL_TRY(find_letter(cx, dir, t, b, WORD_END, &clip->last_id[b]));
    }
    return DL_OK;
}

/* ---- merges -------------------------------------------------------------------------------- */

/* One merge, its two pieces separated by a space. */
static int add_line(dl_context *cx, struct tokenizer *t, const char *path, size_t number,
                    const char *line, size_t length) {
    struct clip *clip = t->own;
    const char *space = memchr(line, ' ', length);
    size_t left = space ? (size_t)(space - line) : 0;
    if (!space || memchr(space + 1, ' ', length - left - 1))
        return fail(cx, DL_MODEL, "%s: merge %zu: must be two pieces separated by one space", path,
                    number);
    return bpe_add(cx, &clip->bpe, &t->vocabulary, path, number, line, left, space + 1,
                   length - left - 1);
}

/* merges.txt: a version line, then one merge a line. */
static int parse_merges(dl_context *cx, struct tokenizer *t, const char *path, const char *text,
                        size_t size) {
    const char *end = text + size;
    for (size_t number = 1; text < end; number++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        size_t length = (size_t)(stop - text);
        if (length > 0 && text[length - 1] == '\r')
            length--;
        if (length > 0 && !(length >= 8 && memcmp(text, "#version", 8) == 0))
            DL_TRY(add_line(cx, t, path, number, text, length));
        text = newline ? newline + 1 : end;
    }
    return DL_OK;
}

/* merges of tokenizer.json: ["a b", ...] or, newer, [["a", "b"], ...]. */
static int add_json_merges(dl_context *cx, struct tokenizer *t, const char *path,
                           const cJSON *array) {
    struct clip *clip = t->own;
    const cJSON *item;
    size_t number = 1;
    if (!cJSON_IsArray(array))
        return fail(cx, DL_MODEL, "%s: model.merges: must be a list", path);
    cJSON_ArrayForEach(item, array) {
        const cJSON *left = cJSON_IsArray(item) ? item->child : NULL;
        const cJSON *right = left ? left->next : NULL;
        if (cJSON_IsString(item)) {
            const char *line = item->valuestring;
            DL_TRY(add_line(cx, t, path, number, line, strlen(line)));
        } else if (cJSON_IsString(left) && cJSON_IsString(right) && !right->next) {
            DL_TRY(bpe_add(cx, &clip->bpe, &t->vocabulary, path, number, left->valuestring,
                           strlen(left->valuestring), right->valuestring,
                           strlen(right->valuestring)));
        } else {
            return fail(cx, DL_MODEL, "%s: merge %zu: must be \"a b\" or [\"a\", \"b\"]", path,
                        number);
        }
        number++;
    }
    return DL_OK;
}

/* Bytes of a piece without </w>. */
static size_t stem_length(const char *piece, size_t length) {
    const size_t mark = sizeof WORD_END - 1;
    return length >= mark && memcmp(piece + length - mark, WORD_END, mark) == 0 ? length - mark
                                                                                : length;
}

/* True for a piece that no merge needs to make: a token of its own, such as <|endoftext|>, or one
 * letter, with or without </w>. */
static bool is_elementary(const struct tokenizer *t, const struct piece *piece) {
    size_t size, length = stem_length(piece->text, piece->length);
    bool bracketed = length == piece->length && length > 2 && piece->text[0] == '<' &&
                     piece->text[length - 1] == '>';
    return length == 0 || bracketed || added_find(&t->special.added, piece->text) ||
           (utf8_at(piece->text, length, &size) >= 0 && size == length);
}

/* Refuses merges that do not make the whole vocabulary: a file cut at the end of a line would
 * otherwise go unnoticed. */
static int check_complete(dl_context *cx, const char *path, const struct tokenizer *t) {
    const struct clip *clip = t->own;
    const struct piece *missing = NULL;
    void *memory;
    DL_TRY(allocate(cx, "merges", t->vocabulary.size, 1, &memory));
    unsigned char *made = memory;
    for (size_t i = 0; i < clip->bpe.count; i++)
        made[clip->bpe.merges[i].result] = 1;
    for (size_t i = 0; i < t->vocabulary.count && !missing; i++) {
        const struct piece *piece = &t->vocabulary.pieces[i];
        if (!made[piece->id] && !is_elementary(t, piece))
            missing = piece;
    }
    free(made);
    if (missing)
        return fail(cx, DL_MODEL,
                    "%s: no merge makes the piece \"%.100s\" of the vocabulary; is the file cut "
                    "short, or does it belong to another model?",
                    path, missing->text);
    return DL_OK;
}

/* ---- opening ------------------------------------------------------------------------------- */

static int read_tokenizer_json(dl_context *cx, struct tokenizer *t, const char *path,
                               const cJSON *root) {
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(model, "type");
    if (!cJSON_IsObject(model) || (cJSON_IsString(type) && strcmp(type->valuestring, "BPE") != 0))
        return fail(cx, DL_MODEL, "%s: model: must be an object of type \"BPE\"", path);
    DL_TRY(vocabulary_add_json(cx, &t->vocabulary, path,
                               cJSON_GetObjectItemCaseSensitive(model, "vocab")));
    DL_TRY(vocabulary_sort(cx, &t->vocabulary, path));
    return add_json_merges(cx, t, path, cJSON_GetObjectItemCaseSensitive(model, "merges"));
}

static int read_vocabulary(dl_context *cx, struct tokenizer *t, const char *path) {
    cJSON *root;
    DL_TRY(json_read(cx, path, FILE_MAX_BYTES, &root));
    int status = vocabulary_add_json(cx, &t->vocabulary, path, root);
    cJSON_Delete(root);
    DL_TRY(status);
    return vocabulary_sort(cx, &t->vocabulary, path);
}

static int read_merges(dl_context *cx, struct tokenizer *t, const char *path) {
    char *text;
    size_t size;
    DL_TRY(file_read(cx, DL_MODEL, path, FILE_MAX_BYTES, &text, &size));
    int status = parse_merges(cx, t, path, text, size);
    free(text);
    return status;
}

static const char *const defaults[NAMED_TOKENS] = {
    [TOKEN_BOS] = START, [TOKEN_EOS] = END, [TOKEN_UNK] = END, [TOKEN_PAD] = END};

/* From tokenizer.json, which wins if it is there. */
static int open_single(dl_context *cx, const char *dir, struct tokenizer *t, const char *path) {
    cJSON *root;
    DL_TRY(json_read(cx, path, FILE_MAX_BYTES, &root));
    int status = special_tokens_read(cx, dir, root, defaults, &t->special);
    if (status == DL_OK)
        status = read_tokenizer_json(cx, t, path, root);
    cJSON_Delete(root);
    DL_TRY(status);
    return check_complete(cx, path, t);
}

/* From vocab.json and merges.txt. */
static int open_pair(dl_context *cx, const char *dir, struct tokenizer *t, const char *vocabulary,
                     const char *merges) {
    if (!file_exists(vocabulary))
        return fail(cx, DL_MODEL, "%s: holds neither tokenizer.json nor vocab.json and merges.txt",
                    dir);
    DL_TRY(special_tokens_read(cx, dir, NULL, defaults, &t->special));
    DL_TRY(read_vocabulary(cx, t, vocabulary));
    DL_TRY(read_merges(cx, t, merges));
    return check_complete(cx, merges, t);
}

static int clip_open(dl_context *cx, const char *dir, struct tokenizer *t) {
    DL_TRY(allocate(cx, "tokenizer", 1, sizeof(struct clip), &t->own));
    char *single = path_join(dir, "tokenizer.json"), *vocabulary = path_join(dir, "vocab.json");
    char *merges = path_join(dir, "merges.txt");
    int status;
    if (!single || !vocabulary || !merges)
        status = fail_memory(cx, "tokenizer", 3 * strlen(dir));
    else if (file_exists(single))
        status = open_single(cx, dir, t, single);
    else
        status = open_pair(cx, dir, t, vocabulary, merges);
    free(single);
    free(vocabulary);
    free(merges);
    if (status == DL_OK)
        bpe_sort(&((struct clip *)t->own)->bpe);
    return status == DL_OK ? find_letters(cx, dir, t) : status;
}

static void clip_close(void *own) {
    struct clip *clip = own;
    bpe_free(&clip->bpe);
    free(clip);
}

/* ---- encoding ------------------------------------------------------------------------------ */

static int clip_normalize(dl_context *cx, const struct tokenizer *t, const char *text,
                          size_t length, struct buffer *out) {
    int32_t *points;
    size_t count;
    bool after_space = false;
    (void)t;
    DL_TRY(normalize_nfc(cx, text, length, &points, &count));
    for (size_t i = 0; i < count; i++) {
        bool space = is_space(points[i]);
        if (!space)
            put_lower(out, points[i]);
        else if (!after_space)
            buffer_text(out, " ");
        after_space = space;
    }
    free(points);
    return DL_OK;
}

/* Bytes of one of these strings at the start of text; 0 if none is there. */
static size_t starts_with(const char *const *strings, const char *text, size_t length) {
    for (; *strings; strings++) {
        size_t n = strlen(*strings);
        if (n <= length && memcmp(text, *strings, n) == 0)
            return n;
    }
    return 0;
}

/* Bytes of the word at the start of text, as the regular expression
 *     's|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+
 * matches it; 0 if it starts with whitespace. */
static size_t word_length(const char *text, size_t length) {
    static const char *const contractions[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d", NULL};
    size_t size, n = starts_with(contractions, text, length);
    int32_t c = utf8_at(text, length, &size);
    if (n > 0 || is_space(c))
        return n;
    if (is_number(c))
        return size;
    bool letters = is_letter(c);
    for (n = size; n < length; n += size) {
        c = utf8_at(text + n, length - n, &size);
        if (letters ? !is_letter(c) : is_letter(c) || is_number(c) || is_space(c))
            break;
    }
    return n;
}

static int encode_word(dl_context *cx, const struct tokenizer *t, const char *word, size_t length,
                       struct id_list *ids) {
    const struct clip *clip = t->own;
    size_t first = ids->count, count = length;
    for (size_t i = 0; i < length; i++) {
        size_t byte = (unsigned char)word[i];
        DL_TRY(id_push(cx, ids, i + 1 < length ? clip->first_id[byte] : clip->last_id[byte]));
    }
    DL_TRY(bpe_apply(cx, &clip->bpe, ids->ids + first, &count));
    ids->count = first + count;
    return DL_OK;
}

/* The words of a stretch of text. Where START or END is spelled out without being a token (in
 * capitals, say), the expression takes it as one match, which a second expression, GPT-2's, then
 * takes apart: punctuation behind it is a word of its own. */
static int clip_encode(dl_context *cx, const struct tokenizer *t, const char *text, size_t length,
                       struct id_list *ids) {
    static const char *const marks[] = {START, END, NULL};
    size_t n, stop = 0; /* where a mark ends: no word reaches over it */
    for (size_t i = 0; i < length; i += n ? n : 1) {
        if (i >= stop)
            stop = i + starts_with(marks, text + i, length - i);
        n = word_length(text + i, (stop > i ? stop : length) - i);
        if (n > 0)
            DL_TRY(encode_word(cx, t, text + i, n, ids));
    }
    return DL_OK;
}

static void clip_decode(const struct tokenizer *t, const char *piece, struct buffer *out) {
    const struct clip *clip = t->own;
    size_t size, whole = strlen(piece), length = stem_length(piece, whole);
    for (size_t i = 0; i < length; i += size) {
        int32_t letter = utf8_at(piece + i, length - i, &size);
        if (letter >= 0 && letter < LETTERS_END && clip->byte_of[letter] >= 0) {
            unsigned char byte = (unsigned char)clip->byte_of[letter];
            buffer_bytes(out, &byte, 1);
        }
    }
    if (length < whole)
        buffer_text(out, " ");
}

static const char *const class_names[] = {"CLIPTokenizer", "CLIPTokenizerFast", NULL};

const struct tokenizer_class clip_tokenizer_class = {
    .names = class_names,
    .open = clip_open,
    .normalize = clip_normalize,
    .encode = clip_encode,
    .decode = clip_decode,
    .close = clip_close,
    .begins = true,
};
