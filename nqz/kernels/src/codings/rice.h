// Rice codes of escapes: values outside the symbols -half to half - 1, by their distance from the edge.
#pragma once

#include "../base.h"
#include "bits.h"

namespace nqz::NQZ_ISA {
namespace {

enum { LONGEST_RUN = 20, DISTANCE_BITS = 28 };

// A code in the low bits, its length from bit 56 on. The longest has 1 + LONGEST_RUN + DISTANCE_BITS = 49 bits.
NQZ_INLINE uint64_t rice_code(int32_t k2, int32_t half, int rice) {
    uint32_t x = k2 < 0 ? (uint32_t)(-half - 1 - k2) : (uint32_t)(k2 - half), run = x >> rice;
    uint64_t sign = k2 < 0;
    if (run >= LONGEST_RUN) {
        uint64_t ones = ((uint64_t)1 << LONGEST_RUN) - 1;
        return sign | ones << 1 | (uint64_t)x << (1 + LONGEST_RUN) | (uint64_t)(1 + LONGEST_RUN + DISTANCE_BITS) << 56;
    }
    uint64_t ones = ((uint64_t)1 << run) - 1, rest = x & (((uint32_t)1 << rice) - 1);
    return sign | ones << 1 | rest << (run + 2) | (uint64_t)(run + 2 + (uint32_t)rice) << 56;
}

// Packs codes into a bit stream, which takes their place: it never overtakes them. Returns its bytes.
int64_t pack_codes(uint64_t* codes, int64_t count) {
    uint8_t* to = (uint8_t*)codes;
    uint64_t window = 0;  // bits that do not fill a byte yet
    int held = 0;
    for (int64_t i = 0; i < count; i++) {
        uint64_t code = codes[i];
        window |= (code & (((uint64_t)1 << 56) - 1)) << held;
        held += (int)(code >> 56);
        memcpy(to, &window, 8);
        to += held / 8;
        window >>= held & ~7;
        held &= 7;
    }
    if (held) *to++ = (uint8_t)window;
    return to - (uint8_t*)codes;
}

// Reads the value at `position` of the stream of escapes. Returns why there is none, or null.
NQZ_INLINE const char* read_escape(const Streams& in, int64_t& position, int32_t half, int rice, int64_t& k2) {
    uint64_t window = get_bits(in.escapes, in.escape_bytes, position), rest = window >> 1;
    int run = __builtin_ctzll(~rest);
    int64_t x;
    if (run < LONGEST_RUN) {
        x = (int64_t)run << rice | (int64_t)(rest >> (run + 1) & (((uint64_t)1 << rice) - 1));
        position += run + 2 + rice;
    } else {
        x = (int64_t)(rest >> LONGEST_RUN & (((uint64_t)1 << DISTANCE_BITS) - 1));
        position += 1 + LONGEST_RUN + DISTANCE_BITS;
        if (x >> rice < LONGEST_RUN && position <= 8 * in.escape_bytes) return "an escape is not in its shortest form";
    }
    if (position > 8 * in.escape_bytes) return "the escapes end too early";
    k2 = window & 1 ? -(int64_t)half - 1 - x : half + x;
    return nullptr;
}

}  // namespace
}  // namespace nqz::NQZ_ISA
