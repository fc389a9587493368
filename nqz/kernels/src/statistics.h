// Statistics: for every column the first entry, shifted sums, and the largest magnitude, row after row.
#pragma once

#include "base.h"
#include "element.h"
#include "simd/simd.h"
#include "transpose.h"

namespace nqz::NQZ_ISA {
namespace {

template <class E>
int64_t first_not_finite(const Block& block) {
    typedef typename E::type T;
    const T* from = (const T*)block.data;
    for (int64_t i = 0; i < block.rows; i++)
        for (int64_t j = 0; j < block.width; j++)
            if (!finite(E::widen(from[i * block.row_stride + j * block.column_stride]))) return i * block.width + j;
    return -1;
}

struct State {
    double *first, *sum, *square, *largest;
};

// Adds `rows` rows of entries of which none needs scaling. An entry that is not finite makes its sum so.
template <class T>
NQZ_INLINE void add_rows(const T* x, int64_t stride, int64_t rows, int64_t width, const State& s, bool begin) {
    if (begin)
        for (int64_t j = 0; j < width; j++) s.first[j] = x[j];
    int64_t j = 0;
    for (; j + WIDE <= width; j += WIDE) {
        const Doubles first = load_doubles(s.first + j);
        Doubles sum = load_doubles(s.sum + j), square = load_doubles(s.square + j),
                largest = load_doubles(s.largest + j);
        const T* from = x + j;
        for (int64_t i = 0; i < rows; i++, from += stride) {
            Doubles v = load_doubles(from), d = v - first;
            Doubles magnitude = (Doubles)((Longs)v & INT64_MAX);
            sum += d;
            square += d * d;
            largest = magnitude > largest ? magnitude : largest;
        }
        store_doubles(s.sum + j, sum);
        store_doubles(s.square + j, square);
        store_doubles(s.largest + j, largest);
    }
    for (; j < width; j++)
        for (int64_t i = 0; i < rows; i++) {
            double v = x[i * stride + j], d = v - s.first[j], magnitude = __builtin_fabs(v);
            s.sum[j] += d;
            s.square[j] += d * d;
            s.largest[j] = magnitude > s.largest[j] ? magnitude : s.largest[j];
        }
}

// float32 and float64 in either order, all powers of two being one.
template <class T>
void add_plain(const Block& block, const State& state, bool started) {
    // Rows at once, so many that loading and storing the sums does not count, and few enough to be read side by side.
    enum { TOGETHER = 8, ROWS = 4 * SQUARE };
    const T* data = (const T*)block.data;
    if (block.column_stride == 1) {
        for (int64_t i = 0; i < block.rows; i += TOGETHER)
            add_rows(data + i * block.row_stride, block.row_stride, least(TOGETHER, block.rows - i), block.width, state,
                     !started && i == 0);
        return;
    }
    for (int64_t j = 0; j < block.width; j += SQUARE) {
        const int64_t width = least(SQUARE, block.width - j);
        State s = {state.first + j, state.sum + j, state.square + j, state.largest + j};
        for (int64_t i = 0; i < block.rows; i += ROWS) {
            T tile[ROWS * SQUARE];
            const int64_t rows = least(ROWS, block.rows - i);
            transpose_columns(data + i + j * block.column_stride, block.column_stride, rows, width, tile);
            add_rows(tile, SQUARE, rows, width, s, !started && i == 0);
        }
    }
}

// Adds one row. The products with a power of two are exact, or rounded once as ldexp would.
NQZ_INLINE uint64_t add_row(const double* x, const double* power0, const double* power1, int64_t width, const State& s,
                            bool begin) {
    if (begin)
        for (int64_t j = 0; j < width; j++) s.first[j] = x[j] * power0[j] * power1[j];
    uint64_t bad = 0;
    for (int64_t j = 0; j < width; j++) {
        bad |= !finite(x[j]);
        double v = x[j] * power0[j] * power1[j];
        double d = v - s.first[j];
        double magnitude = __builtin_fabs(v);
        s.sum[j] += d;
        s.square[j] += d * d;
        s.largest[j] = magnitude > s.largest[j] ? magnitude : s.largest[j];
    }
    return bad;
}

// Any element and any strides, through tiles long in the direction in which the entries are contiguous.
template <class E>
void add_tiles(const Block& block, const double* power, const State& state, bool started, uint64_t& bad) {
    double tile[1024];
    bool upright = block.row_stride == 1 && block.column_stride != 1;
    int64_t height = upright ? 64 : 4, breadth = upright ? 16 : 256;
    int64_t w = block.width;
    for (int64_t j0 = 0; j0 < w; j0 += breadth) {
        int64_t width = least(breadth, w - j0);
        State s = {state.first + j0, state.sum + j0, state.square + j0, state.largest + j0};
        for (int64_t i0 = 0; i0 < block.rows; i0 += height) {
            int64_t rows = least(height, block.rows - i0);
            load_tile<E>(block, i0, j0, rows, width, tile, breadth);
            if (!power) {
                add_rows(tile, breadth, rows, width, s, !started && i0 == 0);
                continue;
            }
            for (int64_t i = 0; i < rows; i++)
                bad |= add_row(tile + i * breadth, power + j0, power + w + j0, width, s, !started && i0 + i == 0);
        }
    }
}

template <class E>
int64_t statistics_of(const Block& block, const double* power, double* state, bool started) {
    const int64_t w = block.width;
    State s = {state, state + w, state + 2 * w, state + 3 * w};
    uint64_t bad = 0;
    typedef typename E::type T;
    bool plain = !power && (block.column_stride == 1 || block.row_stride == 1);
    if constexpr (sizeof(T) == 2) plain = false;
    if (!plain)
        add_tiles<E>(block, power, s, started, bad);
    else if constexpr (sizeof(T) != 2)
        add_plain<T>(block, s, started);
    if (!power)
        for (int64_t j = 0; j < w; j++) bad |= !finite(s.sum[j]);
    return bad ? first_not_finite<E>(block) : -1;
}

// `power` may be null: all ones.
int64_t column_statistics(const Block& block, const double* power, double* state, bool started) {
    switch (block.element) {
        case FLOAT16:
            return statistics_of<Half>(block, power, state, started);
        case BFLOAT16:
            return statistics_of<Brain>(block, power, state, started);
        case FLOAT32:
            return statistics_of<Single>(block, power, state, started);
        default:
            return statistics_of<Double>(block, power, state, started);
    }
}

}  // namespace
}  // namespace nqz::NQZ_ISA
