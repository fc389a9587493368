// Viterbi: the nearest point of a convolutional lattice, SLAB lanes side by side in one vector of 8-bit metrics.
//
// A step's cost is h = 128 - |r|, r the distance from the nearest even integer in 1/256: half of what an odd integer
// costs more than the even one. A branch with code bits (c0, c1) is given the metric e = ±h0 ± h1, plus where the bit
// is 1: that is its cost less the mean h0 + h1 of all branches. Complementary labels have opposite metrics, and a
// butterfly (two states, their two common successors) needs only one: -e or e everywhere.
//
// Metrics are e in units of 128/11, rounded, and their sums are modulo 256 (Hekstra 1989): only differences decide, so
// that nothing need be subtracted to keep them small. Two paths into a state nearly never differ by 128 or more; where
// they do, the worse one is taken, which is a path as well (docs/theory.md, section 3). Only at the beginning of a
// lane, where state 0 is known, metrics are far apart: the first `memory` steps are summed up in 16 bits, and then no
// state is left further than FURTHEST above the least, so that the next comparisons are true.
#pragma once

#include "../base.h"
#include "../dither.h"
#include "../fixed_point.h"
#include "../simd/simd.h"
#include "conv.h"

namespace nqz::NQZ_ISA {
namespace {

enum { BATCH = 64, METRIC_FACTOR = 11, METRIC_SHIFT = 7, FURTHEST = 80 };

// Bytes of decisions of one trellis step.
NQZ_INLINE int64_t decision_row(int memory) { return ((int64_t)SLAB / 8) << memory; }

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
    Simd::choose_lesser(to + SLAB / 8 * reg, a0, b0, a1, b1, y[2 * K], y[2 * K + 1]);
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
    const char* e = (const char*)branches[STEP].of;
    const uint32_t plus = flip[STEP * R::COUNT + j], minus = plus ^ sizeof(Metrics);
    Butterflies<MEMORY, STEP, R::WIDTH / 2>::run(
        x, y, *(const Metrics*)(e + plus), *(const Metrics*)(e + minus),
        decisions + STEP * decision_row(MEMORY) + SLAB / 8 * (j << (STEP + 1)));
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
    uint8_t* decisions;  // of the latest steps
    int64_t capacity;    // how many
    uint8_t
        flip[2 << (MEMORY_MAX - 2)];  // by step and block: where label 3 stands, turned by the part of the state below

    NQZ_INLINE int64_t row() const { return decision_row(memory); }
    NQZ_INLINE uint8_t* row_of(int64_t step) const { return decisions + step % capacity * row(); }

    void begin() {
        stepper = STEPPERS[memory];
        const int count = 1 << (memory - stepper->steps);
        for (int step = 0; step < stepper->steps; step++)
            for (int j = 0; j < count; j++)
                flip[step * count + j] = (uint8_t)(sizeof(Metrics) * (3 ^ label_of(memory, (uint32_t)j << (step + 1))));
    }

    // The first `count` <= memory steps, in each of which one branch leads to a state; and zeros as their decisions.
    // The metrics in 16 bits take the room of those in 8, and of as many to spare.
    void start(const Branches* branches, int count, uint8_t* to) {
        int16_t (*sum)[SLAB] = (int16_t (*)[SLAB])metric.now;
        memset(sum, 0, sizeof *sum);
        for (int t = 0; t < count; t++)
            for (int s = (2 << t) - 1; s >= 0; s--) {
                int8_t e[SLAB];
                memcpy(e, &branches[t].of[label_of(memory, (uint32_t)s)], sizeof e);
                for (int l = 0; l < SLAB; l++) sum[s][l] = (int16_t)(sum[s >> 1][l] + e[l]);
            }
        int16_t least_one[SLAB];
        memcpy(least_one, sum, sizeof least_one);
        for (int s = 1; s < 1 << count; s++)
            for (int l = 0; l < SLAB; l++) least_one[l] = sum[s][l] < least_one[l] ? sum[s][l] : least_one[l];
        for (int s = 0; s < 1 << count; s++) {
            uint8_t above[SLAB];
            for (int l = 0; l < SLAB; l++) above[l] = (uint8_t)least(FURTHEST, sum[s][l] - least_one[l]);
            memcpy(&metric.now[s], above, sizeof above);
        }
        memset(to, 0, (size_t)(count * row()));
    }

    // One step.
    void take_one(const Branches& branches, uint8_t* to) {
        const int half = 1 << (memory - 1);
        for (int i = 0; i < half; i++) {
            const int label = label_of(memory, 2 * (uint32_t)i);
            const Metrics e = branches.of[label], f = branches.of[3 ^ label];
            const Metrics a0 = metric.now[i] + e, b0 = metric.now[i + half] + f;
            const Metrics a1 = metric.now[i] + f, b1 = metric.now[i + half] + e;
            Simd::choose_lesser(to + SLAB / 8 * 2 * i, a0, b0, a1, b1, metric.spare[2 * i], metric.spare[2 * i + 1]);
        }
        Metrics* other = metric.now;
        metric.now = metric.spare;
        metric.spare = other;
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
            uint8_t plus[SLAB], minus[SLAB];
            for (int l = 0; l < SLAB; l++) {
                int16_t h0 = h[2 * t][l], h1 = h[2 * t + 1][l];
                plus[l] = scaled((int16_t)(h0 + h1));
                minus[l] = scaled((int16_t)(h0 - h1));
            }
            Metrics* of = branches[t].of;
            memcpy(&of[3], plus, sizeof plus);
            memcpy(&of[2], minus, sizeof minus);
            of[1] = -of[2];
            of[0] = -of[3];
        }
    }
    static NQZ_INLINE uint8_t scaled(int16_t e) {
        return (uint8_t)((int16_t)(METRIC_FACTOR * e + (1 << METRIC_SHIFT) / 2) >> METRIC_SHIFT);
    }

    // Takes the trellis steps [first, end).
    void forward(int64_t first, int64_t end) {
        Branches branches[BATCH];
        for (int64_t t = first; t < end; t += BATCH) {
            int count = (int)least(BATCH, end - t);
            uint8_t* to = row_of(t);
            fill(t, count, branches);
            int taken = t == 0 ? (int)least(memory, count) : 0;
            if (taken) start(branches, taken, to);
            to += taken * row();
            for (; taken % 4; taken++, to += row()) take_one(branches[taken], to);
            stepper->take(metric, branches + taken, count - taken, flip, to);
        }
    }

    // The best state of each lane after so many steps: the first whose metric is the least, seen from state 0.
    void best(int64_t steps, int32_t* state) const {
        const uint8_t* metrics = (const uint8_t*)metric.now;
        int16_t at[SLAB] = {};
        int8_t least_one[SLAB] = {};
        for (int16_t s = 1; s < 1 << least(steps, memory); s++)
            for (int l = 0; l < SLAB; l++) {
                int8_t m = (int8_t)(metrics[s * SLAB + l] - metrics[l]);
                at[l] = m < least_one[l] ? s : at[l];
                least_one[l] = m < least_one[l] ? m : least_one[l];
            }
        for (int l = 0; l < SLAB; l++) state[l] = at[l];
    }

    // Follows the decisions of the steps [begin, end), a multiple of four, back from `state`; adds the inputs to
    // `inputs`, if any.
    void back(int64_t begin, int64_t end, int32_t* state, uint32_t* inputs) const {
        enum { NEAR = 16, SHORT = 1024, LINE = 64 };
        const int64_t pitch = row();
        const uint8_t* at = row_of(end - 4);
        Simd::States states(state, memory);
        for (int64_t t = end - 4; t >= begin; t -= 4) {
            // Decisions are read from the last on, which no processor foresees; these are all read in short rows.
            if (pitch <= SHORT && at - decisions >= NEAR * pitch)
                for (int64_t i = 0; i < 4 * pitch; i += LINE) __builtin_prefetch(at - NEAR * pitch + i);
            uint32_t found[4];
            states.back(at, pitch, found);
            if (inputs)
                for (int i = 0; i < 4; i++) inputs[t - begin + i] |= found[i] << lane;
            if (at == decisions) at += capacity * pitch;
            at -= 4 * pitch;
        }
        states.store();
    }
};

// Trellis steps that a window decides, and those that it looks ahead: few enough to stay in the second-level cache.
enum { WINDOW = 1024 };
NQZ_INLINE int64_t window_ahead(int memory) { return 64 * memory; }

// Bytes of working memory: metrics and the decisions of a window for every slab, each on a multiple of 64 bytes.
NQZ_INLINE int64_t metrics_bytes(int memory) { return 2 * ((int64_t)sizeof(Metrics) << memory); }
NQZ_INLINE int64_t decision_steps(int memory, const Place& place) {
    return least(place.positions / place.lanes / 2, WINDOW + window_ahead(memory));
}
NQZ_INLINE int64_t decision_bytes(int memory, const Place& place) {
    return (decision_steps(memory, place) * decision_row(memory) + 63) / 64 * 64;
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
    const int64_t steps = place.positions / place.lanes / 2, pair = 2 * place.lanes;
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
        v.capacity = decision_steps(memory, place);
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
            v.forward(done, end);
            v.best(end, state);
            v.back(first + keep, end, state, nullptr);
            v.back(first, first + keep, state, inputs);
        }
        (place.lanes == 32 ? follow<32> : follow<0>)(encoder, inputs, keep, place.lanes, level + pair * first,
                                                     x + pair * first);
        done = end;
    }
}

}  // namespace
}  // namespace nqz::NQZ_ISA
