// Rows of small integers times a few vectors of small integers, both ways: their inner products with the vectors, and
// their sums with weights. All sums are exact.
#pragma once

#include "base.h"
#include "product.h"
#include "simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

// Entries of vectors are within ±2^14: 512 products with entries of rows within ±255, or 256 with entries within ±511,
// fit int32. Larger entries are taken in parts within ±128.
enum { MOST_SUMMED = 512, SMALL = 255, LARGE = 511 };

// The largest magnitude of some entries, or more, where that is above SMALL.
template <class T>
NQZ_INLINE int largest_of(const T* y, int64_t count) {
    if constexpr (sizeof(T) == 1) return 0;
    uint16_t most = 0;
    for (int64_t k = 0; k < count; k++) {
        uint16_t above = (uint16_t)(y[k] < 0 ? ~y[k] + 1 : y[k]);
        most = above > most ? above : most;
    }
    return most;
}

// What is left of y beside its lowest byte, which is taken with its sign: 256 times this.
NQZ_INLINE int16_t high_part(int y) { return (int16_t)((y - (int8_t)y) >> 8); }

// Adds `factor` times the products of entries with COUNT vectors.
template <int COUNT>
NQZ_INLINE void add_dots(const int16_t* y, const int16_t* x, int64_t pitch, int64_t length, int64_t factor,
                         int64_t* sums) {
    int32_t sum[COUNT] = {};
    for (int64_t k = 0; k < length; k++)
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; v++) sum[v] += y[k] * x[v * pitch + k];
    for (int v = 0; v < COUNT; v++) sums[v] = (int64_t)((uint64_t)sums[v] + (uint64_t)(factor * sum[v]));
}

NQZ_INLINE void add_all_dots(const int16_t* y, const int16_t* x, int64_t pitch, int64_t length, int64_t few,
                             int64_t factor, int64_t* sums) {
    int64_t v = 0;
    for (; v + 4 <= few; v += 4) add_dots<4>(y, x + v * pitch, pitch, length, factor, sums + v);
    if (v + 2 <= few) {
        add_dots<2>(y, x + v * pitch, pitch, length, factor, sums + v);
        v += 2;
    }
    if (v < few) add_dots<1>(y, x + v * pitch, pitch, length, factor, sums + v);
}

template <class T>
void row_products_of(const Rows& rows, const int16_t* vectors, int64_t few, int64_t* out) {
    for (int64_t i = 0; i < rows.count; i++, out += few) {
        const T* row = (const T*)rows.data + i * rows.stride;
        for (int64_t v = 0; v < few; v++) out[v] = 0;
        for (int64_t k = 0; k < rows.width; k += MOST_SUMMED) {
            const int64_t length = least(rows.width - k, MOST_SUMMED);
            const T* y = row + k;
            int16_t low[MOST_SUMMED], high[MOST_SUMMED];
            if constexpr (sizeof(T) == 1) {
                for (int64_t e = 0; e < length; e++) low[e] = y[e];
                add_all_dots(low, vectors + k, rows.width, length, few, 1, out);
                continue;
            } else if (const int most = largest_of(y, length); most <= LARGE) {
                const int64_t step = most <= SMALL ? MOST_SUMMED : MOST_SUMMED / 2;
                for (int64_t e = 0; e < length; e += step)
                    add_all_dots(y + e, vectors + k + e, rows.width, least(length - e, step), few, 1, out);
                continue;
            }
            for (int64_t e = 0; e < length; e++) {
                low[e] = (int8_t)y[e];
                high[e] = high_part(y[e]);
            }
            add_all_dots(low, vectors + k, rows.width, length, few, 1, out);
            add_all_dots(high, vectors + k, rows.width, length, few, 256, out);
        }
    }
}

// Inner products of rows of int8 or int16 with `few` vectors: out[row][vector].
void row_products(const Rows& rows, const int16_t* vectors, int64_t few, int64_t* out) {
    if (rows.bytes == 1)
        row_products_of<int8_t>(rows, vectors, few, out);
    else
        row_products_of<int16_t>(rows, vectors, few, out);
}

// Rows are weighted PAIRS pairs at a time, and in a dword of a pair stand entries of both.
enum { PAIRS = 4, PAIR_PART = 256, SUM_TILE = 2048, MOST_WEIGHTS = 4 };

NQZ_INLINE int32_t in_pair(int a, int b) { return (int32_t)((uint32_t)(a & 65535) | (uint32_t)b << 16); }

// Entries of two rows in pairs, whole where `large` is false; `high` is written where it is true.
template <class T>
NQZ_INLINE void pair_up(const T* a, const T* b, int64_t count, bool large, int32_t* low, int32_t* high) {
    if (!large) {
        for (int64_t k = 0; k < count; k++) low[k] = in_pair(a[k], b[k]);
        return;
    }
    for (int64_t k = 0; k < count; k++) {
        low[k] = in_pair((int8_t)a[k], (int8_t)b[k]);
        high[k] = in_pair(high_part(a[k]), high_part(b[k]));
    }
}

// Adds pairs times pairs of weights to COUNT sums, SUM_TILE apart.
template <int COUNT>
NQZ_INLINE void add_pairs(int32_t (*pair)[PAIR_PART], const int32_t (*weight)[PAIRS], int64_t count, int32_t* sums) {
    typedef Accumulator V;
    static_assert(PAIR_PART % V::WIDTH == 0 && SUM_TILE % PAIR_PART == 0, "whole vectors");
    for (int64_t k = 0; k < count; k += V::WIDTH) {
        V::type x[PAIRS];
#pragma GCC unroll 4
        for (int p = 0; p < PAIRS; p++) x[p] = V::load(pair[p] + k);
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; v++) {
            V::type sum = V::load(sums + v * SUM_TILE + k);
#pragma GCC unroll 4
            for (int p = 0; p < PAIRS; p++) V::dot<false>(sum, x[p], V::same(weight[v][p]));
            V::store(sums + v * SUM_TILE + k, sum);
        }
    }
}

// Sums of rows first ... last - 1 from entry k0 on, added to out[v][k0 ...] for COUNT vectors of weights.
template <class T, int COUNT>
void add_weighted(const Rows& rows, int64_t first, int64_t last, int64_t k0, int64_t length, const int16_t* weights,
                  int64_t* out) {
    int32_t sums[2][COUNT * SUM_TILE];
    bool large = false;
    memset(sums, 0, sizeof sums);
    for (int64_t i = first; i < last; i += 2 * PAIRS) {
        const T* row[2 * PAIRS];
        int32_t weight[COUNT][PAIRS];
        for (int r = 0; r < 2 * PAIRS; r++) row[r] = (const T*)rows.data + least(i + r, last - 1) * rows.stride + k0;
        for (int v = 0; v < COUNT; v++)
            for (int p = 0; p < PAIRS; p++) {
                const int16_t* w = weights + v * rows.count + i + 2 * p;
                weight[v][p] = in_pair(i + 2 * p < last ? w[0] : 0, i + 2 * p + 1 < last ? w[1] : 0);
            }
        for (int64_t s = 0; s < length; s += PAIR_PART) {
            const int64_t count = least(length - s, PAIR_PART);
            int32_t low[PAIRS][PAIR_PART], high[PAIRS][PAIR_PART];
            bool any = false;
            for (int r = 0; r < 2 * PAIRS; r++) any |= largest_of(row[r] + s, count) > LARGE;
            if (count < PAIR_PART) {  // vectors are whole
                memset(low, 0, sizeof low);
                memset(high, 0, sizeof high);
            }
            for (int p = 0; p < PAIRS; p++) pair_up(row[2 * p] + s, row[2 * p + 1] + s, count, any, low[p], high[p]);
            add_pairs<COUNT>(low, weight, count, sums[0] + s);
            if (any) add_pairs<COUNT>(high, weight, count, sums[1] + s);
            large |= any;
        }
    }
    for (int v = 0; v < COUNT; v++)
        for (int64_t k = 0; k < length; k++) {
            int64_t sum = sums[0][v * SUM_TILE + k] + (large ? 256 * (int64_t)sums[1][v * SUM_TILE + k] : 0);
            int64_t* to = out + v * rows.width + k0 + k;
            *to = (int64_t)((uint64_t)*to + (uint64_t)sum);
        }
}

template <class T>
void row_sums_of(const Rows& rows, const int16_t* weights, int64_t few, int64_t* out) {
    for (int64_t i = 0; i < few * rows.width; i++) out[i] = 0;
    for (int64_t k = 0; k < rows.width; k += SUM_TILE) {
        const int64_t length = least(rows.width - k, SUM_TILE);
        for (int64_t first = 0; first < rows.count; first += MOST_SUMMED / 2) {
            const int64_t last = least(rows.count, first + MOST_SUMMED / 2);
            int64_t v = 0;
            for (; v + MOST_WEIGHTS <= few; v += MOST_WEIGHTS)
                add_weighted<T, MOST_WEIGHTS>(rows, first, last, k, length, weights + v * rows.count,
                                              out + v * rows.width);
            if (v + 2 <= few) {
                add_weighted<T, 2>(rows, first, last, k, length, weights + v * rows.count, out + v * rows.width);
                v += 2;
            }
            if (v < few)
                add_weighted<T, 1>(rows, first, last, k, length, weights + v * rows.count, out + v * rows.width);
        }
    }
}

// Sums of rows of int8 or int16 times `few` vectors of weights, [few, rows]: out[vector][entry].
void row_sums(const Rows& rows, const int16_t* weights, int64_t few, int64_t* out) {
    if (rows.bytes == 1)
        row_sums_of<int8_t>(rows, weights, few, out);
    else
        row_sums_of<int16_t>(rows, weights, few, out);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
