// Products of panels of bytes where the instruction set `S`, of accumulators `V`, multiplies them in pairs: groups of
// four become two int16, and of so many groups that these cannot overflow, sums are taken before they are widened.
//
// How many groups that may be follows from the bytes: by Cauchy-Schwarz a sum of products is at most the product of
// two norms, those of the entries of a row in a window of groups. The bytes of B have an offset, which adds to theirs.
// Where not even two groups fit, the bytes of B are taken apart into their halves, of which eight groups always do.
#pragma once

#include "base.h"
#include "lanes.h"

namespace nqz::NQZ_ISA {
namespace {

enum { SPANS = 4 };
constexpr int SPAN[SPANS] = {2, 3, 4, 8};  // groups
constexpr float MOST_SUM = 32764.0f, TOO_LARGE = 1e18f;

// The range of bytes, which holds -1 and 0.
struct Range {
    int lowest, highest;
    // What makes them unsigned.
    NQZ_INLINE int offset() const { return -lowest; }
};

NQZ_INLINE Range range_of(const int8_t* from, int64_t stride, int64_t rows, int64_t bytes) {
    int8_t low = -1, high = 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < bytes; k++) {
            const int8_t x = from[i * stride + k];
            low = x < low ? x : low;
            high = x > high ? x : high;
        }
    return {low, high};
}

// Norms of the entries that an int16 sums, in the largest window of each size.
struct Reach {
    float norm[SPANS];
    // Whether sums over windows of the size of this number fit.
    NQZ_INLINE bool fits(const Reach& other, int w) const { return norm[w] * other.norm[w] <= MOST_SUM; }
};

// Of a panel of rows, from `from` on, of `bytes` entries; with their offset where a range is given.
template <class S>
NQZ_INLINE Reach reach_of(const int8_t* from, int64_t stride, int64_t rows, int64_t bytes, const Range* range) {
    uint16_t energy[SPANS];
    const int offset = range ? range->offset() : 0;
    const bool added = range && range->highest + offset <= INT8_MAX;  // else norms are
    S::window_energies(from, stride, rows, bytes, added ? offset : 0, energy);
    Reach reach;
    for (int w = 0; w < SPANS; w++) {
        reach.norm[w] = energy[w] == UINT16_MAX ? TOO_LARGE : 2.0f * __builtin_sqrtf((float)energy[w]);
        if (!added) reach.norm[w] += (float)offset * __builtin_sqrtf((float)(2 * SPAN[w]));
    }
    return reach;
}

// sums += panel of A times panel of B, `K` groups before they are widened; of B's bytes the halves from bit SHIFT on,
// or all where it is negative.
template <class V, int K, int SHIFT>
__attribute__((noinline)) void add_byte_products(int64_t groups, const int32_t* a, const int32_t* b, int32_t* sums) {
    typedef typename V::type Sums;
    enum { COLUMNS = V::VECTORS * V::WIDTH };
    const Sums unit = V::same(SHIFT == 4 ? 0x00100010 : 0x00010001);
    int64_t g = 0;
    const auto window = [&](auto count) {
        constexpr int COUNT = count;
        Sums sum[V::ROWS][V::VECTORS];
#pragma GCC unroll 8
        for (int k = 0; k < COUNT; k++, a += V::ROWS, b += COLUMNS) {
            Sums right[V::VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < V::VECTORS; v++) {
                right[v] = V::load(b + v * V::WIDTH);
                if (SHIFT >= 0) right[v] = V::half_bytes(right[v], SHIFT);
            }
#pragma GCC unroll 16
            for (int i = 0; i < V::ROWS; i++) {
                const Sums left = V::same(a[i]);
#pragma GCC unroll 4
                for (int v = 0; v < V::VECTORS; v++)
                    if (k == 0)
                        sum[i][v] = V::pairs(right[v], left);
                    else
                        V::add_pairs(sum[i][v], V::pairs(right[v], left));
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < V::ROWS; i++)
#pragma GCC unroll 4
            for (int v = 0; v < V::VECTORS; v++) {
                int32_t* to = sums + (i * V::VECTORS + v) * V::WIDTH;
                V::store(to, V::add(V::load(to), V::widened(sum[i][v], unit)));
            }
        g += COUNT;
    };
    while (g + K <= groups) window(Constant<K>());
    while (g < groups) window(Constant<1>());
}

// C (+)= a panel of A times a panel of B, in as large windows as both sides allow.
template <class V>
NQZ_INLINE void multiply_byte_panels(int64_t groups, const int32_t* a, const int32_t* b, const Reach& left,
                                     const Reach& right, const int32_t* begin, bool add, int32_t* c, int64_t stride) {
    enum { COLUMNS = V::VECTORS * V::WIDTH };
    int32_t sums[V::ROWS * COLUMNS];
    for (int i = 0; i < V::ROWS; i++)
        for (int v = 0; v < V::VECTORS; v++) V::store(sums + i * COLUMNS + v * V::WIDTH, V::same(begin[i]));
    if (left.fits(right, 3))
        add_byte_products<V, 8, -1>(groups, a, b, sums);
    else if (left.fits(right, 2))
        add_byte_products<V, 4, -1>(groups, a, b, sums);
    else if (left.fits(right, 1))
        add_byte_products<V, 3, -1>(groups, a, b, sums);
    else if (left.fits(right, 0))
        add_byte_products<V, 2, -1>(groups, a, b, sums);
    else {
        add_byte_products<V, 8, 0>(groups, a, b, sums);
        add_byte_products<V, 8, 4>(groups, a, b, sums);
    }
    for (int i = 0; i < V::ROWS; i++)
        for (int v = 0; v < V::VECTORS; v++) {
            int32_t* to = c + i * stride + v * V::WIDTH;
            const typename V::type sum = V::load(sums + i * COLUMNS + v * V::WIDTH);
            V::store(to, add ? V::add(V::load(to), sum) : sum);
        }
}

}  // namespace
}  // namespace nqz::NQZ_ISA
