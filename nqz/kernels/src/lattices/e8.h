// e8: integers whose parities are a codeword of the Reed-Muller code RM(1,3).
#pragma once

#include "construction_a.h"

namespace nqz::NQZ_ISA {
namespace {

struct E8 : ConstructionA<E8> {
    static constexpr const char* NAME = "e8";
    enum { NUMBER = 2, FINE = 8 };
    enum { BLOCKS = 1, SIZE = 8, BITS = 4 };
    enum { PARITIES = 4 };
    static NQZ_INLINE const int8_t* parity_row(int k) {
        static const int8_t rows[4][4] = {{3, 0, 1, 2}, {5, 0, 1, 4}, {6, 0, 2, 4}, {7, 1, 2, 4}};
        return rows[k];
    }

    template <class Unit>
    static void nearest(const Row* __restrict x, const Unit& unit, Row* __restrict point) {
        Row toward[8], w[8];
        split_parity(x, unit, point, toward, w);
        for (int h = 1; h < 8; h *= 2)
            for (int i = 0; i < 8; i++)
                if (!(i & h))
                    for (int l = 0; l < 32; l++) {
                        int32_t a = w[i][l], b = w[i + h][l];
                        w[i][l] = a + b;
                        w[i + h][l] = a - b;
                    }
        Row best, index, negative;
        for (int l = 0; l < 32; l++) {
            best[l] = w[0][l] < 0 ? -w[0][l] : w[0][l];
            negative[l] = w[0][l] < 0;
            index[l] = 0;
        }
        for (int a = 1; a < 8; a++)
            for (int l = 0; l < 32; l++) {
                int32_t magnitude = w[a][l] < 0 ? -w[a][l] : w[a][l];
                bool more = magnitude > best[l];
                best[l] = more ? magnitude : best[l];
                negative[l] = more ? w[a][l] < 0 : negative[l];
                index[l] = more ? a : index[l];
            }
        for (int i = 0; i < 8; i++)
            for (int l = 0; l < 32; l++) {
                int32_t hits = index[l] & i;
                int32_t odd = (negative[l] ^ hits ^ (hits >> 1) ^ (hits >> 2)) & 1;
                point[i][l] += odd ? toward[i][l] : 0;
            }
    }

    // Bit i of the codeword of index c.
    static constexpr NQZ_INLINE uint32_t code_bit(uint32_t c, int i) {
        uint32_t hits = (c >> 1) & (uint32_t)i;
        return (c ^ hits ^ (hits >> 1) ^ (hits >> 2)) & 1;
    }

    // Indices of the codewords of a group row, from the parities of its points.
    template <class Lanes>
    static NQZ_INLINE void codewords(const int32_t* points, const uint8_t* level, Lanes n, uint32_t* __restrict index) {
        for (int l = 0; l < n; l++) {
            uint32_t bit[5];
            for (int i = 0; i < 5; i++) bit[i] = ((uint32_t)points[i * n + l] + level[i * n + l]) >> 3 & 1;
            index[l] = bit[0] | (bit[0] ^ bit[1]) << 1 | (bit[0] ^ bit[2]) << 2 | (bit[0] ^ bit[4]) << 3;
        }
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
