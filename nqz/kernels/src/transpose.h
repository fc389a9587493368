// Transpose: from columns of contiguous entries to rows of a tile.
#pragma once

#include "base.h"
#include "simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

// tile[i * SQUARE + j] = from[i + j * stride] for j < width <= SQUARE.
template <class T>
NQZ_INLINE void transpose_columns(const T* from, int64_t stride, int64_t rows, int64_t width, T* tile) {
    int64_t i = 0;
    if constexpr (sizeof(T) == 4)
        if (width == SQUARE)
            for (; i + SQUARE <= rows; i += SQUARE) {
                float* to[SQUARE];
                for (int r = 0; r < SQUARE; r++) to[r] = tile + (i + r) * SQUARE;
                Simd::transpose_square(from + i, stride, to);
            }
    for (; i < rows; i++)
        for (int64_t j = 0; j < width; j++) tile[i * SQUARE + j] = from[i + j * stride];
}

}  // namespace
}  // namespace nqz::NQZ_ISA
