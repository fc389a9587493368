// center_rotate: subtract the means, scale by a power of two, transpose, and rotate.
#pragma once

#include "base.h"
#include "element.h"
#include "rotate.h"
#include "simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

// A tile of entries, centered and scaled. Halved before the subtraction, so that it cannot overflow. `power1` may be
// null: all ones.
template <class E>
NQZ_INLINE void center_row(const typename E::type* from, const double* half, const double* power0, const double* power1,
                           float* to) {
    if (power1)
        for (int j = 0; j < SQUARE; j++) to[j] = (float)((E::widen(from[j]) * 0.5 - half[j]) * power0[j] * power1[j]);
    else
        for (int j = 0; j < SQUARE; j++) to[j] = (float)((E::widen(from[j]) * 0.5 - half[j]) * power0[j]);
}

// Columns that are centered together, and are still in the cache when they are rotated; and their rows that are.
enum { STRIP = 2 * SQUARE, ROWS = 4 * SQUARE };

// Where the columns of a block go: column j to row place[j] of `out`, whose rows are `stride` apart, and nowhere where
// place[j] is negative. The second factors of the columns stand `powers` behind the first.
struct Centering {
    const double *mean, *power;
    int64_t powers;
    const int64_t* place;
    float* out;
    int64_t stride;
};

// Columns of contiguous entries: nothing to transpose.
template <class E>
void center_columns(const Block& block, int64_t first, int64_t last, const Centering& c) {
    typedef typename E::type T;
    for (int64_t j = first; j < last; j++) {
        if (c.place[j] < 0) continue;
        const T* from = (const T*)block.data + j * block.column_stride;
        float* to = c.out + c.place[j] * c.stride;
        const double half = c.mean[j] * 0.5, p0 = c.power[j], p1 = c.power[c.powers + j];
        if (p1 == 1)
            for (int64_t i = 0; i < block.rows; i++) to[i] = (float)((E::widen(from[i]) * 0.5 - half) * p0);
        else
            for (int64_t i = 0; i < block.rows; i++) to[i] = (float)((E::widen(from[i]) * 0.5 - half) * p0 * p1);
    }
}

// At most STRIP columns.
template <class E>
void center_strip(const Block& block, int64_t first, int64_t last, const Centering& c) {
    typedef typename E::type T;
    const T* data = (const T*)block.data + first * block.column_stride;
    double half[STRIP] = {}, power0[STRIP] = {}, power1[STRIP] = {};
    float aside[SQUARE], *to[STRIP] = {};
    bool scaled = false, any = false;
    for (int64_t j = 0; j < last - first; j++) {
        const int64_t place = c.place[first + j];
        if (place >= 0) to[j] = c.out + place * c.stride;
        half[j] = c.mean[first + j] * 0.5;
        power0[j] = c.power[first + j];
        power1[j] = c.power[c.powers + first + j];
        scaled |= power1[j] != 1;
        any |= place >= 0;
    }
    if (!any) return;
    for (int64_t i0 = 0; i0 < block.rows; i0 += ROWS) {
        const int64_t rows = least(ROWS, block.rows - i0);
        float tile[STRIP / SQUARE][ROWS * SQUARE];
        for (int64_t i = 0; i < rows; i += SQUARE)
            for (int64_t j = 0; j < last - first; j += SQUARE) {
                const int64_t width = least(SQUARE, block.width - first - j);  // may reach beyond the strip
                const bool whole = width == SQUARE && block.column_stride == 1;
                const T* from = data + (i0 + i) * block.row_stride + j * block.column_stride;
                const double* second = scaled ? power1 + j : nullptr;
                float* to_row = tile[j / SQUARE] + i * SQUARE;
                for (int64_t r = i; r < least(i + SQUARE, rows); r++, from += block.row_stride, to_row += SQUARE) {
                    // The next rows are far apart: nothing else fetches them in time.
                    __builtin_prefetch(from + SQUARE * block.row_stride);
                    T row[SQUARE] = {};
                    if (!whole)
                        for (int64_t k = 0; k < width; k++) row[k] = from[k * block.column_stride];
                    center_row<E>(whole ? from : row, half + j, power0 + j, second, to_row);
                }
            }
        for (int64_t j = 0; j < last - first; j += SQUARE)
            for (int64_t i = 0; i < rows; i += SQUARE) {
                const float* from = tile[j / SQUARE] + i * SQUARE;
                float* column[SQUARE];
                for (int64_t k = 0; k < SQUARE; k++) column[k] = to[j + k] ? to[j + k] + i0 + i : aside;
                if (rows - i >= SQUARE)
                    Simd::transpose_square(from, SQUARE, column);
                else
                    for (int64_t k = 0; k < SQUARE; k++)
                        for (int64_t r = 0; r < rows - i; r++) column[k][r] = from[r * SQUARE + k];
            }
    }
}

template <class E>
void center_rotate_of(const Block& block, const Centering& c, const uint64_t* signs, float* scratch) {
    typedef typename E::type T;
    // The first strip is narrower where that makes the others begin at cache lines.
    const int64_t line = 64 / sizeof(T), past = (int64_t)((uintptr_t)block.data / sizeof(T)) % line;
    const bool aligns = block.column_stride == 1 && block.row_stride % line == 0;
    const Rotation rotation(signs ? block.rows : 0, signs, false);
    for (int64_t first = 0, last; first < block.width; first = last) {
        last = least(first + STRIP - (aligns && first == 0 ? past : 0), block.width);
        if (block.row_stride == 1)
            center_columns<E>(block, first, last, c);
        else
            center_strip<E>(block, first, last, c);
        if (!signs) continue;
        float* columns[STRIP];
        int64_t count = 0;
        for (int64_t j = first; j < last; j++)
            if (c.place[j] >= 0) columns[count++] = c.out + c.place[j] * c.stride;
        rotate_columns(rotation, columns, count, scratch);
    }
}

// Rotates the columns too where `signs` are given; `scratch` then holds n floats.
void center_rotate(const Block& block, const double* mean, const double* power, const int64_t* place, float* out,
                   int64_t stride, const uint64_t* signs, float* scratch) {
    const Centering c = {mean, power, block.width, place, out, stride};
    switch (block.element) {
        case FLOAT16:
            return center_rotate_of<Half>(block, c, signs, scratch);
        case BFLOAT16:
            return center_rotate_of<Brain>(block, c, signs, scratch);
        case FLOAT32:
            return center_rotate_of<Single>(block, c, signs, scratch);
        default:
            return center_rotate_of<Double>(block, c, signs, scratch);
    }
}

}  // namespace
}  // namespace nqz::NQZ_ISA
