// The code bits of lattices with groups: the indices of codewords, plain or with modelled chances.
#pragma once

#include "../base.h"
#include "../lanes.h"
#include "../simd/simd.h"
#include "bits.h"
#include "chances.h"
#include "coder.h"
#include "rans.h"

namespace nqz::NQZ_ISA {
namespace {

// Weights by dither level instead of context, of every used table: 16 for a zero, then 16 for a one.
void fill_weights(const Tables& tables, uint16_t* weights) {
    for (int u = 0; u < tables.used_count; u++)
        for (int z = 0; z < 32; z++)
            *weights++ = tables.weight[16 * (int64_t)tables.used[u] + ((8 * (z >> 4) - z) & 15)];
}

// Words that are equal in some of their positions share the weight of these: least[k][p][c] is the least word that
// equals c in part p of 2^k positions.
template <class Lattice>
struct Parts {
    uint8_t least[4][Lattice::SIZE][1 << Lattice::BITS];

    constexpr Parts() : least() {
        for (int k = 0; 1 << k <= Lattice::SIZE; k++)
            for (int p = 0; p < Lattice::SIZE >> k; p++)
                for (int c = 0; c < 1 << Lattice::BITS; c++)
                    while (!equal(c, least[k][p][c], p << k, (p + 1) << k)) least[k][p][c]++;
    }
    static constexpr bool equal(int c, int other, int begin, int end) {
        for (int i = begin; i < end; i++)
            if (Lattice::code_bit((uint32_t)c, i) != Lattice::code_bit((uint32_t)other, i)) return false;
        return true;
    }
};

template <class Lanes>
NQZ_INLINE void multiply(const uint16_t* __restrict a, const uint16_t* __restrict b, Lanes n,
                         uint16_t* __restrict product) {
    for (int l = 0; l < n; l++) product[l] = product_of(a[l], b[l]);
}

// Sums of the weights of words of one block of a group row: sum[h][l], h = 1 of all, 2 h + bit of those of h whose next
// bit, from the highest on, is this one. `weights` are those of fill_weights.
template <class Lattice>
void codeword_sums(const GroupRow& row, int block, const Tables& tables, const uint16_t* weights, int lanes,
                   uint32_t (*__restrict sum)[32]) {
    enum { WORDS = 1 << Lattice::BITS, SIZE = Lattice::SIZE };
    static constexpr Parts<Lattice> parts;
    uint16_t weight[2][SIZE][WORDS][32];  // of parts by word, in turn of those of 2^k and of 2^(k + 1) positions
    with_lanes(lanes, [&](auto n) {
        for (int i = 0; i < SIZE; i++) {
            const uint8_t* z = row.level + (block * SIZE + i) * n;
            const bool in_vectors = row.same && n == 32;
            uint32_t place[32];
            if (!in_vectors)
                for (int l = 0; l < n; l++) {
                    const int32_t t = row.same ? row.t : row.table[(block * SIZE + i) * n + l];
                    place[l] = 32 * (uint32_t)tables.slot[t] + z[l];
                }
            for (int c = 0; c < WORDS; c++) {
                if (parts.least[0][i][c] != c) continue;
                const uint16_t* of_bit = weights + 16 * Lattice::code_bit((uint32_t)c, i);
                uint16_t* to = weight[0][i][c];
                if (in_vectors)
                    Simd::look_up(of_bit + 32 * tables.slot[row.t], z, to);
                else
                    for (int l = 0; l < n; l++) to[l] = of_bit[place[l]];
            }
        }
        int k = 0;
        for (; 2 << k <= SIZE; k++)
            for (int p = 0; p < SIZE >> k; p += 2)
                for (int c = 0; c < WORDS; c++)
                    if (parts.least[k + 1][p / 2][c] == c)
                        multiply(weight[k & 1][p][parts.least[k][p][c]], weight[k & 1][p + 1][parts.least[k][p + 1][c]],
                                 n, weight[~k & 1][p / 2][c]);
        for (int c = 0; c < WORDS; c++)
            for (int l = 0; l < n; l++) sum[WORDS + c][l] = weight[k & 1][0][c][l] | 1u;
        for (int h = WORDS - 1; h >= 1; h--)
            for (int l = 0; l < n; l++) sum[h][l] = sum[2 * h][l] + sum[2 * h + 1][l];
    });
}

// Chances of a one on every lane where the bits above are those of h[l].
NQZ_INLINE void codeword_chances(const uint32_t (*__restrict sum)[32], const uint32_t* h, int lanes,
                                 uint32_t* __restrict chance) {
    with_lanes(lanes, [&](auto n) {
        uint32_t zero[32], one[32];
        for (int l = 0; l < n; l++) {
            zero[l] = sum[2 * h[l]][l];
            one[l] = sum[2 * h[l] + 1][l];
        }
        for (int l = 0; l < n; l++) chance[l] = chance_of(zero[l], one[l]);
    });
}

// Codes the codewords of a group row, last first.
template <class Lattice>
void encode_codewords(Encoder& e, const GroupRow& row) {
    const int n = e.n, size = Lattice::SIZE * n;
    if (!row.modelled) e.code_position -= Lattice::BLOCKS * Lattice::BITS * n;
    int64_t position = e.code_position;
    for (int step = 0; step < Lattice::BLOCKS; step++) {
        const int block = row.modelled ? Lattice::BLOCKS - 1 - step : step;
        uint32_t index[32];
        with_lanes(n, [&](auto lanes) {
            Lattice::codewords(row.points + block * size, row.level + block * size, lanes, index);
            if (row.modelled) return;
            for (int b = 0; b < Lattice::BITS; b++) {
                uint64_t bits = 0;
                for (int l = 0; l < lanes; l++) bits |= (uint64_t)(index[l] >> b & 1) << l;
                put_bits(e.out.code, position, bits);
                position += lanes;
            }
        });
        if constexpr (Lattice::MODELLED) {
            if (!row.modelled) continue;
            uint32_t sum[2 << Lattice::BITS][32];
            codeword_sums<Lattice>(row, block, e.tables, (const uint16_t*)e.out.chances, n, sum);
            for (int b = 0; b < Lattice::BITS; b++) {
                uint32_t bits = 0, above[32], chance[32];
                for (int l = 0; l < n; l++) {
                    above[l] = index[l] >> (b + 1) | 1u << (Lattice::BITS - 1 - b);
                    bits |= (index[l] >> b & 1) << l;
                }
                codeword_chances(sum, above, n, chance);
                encode_bits(bits, chance, n, e.state, e.words);
            }
        }
    }
}

// Decodes the codewords of a group row to index[block][lane], and these to the contexts of its points.
template <class Lattice>
bool decode_codewords(Decoder& d, const GroupRow& row, uint32_t (*__restrict index)[32], uint8_t* __restrict context) {
    const int n = d.n;
    for (int block = 0; block < Lattice::BLOCKS; block++) {
        uint32_t* c = index[block];
        if (!row.modelled) {
            with_lanes(n, [&](auto lanes) {
                for (int l = 0; l < lanes; l++) c[l] = 0;
                for (int b = 0; b < Lattice::BITS; b++) {
                    uint32_t bits = (uint32_t)get_bits(d.in.code, d.in.code_bytes, d.code_position);
                    for (int l = 0; l < lanes; l++) c[l] |= (bits >> l & 1) << b;
                    d.code_position += lanes;
                }
            });
        } else if constexpr (Lattice::MODELLED) {
            uint32_t sum[2 << Lattice::BITS][32];
            codeword_sums<Lattice>(row, block, d.tables, (const uint16_t*)d.chances, n, sum);
            for (int l = 0; l < n; l++) c[l] = 1;
            for (int b = 0; b < Lattice::BITS; b++) {
                uint32_t bits, chance[32];
                codeword_chances(sum, c, n, chance);
                if (!decode_bits(chance, n, d.state, d.words, d.end, bits)) return false;
                for (int l = 0; l < n; l++) c[l] = 2 * c[l] + (bits >> l & 1);
            }
            for (int l = 0; l < n; l++) c[l] -= 1u << Lattice::BITS;
        }
    }
    with_lanes(n, [&](auto lanes) { Lattice::contexts(index, row.level, lanes, context); });
    return true;
}

template <class Lattice>
void find_last(const uint32_t (*__restrict index)[32], const GroupRow& row, const int32_t* points, int n,
               const uint8_t* __restrict context, uint32_t* known) {
    if constexpr (Lattice::HALVES_LAST)
        with_lanes(n, [&](auto lanes) { Lattice::last(index, points, row.level, lanes, context, known); });
}

void begin_encoding_codewords(Encoder& e) { fill_weights(e.tables, (uint16_t*)e.out.chances); }
void begin_decoding_codewords(Decoder& d) { fill_weights(d.tables, (uint16_t*)d.chances); }

template <class Lattice>
constexpr CodeBits CODEWORDS = {Lattice::GROUP,
                                Lattice::HALVES_LAST != 0,
                                Lattice::BLOCKS != 0,
                                Lattice::BLOCKS != 0,
                                begin_encoding_codewords,
                                begin_decoding_codewords,
                                encode_codewords<Lattice>,
                                decode_codewords<Lattice>,
                                Lattice::HALVES_LAST ? find_last<Lattice> : nullptr};

}  // namespace
}  // namespace nqz::NQZ_ISA
