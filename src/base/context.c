/* Messages of failures, the log, checked sizes and checked allocation.
 *
 * What is quoted in a message (tensor names, values of a config, paths) may come from a hostile
 * file: `print_clean` is the one place that makes every message and log line valid UTF-8 without
 * control characters, so that no file can write escape sequences to a terminal. */
#include "base/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static bool is_control(utf8proc_int32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029;
}

/* vsnprintf into text, where afterwards each control character and each byte that is not UTF-8
 * (also a character cut in two at the end) is a '?'. */
static void print_clean(char *text, size_t size, const char *format, va_list arguments) {
    if (vsnprintf(text, size, format, arguments) < 0)
        text[0] = '\0';
    size_t length = strlen(text);
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + i,
                                              (utf8proc_ssize_t)(length - i), &c);
        size_t bytes = n > 0 ? (size_t)n : 1;
        if (n <= 0 || is_control(c))
            memset(text + i, '?', bytes);
        i += bytes;
    }
}

int fail(dl_context *cx, int status, const char *format, ...) {
    char message[MESSAGE_MAX]; /* apart, as an argument may be cx->message itself */
    va_list arguments;
    va_start(arguments, format);
    print_clean(message, sizeof message, format, arguments);
    va_end(arguments);
    memcpy(cx->message, message, strlen(message) + 1);
    cx->status = status;
    return status;
}

int fail_memory(dl_context *cx, const char *what, size_t bytes) {
    return fail(cx, DL_FAILED, "%s: out of memory (%.1f MB wanted)", what, (double)bytes / 1e6);
}

void tell(dl_context *cx, int level, const char *format, ...) {
    if (!cx->log)
        return;
    char line[MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    print_clean(line, sizeof line, format, arguments);
    va_end(arguments);
    cx->log(cx->log_user, level, line);
}

bool size_mul(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool size_add(size_t a, size_t b, size_t *out) {
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

int allocate(dl_context *cx, const char *what, size_t count, size_t size, void **out) {
    size_t bytes;
    *out = NULL;
    if (!size_mul(count, size, &bytes))
        return fail_memory(cx, what, SIZE_MAX);
    *out = calloc(1, bytes ? bytes : 1);
    return *out ? DL_OK : fail_memory(cx, what, bytes);
}
