// Modelled chances of code bits, in integers (docs/format.md, section 15).
//
// The weight of a word is the product of the weights of its bits, two neighbors at a time; the sums of the weights of
// words say how likely a bit is. A weight is below 2^16, and those of the words of a lattice sum up to less than 2^20.
#pragma once

#include "../base.h"

namespace nqz::NQZ_ISA {
namespace {

NQZ_INLINE uint16_t product_of(uint16_t a, uint16_t b) { return (uint16_t)((uint32_t)a * b >> 16); }

// The 12-bit chance of a one, 1 + floor(4095 one / (zero + one)), from the weights of zero and one: 1 to 2^19 - 1 each.
//
// The numerator is below 2^31 and the sum below 2^20, so the sum is exact in float32; the conversion of the numerator
// and the quotient, which is below 4095, are rounded by 2^-24 each, together by less than 2^-11. With 2^-10 added,
// which is rounded by 2^-12 at most, what is cut off is above the exact quotient by 2^-12 to 2^-9: it is the floor or
// one more, and then the remainder is negative.
NQZ_INLINE uint32_t chance_of(uint32_t zero, uint32_t one) {
    const uint32_t sum = zero + one, numerator = 4095 * one;
    const uint32_t quotient = (uint32_t)(int32_t)((float)(int32_t)numerator / (float)(int32_t)sum + 0x1p-10f);
    const int32_t rest = (int32_t)(numerator - quotient * sum);
    return 1 + quotient + (uint32_t)(rest >> 31);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
