// Rings, as rows of 32 lanes: the symbols of a unit, and windows of bits. A unit is the least number of steps that fill
// whole rows; two such for 4 bits, so that steps come by fours. See nqz/reference/codings/ring.py.
#pragma once

#include "../base.h"
#include "../simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

enum { MOST_UNIT = 7 * 32, MOST_STEPS = 16 };

NQZ_INLINE int unit_steps(int bits2) { return bits2 & 1 ? 16 : bits2 & 2 ? 8 : 4; }
NQZ_INLINE int unit_bytes(int bits2) { return unit_steps(bits2) * bits2 * 2; }

// The last 16 bits before a step on every lane, the newest the lowest.
struct Windows {
    Lanes low = {}, high = {};

    NQZ_INLINE void push(Lanes symbol, int bits) {
        high = up(high, bits, 256 - (1 << bits)) | down(low, 8 - bits, (1 << bits) - 1);
        low = up(low, bits, 256 - (1 << bits)) | symbol;
    }
    // Four bits from bit `from` on.
    NQZ_INLINE Lanes four(int from) const {
        if (from >= 8) return down(high, from - 8, 15);
        if (from <= 4) return down(low, from, 15);
        return down(low, from, 15 & 255 >> from) | up(high, 8 - from, 15 & 15 << (8 - from));
    }
    NQZ_INLINE Lanes bit(int from) const { return down(from < 8 ? low : high, from & 7, 1); }
    NQZ_INLINE void turn() {
        low = turned(low);
        high = turned(high);
    }
};

// Fields of two bits of four steps, and of one bit of eight.
NQZ_INLINE Lanes pair_of(const uint8_t* rows, int step) {
    return down(load_lanes(rows + step / 4 * 32), 6 - step % 4 * 2, 3);
}
NQZ_INLINE Lanes bit_of(const uint8_t* rows, int step) {
    return down(load_lanes(rows + step / 8 * 32), 7 - step % 8, 1);
}

// The symbols of a step of a unit: the lowest bit or the lowest two, a third, and one more at odd steps of a half.
NQZ_INLINE Lanes symbol_of(const uint8_t* unit, int bits2, int step) {
    if (bits2 == 8) return down(load_lanes(unit + step / 2 * 32), 4 - step % 2 * 4, 15);
    const int low = bits2 < 4 ? 1 : 2, bits = bits2 / 2, steps = unit_steps(bits2);
    const uint8_t* rows = unit + steps * low * 4;
    Lanes symbol = low == 1 ? bit_of(unit, step) : pair_of(unit, step);
    if (bits > low) {
        symbol |= up(bit_of(rows, step), 2, 4);
        rows += steps * 4;
    }
    if (bits2 & step & 1) symbol |= up(bit_of(rows, step / 2), bits, 1 << bits);
    return symbol;
}

}  // namespace
}  // namespace nqz::NQZ_ISA
