// d4: twice, side by side; integers of even sum, the code of even parity of length four.
#pragma once

#include "construction_a.h"

namespace nqz::NQZ_ISA {
namespace {

struct D4 : ConstructionA<D4> {
    static constexpr const char* NAME = "d4";
    enum { NUMBER = 1, FINE = 8 };
    enum { BLOCKS = 2, SIZE = 4, BITS = 3 };
    enum { PARITIES = 2 };
    static NQZ_INLINE const int8_t* parity_row(int k) {
        static const int8_t rows[2][4] = {{3, 0, 1, 2}, {7, 4, 5, 6}};
        return rows[k];
    }

    template <class Unit>
    static void nearest(const Row* __restrict x, const Unit& unit, Row* __restrict point) {
        Row toward[8], cost[8];
        split_parity(x, unit, point, toward, cost);
        for (int i = 0; i < 8; i += 4) {
            Row parity, cheapest, where;
            for (int l = 0; l < 32; l++) {
                parity[l] = where[l] = 0;
                cheapest[l] = INT32_MAX;
            }
            for (int k = i; k < i + 4; k++)
                for (int l = 0; l < 32; l++) {
                    int32_t w = cost[k][l], magnitude = w < 0 ? -w : w;
                    bool less = magnitude < cheapest[l];
                    cheapest[l] = less ? magnitude : cheapest[l];
                    where[l] = less ? k : where[l];
                    parity[l] ^= w < 0 ? 1 : 0;
                }
            for (int k = i; k < i + 4; k++)
                for (int l = 0; l < 32; l++) {
                    int32_t odd = cost[k][l] < 0 ? 1 : 0;
                    odd ^= where[l] == k ? parity[l] : 0;
                    point[k][l] += odd ? toward[k][l] : 0;
                }
        }
    }

    // Bit i of the codeword of index c.
    static constexpr NQZ_INLINE uint32_t code_bit(uint32_t c, int i) {
        return (i < 3 ? c >> i : c ^ (c >> 1) ^ (c >> 2)) & 1;
    }

    // Indices of the codewords of one block of a group row, from the parities of its points.
    template <class Lanes>
    static NQZ_INLINE void codewords(const int32_t* points, const uint8_t* level, Lanes n, uint32_t* __restrict index) {
        for (int l = 0; l < n; l++) {
            uint32_t bit[3];
            for (int i = 0; i < 3; i++) bit[i] = ((uint32_t)points[i * n + l] + level[i * n + l]) >> 3 & 1;
            index[l] = bit[0] | bit[1] << 1 | bit[2] << 2;
        }
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
