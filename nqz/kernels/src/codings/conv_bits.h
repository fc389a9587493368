// The code bits of convolutional lattices in the entropy coder: inputs of their trellis.
//
// A group row is four trellis steps. Bit l of a word belongs to lane l.
#pragma once

#include "../base.h"
#include "../lanes.h"
#include "../lattices/conv.h"
#include "../simd/simd.h"
#include "ahead.h"
#include "bits.h"
#include "chances.h"
#include "coder.h"
#include "rans.h"

namespace nqz::NQZ_ISA {
namespace {

// Contexts of the points of n lanes whose code bits are `bits`.
NQZ_INLINE void code_contexts(uint32_t bits, const uint8_t* level, int n, uint8_t* __restrict context) {
    if (Simd::GATHERS && n == 32) return Simd::contexts_of_bits(bits, level, context);
    for (int l = 0; l < n; l++) context[l] = (uint8_t)((8 * (bits >> l & 1) - level[l]) & 15);
}

// The parities of the points of n lanes.
NQZ_INLINE uint32_t parities(const int32_t* points, const uint8_t* level, int n) {
    uint32_t bits = 0;
    if (Simd::GATHERS && n == 32) {
        for (int l = 0; l < 32; l += VECTOR)
            bits |= Simd::flags((Words)((Ints)((load_words(points + l) + Simd::widen(level + l)) << 28) >> 31)) << l;
        return bits;
    }
    for (int l = 0; l < n; l++) bits |= (((uint32_t)points[l] + level[l]) >> 3 & 1) << l;
    return bits;
}

// The chance of an input of one, by the weights of the two points on the branch of zero and on that of one.
NQZ_INLINE uint32_t input_chance(uint16_t zero, uint16_t zero2, uint16_t one, uint16_t one2) {
    return chance_of(product_of(zero, zero2) | 1u, product_of(one, one2) | 1u);
}

// Chances of an input of one in every used table whose code bits are modelled, 256 for each: by the contexts of the
// zero branch of a trellis step, 16 · first + second.
void fill_chances(const Tables& tables, uint32_t* chances) {
    for (int u = 0; u < tables.used_count; u++) {
        if (!tables.modelled[tables.used[u]]) continue;
        const uint16_t* weight = tables.weight + 16 * (int64_t)tables.used[u];
        uint32_t* chance = chances + 256 * (int64_t)u;
        for (int o = 0; o < 16; o++)
            for (int o2 = 0; o2 < 16; o2++)
                *chance++ = input_chance(weight[o], weight[o2], weight[o ^ 8], weight[o2 ^ 8]);
    }
}

// Chances of an input of one at a trellis step, by the tables and the contexts of its two points.
void mixed_input_chances(const int32_t* table, const uint8_t* first, const uint8_t* second, const uint16_t* weight,
                         int n, uint32_t* __restrict chance) {
    uint16_t zero[2][32], one[2][32];
    for (int l = 0; l < n; l++) {
        const uint16_t* of_first = weight + 16 * (int64_t)table[l];
        const uint16_t* of_second = weight + 16 * (int64_t)table[n + l];
        zero[0][l] = of_first[first[l]];
        one[0][l] = of_first[first[l] ^ 8];
        zero[1][l] = of_second[second[l]];
        one[1][l] = of_second[second[l] ^ 8];
    }
    with_lanes(n, [&](auto lanes) {
        for (int l = 0; l < lanes; l++) chance[l] = input_chance(zero[0][l], zero[1][l], one[0][l], one[1][l]);
    });
}

// Chances of an input of one at step i of a row's four, whose zero branch has the code bits c0 and c1; `chances` are
// those of fill_chances.
NQZ_INLINE void input_chances(uint32_t c0, uint32_t c1, const GroupRow& row, int i, const Tables& tables,
                              const uint32_t* chances, int n, uint32_t* chance) {
    const uint8_t* level = row.level + 2 * i * n;
    uint8_t first[32], second[32];
    code_contexts(c0, level, n, first);
    code_contexts(c1, level + n, n, second);
    if (!row.same) return mixed_input_chances(row.table + 2 * i * n, first, second, tables.weight, n, chance);
    const uint32_t* of_table = chances + 256 * tables.slot[row.t];
    if (Simd::GATHERS && n == 32) {
        for (int l = 0; l < 32; l += VECTOR)
            store_words(chance + l, Simd::gather(of_table, Simd::widen(first + l) << 4 | Simd::widen(second + l)));
        return;
    }
    for (int l = 0; l < n; l++) chance[l] = of_table[16 * first[l] + second[l]];
}

// Finds the inputs of every trellis step, from the parities of its first step. MEMORY_MAX zeros stand before them.
void find_inputs(Encoder& e) {
    const int n = e.n;
    e.taps = Taps(Conv::memory(e.place));
    for (int i = 0; i < MEMORY_MAX; i++) e.out.inputs[i] = 0;
    uint32_t* inputs = e.out.inputs + MEMORY_MAX;
    for (int64_t first = 0; first < e.place.positions; first += 8 * n) {
        uint8_t own[256];
        const uint8_t* z = row_levels(e.dither, e.level, first, 8 * n, own);
        for (int i = 0; i < 4; i++, inputs++)
            *inputs = parities(e.points + first + 2 * i * n, z + 2 * i * n, n) ^ e.taps.zero_branch(0, inputs);
    }
    fill_chances(e.tables, e.out.chances);
    e.ahead.begin(Conv::memory(e.place));
}

void begin_trellis(Decoder& d) {
    d.taps = Taps(Conv::memory(d.place));
    memset(d.inputs, 0, sizeof d.inputs);
    d.input_count = MEMORY_MAX;
    fill_chances(d.tables, d.chances);
    d.ahead.begin(Conv::memory(d.place));
}

// Chances look ahead where all of a row has one table that says so.
NQZ_INLINE bool looks_ahead(const Tables& tables, const GroupRow& row) {
    return row.same && tables.modelled[row.t] == 2;
}

// Before the first step of a row that looks ahead; MEMORY_MAX inputs stand before `inputs`. `C` is a coder.
template <class C>
NQZ_INLINE void prepare_ahead(C& c, const GroupRow& row, const uint32_t* inputs) {
    c.ahead.prepare(c.dither, c.level, row.level, row.first, c.place.positions, c.n,
                    c.tables.weight + 16 * (int64_t)row.t, row.t);
    c.ahead.enter(c.taps, inputs);
}

// Codes the inputs of a group row, last first.
void encode_inputs(Encoder& e, const GroupRow& row) {
    const int n = e.n;
    const Taps taps = e.taps;  // what nothing that is written below can change
    const uint32_t* inputs = e.out.inputs + MEMORY_MAX + row.first / n / 2;
    if (!row.modelled) {
        e.code_position -= 4 * n;
        for (int i = 0; i < 4; i++)
            put_bits(e.out.code, e.code_position + i * n, inputs[i] & (uint32_t)(((uint64_t)1 << n) - 1));
        return;
    }
    const bool ahead = looks_ahead(e.tables, row);
    if (ahead) {
        uint32_t chance[4][32];
        prepare_ahead(e, row, inputs);
        for (int i = 0; i < 4; i++) {
            e.ahead.chances(i, n, chance[i]);
            e.ahead.go(i, inputs[i]);
        }
        for (int i = 3; i >= 0; i--) encode_bits(inputs[i], chance[i], n, e.state, e.words);
        return;
    }
    for (int i = 3; i >= 0; i--) {
        uint32_t chance[32];
        uint32_t c0 = taps.zero_branch(0, inputs + i), c1 = taps.zero_branch(1, inputs + i);
        input_chances(c0, c1, row, i, e.tables, e.out.chances, n, chance);
        encode_bits(inputs[i], chance, n, e.state, e.words);
    }
}

// Decodes the inputs of a group row to the contexts of its points. Returns false if the words run out.
bool decode_inputs(Decoder& d, const GroupRow& row, uint32_t (*)[32], uint8_t* __restrict context) {
    const int n = d.n;
    if (d.input_count + 4 > Decoder::MOST_INPUTS) {
        memcpy(d.inputs, d.inputs + d.input_count - MEMORY_MAX, MEMORY_MAX * sizeof *d.inputs);
        d.input_count = MEMORY_MAX;
    }
    const bool ahead = looks_ahead(d.tables, row);
    if (ahead) prepare_ahead(d, row, d.inputs + d.input_count);
    uint32_t bits[8];
    for (int i = 0; i < 4; i++) {
        uint32_t* now = d.inputs + d.input_count++;
        uint32_t c0 = d.taps.zero_branch(0, now), c1 = d.taps.zero_branch(1, now);
        if (row.modelled) {
            uint32_t chance[32];
            if (ahead)
                d.ahead.chances(i, n, chance);
            else
                input_chances(c0, c1, row, i, d.tables, d.chances, n, chance);
            if (!decode_bits(chance, n, d.state, d.words, d.end, *now)) return false;
            if (ahead) d.ahead.go(i, *now);
        } else {
            *now = (uint32_t)(get_bits(d.in.code, d.in.code_bytes, d.code_position) & (((uint64_t)1 << n) - 1));
            d.code_position += n;
        }
        bits[2 * i] = c0 ^ *now;
        bits[2 * i + 1] = c1 ^ *now;
    }
    for (int i = 0; i < 8; i++) code_contexts(bits[i], row.level + i * n, n, context + i * n);
    return true;
}

constexpr CodeBits TRELLIS = {
    Conv::GROUP, false, false, true, find_inputs, begin_trellis, encode_inputs, decode_inputs, nullptr,
};

}  // namespace
}  // namespace nqz::NQZ_ISA
