// Exact inner products of rows of small integers, modulo 2^32.
//
// Rows are packed in groups of one dword, four int8 or two int16, and a register block of C takes a group of A against
// one of B in one step. Four products of bytes need one of them unsigned: B has an offset, and the accumulators begin
// with what that adds, the sums of the rows of A times minus the offset. Integers wrap, so what matters is that the
// results fit.
#pragma once

#include "base.h"
#include "byte_sums.h"
#include "simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

typedef Simd::Accumulator Accumulator;

enum { PRODUCT_ROWS = Accumulator::ROWS, PRODUCT_COLUMNS = Accumulator::VECTORS * Accumulator::WIDTH };
// Groups that are packed at a time: a panel of A stays in the first cache, a block of B in the second.
enum { GROUPS = 512, BLOCK_COLUMNS = 128, TURN = SQUARE };

template <bool BYTES>
struct EntryOf {
    typedef int16_t type;
};
template <>
struct EntryOf<true> {
    typedef int8_t type;
};

// TURN groups of one row from entry k on, zeros beyond the `rest` entries that it has; int8 become int16 unless BYTES.
template <class T, bool BYTES>
NQZ_INLINE void load_groups(const T* row, int64_t rest, int32_t* groups) {
    typedef typename EntryOf<BYTES>::type Packed;
    enum { COUNT = TURN * 4 / sizeof(Packed) };
    Packed packed[COUNT];
    if (rest >= COUNT) {
        for (int k = 0; k < COUNT; k++) packed[k] = row[k];
    } else {
        for (int k = 0; k < COUNT; k++) packed[k] = k < rest ? row[k] : 0;
    }
    memcpy(groups, packed, sizeof packed);
}

// sum + the sums of groups of four int8.
template <class V>
NQZ_INLINE typename V::type add_bytes(typename V::type sum, typename V::type bytes) {
    const typename V::type ones = V::same(0x01010101);
    if constexpr (V::HAS_BYTES)
        V::template dot<true>(sum, ones, bytes);
    else
        sum = V::add(sum, V::widened(V::pairs(ones, bytes), V::same(0x10001)));
    return sum;
}

// Packs `groups` groups, from entry k0 on, of `count` rows as panels [groups][PANEL]; rows beyond are zero. Where not
// zero, `offset` is added to bytes, which makes none of them negative. Where given, `sums` receives the sums of the
// bytes of each row, for panels of less than TURN rows.
template <class T, bool BYTES, int PANEL>
void pack_panels(const Rows& rows, int64_t first, int64_t count, int64_t k0, int64_t groups, int offset, int32_t* to,
                 int32_t* sums) {
    // First 128 more, then less: nothing is carried from byte to byte.
    const uint32_t flip = offset ? 0x80808080u : 0, less = offset ? (uint32_t)(128 - offset) * 0x01010101u : 0;
    enum { BREADTH = PANEL < TURN ? PANEL : (int)TURN };
    static_assert(PANEL % BREADTH == 0, "a panel is one square wide, or several");
    const int per = BYTES ? 4 : 2;
    for (int64_t p = 0; p < count; p += PANEL, to += PANEL * groups) {
        int64_t height = least(PANEL, count - p);
        int32_t sum[TURN] = {};
        for (int64_t g = 0; g < groups; g += TURN) {
            int64_t k = k0 + g * per;
            int depth = (int)least(TURN, groups - g);
            for (int part = 0; part < PANEL; part += BREADTH) {
                int32_t square[TURN][TURN], turned[TURN][TURN], *to_row[TURN];
                for (int i = 0; i < TURN; i++)
                    if (i < BREADTH && part + i < height)
                        load_groups<T, BYTES>((const T*)rows.data + (first + p + part + i) * rows.stride + k,
                                              rows.width - k, square[i]);
                    else
                        memset(square[i], 0, sizeof square[i]);
                for (int i = 0; i < TURN; i++) to_row[i] = turned[i];
                Simd::transpose_square(square[0], TURN, to_row);
                for (int d = 0; d < depth; d++) {
                    int32_t* out = to + (g + d) * PANEL + part;
                    for (int i = 0; i < BREADTH; i++) out[i] = (int32_t)(((uint32_t)turned[d][i] ^ flip) - less);
                }
                if constexpr (BYTES) {
                    if (!sums) continue;
                    Accumulator::type total = Accumulator::load(sum);
                    for (int d = 0; d < depth; d++) total = add_bytes<Accumulator>(total, Accumulator::load(turned[d]));
                    Accumulator::store(sum, total);
                }
            }
        }
        if (sums)
            for (int i = 0; i < height; i++) sums[p + i] = sum[i];
    }
}

// C (+)= a panel of A times a panel of B, in registers.
template <bool BYTES>
NQZ_INLINE void multiply_panels(int64_t groups, const int32_t* a, const int32_t* b, const int32_t* begin, bool add,
                                int32_t* c, int64_t stride) {
    typedef Accumulator V;
    V::type sum[V::ROWS][V::VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < V::ROWS; i++)
#pragma GCC unroll 4
        for (int v = 0; v < V::VECTORS; v++) sum[i][v] = V::same(begin[i]);
    for (int64_t g = 0; g < groups; g++, a += V::ROWS, b += PRODUCT_COLUMNS) {
        V::type right[V::VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < V::VECTORS; v++) right[v] = V::load(b + v * V::WIDTH);
#pragma GCC unroll 16
        for (int i = 0; i < V::ROWS; i++) {
            V::type left = V::same(a[i]);
#pragma GCC unroll 4
            for (int v = 0; v < V::VECTORS; v++) V::dot<BYTES>(sum[i][v], right[v], left);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < V::ROWS; i++)
#pragma GCC unroll 4
        for (int v = 0; v < V::VECTORS; v++) {
            int32_t* to = c + i * stride + v * V::WIDTH;
            V::store(to, add ? V::add(V::load(to), sum[i][v]) : sum[i][v]);
        }
}

template <bool BYTES>
void pack_rows(const Rows& rows, int64_t first, int64_t count, bool left, int64_t k0, int64_t groups, int offset,
               int32_t* to, int32_t* sums) {
    if constexpr (BYTES) {
        if (left)
            pack_panels<int8_t, true, PRODUCT_ROWS>(rows, first, count, k0, groups, 0, to, sums);
        else
            pack_panels<int8_t, true, PRODUCT_COLUMNS>(rows, first, count, k0, groups, offset, to, sums);
    } else if (rows.bytes == 1) {
        if (left)
            pack_panels<int8_t, false, PRODUCT_ROWS>(rows, first, count, k0, groups, 0, to, sums);
        else
            pack_panels<int8_t, false, PRODUCT_COLUMNS>(rows, first, count, k0, groups, 0, to, sums);
    } else {
        if (left)
            pack_panels<int16_t, false, PRODUCT_ROWS>(rows, first, count, k0, groups, 0, to, sums);
        else
            pack_panels<int16_t, false, PRODUCT_COLUMNS>(rows, first, count, k0, groups, 0, to, sums);
    }
}

NQZ_INLINE int64_t up_to(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

// Working memory of `integer_product`, in dwords.
struct ProductScratch {
    int64_t rows, columns;  // whole panels of A, and of a block of B

    NQZ_INLINE ProductScratch(const Rows& a, const Rows& b)
        : rows(up_to(a.count, PRODUCT_ROWS)), columns(up_to(least(b.count, BLOCK_COLUMNS), PRODUCT_COLUMNS)) {}
    NQZ_INLINE int64_t reaches() const {
        return (rows / PRODUCT_ROWS + columns / PRODUCT_COLUMNS) * (int64_t)(sizeof(Reach) / 4);
    }
    NQZ_INLINE int64_t size() const {
        return (rows + columns) * GROUPS + rows + PRODUCT_ROWS * PRODUCT_COLUMNS + reaches();
    }
};

int64_t product_scratch(const Rows& a, const Rows& b) { return ProductScratch(a, b).size(); }

// The range of all bytes, where that makes a difference.
Range bytes_of(const Rows& rows) {
    if (Accumulator::HAS_BYTES) return {-128, 127};
    return range_of((const int8_t*)rows.data, rows.stride, rows.count, rows.width);
}

// The reach of every panel of `count` rows.
template <int PANEL>
void find_reach(const Rows& rows, int64_t first, int64_t count, int64_t k0, int64_t groups, const Range* range,
                Reach* reach) {
    for (int64_t p = 0; p < count; p += PANEL)
        *reach++ = reach_of<Simd>((const int8_t*)rows.data + (first + p) * rows.stride + k0, rows.stride,
                                  least(PANEL, count - p), least(4 * groups, rows.width - k0), range);
}

template <bool BYTES>
void integer_product_of(const Rows& a, const Rows& b, int32_t* out, int64_t stride, int32_t* scratch) {
    constexpr bool SUMS_PAIRS = BYTES && !Accumulator::HAS_BYTES;
    const int64_t per = BYTES ? 4 : 2, all = (a.width + per - 1) / per;
    const ProductScratch room(a, b);
    int32_t *left = scratch, *begin = left + room.rows * GROUPS, *edge = begin + room.rows;
    int32_t* right = edge + PRODUCT_ROWS * PRODUCT_COLUMNS;
    Reach* left_reach = (Reach*)(right + room.columns * GROUPS);
    Reach* right_reach = left_reach + room.rows / PRODUCT_ROWS;
    const Range range = BYTES ? bytes_of(b) : Range{0, 0};
    const int offset = BYTES ? range.offset() : 0;
    for (int64_t g0 = 0; g0 < all || g0 == 0; g0 += GROUPS) {
        int64_t groups = least(GROUPS, all - g0);
        memset(begin, 0, (size_t)room.rows * sizeof *begin);
        pack_rows<BYTES>(a, 0, a.count, true, g0 * per, groups, 0, left, begin);
        for (int64_t i = 0; i < room.rows; i++) begin[i] = -offset * begin[i];
        if constexpr (SUMS_PAIRS) find_reach<PRODUCT_ROWS>(a, 0, a.count, g0 * per, groups, nullptr, left_reach);
        for (int64_t j0 = 0; j0 < b.count; j0 += BLOCK_COLUMNS) {
            int64_t columns = least(BLOCK_COLUMNS, b.count - j0);
            pack_rows<BYTES>(b, j0, columns, false, g0 * per, groups, offset, right, nullptr);
            if constexpr (SUMS_PAIRS)
                find_reach<PRODUCT_COLUMNS>(b, j0, columns, g0 * per, groups, &range, right_reach);
            for (int64_t i = 0; i < a.count; i += PRODUCT_ROWS)
                for (int64_t j = 0; j < columns; j += PRODUCT_COLUMNS) {
                    int32_t* c = out + i * stride + j0 + j;
                    int64_t height = least(PRODUCT_ROWS, a.count - i), breadth = least(PRODUCT_COLUMNS, columns - j);
                    bool whole = height == PRODUCT_ROWS && breadth == PRODUCT_COLUMNS;
                    int32_t* to = whole ? c : edge;
                    const int64_t pitch = whole ? stride : (int64_t)PRODUCT_COLUMNS;
                    const int32_t *x = left + i * groups, *y = right + j * groups;
                    if constexpr (SUMS_PAIRS)
                        multiply_byte_panels<Accumulator>(groups, x, y, left_reach[i / PRODUCT_ROWS],
                                                          right_reach[j / PRODUCT_COLUMNS], begin + i, whole && g0, to,
                                                          pitch);
                    else
                        multiply_panels<BYTES>(groups, x, y, begin + i, whole && g0, to, pitch);
                    if (whole) continue;
                    for (int64_t y = 0; y < height; y++)
                        for (int64_t x = 0; x < breadth; x++) {
                            uint32_t before = g0 ? (uint32_t)c[y * stride + x] : 0;
                            c[y * stride + x] = (int32_t)(before + (uint32_t)edge[y * PRODUCT_COLUMNS + x]);
                        }
                }
        }
    }
}

// Whether bytes are best multiplied as they are: where the first panels say that pairs need not be taken apart.
template <class V>
bool bytes_pay(const Rows& a, const Rows& b) {
    if (!V::SUMS_PAIRS || V::HAS_BYTES) return V::HAS_BYTES;
    if (!a.count || !b.count) return false;
    const Range range = bytes_of(b);
    Reach left, right;
    find_reach<PRODUCT_ROWS>(a, 0, least(a.count, PRODUCT_ROWS), 0, GROUPS, nullptr, &left);
    find_reach<PRODUCT_COLUMNS>(b, 0, least(b.count, PRODUCT_COLUMNS), 0, GROUPS, &range, &right);
    return left.fits(right, 0);
}

void integer_product(const Rows& a, const Rows& b, int32_t* out, int64_t stride, int32_t* scratch) {
    if constexpr (Accumulator::HAS_BYTES || Accumulator::SUMS_PAIRS) {
        if (a.bytes == 1 && b.bytes == 1 && bytes_pay<Accumulator>(a, b))
            return integer_product_of<true>(a, b, out, stride, scratch);
    }
    integer_product_of<false>(a, b, out, stride, scratch);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
