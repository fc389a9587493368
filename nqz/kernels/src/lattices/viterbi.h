// Viterbi: the nearest point of a convolutional lattice, SLAB lanes side by side in one vector of 16-bit metrics.
//
// A step's cost is h = 128 - |r|, r the distance from the nearest even integer in 1/256: half of what an odd integer
// costs more than the even one. A branch with code bits (c0, c1) is given the metric e = ±h0 ± h1, plus where the bit
// is 1: that is its cost less the mean h0 + h1 of all branches, and an exact integer. Complementary labels have
// opposite metrics, and a butterfly (two states, their two common successors) needs only one: -e or e everywhere.
//
// No overflow in 16 bits: |e| <= 256. Every state is reached from every other within `memory` <= 12 steps, so once
// `memory` steps are done, metrics lie within 2 * 256 * 12 = 6144 of one another. Every BATCH = 64 steps the metric of
// state 0 is subtracted from all (which decides nothing): below 6144 + 64 * 256 = 22528 in magnitude. A window begins
// with 0 in the known state and FORBIDDEN = 8192 in the others: at most 8192 + 64 * 256 = 24576. A path from a
// forbidden state never wins: within 12 steps it costs at least 8192 - 12 * 256 = 5120, an allowed one at most 3072.
#pragma once

#include "../base.h"
#include "../dither.h"
#include "../fixed_point.h"
#include "../simd/simd.h"
#include "conv.h"

namespace nqz::NQZ_ISA {
namespace {

enum { BATCH = 64, FORBIDDEN = 8192 };

// Bytes of decisions of one trellis step.
NQZ_INLINE int64_t decision_row(int memory) { return ((int64_t)2 * SLAB / 8) << (memory - 1); }

// Branch metrics of one trellis step by label.
struct Branches {
    Metrics of[4];
};

// Trellis steps taken at once: the metrics of 2^STEPS states, 2^(memory - STEPS) apart, stay in registers meanwhile.
template <int MEMORY>
struct Radix {
    enum { STEPS = Simd::TRELLIS_STEPS == 4 && MEMORY >= 4 ? 4 : 2, WIDTH = 1 << STEPS, COUNT = 1 << (MEMORY - STEPS) };
};

// Step STEP of a block, on butterfly K of WIDTH / 2. `x` holds the block's metrics; its index is the part of the state
// above the block's number j, followed by the part below. `plus` and `minus` are h0 + h1 and h0 - h1, with the signs
// that j gives them; `to` are the step's decisions from j on.
template <int MEMORY, int STEP, int K>
NQZ_INLINE void trellis_butterfly(const Metrics* x, Metrics* y, Metrics plus, Metrics minus, uint8_t* to) {
    typedef Radix<MEMORY> R;
    constexpr uint32_t high = K >> STEP, low = K & ((1 << STEP) - 1);
    constexpr uint32_t reg = high << (MEMORY - R::STEPS + STEP + 1) | low << 1;
    constexpr int label = label_of(MEMORY, reg);
    Metrics e = label == 0 || label == 3 ? plus : minus;
    Metrics s0 = x[K], s1 = x[K + R::WIDTH / 2];
    Metrics more0 = s0 + e, less0 = s0 - e, more1 = s1 + e, less1 = s1 - e;
    // The branch from s0 with input 0 has the label; the one from s1, its complement.
    Metrics a0 = label >= 2 ? more0 : less0, b0 = label >= 2 ? less1 : more1;
    Metrics a1 = label >= 2 ? less0 : more0, b1 = label >= 2 ? more1 : less1;
    Simd::decide(to + Simd::decision_offset((int32_t)reg), a0, b0, a1, b1);
    y[2 * K] = Simd::lesser(a0, b0);
    y[2 * K + 1] = Simd::lesser(a1, b1);
}

template <int MEMORY, int STEP, int K>
struct Butterflies {
    static NQZ_INLINE void run(const Metrics* x, Metrics* y, Metrics plus, Metrics minus, uint8_t* to) {
        Butterflies<MEMORY, STEP, K - 1>::run(x, y, plus, minus, to);
        trellis_butterfly<MEMORY, STEP, K - 1>(x, y, plus, minus, to);
    }
};
template <int MEMORY, int STEP>
struct Butterflies<MEMORY, STEP, 0> {
    static NQZ_INLINE void run(const Metrics*, Metrics*, Metrics, Metrics, uint8_t*) {}
};

template <int MEMORY, int STEP>
NQZ_INLINE void advance(const Metrics* x, Metrics* y, const Branches* branches, const uint8_t* flip, int j,
                        uint8_t* decisions) {
    typedef Radix<MEMORY> R;
    const Metrics* e = branches[STEP].of;
    int by = flip[STEP * R::COUNT + j];
    Butterflies<MEMORY, STEP, R::WIDTH / 2>::run(
        x, y, e[3 ^ by], e[2 ^ by], decisions + STEP * decision_row(MEMORY) + Simd::decision_offset(j << (STEP + 1)));
}

// The metrics of all states, and room for as many.
struct Metric {
    Metrics *now, *spare;
};

// Takes `count` trellis steps, a multiple of STEPS, and writes their decisions. `flip` is that of flips_of.
template <int MEMORY>
void take_steps(Metric& metric, const Branches* branches, int count, const uint8_t* flip, uint8_t* decisions) {
    typedef Radix<MEMORY> R;
    for (int i = 0; i < count; i += R::STEPS, decisions += R::STEPS * decision_row(MEMORY)) {
        const Metrics* from = metric.now;
        Metrics* to = metric.spare;
        for (int j = 0; j < R::COUNT; j++) {
            Metrics m[R::WIDTH], n[R::WIDTH];
            for (int k = 0; k < R::WIDTH; k++) m[k] = from[j + k * R::COUNT];
            advance<MEMORY, 0>(m, n, branches + i, flip, j, decisions);
            advance<MEMORY, 1>(n, m, branches + i, flip, j, decisions);
            if constexpr (R::STEPS == 4) {
                advance<MEMORY, 2>(m, n, branches + i, flip, j, decisions);
                advance<MEMORY, 3>(n, m, branches + i, flip, j, decisions);
            }
            for (int k = 0; k < R::WIDTH; k++) to[j * R::WIDTH + k] = m[k];
        }
        metric.spare = metric.now;
        metric.now = to;
    }
}

// What is compiled for each memory by itself.
struct Stepper {
    int steps;  // at once
    void (*take)(Metric& metric, const Branches* branches, int count, const uint8_t* flip, uint8_t* decisions);
};
template <int MEMORY>
constexpr Stepper STEPPER = {Radix<MEMORY>::STEPS, take_steps<MEMORY>};
constexpr const Stepper* STEPPERS[MEMORY_MAX + 1] = {
    nullptr,     nullptr,     &STEPPER<2>, &STEPPER<3>,  &STEPPER<4>,  &STEPPER<5>,  &STEPPER<6>,
    &STEPPER<7>, &STEPPER<8>, &STEPPER<9>, &STEPPER<10>, &STEPPER<11>, &STEPPER<12>,
};

// The search in one slab of lanes.
struct Viterbi {
    int memory;
    const Stepper* stepper;
    const int32_t* x;  // fixed point, [2 steps][lanes]
    int lanes, lane;   // lanes of the chunk, and the slab's first
    Metric metric;
    uint8_t* decisions;
    uint8_t flip[2 << (MEMORY_MAX - 2)];  // by step and block: what the part of the state below turns labels to

    NQZ_INLINE int64_t row() const { return decision_row(memory); }

    void begin() {
        stepper = STEPPERS[memory];
        const int count = 1 << (memory - stepper->steps);
        for (int step = 0; step < stepper->steps; step++)
            for (int j = 0; j < count; j++)
                flip[step * count + j] = (uint8_t)label_of(memory, (uint32_t)j << (step + 1));
        const int16_t forbidden = FORBIDDEN;
        metric.now[0] = Metrics{};
        for (int s = 1; s < 1 << memory; s++) metric.now[s] = Metrics{} + forbidden;
    }

    // Branch metrics of `count` <= BATCH trellis steps; 0 for lanes that the chunk does not have.
    void fill(int64_t first, int count, Branches* branches) const {
        int16_t h[2 * BATCH][SLAB];
        const int32_t* from = x + 2 * first * lanes + lane;
        if (lanes - lane >= SLAB) {
            for (int i = 0; i < 2 * count; i++, from += lanes)
                for (int l = 0; l < SLAB; l++) {
                    int32_t r = ((from[l] + 256) & 511) - 256;
                    h[i][l] = (int16_t)(128 - (r < 0 ? -r : r));
                }
        } else {
            for (int i = 0; i < 2 * count; i++, from += lanes)
                for (int l = 0; l < SLAB; l++) {
                    int32_t r = l < lanes - lane ? ((from[l] + 256) & 511) - 256 : 128;
                    h[i][l] = (int16_t)(128 - (r < 0 ? -r : r));
                }
        }
        for (int t = 0; t < count; t++) {
            Metrics h0, h1;
            memcpy(&h0, h[2 * t], sizeof h0);
            memcpy(&h1, h[2 * t + 1], sizeof h1);
            branches[t].of[3] = h0 + h1;
            branches[t].of[2] = h0 - h1;
            branches[t].of[1] = h1 - h0;
            branches[t].of[0] = -h0 - h1;
        }
    }

    // Decisions of the trellis steps [first, end), to row `to` on.
    void forward(int64_t first, int64_t end, uint8_t* to) {
        Branches branches[BATCH];
        for (int64_t t = first; t < end; t += BATCH) {
            int count = (int)least(BATCH, end - t);
            fill(t, count, branches);
            stepper->take(metric, branches, count, flip, to);
            to += count * row();
            Metrics *metrics = metric.now, base = metrics[0];
            for (int s = 0; s < 1 << memory; s++) metrics[s] -= base;
        }
    }

    // The best state of each lane.
    void best(int32_t* state) const {
        const Metrics* metrics = metric.now;
        Metrics least_one = metrics[0], at = {};
        for (int s = 1; s < 1 << memory; s++) {
            Metrics less = (Metrics)(metrics[s] < least_one);
            at = (at & ~less) | ((Metrics{} + (int16_t)s) & less);
            least_one = Simd::lesser(least_one, metrics[s]);
        }
        for (int l = 0; l < SLAB; l++) state[l] = at[l];
    }

    // Follows the decisions in rows [begin, end) back from `state`; adds the inputs to `inputs`, if any.
    void back(int64_t begin, int64_t end, int32_t* state, uint32_t* inputs) const {
        const uint8_t* decided = decisions + (end - 1) * row();
        Simd::States states(state, memory);
        if (inputs)
            for (int64_t t = end - 1; t >= begin; t--, decided -= row()) inputs[t] |= states.back(decided) << lane;
        else
            for (int64_t t = end - 1; t >= begin; t--, decided -= row()) states.back(decided);
        states.store();
    }
};

// Trellis steps that a window decides, and those that it looks ahead: few enough to stay in the second-level cache.
enum { WINDOW = 1024 };
NQZ_INLINE int64_t window_ahead(int memory) { return 64 * memory; }

// Bytes of working memory: metrics and the decisions of a window for every slab, each on a multiple of 64 bytes.
NQZ_INLINE int64_t metrics_bytes(int memory) { return 2 * ((int64_t)sizeof(Metrics) << memory); }
NQZ_INLINE int64_t decision_bytes(int memory, const Place& place) {
    int64_t steps = least(place.positions / place.lanes / 2, WINDOW + window_ahead(memory));
    return (steps * decision_row(memory) + 63) / 64 * 64;
}
NQZ_INLINE int slabs_of(const Place& place) { return (place.lanes + SLAB - 1) / SLAB; }

int64_t viterbi_scratch(const Place& place) {
    const int memory = Conv::memory(place);
    return slabs_of(place) * (metrics_bytes(memory) + decision_bytes(memory, place));
}

// Turns the fixed-point values of `steps` trellis steps and the path's inputs into fine coordinates: 8 times the
// nearest integer of the parity of the code bit, less the level.
template <int L>
void follow(TrellisEncoder& encoder, const uint32_t* inputs, int64_t steps, int lanes, const uint8_t* level,
            int32_t* x) {
    const int n = L ? L : lanes;
    for (int64_t t = 0; t < steps; t++) {
        uint32_t odd[2];
        encoder.zero_branch(odd[0], odd[1]);
        odd[0] ^= inputs[t];
        odd[1] ^= inputs[t];
        encoder.push(inputs[t]);
        for (int i = 0; i < 2; i++, x += n, level += n) {
            if constexpr (L == 32 && Simd::GATHERS) {
                for (int l = 0; l < 32; l += VECTOR) {
                    Ints one = (Ints)Simd::lanes_of(odd[i] >> l), v = load_ints(x + l);
                    v = ((v + (256 & ~one)) >> 5 & -16) | (8 & one);
                    store_ints(x + l, v - (Ints)Simd::widen(level + l));
                }
            } else {
                for (int l = 0; l < n; l++) {
                    int32_t one = (int32_t)(odd[i] >> l & 1);
                    x[l] = ((x[l] + 256 - 256 * one) >> 5 & -16) + 8 * one - level[l];
                }
            }
        }
    }
}

// Fixed-point values and levels of the positions [first, end); windows begin at multiples of 16, so that levels do at
// whole words.
void add_dither(const Place& place, Dither dither, const float* u, const float* scale, int64_t first, int64_t end,
                uint8_t* level, int32_t* x) {
    enum { PIECE = 256 };
    dither.counter += (uint64_t)first / 16;
    write_levels(dither, end - first, level + first);
    for (; first < end; first += PIECE) {
        int count = (int)least(PIECE, end - first);
        int32_t t[PIECE];
        fixed_point(u, place, scale, nullptr, first, count, t);
        for (int p = 0; p < count; p++) x[first + p] = t[p] + 32 * level[first + p];
    }
}

// The nearest points of a convolutional lattice. `level` has room for the positions, `scratch` is aligned to 64 bytes.
void search_trellises(const Place& place, const Dither& dither, const float* u, const float* scale, uint8_t* level,
                      uint8_t* scratch, int32_t* x) {
    const int memory = Conv::memory(place);
    const int64_t steps = place.positions / place.lanes / 2, pair = 2 * place.lanes, row = decision_row(memory);
    const int64_t ahead = window_ahead(memory);
    const int slabs = slabs_of(place);
    Viterbi slab[MOST_LANES / SLAB];
    for (int s = 0; s < slabs; s++) {
        Viterbi& v = slab[s];
        v.memory = memory;
        v.x = x;
        v.lanes = place.lanes;
        v.lane = s * SLAB;
        v.metric.now = (Metrics*)(scratch + s * metrics_bytes(memory));
        v.metric.spare = v.metric.now + (1 << memory);
        v.decisions = scratch + slabs * metrics_bytes(memory) + s * decision_bytes(memory, place);
        v.begin();
    }
    TrellisEncoder encoder(memory);
    for (int64_t first = 0, done = 0; first < steps; first += WINDOW) {
        int64_t keep = least(steps - first, WINDOW), end = least(steps, first + WINDOW + ahead);
        uint32_t inputs[WINDOW] = {};
        add_dither(place, dither, u, scale, pair * done, pair * end, level, x);
        for (int s = 0; s < slabs; s++) {
            Viterbi& v = slab[s];
            int32_t state[SLAB];
            v.forward(done, end, v.decisions + (done - first) * row);
            v.best(state);
            v.back(keep, end - first, state, nullptr);
            v.back(0, keep, state, inputs);
            // The rest is the beginning of the next window.
            memmove(v.decisions, v.decisions + keep * row, (size_t)((end - first - keep) * row));
        }
        (place.lanes == 32 ? follow<32> : follow<0>)(encoder, inputs, keep, place.lanes, level + pair * first,
                                                     x + pair * first);
        done = end;
    }
}

}  // namespace
}  // namespace nqz::NQZ_ISA
