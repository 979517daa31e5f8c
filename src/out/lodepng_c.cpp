// lodepng's functions with C names.
//
// Debian and Ubuntu compile liblodepng as C++, so its functions carry mangled names that C cannot
// call. These forwards have the names that lodepng.h declares for C: png.c is the same whether it
// is linked with them or with a lodepng.c compiled as C (make LODEPNG_SRC=...). They stand in a
// namespace because lodepng.h has declared the same names with C++ linkage in the global one.
// Hidden, so that a program that links libdlens and a lodepng of its own keeps its own.
#include <lodepng.h>

#define FORWARD extern "C" __attribute__((visibility("hidden")))

namespace with_c_names {

FORWARD void lodepng_state_init(LodePNGState *state)
{
    ::lodepng_state_init(state);
}

FORWARD void lodepng_state_cleanup(LodePNGState *state)
{
    ::lodepng_state_cleanup(state);
}

FORWARD const char *lodepng_error_text(unsigned code)
{
    return ::lodepng_error_text(code);
}

FORWARD unsigned lodepng_encode(unsigned char **out, size_t *size, const unsigned char *image,
                                unsigned width, unsigned height, LodePNGState *state)
{
    return ::lodepng_encode(out, size, image, width, height, state);
}

FORWARD unsigned lodepng_inspect(unsigned *width, unsigned *height, LodePNGState *state,
                                 const unsigned char *in, size_t size)
{
    return ::lodepng_inspect(width, height, state, in, size);
}

FORWARD unsigned lodepng_decode(unsigned char **out, unsigned *width, unsigned *height,
                                LodePNGState *state, const unsigned char *in, size_t size)
{
    return ::lodepng_decode(out, width, height, state, in, size);
}

} // namespace with_c_names
