// The reading of rings for processors with AVX-512 VBMI and VNNI.

#include "codings/ring_sums.h"
#include "kernels.h"

namespace nqz::NQZ_ISA {

const RingReading reading = ring_reading;

}  // namespace nqz::NQZ_ISA
