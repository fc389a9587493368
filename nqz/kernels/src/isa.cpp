// The kernels of one instruction set: compiled once for each, with NQZ_ISA naming the namespace.

#include "kernels.h"

#include <string.h>

#include <type_traits>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#define NQZ_INLINE inline __attribute__((always_inline))

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the bit streams are written for little-endian machines");

namespace nqz {
namespace NQZ_ISA {
namespace {

#include "dither.h"
#include "element.h"
#include "transpose.h"
#include "statistics.h"
#include "rotate.h"
#include "center.h"
#include "lattice.h"
#include "leech.h"
#include "convolutional.h"
#include "viterbi.h"
#include "nearest.h"
#include "bits.h"
#include "lanes.h"
#include "rans.h"
#include "rice.h"
#include "codeword.h"
#include "trellis.h"
#include "entropy.h"
#include "encode.h"
#include "decode.h"
#include "voronoi.h"
#include "pack.h"
#include "operand.h"
#include "estimate.h"
#include "product.h"

}  // namespace

const Kernels kernels = {
    words,           levels,  statistics,     center,         restore,        rotate,
    nearest_scratch, nearest, quantize_exact, low_bits,       code_bits,      entropy_encode,
    entropy_decode,  rans_encode, rans_decode, voronoi_encode, voronoi_decode, pack_digits,
    unpack_digits,   narrow,  row_energies,   point_products, estimate,       group_energies,
    {product_scratch, integer_product, PRODUCT_IS_FAST},
};

}  // namespace NQZ_ISA
}  // namespace nqz
