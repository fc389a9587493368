// What every header of the kernels builds on. Each is complete: it includes what it uses and compiles alone.
//
// The kernels are compiled once for every instruction set, each time in a namespace of its own (NQZ_ISA) and there in
// an unnamed one: nothing inline is shared between objects of different flags, where the linker might keep the AVX-512
// form of a function and run it on a processor without it. For the same reason nothing of the C++ library is used that
// has code.
#pragma once

#include "kernels.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef NQZ_ISA  // the build names it; this is for tools that open one header
#define NQZ_ISA baseline
#endif

#define NQZ_INLINE inline __attribute__((always_inline))

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the bit streams are written for little-endian machines");

namespace nqz::NQZ_ISA {
namespace {

NQZ_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Lanes of a chunk at most, and groups of a tile.
enum { MOST_LANES = 32 };

}  // namespace
}  // namespace nqz::NQZ_ISA
