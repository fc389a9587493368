// Rings decoded to points, and their products with a few vectors. With several, a few columns are decoded to int16 at a
// time, and multiplied by all of them. All sums are exact.
#pragma once

#include "../base.h"
#include "ring_plain.h"
#include "ring_vectors.h"

namespace nqz::NQZ_ISA {
namespace {

#if NQZ_SHUFFLES
typedef VectorReader RingReader;
#else
typedef PlainReader RingReader;
#endif

enum {
    PIECE_ENTRIES = 1024,    // whose products with a vector fit int32, for its entries are at most 127 * 128 + 63
    TILE_ENTRIES = 1 << 15,  // that are decoded at a time
    TILE_PIECES = 128,       // of columns, at most
    BUFFER = 1 << 12,        // entries
    PADDING = 32,
};

// Calls f(reader, place, first entry of the ring) for all rings.
template <class F>
NQZ_INLINE void for_rings(const Rings& rings, F f) {
    const uint8_t* data = rings.data;
    int64_t start = 0;
    for (int64_t r = 0; r < rings.count;) {
        const RingForm& form = *rings.ring[r].form;
        RingReader reader(form, rings.ring[r].dither, rings.tables[form.bits2]);
        for (; r < rings.count && rings.ring[r].form == &form; r++) {
            const Ring& ring = rings.ring[r];
            RingPlace place(ring, data);
            reader.start(place);
            f(reader, place, start);
            data += ring_bytes(ring.entries, form.bits2);
            start += ring.entries;
        }
    }
}

// Calls put(values, entry, count) for all values of a ring.
template <class F>
NQZ_INLINE void for_values(RingReader& reader, RingPlace& place, F put) {
    int8_t value[BUFFER];
    const int64_t unit = 32 * reader.steps;
    for (int64_t done = 0; done < place.entries;) {
        const int64_t units = least(BUFFER / unit, (place.entries - done + unit - 1) / unit);
        reader.values(place, units, value);
        const int64_t count = least(units * unit, place.entries - done);
        put(value, done, count);
        done += count;
    }
}

// Points as int8 or int32.
void ring_decode(const Rings& rings, void* out, int bytes, uint8_t*) {
    for_rings(rings, [&](RingReader& reader, RingPlace& place, int64_t start) {
        for_values(reader, place, [&](const int8_t* value, int64_t done, int64_t count) {
            if (bytes == 1) {
                memcpy((int8_t*)out + start + done, value, (size_t)count);
            } else {
                int32_t* to = (int32_t*)out + start + done;
                for (int64_t i = 0; i < count; i++) to[i] = value[i];
            }
        });
    });
}

// A part of a column, decoded, and with which entries of a vector it is to be multiplied.
struct ColumnPiece {
    const int16_t* value;
    int64_t from, length, column;
};

// Vectors in rows of `pitch` entries, and sums by column.
struct FewVectors {
    const int16_t* vector;
    int64_t pitch, count;
    int64_t* out;
};

// Products of COLUMNS pieces alike with VECTORS vectors. What is read beyond the pieces is zero on one side.
template <int COLUMNS, int VECTORS>
void multiply_pieces(const ColumnPiece* piece, const FewVectors& few, int64_t first) {
    const int16_t* vector = few.vector + first * few.pitch + piece->from;
    for (int64_t from = 0; from < piece->length; from += PIECE_ENTRIES) {
        const int64_t end = least(piece->length, from + PIECE_ENTRIES);
        Simd::PairSums sum[COLUMNS][VECTORS];
        for (int64_t k = from; k < end; k += Simd::PairSums::WIDTH)
#pragma GCC unroll 4
            for (int c = 0; c < COLUMNS; c++)
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++) sum[c][v].add(piece[c].value + k, vector + v * few.pitch + k);
        for (int c = 0; c < COLUMNS; c++)
            for (int v = 0; v < VECTORS; v++) few.out[piece[c].column * few.count + first + v] += sum[c][v].total();
    }
}

template <int COLUMNS>
NQZ_INLINE void multiply_with_all(const ColumnPiece* piece, const FewVectors& few) {
    int64_t v = 0;
    for (; v + 2 <= few.count; v += 2) multiply_pieces<COLUMNS, 2>(piece, few, v);
    if (v < few.count) multiply_pieces<COLUMNS, 1>(piece, few, v);
}

// Columns that are decoded, until there is enough of them.
struct ColumnTile {
    int16_t value[TILE_ENTRIES + PADDING];
    ColumnPiece piece[TILE_PIECES];
    int64_t filled, pieces;

    // The next entries of a column.
    void add(const int8_t* from, int64_t at, int64_t length, int64_t column, const FewVectors& few) {
        while (length > 0) {
            if (filled == TILE_ENTRIES || pieces == TILE_PIECES) multiply(few);
            const int64_t count = least(length, TILE_ENTRIES - filled);
            int16_t* to = value + filled;
            for (int64_t i = 0; i < count; i++) to[i] = from[i];
            ColumnPiece* last = piece + pieces - 1;
            if (pieces && last->column == column && last->from + last->length == at)
                last->length += count;
            else
                piece[pieces++] = {to, at, count, column};
            filled += count;
            from += count;
            at += count;
            length -= count;
        }
    }
    // Multiplies what there is, and begins again.
    void multiply(const FewVectors& few) {
        memset(value + filled, 0, PADDING * sizeof *value);
        for (int64_t i = 0; i < pieces;) {
            const ColumnPiece* p = piece + i;
            bool alike = i + 4 <= pieces;
            for (int k = 1; alike && k < 4; k++) alike = p[k].from == p->from && p[k].length == p->length;
            if (alike)
                multiply_with_all<4>(p, few);
            else
                multiply_with_all<1>(p, few);
            i += alike ? 4 : 1;
        }
        filled = pieces = 0;
    }
};

NQZ_INLINE int64_t padded_length(int64_t n) { return (n + 2 * PADDING - 1) / PADDING * PADDING; }

// Bytes of working memory for points and products.
int64_t ring_scratch(int64_t n, int64_t few) { return 64 + (int64_t)sizeof(ColumnTile) + 2 * padded_length(n) * few; }

// Products with any number of vectors.
NQZ_INLINE void products_of_tiles(const Rings& rings, int64_t n, const int16_t* vectors, int64_t count, int64_t* out,
                                  uint8_t* scratch) {
    const int64_t pitch = padded_length(n);
    ColumnTile& tile = *(ColumnTile*)(((uintptr_t)scratch + 63) / 64 * 64);
    int16_t* vector = (int16_t*)(&tile + 1);
    for (int64_t v = 0; v < count; v++) {
        memcpy(vector + v * pitch, vectors + v * n, (size_t)n * sizeof *vector);
        memset(vector + v * pitch + n, 0, (size_t)(pitch - n) * sizeof *vector);
    }
    int64_t entries = 0;
    for (int64_t r = 0; r < rings.count; r++) entries += rings.ring[r].entries;
    memset(out, 0, (size_t)(entries / n * count) * sizeof *out);
    const FewVectors few = {vector, pitch, count, out};
    tile.filled = tile.pieces = 0;
    for_rings(rings, [&](RingReader& reader, RingPlace& place, int64_t start) {
        for_values(reader, place, [&](const int8_t* value, int64_t done, int64_t length) {
            while (length > 0) {
                const int64_t column = (start + done) / n, at = start + done - column * n, part = least(n - at, length);
                tile.add(value, at, part, column, few);
                value += part;
                done += part;
                length -= part;
            }
        });
    });
    tile.multiply(few);
}

// Products with one vector, of columns of whole groups of four steps.
template <class Reader>
NQZ_INLINE void products_of_one(const Rings& rings, int64_t n, const int16_t* vector, int64_t* out, uint8_t* scratch) {
    int8_t *high = (int8_t*)scratch, *low = high + n;
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        high[i] = (int8_t)((vector[i] + 64) >> 7);
        low[i] = (int8_t)(vector[i] - 128 * high[i]);
        sum += vector[i];
    }
    for_rings(rings, [&](const Reader& reader, RingPlace& place, int64_t start) {
        reader.products(place, n, high, low, sum, out + start / n);
    });
}

void ring_products(const Rings& rings, int64_t n, const int16_t* vectors, int64_t few, int64_t* out, uint8_t* scratch) {
    if constexpr (RingReader::HAS_PRODUCTS) {
        if (few == 1 && n % 128 == 0) return products_of_one<RingReader>(rings, n, vectors, out, scratch);
    }
    products_of_tiles(rings, n, vectors, few, out, scratch);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
