// Tiles: 32 groups at a time, for all lattices that have groups.
//
// A tile is 32 groups of G entries, consecutive positions of a chunk, arranged as [G][32]: coordinate by group. With
// fewer than 32 lanes a tile holds several group rows side by side.
#pragma once

#include "../base.h"

namespace nqz::NQZ_ISA {
namespace {

enum { MOST_STEPS = 24, MOST_POSITIONS = 32 * MOST_STEPS };  // of a group; of a tile

// A coordinate of 32 groups; a tile begins at a pointer to the first.
typedef int32_t Row[32];

NQZ_INLINE int64_t whole_tiles(int64_t positions, int group) {
    const int64_t tile = 32 * group;
    return (positions + tile - 1) / tile * tile;
}

template <class T>
NQZ_INLINE void arrange(const T* in, int group, int lanes, Row* tile) {
    if (lanes == 32) {
        for (int i = 0; i < group; i++)
            for (int l = 0; l < 32; l++) tile[i][l] = in[32 * i + l];
        return;
    }
    for (int row = 0; row < 32; row += lanes)
        for (int i = 0; i < group; i++)
            for (int l = 0; l < lanes; l++) tile[i][row + l] = *in++;
}

// Copies back the first `rows` groups, whole group rows.
template <class T>
NQZ_INLINE void spread(const Row* tile, int group, int lanes, int rows, T* out) {
    if (lanes == 32) {
        for (int i = 0; i < group; i++)
            for (int l = 0; l < 32; l++) out[32 * i + l] = (T)tile[i][l];
        return;
    }
    for (int row = 0; row < rows; row += lanes)
        for (int i = 0; i < group; i++)
            for (int l = 0; l < lanes; l++) *out++ = (T)tile[i][row + l];
}

// Unit of 256 fixed-point steps, the same for all groups.
struct FixedUnit {
    NQZ_INLINE int32_t unit(int) const { return 256; }
    NQZ_INLINE int32_t half(int) const { return 128; }
    NQZ_INLINE int32_t over_one(int32_t v, int) const { return v >> 8; }    // floor(v / unit)
    NQZ_INLINE int32_t over_two(int32_t v, int) const { return v >> 9; }    // floor(v / (2 unit))
    NQZ_INLINE int32_t over_four(int32_t v, int) const { return v >> 10; }  // floor(v / (4 unit))
};

// floor(v / d) by the rounded reciprocal of d: off by one at most while the quotient stays below 2^22.
NQZ_INLINE int32_t floor_divide(int32_t v, int32_t d, float reciprocal) {
    int32_t q = (int32_t)((float)v * reciprocal);
    int32_t rest = v - q * d;
    return q + (rest >= d) - (rest < 0);
}

// A unit for each group.
struct GroupUnit {
    int32_t units[32];
    float one[32], two[32], four[32];
    // The same unit for groups `first` to `end` - 1.
    NQZ_INLINE void set(int first, int end, int32_t unit) {
        const float by_one = 1.0f / (float)unit, by_two = 1.0f / (float)(2 * unit), by_four = 1.0f / (float)(4 * unit);
        for (int l = first; l < end; l++) {
            units[l] = unit;
            one[l] = by_one;
            two[l] = by_two;
            four[l] = by_four;
        }
    }
    NQZ_INLINE int32_t unit(int l) const { return units[l]; }
    NQZ_INLINE int32_t half(int l) const { return units[l] >> 1; }
    NQZ_INLINE int32_t over_one(int32_t v, int l) const { return floor_divide(v, units[l], one[l]); }
    NQZ_INLINE int32_t over_two(int32_t v, int l) const { return floor_divide(v, 2 * units[l], two[l]); }
    NQZ_INLINE int32_t over_four(int32_t v, int l) const { return floor_divide(v, 4 * units[l], four[l]); }
};

// The moduli q of 32 groups, as divisors of lattice and of fine coordinates.
struct Moduli {
    int32_t q[32];
    float reciprocal[32];
    GroupUnit fine;
    // The same modulus for groups `first` to `end` - 1, in a lattice of so many fine steps.
    NQZ_INLINE void set(int first, int end, int32_t modulus, int32_t steps) {
        const float by = 1.0f / (float)modulus;
        for (int l = first; l < end; l++) {
            q[l] = modulus;
            reciprocal[l] = by;
        }
        fine.set(first, end, steps * modulus);
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
