// Modelled chances of code bits.
#pragma once

#include "../base.h"

namespace nqz::NQZ_ISA {
namespace {

// The 12-bit chance of a one, from the weights of zero and one; 2048 if they are 0.
NQZ_INLINE int32_t chance_of(double zero, double one) {
    double sum = zero + one;
    double ratio = sum == 0 ? 0.5 : one / sum;
    int32_t p1 = (int32_t)(4096 * ratio + 0.5);
    p1 = p1 < 1 ? 1 : p1;
    return p1 > 4095 ? 4095 : p1;
}

}  // namespace
}  // namespace nqz::NQZ_ISA
