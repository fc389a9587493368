// Sums of columns in rings times weights, a few columns at a time as they are decoded. All sums are exact. And all that
// there is to reading rings.
#pragma once

#include "../base.h"
#include "../rows.h"
#include "ring_products.h"

namespace nqz::NQZ_ISA {
namespace {

enum { SUMMED_COLUMNS = 8, SHORT_TILE = 1 << 15, LONG_TILE = 1 << 17 };

// How many columns are decoded before they are weighted, for that many stay in the first cache, or the second.
NQZ_INLINE int64_t summed_columns(int64_t n) {
    const int64_t count = (8 * n <= SHORT_TILE ? (int64_t)SHORT_TILE : (int64_t)LONG_TILE) / n;
    return count < 1 ? 1 : least(count, 256);
}

int64_t ring_sums_scratch(int64_t n, int64_t few) {
    return 64 + summed_columns(n) * n + PADDING + 4 * padded_length(n) * few;
}

// Columns that are decoded, and sums of those before.
struct ColumnSums {
    const int64_t n, pitch, few, count;  // of columns in all
    const int16_t* weights;              // [few, count]
    int64_t* out;                        // [few, n]
    int32_t* sums;                       // [few, pitch], in the order of `interleave`
    int8_t* values;
    int64_t room, filled = 0, first = 0, summed = 0;

    ColumnSums(int64_t n_, int64_t few_, int64_t count_, const int16_t* weights_, int64_t* out_, uint8_t* scratch)
        : n(n_), pitch(padded_length(n_)), few(few_), count(count_), weights(weights_), out(out_) {
        sums = (int32_t*)(((uintptr_t)scratch + 63) / 64 * 64);
        values = (int8_t*)(sums + few * pitch);
        room = summed_columns(n) * n;
        memset(out, 0, (size_t)(few * n) * sizeof *out);
        memset(sums, 0, (size_t)(few * pitch) * sizeof *sums);
    }
    void add(const int8_t* from, int64_t length) {
        while (length > 0) {
            const int64_t part = least(length, room - filled);
            memcpy(values + filled, from, (size_t)part);
            filled += part;
            from += part;
            length -= part;
            if (filled == room) multiply();
        }
    }
    // Weights what there is.
    void multiply() {
        const int64_t last = first + filled / n;
        for (int64_t i = first; i < last; i += SUMMED_COLUMNS) {
            int64_t v = 0;
            for (; v + 4 <= few; v += 4) weigh<4>(i, last, v);
            for (; v + 2 <= few; v += 2) weigh<2>(i, last, v);
            if (v < few) weigh<1>(i, last, v);
            summed += SUMMED_COLUMNS;
            if (2 * most_pairs(127) - summed < SUMMED_COLUMNS) settle();
        }
        first = last;
        filled = 0;
    }
    // Adds sums to those of int64.
    void settle() {
        for (int64_t v = 0; v < few; v++) add_sums(sums + v * pitch, n, out + v * n);
        memset(sums, 0, (size_t)(few * pitch) * sizeof *sums);
        summed = 0;
    }

  private:
    template <int VECTORS>
    void weigh(int64_t i, int64_t last, int64_t v) {
        const int8_t* row[SUMMED_COLUMNS];
        for (int r = 0; r < SUMMED_COLUMNS; r++) row[r] = values + (least(i + r, last - 1) - first) * n;
        const RowWeights<VECTORS, SUMMED_COLUMNS> weight(weights + v * count, count, i, last);
        add_rows<int8_t, VECTORS, SUMMED_COLUMNS>(row, weight, n, sums + v * pitch, pitch, SUMMED_COLUMNS * n);
    }
};

// Sums of all columns, of n entries, times `few` vectors of weights, [few, columns]: out[vector][entry].
void ring_sums(const Rings& rings, int64_t n, const int16_t* weights, int64_t few, int64_t* out, uint8_t* scratch) {
    int64_t entries = 0;
    for (int64_t r = 0; r < rings.count; r++) entries += rings.ring[r].entries;
    ColumnSums sums(n, few, entries / n, weights, out, scratch);
    for_rings(rings, [&](RingReader& reader, RingPlace& place, int64_t) {
        for_values(reader, place, [&](const int8_t* value, int64_t, int64_t length) { sums.add(value, length); });
    });
    sums.multiply();
    sums.settle();
}

constexpr RingReading ring_reading = {RingReader::TABLE_BYTES, RingReader::prepare, ring_scratch, ring_decode,
                                      ring_products,           ring_sums_scratch,   ring_sums};

}  // namespace
}  // namespace nqz::NQZ_ISA
