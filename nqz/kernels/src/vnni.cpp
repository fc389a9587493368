// The integer product for processors with AVX-512 VNNI.

#include "kernels.h"
#include "product.h"

namespace nqz::NQZ_ISA {

const IntegerProduct product = {product_scratch, integer_product, Accumulator::IS_FAST != 0};

}  // namespace nqz::NQZ_ISA
