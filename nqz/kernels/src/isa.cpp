// The kernels of one instruction set: compiled once for each, with NQZ_ISA naming the namespace.

#include "center_rotate.h"
#include "codings/entropy.h"
#include "codings/pack.h"
#include "codings/rans.h"
#include "codings/voronoi.h"
#include "deviations.h"
#include "dispatch.h"
#include "dither.h"
#include "dither_quantize.h"
#include "estimate.h"
#include "fixed_point.h"
#include "kernels.h"
#include "operand.h"
#include "product.h"
#include "restore.h"
#include "rotate.h"
#include "rows.h"
#include "select.h"
#include "statistics.h"

namespace nqz::NQZ_ISA {

extern const RingKernels rings;  // rings.cpp

const Kernels kernels = {
    lattice_facts,
    words,
    levels,
    column_statistics,
    center_rotate,
    rotate,
    rotate_wide,
    restore,
    dither_quantize_scratch,
    dither_quantize,
    round_scaled,
    low_bits,
    code_bits,
    entropy_encode,
    entropy_decode,
    rans_encode,
    rans_decode,
    voronoi_encode,
    voronoi_decode,
    pack_digits,
    unpack_digits,
    narrow,
    row_energies,
    point_products,
    row_products,
    row_sums_scratch,
    row_sums,
    estimate,
    deviations,
    group_energies,
    select,
    {product_scratch, integer_product, Accumulator::IS_FAST != 0},
    &rings,
    nullptr,
};

}  // namespace nqz::NQZ_ISA
