// Chances of the inputs of convolutional lattices that look ahead (docs/format.md, section 15): a step's two branches
// are weighed together with all paths over the steps that follow, whose dither is known too.
//
// A weight is that of a label, 2 c0 + c1, by the dither of a step alone. On the way from a state the label of a step is
// that of inputs of zero, different on every lane, xor what the other inputs change, the same on all lanes.
#pragma once

#include "../base.h"
#include "../dither.h"
#include "../lanes.h"
#include "../lattices/conv.h"
#include "../simd/simd.h"
#include "chances.h"

namespace nqz::NQZ_ISA {
namespace {

struct LookAhead {
    enum { STEPS = 3, ROW = 4 };  // how far; steps of a group row

    int64_t first = -1;  // the position of the row whose weights, and those of STEPS behind it, stand here
    int32_t table = -1;
    uint16_t by_level[2][16];             // of a code bit at a dither level
    uint16_t weight[ROW + STEPS][4][32];  // by step and label
    uint32_t bits[2][ROW + STEPS];        // code bits of the steps if all inputs from now on are zero
    uint32_t reach[2][ROW + STEPS];       // all ones where an input changes a code bit so many steps later
    int change[1 + STEPS][2 << STEPS];    // of labels, by step and inputs, the first input highest

    NQZ_INLINE void begin(int memory) {
        first = table = -1;
        const uint32_t registers = (2u << memory) - 1;
        for (int c = 0; c < 2; c++)
            for (int step = 0; step < ROW + STEPS; step++)
                reach[c][step] = 0 - (uint32_t)(label_of(memory, (1u << step) & registers) >> (1 - c) & 1);
        for (int step = 0; step <= STEPS; step++)
            for (uint32_t inputs = 0; inputs < 2u << step; inputs++)
                change[step][inputs] = label_of(memory, inputs & registers);
    }

    // `level`: of the row at `first_`. Rows come one after the other, in either direction.
    void prepare(const Dither& dither, const uint8_t* levels, const uint8_t* level, int64_t first_, int64_t positions,
                 int n, const uint16_t* of_table, int32_t t) {
        const int64_t row_size = 2 * ROW * n;
        int begin = 0, end = ROW + STEPS;
        if (t != table) {
            for (int z = 0; z < 16; z++)
                for (int c = 0; c < 2; c++) by_level[c][z] = of_table[(8 * c - z) & 15];
        } else if (first >= 0 && first + row_size == first_) {
            memmove(weight[0], weight[ROW], STEPS * sizeof *weight);
            begin = STEPS;
        } else if (first == first_ + row_size) {
            memmove(weight[ROW], weight[0], STEPS * sizeof *weight);
            end = ROW;
        }
        first = first_;
        table = t;
        for (int step = begin; step < least(end, ROW); step++) fill(level + 2 * step * n, n, weight[step]);
        if (end == ROW) return;
        uint8_t own[256];
        const int64_t next = first_ + row_size;
        memset(own, 0, sizeof own);  // behind the chunk
        level = next < positions ? row_levels(dither, levels, next, (int)row_size, own) : own;
        for (int step = 0; step < STEPS; step++) fill(level + 2 * step * n, n, weight[ROW + step]);
    }

    // Before the first step of the row; MEMORY_MAX inputs stand before `now`.
    NQZ_INLINE void enter(const Taps& taps, const uint32_t* now) {
        for (int c = 0; c < 2; c++)
            for (int step = 0; step < ROW + STEPS; step++) {
                uint32_t sum = 0;
                for (int i = taps.count[c] - 1; i >= 0 && taps.back[c][i] > step; i--)
                    sum ^= now[step - taps.back[c][i]];
                bits[c][step] = sum;
            }
    }

    // After step i, which took `inputs`.
    NQZ_INLINE void go(int i, uint32_t inputs) {
        for (int c = 0; c < 2; c++)
            for (int step = i + 1; step < ROW + STEPS; step++) bits[c][step] ^= inputs & reach[c][step - i];
    }

    // Chances of an input of one at step i of the row.
    void chances(int i, int n, uint32_t* __restrict chance) const {
        // Weights of the steps by what changes their labels; of the last one those of a label and its complement.
        uint16_t changed[STEPS][4][32], pair[2][32], second[4][32], after[2][32];
        for (int step = 0; step < STEPS; step++) turn(i + step, n, changed[step]);
        turn_pairs(i + STEPS, n, pair);
        with_lanes(n, [&](auto lanes) {
            // What follows a step, by the inputs up to it.
            for (int r = 0; r < 4; r++) {
                const int a = change[2][2 * r];
                add(changed[2][a], pair[is_odd(3, 4 * r)], changed[2][a ^ 3], pair[is_odd(3, 4 * r + 2)], lanes,
                    second[r]);
            }
            for (int r = 0; r < 2; r++) {
                const int a = change[1][2 * r];
                add(changed[1][a], second[2 * r], changed[1][a ^ 3], second[2 * r + 1], lanes, after[r]);
            }
            for (int l = 0; l < lanes; l++)
                chance[l] = chance_of(product_of(changed[0][0][l], after[0][l]) | 1u,
                                      product_of(changed[0][3][l], after[1][l]) | 1u);
        });
    }

  private:
    // Weights of labels by the levels of the two points of a step.
    NQZ_INLINE void fill(const uint8_t* level, int n, uint16_t (*__restrict to)[32]) const {
        uint16_t weight_of[2][2][32];  // point, code bit
        for (int point = 0; point < 2; point++)
            for (int c = 0; c < 2; c++) {
                if (n == 32) {
                    Simd::look_up(by_level[c], level + 32 * point, weight_of[point][c]);
                    continue;
                }
                for (int l = 0; l < n; l++) weight_of[point][c][l] = by_level[c][level[n * point + l]];
            }
        with_lanes(n, [&](auto lanes) {
            for (int label = 0; label < 4; label++)
                for (int l = 0; l < lanes; l++)
                    to[label][l] = product_of(weight_of[0][label >> 1][l], weight_of[1][label & 1][l]) | 1;
        });
    }

    // to[x] = the weight of label x ^ (2 c0 + c1), with the code bits of inputs of zero.
    NQZ_INLINE void turn(int step, int n, uint16_t (*__restrict to)[32]) const {
        const uint16_t (*from)[32] = weight[step];
        uint16_t high[32], low[32];
        Simd::spread(bits[0][step], high);
        Simd::spread(bits[1][step], low);
        with_lanes(n, [&](auto lanes) {
            for (int l = 0; l < lanes; l++) {
                const uint16_t d = (from[0][l] ^ from[2][l]) & high[l], e = (from[1][l] ^ from[3][l]) & high[l];
                const uint16_t w0 = from[0][l] ^ d, w2 = from[2][l] ^ d, w1 = from[1][l] ^ e, w3 = from[3][l] ^ e;
                const uint16_t f = (w0 ^ w1) & low[l], g = (w2 ^ w3) & low[l];
                to[0][l] = w0 ^ f;
                to[1][l] = w1 ^ f;
                to[2][l] = w2 ^ g;
                to[3][l] = w3 ^ g;
            }
        });
    }

    // Half the sums of the weights of labels 0 and 3, and of 1 and 2, xor those code bits.
    NQZ_INLINE void turn_pairs(int step, int n, uint16_t (*__restrict to)[32]) const {
        const uint16_t (*from)[32] = weight[step];
        uint16_t odd[32];
        Simd::spread(bits[0][step] ^ bits[1][step], odd);
        with_lanes(n, [&](auto lanes) {
            for (int l = 0; l < lanes; l++) {
                const uint16_t even_pair = (uint16_t)((from[0][l] >> 1) + (from[3][l] >> 1));
                const uint16_t odd_pair = (uint16_t)((from[1][l] >> 1) + (from[2][l] >> 1));
                const uint16_t d = (even_pair ^ odd_pair) & odd[l];
                to[0][l] = even_pair ^ d;
                to[1][l] = odd_pair ^ d;
            }
        });
    }

    // Half the sum of two products.
    template <class Lanes>
    static NQZ_INLINE void add(const uint16_t* a, const uint16_t* x, const uint16_t* b, const uint16_t* y, Lanes lanes,
                               uint16_t* __restrict to) {
        for (int l = 0; l < lanes; l++)
            to[l] = (uint16_t)((product_of(a[l], x[l]) >> 1) + (product_of(b[l], y[l]) >> 1));
    }

    // Whether the two labels of a step differ in their code bits, by the inputs up to it.
    NQZ_INLINE int is_odd(int step, int inputs) const { return (change[step][inputs] >> 1 ^ change[step][inputs]) & 1; }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
