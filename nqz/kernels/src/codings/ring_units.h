// Labels of rings, unit by unit. A label is linear in the last bits of its ring, the window: it is the exclusive or of
// what four of these at a time add, look-ups in tables of 16 bytes.
#pragma once

#include "ring_rows.h"

#if NQZ_SHUFFLES

namespace nqz::NQZ_ISA {
namespace {

enum { MOST_PARTS = 8 };

// The four bits that end at step i: of a row of pairs, w, after the row v; and of a row of single bits.
NQZ_INLINE Lanes two_pairs(Lanes w, Lanes v, int i) {
    return i == 0 ? down(w, 6, 3) | up(v, 2, 12) : down(w, 6 - 2 * i, 15);
}
NQZ_INLINE Lanes four_bits(Lanes w, Lanes v, int i) {
    return i < 3 ? down(w, 7 - i, (2 << i) - 1) | up(v, i + 1, 15 & (14 << i)) : down(w, 7 - i, 15);
}

// Which bit of the window, the newest first, is bit b of the index of part i.
NQZ_INLINE int seen(int bits2, int i, int b) {
    if (bits2 != 6) return 4 * (i & 3) + b;
    // parts 1 and 4 are of third bits, of four symbols; the others of two symbols
    return i == 1 || i == 4 ? (i == 4) * 12 + 3 * b + 2 : (i == 0 ? 0 : 6 * i - 6) + b + b / 2;
}

// Units of K bits a step, twice K being BITS2: labels of one after the other, from LOOKS parts. put(i, label) takes
// each as soon as it is known: there are few registers.
template <int BITS2, int LOOKS>
struct RingUnits;

template <>
struct RingUnits<2, 4> {
    enum { STEPS = 8, BYTES = 32, PARTS = 4 };
    Lanes byte, near[8], far[8];  // the fours that end at the steps before, and before those

    NQZ_INLINE explicit RingUnits(const Windows& before) : byte(before.low) {
        for (int i = 0; i < 8; i++) near[i] = before.four(7 - i);
        for (int i = 4; i < 8; i++) far[i] = i == 4 ? before.four(11) : before.four(15 - i);
        for (int i = 0; i < 4; i++) far[i] = Lanes{};
    }
    template <class Put>
    NQZ_INLINE void labels(const uint8_t* unit, const Simd::Nibbles* part, Put put) {
        Lanes now[8], w = load_lanes(unit);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            now[i] = four_bits(w, byte, i);
            const Lanes label = part[0][now[i]] ^ part[1][i < 4 ? near[i + 4] : now[i - 4]] ^ part[2][near[i]];
            put(i, label ^ part[3][i < 4 ? far[i + 4] : near[i - 4]]);
        }
        byte = w;
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) far[i] = near[i], near[i] = now[i];
    }
};

template <int LOOKS>
struct RingUnits<4, LOOKS> {
    enum { STEPS = 4, BYTES = 32, PARTS = LOOKS };
    Lanes byte, near[4], far[4];

    NQZ_INLINE explicit RingUnits(const Windows& before) : byte(before.low) {
        for (int i = 0; i < 4; i++) near[i] = before.four(6 - 2 * i);
        far[0] = far[1] = Lanes{};
        far[2] = before.four(10);
        far[3] = before.four(8);
    }
    template <class Put>
    NQZ_INLINE void labels(const uint8_t* unit, const Simd::Nibbles* part, Put put) {
        Lanes now[4], w = load_lanes(unit);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            now[i] = two_pairs(w, byte, i);
            Lanes label = part[0][now[i]] ^ part[1][i < 2 ? near[i + 2] : now[i - 2]] ^ part[2][near[i]];
            if constexpr (LOOKS > 3) label ^= part[3][i < 2 ? far[i + 2] : near[i - 2]];
            put(i, label);
        }
        byte = w;
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) far[i] = near[i], near[i] = now[i];
    }
};

// The lower two bits of symbols in two rows, the third in one.
template <int LOOKS>
struct RingUnits<6, LOOKS> {
    enum { STEPS = 8, BYTES = 96, PARTS = LOOKS };
    Lanes byte, bits, pair[8], four[8];

    NQZ_INLINE explicit RingUnits(const Windows& before) {
        byte = bits = Lanes{};
        for (int i = 0; i < 4; i++) {
            // of step i - 4, from bit 9 - 3 i of the window on
            pair[i] = four[i] = four[i + 4] = Lanes{};
            pair[i + 4] = (before.four(9 - 3 * i) & 3) | up(before.four(12 - 3 * i), 2, 12);
            four[i + 4] = before.bit(11 - 3 * i);
            byte = up(byte, 2, 252) | (pair[i + 4] & 3);
            bits = up(bits, 1, 254) | four[i + 4];
        }
    }
    template <class Put>
    NQZ_INLINE void labels(const uint8_t* unit, const Simd::Nibbles* part, Put put) {
        Lanes two[8], one[8], v = load_lanes(unit), w = load_lanes(unit + 32), b = load_lanes(unit + 64);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            two[i] = i < 4 ? two_pairs(v, byte, i) : two_pairs(w, v, i - 4);
            one[i] = four_bits(b, bits, i);
            Lanes label = part[0][two[i]] ^ part[1][one[i]] ^ part[2][i < 2 ? pair[i + 6] : two[i - 2]];
            label ^= part[3][i < 4 ? pair[i + 4] : two[i - 4]];
            if constexpr (LOOKS > 4) label ^= part[4][i < 4 ? four[i + 4] : one[i - 4]];
            put(i, label);
        }
        byte = w;
        bits = b;
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) pair[i] = two[i], four[i] = one[i];
    }
};

template <>
struct RingUnits<8, 4> {
    enum { STEPS = 4, BYTES = 64, PARTS = 4 };
    Lanes last[3];  // symbols, the newest last

    NQZ_INLINE explicit RingUnits(const Windows& before) : last{before.four(8), before.four(4), before.four(0)} {}
    template <class Put>
    NQZ_INLINE void labels(const uint8_t* unit, const Simd::Nibbles* part, Put put) {
        Lanes s[7] = {last[0], last[1], last[2]};
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            s[i + 3] = symbol_of(unit, 8, i);
            put(i, part[0][s[i + 3]] ^ part[1][s[i + 2]] ^ part[2][s[i + 1]] ^ part[3][s[i]]);
        }
        for (int i = 0; i < 3; i++) last[i] = s[i + 4];
    }
};

// Halves, whose labels are looked up from windows: the parts of even steps, then those of odd ones.
template <int BITS2>
struct HalfUnits {
    enum { STEPS = 16, BYTES = 32 * BITS2, PARTS = 8 };
    Windows window;

    NQZ_INLINE explicit HalfUnits(const Windows& before) : window(before) {}
    template <class Put>
    NQZ_INLINE void labels(const uint8_t* unit, const Simd::Nibbles* part, Put put) {
        for (int i = 0; i < 16; i += 2)
            for (int odd = 0; odd < 2; odd++) {
                window.push(symbol_of(unit, BITS2, i + odd), BITS2 / 2 + odd);
                const Simd::Nibbles* p = part + 4 * odd;
                put(i + odd,
                    p[0][window.four(0)] ^ p[1][window.four(4)] ^ p[2][window.four(8)] ^ p[3][window.four(12)]);
            }
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA

#endif
