/* The frame of every report page. See page.h. */
#include "out/page.h"

enum { TITLE_MAX = 80 };

static const char icon[] =
    "<svg viewBox=\"0 0 32 32\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.4\" "
    "stroke-linecap=\"round\" aria-hidden=\"true\"><circle cx=\"16\" cy=\"16\" r=\"13\"/><path "
    "d=\"M16 3a21 21 0 0 1 0 26a21 21 0 0 1 0-26M3 16h5.500M23.500 16H29\"/></svg>";

void page_lines(struct buffer *b, const char *const *lines) {
    for (; *lines; lines++)
        buffer_text(b, *lines);
}

void page_text(struct buffer *b, const char *before, const char *text, const char *after) {
    buffer_text(b, before);
    buffer_html(b, text);
    buffer_text(b, after);
}

static void put_title(struct buffer *b, const char *text) {
    struct buffer cut = {0};
    const char *end = text;
    for (int i = 0; i < TITLE_MAX && *end; i++)
        utf8_next(&end);
    buffer_bytes(&cut, text, (size_t)(end - text));
    page_text(b, "<title>", cut.data ? cut.data : "", *end ? "\xE2\x80\xA6" : "");
    buffer_text(b, " \xE2\x80\x93 Diffusion Lens</title>\n");
    buffer_free(&cut);
}

void page_begin(struct buffer *b, const char *version, const char *title,
                const char *const *more_style) {
    buffer_text(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                   "img-src data: file: 'self'; style-src 'unsafe-inline'; "
                   "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                   "<meta name=\"color-scheme\" content=\"light dark\">\n");
    page_text(b, "<meta name=\"generator\" content=\"dlens ", version, "\">\n");
    put_title(b, title);
    buffer_text(b, "<style>\n");
    page_lines(b, page_css);
    if (more_style)
        page_lines(b, more_style);
    buffer_text(b, "</style>\n<script>document.documentElement.className = \"js\";</script>\n"
                   "</head>\n<body>\n<header><div class=\"wrap\"><span class=\"mark\">");
    buffer_text(b, icon);
    buffer_text(b, "Diffusion Lens</span><span class=\"grow\"></span>\n");
}

void page_main(struct buffer *b) {
    buffer_text(b, "<button class=\"theme\" aria-label=\"Light or dark\" title=\"Light or dark\">"
                   "<svg viewBox=\"0 0 24 24\" fill=\"currentColor\"><path d=\"M12 2a10 10 0 1 0 0 "
                   "20a10 10 0 0 0 0-20zm0 2v16a8 8 0 0 1 0-16z\"/></svg></button>"
                   "</div></header>\n<main class=\"wrap\">\n");
}

void page_end(struct buffer *b, const char *version, const char *const *script) {
    page_text(b, "<footer>Made with dlens ", version,
              ". This page is complete in itself and connects to nothing.</footer>\n</main>\n");
    for (int i = 0; i < 2; i++) {
        const char *const *lines = i ? frame_js : script;
        if (!lines)
            continue;
        buffer_text(b, "<script>\n");
        page_lines(b, lines);
        buffer_text(b, "</script>\n");
    }
    buffer_text(b, "</body>\n</html>\n");
}
