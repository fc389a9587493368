// z: the integers.
#pragma once

#include "construction_a.h"

namespace nqz::NQZ_ISA {
namespace {

struct Z : ConstructionA<Z> {
    static constexpr const char* NAME = "z";
    enum { NUMBER = 0, FINE = 16 };
    enum { BLOCKS = 0, SIZE = 8, BITS = 0 };
    enum { PARITIES = 0 };
    static NQZ_INLINE const int8_t* parity_row(int) { return nullptr; }

    template <class Unit>
    static void nearest(const Row* __restrict x, const Unit& unit, Row* __restrict point) {
        for (int i = 0; i < GROUP; i++)
            for (int l = 0; l < 32; l++) point[i][l] = unit.over_one(x[i][l] + unit.half(l), l);
    }

    static constexpr NQZ_INLINE uint32_t code_bit(uint32_t, int) { return 0; }
    template <class Lanes>
    static NQZ_INLINE void codewords(const int32_t*, const uint8_t*, Lanes, uint32_t*) {}
};

}  // namespace
}  // namespace nqz::NQZ_ISA
