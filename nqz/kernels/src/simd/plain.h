// Plain C++, for processors whose instruction set has no header here.
#pragma once

#include "portable.h"

namespace nqz::NQZ_ISA {
namespace {

typedef Portable Simd;

}  // namespace
}  // namespace nqz::NQZ_ISA
