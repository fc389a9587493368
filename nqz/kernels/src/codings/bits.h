// Bit streams, lowest bit first.
#pragma once

#include "../base.h"

namespace nqz::NQZ_ISA {
namespace {

// Adds up to 56 bits at a position of a zeroed buffer that has 8 bytes to spare.
NQZ_INLINE void put_bits(uint8_t* buffer, int64_t position, uint64_t value) {
    uint64_t window;
    memcpy(&window, buffer + position / 8, 8);
    window |= value << (position & 7);
    memcpy(buffer + position / 8, &window, 8);
}

// At least 57 bits from a position on; zeros beyond the end.
NQZ_INLINE uint64_t get_bits(const uint8_t* buffer, int64_t bytes, int64_t position) {
    int64_t first = position / 8;
    uint64_t window = 0;
    if (first + 8 <= bytes)
        memcpy(&window, buffer + first, 8);
    else
        for (int64_t i = first; i < bytes; i++) window |= (uint64_t)buffer[i] << 8 * (i - first);
    return window >> (position & 7);
}

// Whether a stream of `bits` bits fills `bytes` bytes, zeros after the last bit.
NQZ_INLINE const char* check_bits(const uint8_t* buffer, int64_t bytes, int64_t bits, const char* length,
                                  const char* padding) {
    if (bytes != (bits + 7) / 8) return length;
    if ((bits & 7) && buffer[bytes - 1] >> (bits & 7)) return padding;
    return nullptr;
}

}  // namespace
}  // namespace nqz::NQZ_ISA
