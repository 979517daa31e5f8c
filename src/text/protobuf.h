/* Reading protocol buffers (the wire format alone: fields by number), from hostile bytes.
 * Source: protobuf.dev/programming-guides/encoding. */
#ifndef DLENS_TEXT_PROTOBUF_H
#define DLENS_TEXT_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct message {
    const unsigned char *at, *end;
    bool broken; /* a field does not fit, or has an unknown wire type */
};

struct field {
    uint32_t number;
    enum { FIELD_NUMBER, FIELD_BYTES } kind;
    uint64_t value;         /* FIELD_NUMBER: a varint, or the bits of a fixed32 or fixed64 */
    struct message content; /* FIELD_BYTES: a string, or a message within */
};

/* The next field; false at the end or, with message->broken set, where the bytes are malformed. */
bool next_field(struct message *message, struct field *field);

/* The value of a fixed32 field that holds a float. */
float field_float(const struct field *field);

#endif
