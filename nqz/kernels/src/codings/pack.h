// Pack: runs of digits to base q as numbers of a fixed number of bits.
#pragma once

#include "../base.h"
#include "bits.h"

namespace nqz::NQZ_ISA {
namespace {

// `out` is zeroed, with 16 bytes to spare. Returns false if a digit is not below q.
bool pack_digits(const uint16_t* digits, int64_t count, const Packing& packing, uint8_t* out) {
    int64_t position = 0;
    uint16_t largest = 0;
    for (int64_t i = 0; i < count; i++) largest = digits[i] > largest ? digits[i] : largest;
    if (largest >= packing.q) return false;
    for (int64_t first = 0; first < count; first += packing.per_word) {
        uint64_t value = 0;
        for (int64_t i = least(packing.per_word, count - first) - 1; i >= 0; i--)
            value = value * packing.q + digits[first + i];
        put_bits(out, position, value & 0xFFFFFFFFu);
        put_bits(out, position + 32, value >> 32);
        position += packing.bits;
    }
    return true;
}

const char* unpack_digits(const uint8_t* data, int64_t bytes, int64_t count, const Packing& packing, uint16_t* out) {
    int64_t runs = (count + packing.per_word - 1) / packing.per_word;
    if (const char* reason = check_bits(data, bytes, runs * packing.bits, "the digit stream has the wrong length",
                                        "the padding of the digit stream is not zero"))
        return reason;
    const uint64_t mask = ((uint64_t)1 << packing.bits) - 1;
    int64_t position = 0;
    for (int64_t first = 0; first < count; first += packing.per_word) {
        uint64_t value = get_bits(data, bytes, position) & 0xFFFFFFFFu;
        value |= get_bits(data, bytes, position + 32) << 32;
        value &= mask;
        if (value >= packing.limit) return "a word of digits is out of range";
        int64_t n = least(packing.per_word, count - first);
        for (int64_t i = 0; i < n; i++) {
            out[first + i] = (uint16_t)(value % packing.q);
            value /= packing.q;
        }
        if (value) return "the padding of the digit stream is not zero";
        position += packing.bits;
    }
    return nullptr;
}

}  // namespace
}  // namespace nqz::NQZ_ISA
