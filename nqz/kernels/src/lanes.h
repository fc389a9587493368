// Lanes: loops over the lanes of a row, compiled for 32 of them and for any number.
#pragma once

#include "base.h"

namespace nqz::NQZ_ISA {
namespace {

template <int N>
struct Constant {
    constexpr NQZ_INLINE operator int() const { return N; }
};

// Calls f with the number of lanes, as a constant where it is 32.
template <class F>
NQZ_INLINE auto with_lanes(int lanes, F f) {
    return lanes == 32 ? f(Constant<32>()) : f(lanes);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
