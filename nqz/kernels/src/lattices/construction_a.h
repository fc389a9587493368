// Construction A: what z, d4 and e8 share, the points whose parities are a codeword of a binary code.
//
// The lattice's own struct, `Self`, says which code: BLOCKS blocks of SIZE steps with BITS code bits each, `code_bit`;
// and for the Voronoi code PARITIES rows of a parity coordinate and three whose sum has the same parity. The other
// coordinates carry information.
#pragma once

#include "../base.h"
#include "tile.h"

namespace nqz::NQZ_ISA {
namespace {

// Nearest even integers, the step to the nearest odd ones, and what an odd one costs more.
template <class Unit>
NQZ_INLINE void split_parity(const Row* x, const Unit& unit, Row* even, Row* toward, Row* cost) {
    for (int i = 0; i < 8; i++)
        for (int l = 0; l < 32; l++) {
            int32_t q = unit.over_two(x[i][l] + unit.unit(l), l);
            int32_t r = x[i][l] - 2 * unit.unit(l) * q;
            int32_t magnitude = r < 0 ? -r : r;
            even[i][l] = 2 * q;
            toward[i][l] = r < 0 ? -1 : 1;
            cost[i][l] = unit.unit(l) - 2 * magnitude;
        }
}

template <class Self>
struct ConstructionA {
    enum { GROUP = 8 };
    enum { NESTED = 1, HALVES_LAST = 0, TRELLIS = 0, MODELLED = 1 };

    // Voronoi code.

    static void to_digits(const Row* __restrict point, const Moduli& moduli, Row* __restrict digit) {
        for (int i = 0; i < GROUP; i++)
            for (int l = 0; l < 32; l++) digit[i][l] = point[i][l];
        for (int k = 0; k < Self::PARITIES; k++) {
            const int8_t* row = Self::parity_row(k);
            for (int l = 0; l < 32; l++)
                digit[row[0]][l] = (point[row[0]][l] - point[row[1]][l] - point[row[2]][l] - point[row[3]][l]) >> 1;
        }
        for (int i = 0; i < GROUP; i++)
            for (int l = 0; l < 32; l++)
                digit[i][l] -= moduli.q[l] * floor_divide(digit[i][l], moduli.q[l], moduli.reciprocal[l]);
    }

    static void to_point(const Row* __restrict digit, Row* __restrict point) {
        for (int i = 0; i < GROUP; i++)
            for (int l = 0; l < 32; l++) point[i][l] = digit[i][l];
        for (int k = 0; k < Self::PARITIES; k++) {
            const int8_t* row = Self::parity_row(k);
            for (int l = 0; l < 32; l++)
                point[row[0]][l] = 2 * digit[row[0]][l] + digit[row[1]][l] + digit[row[2]][l] + digit[row[3]][l];
        }
    }

    // Entropy code.

    // Y mod 16 of the n lanes of a group row, from the indices of its codewords.
    template <class Lanes>
    static NQZ_INLINE void contexts(const uint32_t (*__restrict index)[32], const uint8_t* level, Lanes n,
                                    uint8_t* __restrict context) {
        for (int i = 0; i < GROUP; i++)
            for (int l = 0; l < n; l++) {
                uint32_t bit = Self::BLOCKS > 0 ? Self::code_bit(index[i / Self::SIZE][l], i % Self::SIZE) : 0;
                context[i * n + l] = (uint8_t)(((uint32_t)Self::FINE * bit - level[i * n + l]) & 15);
            }
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
