// Decoded points as operands of products: narrowed to rows, their energies, and products with a few vectors at once.
#pragma once

#include "base.h"

namespace nqz::NQZ_ISA {
namespace {

// Copies the points of a chunk, which begins at `start` of a stream of rows of m entries, to rows place[...] of `out`;
// returns how many were clipped.
template <class T>
int64_t narrow_to(const int32_t* points, int64_t count, int64_t start, int64_t m, const int64_t* place, T* out) {
    const int32_t high = (int32_t)(((uint32_t)1 << (8 * sizeof(T) - 1)) - 1), low = -high - 1;
    int64_t clipped = 0;
    for (int64_t done = 0; done < count;) {
        int64_t column = (start + done) / m, first = start + done - column * m, length = least(m - first, count - done);
        const int32_t* from = points + done;
        T* to = out + place[column] * m + first;
        uint32_t beyond = 0;
        for (int64_t k = 0; k < length; k++) {
            int32_t y = from[k];
            int32_t z = y > high ? high : y < low ? low : y;
            beyond |= (uint32_t)(y ^ z);
            to[k] = (T)z;
        }
        if (beyond)
            for (int64_t k = 0; k < length; k++) clipped += from[k] > high || from[k] < low;
        done += length;
    }
    return clipped;
}

int64_t narrow(const int32_t* points, int64_t count, int64_t start, int64_t m, const int64_t* place, void* out,
               int bytes) {
    if (bytes == 1) return narrow_to(points, count, start, m, place, (int8_t*)out);
    if (bytes == 2) return narrow_to(points, count, start, m, place, (int16_t*)out);
    return narrow_to(points, count, start, m, place, (int32_t*)out);
}

template <class T>
void energies_of(const Rows& rows, int64_t* out) {
    enum { PIECE = 1024 };
    for (int64_t i = 0; i < rows.count; i++) {
        const T* x = (const T*)rows.data + i * rows.stride;
        int64_t sum = 0;
        for (int64_t k0 = 0; k0 < rows.width; k0 += PIECE) {
            int64_t end = least(rows.width, k0 + PIECE);
            if constexpr (sizeof(T) == 1) {
                int32_t piece = 0;
                for (int64_t k = k0; k < end; k++) piece += x[k] * x[k];
                sum += piece;
            } else {
                for (int64_t k = k0; k < end; k++) sum += x[k] * x[k];
            }
        }
        out[i] = sum;
    }
}

// Sums of squares of rows of int8 or int16.
void row_energies(const Rows& rows, int64_t* out) {
    if (rows.bytes == 1)
        energies_of<int8_t>(rows, out);
    else
        energies_of<int16_t>(rows, out);
}

template <int COUNT>
NQZ_INLINE void add_products(const int32_t* y, const int32_t* x, int64_t length, int64_t pitch, int64_t* sums) {
    uint64_t sum[COUNT] = {};
    for (int64_t k = 0; k < length; k++)
        for (int v = 0; v < COUNT; v++) sum[v] += (uint64_t)((int64_t)y[k] * x[v * pitch + k]);
    for (int v = 0; v < COUNT; v++) sums[v] = (int64_t)((uint64_t)sums[v] + sum[v]);
}

// Products of the pieces of rows in a chunk with `few` vectors of m entries, modulo 2^64: out[row][vector]. Returns the
// largest magnitude of a point.
int64_t point_products(const int32_t* points, int64_t count, int64_t start, int64_t m, const int32_t* vectors,
                       int64_t few, int64_t* out) {
    enum { PIECE = 2048 };
    int32_t most = 0, least_point = 0;
    const int64_t first_column = start / m;
    for (int64_t i = 0; i < ((start + count - 1) / m - first_column + 1) * few; i++) out[i] = 0;
    for (int64_t done = 0; done < count;) {
        int64_t column = (start + done) / m, first = start + done - column * m;
        int64_t length = least(least(m - first, count - done), PIECE);
        const int32_t* y = points + done;
        int64_t* sums = out + (column - first_column) * few;
        for (int64_t k = 0; k < length; k++) {
            most = y[k] > most ? y[k] : most;
            least_point = y[k] < least_point ? y[k] : least_point;
        }
        int64_t v = 0;
        for (; v + 4 <= few; v += 4) add_products<4>(y, vectors + v * m + first, length, m, sums + v);
        for (; v < few; v++) add_products<1>(y, vectors + v * m + first, length, m, sums + v);
        done += length;
    }
    return most > -(int64_t)least_point ? most : -(int64_t)least_point;
}

}  // namespace
}  // namespace nqz::NQZ_ISA
