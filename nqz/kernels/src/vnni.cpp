// The integer product for processors with AVX-512 VNNI.

#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include <type_traits>

#define NQZ_INLINE inline __attribute__((always_inline))

namespace nqz {
namespace avx512vnni {
namespace {

NQZ_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

#include "product.h"

}  // namespace

const IntegerProduct product = {product_scratch, integer_product, PRODUCT_IS_FAST};

}  // namespace avx512vnni
}  // namespace nqz
