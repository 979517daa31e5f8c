/* Byte pair encoding.
 *
 *     while some pair of neighbours has a merge:
 *         replace the pair whose merge has the smallest rank (the leftmost of equals)
 *
 * The pairs wait in a heap ordered by rank and place. A replaced symbol makes pairs in the heap
 * stale; they are recognized when they come up, as they no longer give the result noted. */
#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

/* ---- the list of merges -------------------------------------------------------------------- */

static int32_t find_joined(dl_context *cx, const struct vocabulary *v, const char *left,
                           size_t left_length, const char *right, size_t right_length,
                           int *status) {
    void *joined;
    *status = allocate(cx, "merge", left_length + right_length, 1, &joined);
    if (*status != DL_OK)
        return -1;
    memcpy(joined, left, left_length);
    memcpy((char *)joined + left_length, right, right_length);
    int32_t id = vocabulary_find(v, joined, left_length + right_length);
    free(joined);
    return id;
}

int bpe_add(dl_context *cx, struct bpe *bpe, const struct vocabulary *v, const char *path,
            size_t line, const char *left, size_t left_length, const char *right,
            size_t right_length) {
    int status;
    struct merge merge = {
        vocabulary_find(v, left, left_length), vocabulary_find(v, right, right_length),
        find_joined(cx, v, left, left_length, right, right_length, &status), (int32_t)bpe->count};
    DL_TRY(status);
    if (merge.left < 0 || merge.right < 0 || merge.result < 0)
        return fail(cx, DL_MODEL,
                    "%s: merge %zu (\"%.*s\" and \"%.*s\"): a piece or their union is not in the "
                    "vocabulary; is the file cut short, or does it belong to another model?",
                    path, line, left_length > 60 ? 60 : (int)left_length, left,
                    right_length > 60 ? 60 : (int)right_length, right);
    if (bpe->count == VOCABULARY_MAX)
        return fail(cx, DL_MODEL, "%s: more than %d merges", path, VOCABULARY_MAX);
    if (bpe->count == bpe->capacity) {
        size_t capacity = bpe->capacity ? 2 * bpe->capacity : 1024;
        struct merge *merges = realloc(bpe->merges, capacity * sizeof *merges);
        if (!merges)
            return fail_memory(cx, "merges", capacity * sizeof *merges);
        bpe->merges = merges;
        bpe->capacity = capacity;
    }
    bpe->merges[bpe->count++] = merge;
    return DL_OK;
}

static int compare_pairs(const struct merge *a, const struct merge *b) {
    if (a->left != b->left)
        return a->left < b->left ? -1 : 1;
    return (a->right > b->right) - (a->right < b->right);
}

/* By pair, the last of equals first. */
static int compare_merges(const void *a, const void *b) {
    const struct merge *p = a, *q = b;
    int order = compare_pairs(p, q);
    return order ? order : (p->rank < q->rank) - (p->rank > q->rank);
}

void bpe_sort(struct bpe *bpe) {
    size_t kept = 0;
    if (bpe->count > 1)
        qsort(bpe->merges, bpe->count, sizeof *bpe->merges, compare_merges);
    for (size_t i = 0; i < bpe->count; i++) {
        if (kept == 0 || compare_pairs(&bpe->merges[kept - 1], &bpe->merges[i]) != 0)
            bpe->merges[kept++] = bpe->merges[i];
    }
    bpe->count = kept;
}

static const struct merge *find_merge(const struct bpe *bpe, int32_t left, int32_t right) {
    const struct merge key = {left, right, 0, 0};
    size_t begin = 0, end = bpe->count;
    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        int order = compare_pairs(&key, &bpe->merges[middle]);
        if (order == 0)
            return &bpe->merges[middle];
        if (order < 0)
            end = middle;
        else
            begin = middle + 1;
    }
    return NULL;
}

void bpe_free(struct bpe *bpe) {
    free(bpe->merges);
    *bpe = (struct bpe){0};
}

/* ---- merging ------------------------------------------------------------------------------- */

/* The symbols of a word as a doubly linked list. */
struct symbol {
    int32_t id; /* -1 once merged into its left neighbour */
    size_t previous, next;
};

static const size_t NONE = (size_t)-1;

/* A pair that may be merged: the symbol at `place` and the one after it. */
struct candidate {
    int32_t rank, result;
    size_t place;
};

struct word {
    const struct bpe *bpe;
    struct symbol *symbols;
    struct candidate *heap; /* (heap_count), heap[0] goes first */
    size_t heap_count;
};

static bool goes_before(const struct candidate *a, const struct candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void heap_push(struct word *word, struct candidate c) {
    size_t i = word->heap_count++;
    for (; i > 0 && goes_before(&c, &word->heap[(i - 1) / 2]); i = (i - 1) / 2)
        word->heap[i] = word->heap[(i - 1) / 2];
    word->heap[i] = c;
}

static struct candidate heap_pop(struct word *word) {
    struct candidate top = word->heap[0], last = word->heap[--word->heap_count];
    size_t i = 0;
    for (size_t child = 1; child < word->heap_count; child = 2 * i + 1) {
        if (child + 1 < word->heap_count && goes_before(&word->heap[child + 1], &word->heap[child]))
            child++;
        if (!goes_before(&word->heap[child], &last))
            break;
        word->heap[i] = word->heap[child];
        i = child;
    }
    word->heap[i] = last;
    return top;
}

/* Puts the pair that begins at `place` on the heap if there is a merge for it. */
static void consider(struct word *word, size_t place) {
    const struct symbol *left = place == NONE ? NULL : &word->symbols[place];
    if (!left || left->next == NONE)
        return;
    const struct merge *m = find_merge(word->bpe, left->id, word->symbols[left->next].id);
    if (m)
        heap_push(word, (struct candidate){m->rank, m->result, place});
}

/* Merges the candidate's pair, unless one of the two has changed meanwhile. */
static void merge_pair(struct word *word, struct candidate c) {
    struct symbol *left = &word->symbols[c.place];
    if (left->id < 0 || left->next == NONE)
        return;
    struct symbol *right = &word->symbols[left->next];
    const struct merge *m = find_merge(word->bpe, left->id, right->id);
    if (!m || m->result != c.result)
        return;
    left->id = c.result;
    left->next = right->next;
    right->id = -1;
    if (left->next != NONE)
        word->symbols[left->next].previous = c.place;
    consider(word, left->previous);
    consider(word, c.place);
}

int bpe_apply(dl_context *cx, const struct bpe *bpe, int32_t *ids, size_t *count) {
    /* The heap begins with n - 1 pairs at most; each of at most n - 1 merges takes one and puts
     * two. */
    size_t n = *count, left = 0;
    void *symbols, *heap;
    if (n < 2)
        return DL_OK;
    DL_TRY(allocate(cx, "merging a word", n, sizeof(struct symbol), &symbols));
    int status = allocate(cx, "merging a word", 2 * n, sizeof(struct candidate), &heap);
    if (status != DL_OK) {
        free(symbols);
        return status;
    }
    struct word word = {bpe, symbols, heap, 0};
    for (size_t i = 0; i < n; i++)
        word.symbols[i] = (struct symbol){ids[i], i ? i - 1 : NONE, i + 1 < n ? i + 1 : NONE};
    for (size_t i = 0; i + 1 < n; i++)
        consider(&word, i);
    while (word.heap_count > 0)
        merge_pair(&word, heap_pop(&word));
    for (size_t i = 0; i < n; i++) {
        if (word.symbols[i].id >= 0)
            ids[left++] = word.symbols[i].id;
    }
    *count = left;
    free(symbols);
    free(heap);
    return DL_OK;
}
