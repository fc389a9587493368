// The ring code's kernels of one instruction set, beside those of isa.cpp: a translation unit of their own, so that
// both are compiled at once.

#include "codings/ring.h"
#include "codings/ring_encode.h"
#include "codings/ring_sums.h"
#include "kernels.h"

namespace nqz::NQZ_ISA {

extern const RingKernels rings;
const RingKernels rings = {ring_encode_scratch, ring_encode, ring_reading};

}  // namespace nqz::NQZ_ISA
