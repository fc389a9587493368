// Rows of small integers times a few vectors of small integers, both ways: their inner products with the vectors, and
// their sums with weights. All sums are exact: of int32 as long as they fit, then of int64.
#pragma once

#include "base.h"
#include "simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

typedef Simd::RowPairs RowPairs;

// Entries of vectors are within ±2^14, and those of rows within ±most: so many pairs of products fit int32.
NQZ_INLINE int64_t most_pairs(int most) { return most < 2 ? 65535 : 65535 / most; }

// Inner products of R rows with V vectors, `pitch` apart. Rows that come next are `ahead` of these: processors foresee
// what is read within a page of memory only.
template <class T, int R, int V>
void multiply_rows(const T* const* row, int64_t ahead, const int16_t* x, int64_t pitch, int64_t width, int64_t pairs,
                   int64_t* total) {
    for (int i = 0; i < R * V; i++) total[i] = 0;
    for (int64_t k = 0; k < width;) {
        const int64_t end = least(width, k + pairs * RowPairs::WIDTH);
        RowPairs::type sum[R][V];
#pragma GCC unroll 4
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sum[r][v] = RowPairs::zero();
        for (; k + RowPairs::WIDTH <= end; k += RowPairs::WIDTH) {
            RowPairs::type left[R];
#pragma GCC unroll 4
            for (int r = 0; r < R; r++) {
                left[r] = RowPairs::load(row[r] + k);
                if (V <= 2) __builtin_prefetch(row[r] + k + ahead);
            }
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                const RowPairs::type right = RowPairs::load(x + v * pitch + k);
#pragma GCC unroll 4
                for (int r = 0; r < R; r++) RowPairs::dot(sum[r][v], left[r], right);
            }
        }
        if (k < end) {  // less than a vector, the last ones
            int16_t right[V][RowPairs::WIDTH] = {};
            for (int v = 0; v < V; v++) memcpy(right[v], x + v * pitch + k, (size_t)(end - k) * sizeof *x);
            for (int r = 0; r < R; r++) {
                T left[RowPairs::WIDTH] = {};
                memcpy(left, row[r] + k, (size_t)(end - k) * sizeof *left);
                for (int v = 0; v < V; v++) RowPairs::dot(sum[r][v], RowPairs::load(left), RowPairs::load(right[v]));
            }
            k = end;
        }
        for (int r = 0; r < R; r++)
            for (int v = 0; v < V; v++)
                total[r * V + v] = (int64_t)((uint64_t)total[r * V + v] + (uint64_t)RowPairs::total(sum[r][v]));
    }
}

// The same of up to R rows from `first` on, into their places.
template <class T, int R, int V>
NQZ_INLINE void multiply_block(const Rows& rows, int64_t first, int64_t count, const int16_t* vectors, int64_t v,
                               int64_t few, int64_t pairs, int64_t* out) {
    const T* row[R];
    int64_t total[R * V];
    for (int r = 0; r < R; r++) row[r] = (const T*)rows.data + (first + least(r, count - 1)) * rows.stride;
    multiply_rows<T, R, V>(row, R * rows.stride, vectors + v * rows.width, rows.width, rows.width, pairs, total);
    for (int64_t r = 0; r < count; r++) memcpy(out + (first + r) * few + v, total + r * V, V * sizeof *out);
}

template <class T>
void row_products_of(const Rows& rows, int most, const int16_t* vectors, int64_t few, int64_t* out) {
    const int64_t pairs = most_pairs(most);
    for (int64_t i = 0; i < rows.count; i += 4) {
        const int64_t height = least(4, rows.count - i);
        int64_t v = 0;
        for (; v + 4 <= few; v += 4)
            for (int64_t r = 0; r < height; r += RowPairs::ROWS)
                multiply_block<T, RowPairs::ROWS, 4>(rows, i + r, least(RowPairs::ROWS, height - r), vectors, v, few,
                                                     pairs, out);
        for (; v + 2 <= few; v += 2) multiply_block<T, 4, 2>(rows, i, height, vectors, v, few, pairs, out);
        if (v < few) multiply_block<T, 4, 1>(rows, i, height, vectors, v, few, pairs, out);
    }
}

// Inner products of rows of int8 or int16, entries within ±most, with `few` vectors: out[row][vector].
void row_products(const Rows& rows, int most, const int16_t* vectors, int64_t few, int64_t* out) {
    if (rows.bytes == 1)
        row_products_of<int8_t>(rows, (int)least(most, 128), vectors, few, out);
    else
        row_products_of<int16_t>(rows, most, vectors, few, out);
}

NQZ_INLINE int32_t in_pair(int a, int b) { return (int32_t)((uint32_t)(a & 65535) | (uint32_t)b << 16); }

// The weights of rows i and i + 1, of `count`.
NQZ_INLINE int32_t weights_of(const int16_t* weights, int64_t i, int64_t count) {
    return in_pair(i < count ? weights[i] : 0, i + 1 < count ? weights[i + 1] : 0);
}

// Entries of two rows in turn, of WIDTH columns; less than that, with zeros.
template <class T>
NQZ_INLINE void load_pair(const T* a, const T* b, int64_t count, RowPairs::type& low, RowPairs::type& high) {
    if (count >= RowPairs::WIDTH) return RowPairs::interleave(RowPairs::load(a), RowPairs::load(b), low, high);
    T x[RowPairs::WIDTH] = {}, y[RowPairs::WIDTH] = {};
    memcpy(x, a, (size_t)count * sizeof *x);
    memcpy(y, b, (size_t)count * sizeof *y);
    RowPairs::interleave(RowPairs::load(x), RowPairs::load(y), low, high);
}

// Adds sums of int32, in the order of `interleave`, to `length` of int64.
NQZ_INLINE void add_sums(const int32_t* sums, int64_t length, int64_t* to) {
    for (int64_t k = 0; k < length; k += RowPairs::WIDTH) {
        int32_t straight[RowPairs::WIDTH];
        RowPairs::put_back(sums + k, straight);
        const int64_t count = least(RowPairs::WIDTH, length - k);
        for (int64_t i = 0; i < count; i++) to[k + i] = (int64_t)((uint64_t)to[k + i] + (uint64_t)(int64_t)straight[i]);
    }
}

// The weights of R rows from `first` on, of COUNT vectors; 0 from row `last` on.
template <int COUNT, int R>
struct RowWeights {
    int32_t pair[COUNT][R / 2];
    NQZ_INLINE RowWeights(const int16_t* weights, int64_t pitch, int64_t first, int64_t last) {
        for (int v = 0; v < COUNT; v++)
            for (int p = 0; p < R / 2; p++) pair[v][p] = weights_of(weights + v * pitch, first + 2 * p, last);
    }
};

enum { FEW_WEIGHTS = 4, SUM_TILE = 8192 };  // columns whose sums, of so many vectors, are at work together

// Adds R rows times weights of COUNT vectors to their sums, `pitch` apart, in the order of `interleave`.
template <class T, int COUNT, int R>
NQZ_INLINE void add_rows(const T* const* row, const RowWeights<COUNT, R>& weights, int64_t length, int32_t* sums,
                         int64_t pitch, int64_t ahead) {
    for (int64_t k = 0; k < length; k += RowPairs::WIDTH) {
        RowPairs::type low[R / 2], high[R / 2];
#pragma GCC unroll 4
        for (int p = 0; p < R / 2; p++) {
            load_pair(row[2 * p] + k, row[2 * p + 1] + k, length - k, low[p], high[p]);
            __builtin_prefetch(row[2 * p] + k + ahead);
            __builtin_prefetch(row[2 * p + 1] + k + ahead);
        }
#pragma GCC unroll 4
        for (int v = 0; v < COUNT; v++) {
            int32_t* to = sums + v * pitch + k;
            RowPairs::type first = RowPairs::load(to), second = RowPairs::load(to + RowPairs::WIDTH / 2);
#pragma GCC unroll 4
            for (int p = 0; p < R / 2; p++) {
                const RowPairs::type w = RowPairs::same(weights.pair[v][p]);
                RowPairs::dot(first, low[p], w);
                RowPairs::dot(second, high[p], w);
            }
            RowPairs::store(to, first);
            RowPairs::store(to + RowPairs::WIDTH / 2, second);
        }
    }
}

// Sums of all rows for COUNT vectors of weights; R rows at a time.
template <class T, int COUNT, int R>
void few_sums(const Rows& rows, int64_t pairs, const int16_t* weights, int64_t* out, int32_t* sums) {
    const int64_t period = least(2 * pairs / R * R, 1 << 20);
    for (int64_t k = 0; k < rows.width; k += SUM_TILE) {
        const int64_t length = least(rows.width - k, SUM_TILE);
        for (int64_t first = 0; first < rows.count; first += period) {
            memset(sums, 0, COUNT * SUM_TILE * sizeof *sums);
            const int64_t last = least(rows.count, first + period);
            for (int64_t i = first; i < last; i += R) {
                const T* row[R];
                for (int r = 0; r < R; r++) row[r] = (const T*)rows.data + least(i + r, last - 1) * rows.stride + k;
                add_rows<T, COUNT, R>(row, RowWeights<COUNT, R>(weights, rows.count, i, last), length, sums, SUM_TILE,
                                      R * rows.stride);
            }
            for (int v = 0; v < COUNT; v++) add_sums(sums + v * SUM_TILE, length, out + v * rows.width + k);
        }
    }
}

// With many vectors of weights, rows are taken apart into pairs once for MOST_WEIGHTS of them: PACKED_PAIRS pairs of
// PACKED columns in turn, so that what is multiplied together stands together.
enum {
    PACKED = RowPairs::PACKED * RowPairs::WIDTH / 2,
    PACKED_PAIRS = 16,
    PACKED_BLOCKS = 4096 / PACKED,
    MOST_WEIGHTS = 32,
};

// Working memory.
struct FewSums {
    int32_t sums[FEW_WEIGHTS * SUM_TILE];
};
struct PackedSums {
    int32_t sums[PACKED_BLOCKS][MOST_WEIGHTS][PACKED], packed[PACKED_BLOCKS][PACKED_PAIRS][PACKED];
    int32_t weight[PACKED_PAIRS][MOST_WEIGHTS];
};

// Adds pairs of PACKED columns times weights of COUNT vectors to their sums.
template <int COUNT>
NQZ_INLINE void add_packed(const int32_t* pair, const int32_t* weight, int64_t pairs, int32_t* sums) {
    enum { HALF = RowPairs::WIDTH / 2 };
    RowPairs::type sum[COUNT][RowPairs::PACKED];
#pragma GCC unroll 6
    for (int v = 0; v < COUNT; v++)
#pragma GCC unroll 4
        for (int i = 0; i < RowPairs::PACKED; i++) sum[v][i] = RowPairs::load(sums + v * PACKED + i * HALF);
    for (int64_t p = 0; p < pairs; p++) {
        RowPairs::type x[RowPairs::PACKED];
#pragma GCC unroll 4
        for (int i = 0; i < RowPairs::PACKED; i++) x[i] = RowPairs::load(pair + p * PACKED + i * HALF);
#pragma GCC unroll 6
        for (int v = 0; v < COUNT; v++) {
            const RowPairs::type w = RowPairs::same(weight[p * MOST_WEIGHTS + v]);
#pragma GCC unroll 4
            for (int i = 0; i < RowPairs::PACKED; i++) RowPairs::dot(sum[v][i], x[i], w);
        }
    }
#pragma GCC unroll 6
    for (int v = 0; v < COUNT; v++)
#pragma GCC unroll 4
        for (int i = 0; i < RowPairs::PACKED; i++) RowPairs::store(sums + v * PACKED + i * HALF, sum[v][i]);
}

// Sums of all rows for up to MOST_WEIGHTS vectors of weights.
template <class T>
void many_sums(const Rows& rows, int64_t pairs, const int16_t* weights, int64_t few, int64_t* out, PackedSums& room) {
    enum { TILE = PACKED * PACKED_BLOCKS };
    static_assert(PACKED % RowPairs::WIDTH == 0, "whole vectors of columns");
    const int64_t period = least(2 * pairs / (2 * PACKED_PAIRS) * (2 * PACKED_PAIRS), 1 << 20);
    auto& sums = room.sums;
    auto& packed = room.packed;
    auto& weight = room.weight;
    memset(packed, 0, sizeof packed);
    for (int64_t k0 = 0; k0 < rows.width; k0 += TILE) {
        const int64_t length = least(rows.width - k0, TILE);
        memset(sums, 0, sizeof sums);
        for (int64_t first = 0; first < rows.count; first += 2 * PACKED_PAIRS) {
            const int64_t last = least(rows.count, first + 2 * PACKED_PAIRS), here = (last - first + 1) / 2;
            for (int64_t p = 0; p < here; p++) {
                const int64_t i = first + 2 * p;
                const T* a = (const T*)rows.data + i * rows.stride + k0;
                const T* b = (const T*)rows.data + least(i + 1, last - 1) * rows.stride + k0;
                for (int64_t k = 0; k < length; k += RowPairs::WIDTH) {
                    RowPairs::type low, high;
                    load_pair(a + k, b + k, length - k, low, high);
                    __builtin_prefetch(a + k + 2 * rows.stride);
                    __builtin_prefetch(b + k + 2 * rows.stride);
                    int32_t* to = packed[k / PACKED][p] + k % PACKED;
                    RowPairs::store(to, low);
                    RowPairs::store(to + RowPairs::WIDTH / 2, high);
                }
                for (int64_t v = 0; v < few; v++) weight[p][v] = weights_of(weights + v * rows.count, i, last);
            }
            for (int64_t block = 0; block * PACKED < length; block++) {
                int64_t v = 0;
                for (; v + RowPairs::SUMS <= few; v += RowPairs::SUMS)
                    add_packed<RowPairs::SUMS>(packed[block][0], weight[0] + v, here, sums[block][v]);
                for (; v + 2 <= few; v += 2) add_packed<2>(packed[block][0], weight[0] + v, here, sums[block][v]);
                if (v < few) add_packed<1>(packed[block][0], weight[0] + v, here, sums[block][v]);
            }
            if (last == rows.count || last % period == 0) {
                for (int64_t v = 0; v < few; v++)
                    for (int64_t block = 0; block * PACKED < length; block++)
                        add_sums(sums[block][v], least(PACKED, length - block * PACKED),
                                 out + v * rows.width + k0 + block * PACKED);
                memset(sums, 0, sizeof sums);
            }
        }
    }
}

template <class T>
void row_sums_of(const Rows& rows, int most, const int16_t* weights, int64_t few, int64_t* out, void* room) {
    const int64_t pairs = most_pairs(most);
    memset(out, 0, (size_t)(few * rows.width) * sizeof *out);
    int32_t* sums = ((FewSums*)room)->sums;
    int64_t v = 0;
    if (pairs >= PACKED_PAIRS)
        while (few - v > FEW_WEIGHTS) {
            const int64_t count = least(few - v, MOST_WEIGHTS);
            many_sums<T>(rows, pairs, weights + v * rows.count, count, out + v * rows.width, *(PackedSums*)room);
            v += count;
        }
    for (; v < few; v++) {
        const int16_t* w = weights + v * rows.count;
        int64_t* to = out + v * rows.width;
        if (pairs < 4)
            few_sums<T, 1, 2>(rows, pairs, w, to, sums);
        else if (few - v >= 4)
            few_sums<T, 4, 8>(rows, pairs, w, to, sums), v += 3;
        else if (few - v >= 2)
            few_sums<T, 2, 8>(rows, pairs, w, to, sums), v += 1;
        else
            few_sums<T, 1, 8>(rows, pairs, w, to, sums);
    }
}

int64_t row_sums_scratch(int64_t few) {
    static_assert(sizeof(FewSums) <= sizeof(PackedSums), "what is left of many vectors has room");
    return 64 + (int64_t)(few > FEW_WEIGHTS ? sizeof(PackedSums) : sizeof(FewSums));
}

// Sums of rows of int8 or int16, entries within ±most, times `few` vectors of weights, [few, rows]: out[vector][entry].
// `scratch` has `row_sums_scratch()` bytes.
void row_sums(const Rows& rows, int most, const int16_t* weights, int64_t few, int64_t* out, uint8_t* scratch) {
    void* room = (void*)(((uintptr_t)scratch + 63) / 64 * 64);
    if (rows.bytes == 1)
        row_sums_of<int8_t>(rows, (int)least(most, 128), weights, few, out, room);
    else
        row_sums_of<int16_t>(rows, most, weights, few, out, room);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
