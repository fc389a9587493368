// The code bits of lattices with groups: the indices of codewords, plain or with modelled chances.
#pragma once

#include "../base.h"
#include "../lanes.h"
#include "bits.h"
#include "chances.h"
#include "coder.h"
#include "rans.h"

namespace nqz::NQZ_ISA {
namespace {

// Chances of a one, of 4096, for one block of a group row: chance[h][l], h = 1 at the top bit, then 2 h + bit.
// `table` holds the table of every position of the block.
template <class Lattice>
void codeword_chances(const int32_t* table, const double* weight, const uint8_t* level, int lanes,
                      int32_t (*__restrict chance)[32]) {
    enum { WORDS = 1 << Lattice::BITS };
    double heap[2 * WORDS][32];
    with_lanes(lanes, [&](auto n) {
        for (int i = 0; i < Lattice::SIZE; i++) {
            double w[2][32];
            for (int l = 0; l < n; l++) {
                const double* of = weight + 16 * (int64_t)table[i * n + l];
                w[0][l] = of[-level[i * n + l] & 15];
                w[1][l] = of[(8 - level[i * n + l]) & 15];
            }
            for (int c = 0; c < WORDS; c++) {
                const double* chosen = w[Lattice::code_bit((uint32_t)c, i)];
                double* product = heap[WORDS + c];
                if (i == 0)
                    for (int l = 0; l < n; l++) product[l] = chosen[l];
                else
                    for (int l = 0; l < n; l++) product[l] = product[l] * chosen[l];
            }
        }
        for (int h = WORDS - 1; h >= 1; h--)
            for (int l = 0; l < n; l++) {
                chance[h][l] = chance_of(heap[2 * h][l], heap[2 * h + 1][l]);
                heap[h][l] = heap[2 * h][l] + heap[2 * h + 1][l];
            }
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
            int32_t chance[1 << Lattice::BITS][32];
            codeword_chances<Lattice>(row.table + block * size, e.tables.weight, row.level + block * size, n, chance);
            for (int b = 0; b < Lattice::BITS; b++) {
                uint32_t bits = 0, of_one[32];
                for (int l = 0; l < n; l++) {
                    uint32_t above = index[l] >> (b + 1) | 1u << (Lattice::BITS - 1 - b);
                    of_one[l] = (uint32_t)chance[above][l];
                    bits |= (index[l] >> b & 1) << l;
                }
                encode_bits(bits, of_one, n, e.state, e.words);
            }
        }
    }
}

// Decodes the codewords of a group row to index[block][lane], and these to the contexts of its points.
template <class Lattice>
bool decode_codewords(Decoder& d, const GroupRow& row, uint32_t (*__restrict index)[32], uint8_t* __restrict context) {
    const int n = d.n, size = Lattice::SIZE * n;
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
            int32_t chance[1 << Lattice::BITS][32];
            codeword_chances<Lattice>(row.table + block * size, d.tables.weight, row.level + block * size, n, chance);
            for (int l = 0; l < n; l++) c[l] = 1;
            for (int b = 0; b < Lattice::BITS; b++) {
                uint32_t bits, of_one[32];
                for (int l = 0; l < n; l++) of_one[l] = (uint32_t)chance[c[l]][l];
                if (!decode_bits(of_one, n, d.state, d.words, d.end, bits)) return false;
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

template <class Lattice>
constexpr CodeBits CODEWORDS = {Lattice::GROUP,
                                Lattice::HALVES_LAST != 0,
                                Lattice::BLOCKS != 0,
                                Lattice::BLOCKS != 0,
                                Lattice::BLOCKS != 0,
                                nullptr,
                                nullptr,
                                encode_codewords<Lattice>,
                                decode_codewords<Lattice>,
                                Lattice::HALVES_LAST ? find_last<Lattice> : nullptr};

}  // namespace
}  // namespace nqz::NQZ_ISA
