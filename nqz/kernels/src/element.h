// Elements: float16, bfloat16, float32 and float64 entries as float64, with infinities kept.
#pragma once

#include "base.h"

namespace nqz::NQZ_ISA {
namespace {

struct Half {
    typedef uint16_t type;
    static NQZ_INLINE double widen(uint16_t h) {
        // A float32 of the same exponent field is 2^112 times too small; this holds for subnormals too.
        uint32_t magnitude = (uint32_t)(h & 0x7FFF) << 13;
        float scaled;
        memcpy(&scaled, &magnitude, 4);
        scaled *= 0x1p112f;
        uint32_t bits;
        memcpy(&bits, &scaled, 4);
        bits = (h & 0x7C00) == 0x7C00 ? magnitude | 0x7F800000u : bits;
        bits |= (uint32_t)(h & 0x8000) << 16;
        float value;
        memcpy(&value, &bits, 4);
        return value;
    }
};

struct Brain {
    typedef uint16_t type;
    static NQZ_INLINE double widen(uint16_t h) {
        uint32_t bits = (uint32_t)h << 16;
        float value;
        memcpy(&value, &bits, 4);
        return value;
    }
};

struct Single {
    typedef float type;
    static NQZ_INLINE double widen(float x) { return x; }
};

struct Double {
    typedef double type;
    static NQZ_INLINE double widen(double x) { return x; }
};

NQZ_INLINE bool finite(double x) {
    uint64_t bits;
    memcpy(&bits, &x, 8);
    return (bits & 0x7FF0000000000000u) != 0x7FF0000000000000u;
}

NQZ_INLINE bool finite(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (bits & 0x7F800000u) != 0x7F800000u;
}

// Copies a tile of rows x width entries of `block`, from (i0, j0) on, to `to` with `pitch` entries a row.
template <class E>
NQZ_INLINE void load_tile(const Block& block, int64_t i0, int64_t j0, int64_t rows, int64_t width, double* to,
                          int64_t pitch) {
    typedef typename E::type T;
    const T* from = (const T*)block.data + i0 * block.row_stride + j0 * block.column_stride;
    if (block.column_stride == 1) {
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < width; j++) to[i * pitch + j] = E::widen(from[i * block.row_stride + j]);
    } else if (block.row_stride == 1) {
        for (int64_t j = 0; j < width; j++)
            for (int64_t i = 0; i < rows; i++) to[i * pitch + j] = E::widen(from[i + j * block.column_stride]);
    } else {
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < width; j++)
                to[i * pitch + j] = E::widen(from[i * block.row_stride + j * block.column_stride]);
    }
}

}  // namespace
}  // namespace nqz::NQZ_ISA
