/* Reading protocol buffers. A message is a row of fields, each a tag (number * 8 + wire type) and a
 * value: a varint (7 bits a byte, least first), 4 or 8 bytes, or a length and that many bytes. */
#include "text/protobuf.h"

#include <string.h>

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static bool read_varint(struct message *m, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        unsigned char byte = *m->at++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* Little-endian, `bytes` of 4 or 8. */
static bool read_fixed(struct message *m, size_t bytes, uint64_t *out) {
    *out = 0;
    if ((size_t)(m->end - m->at) < bytes)
        return false;
    for (size_t i = 0; i < bytes; i++)
        *out |= (uint64_t)*m->at++ << (8 * i);
    return true;
}

static bool read_bytes(struct message *m, struct message *out) {
    uint64_t length;
    if (!read_varint(m, &length) || length > (uint64_t)(m->end - m->at))
        return false;
    *out = (struct message){m->at, m->at + length, false};
    m->at += length;
    return true;
}

bool next_field(struct message *m, struct field *field) {
    uint64_t tag;
    bool good = false;
    if (m->broken || m->at == m->end)
        return false;
    memset(field, 0, sizeof *field);
    if (read_varint(m, &tag) && tag >> 3 > 0 && tag >> 3 <= 0x1fffffff) {
        unsigned wire = tag & 7;
        field->number = (uint32_t)(tag >> 3);
        field->kind = wire == WIRE_BYTES ? FIELD_BYTES : FIELD_NUMBER;
        good = wire == WIRE_VARINT    ? read_varint(m, &field->value)
               : wire == WIRE_FIXED64 ? read_fixed(m, 8, &field->value)
               : wire == WIRE_FIXED32 ? read_fixed(m, 4, &field->value)
               : wire == WIRE_BYTES   ? read_bytes(m, &field->content)
                                      : false;
    }
    m->broken = !good;
    return good;
}

float field_float(const struct field *field) {
    uint32_t bits = (uint32_t)field->value;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
