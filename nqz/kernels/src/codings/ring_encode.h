// The encoder of the ring code: a Viterbi search whose lanes are the states of one ring.
//
// A step leads from state i to state j = w mod 2^memory, w = i << bits | symbol. What entry into j costs depends on the
// class of its value, which the oldest symbol decides, and on four low bits of the label (more, where a vector of
// states has the same), which are those of j: a shuffle of a table of 16 bytes for each class. Only the `choices`
// classes nearest to the entry are tried. Which of them was the best are two bits a state, kept for all steps of a
// block.
//
// No metric overflows: a branch costs 255 at most; every RENEWAL steps the least metric is subtracted from all, and
// what is left is cut to METRIC_CUT, at which those states begin that are not the first: 16384 + 32 · 255 < 2^15.
#pragma once

#include "../base.h"
#include "../simd/simd.h"
#include "ring.h"

namespace nqz::NQZ_ISA {
namespace {

enum { METRIC_LIMIT = 255, METRIC_CUT = 16384, RENEWAL = 32, CHOICES = 3, RING_BLOCK = 2048, RING_SEAM = 128 };
enum { ENTRY_UNIT = 4096, ENTRY_LIMIT = 1 << 20 };
enum { TABLE_BYTES = CHOICES * 32 };  // costs of a step: by class tried, then by low bits of a label

// The bits of a symbol in reverse.
template <int BITS>
NQZ_INLINE constexpr int reversed(int symbol) {
    int r = 0;
    for (int i = 0; i < BITS; i++) r |= (symbol >> i & 1) << (BITS - 1 - i);
    return r;
}

// What the search keeps of a step.
struct RingStep {
    uint8_t kind, first, z_class;  // z_class: what the dither turns the class to
    uint8_t table[TABLE_BYTES];
};

// The search in one ring.
struct RingSearch {
    const Ring& ring;
    const RingForm& form;
    int64_t steps, length;  // of a lane, of the ring
    int64_t states;
    const int32_t* x;    // [steps][32]
    uint8_t* symbols;    // [steps][32]
    int16_t* metric[2];  // of all states, before a step and after it
    uint8_t* decisions;  // of the steps of a run, by the vectors of states in which they are made
    RingStep* taken;

    // Costs of the step to which entry x[i] belongs, at step t of its lane.
    void prepare(int64_t t, int lane, RingStep& step) const {
        const int64_t i = t * RING_LANES + lane;
        const RingKind& kind = form.kind[ring_kind(form.bits2, t)];
        const int low = 1 << kind.low_bits, classes = 1 << kind.bits, count = kind.choices * low;
        const int z = ring_dither(ring, t)[lane] & ((1 << form.label_bits) - 1);
        int first = 0;
        for (int c = 0; c + kind.choices < classes; c++) first += x[i] > kind.thresholds[c];
        step.kind = (uint8_t)ring_kind(form.bits2, t);
        step.first = (uint8_t)first;
        step.z_class = (uint8_t)(z >> kind.low_bits);
        if (i >= ring.entries) {
            memset(step.table, 0, sizeof step.table);
            return;
        }
        const float at = (float)x[i] * form.scale;
        const float* centers = form.centers + first * low;
        int32_t cost[TABLE_BYTES], least_cost = INT32_MAX;
        for (int e = 0; e < count; e++) {
            const float away = at - centers[e];
            cost[e] = (int32_t)(away * away);
        }
        for (int e = 0; e < count; e++) least_cost = cost[e] < least_cost ? cost[e] : least_cost;
        uint8_t costs[TABLE_BYTES];
        for (int e = 0; e < count; e++) {
            const int32_t c = cost[e] - least_cost;
            costs[e] = (uint8_t)(c < METRIC_LIMIT ? c : METRIC_LIMIT);
        }
        const int turn = z & (low - 1);
        for (int e = 0; e < count; e += 16) Simd::exchange(costs + e, turn & 15, step.table + (e ^ (turn & ~15)));
    }

    // A step of BITS bits. Labels have low bits above the fourth where PIECES is 2.
    template <int BITS, int PIECES>
    void advance(const RingStep& step, const int16_t* from, int16_t* to, uint8_t* decided) const {
        constexpr int SYMBOLS = 1 << BITS, TRIED = BITS == 1 ? 2 : CHOICES;
        const RingKind& kind = form.kind[step.kind];
        const int64_t group = states >> BITS;
        Simd::Table table[TRIED * PIECES];
        for (int w = 0; w < TRIED * PIECES; w++) table[w] = Simd::table(step.table + 16 * w);
        for (int64_t q = 0; q < group; q += STATES) {
            int64_t row[TRIED];
            const int turn = kind.turn[q / 16] ^ step.z_class, piece = PIECES > 1 ? kind.piece[q / 16] : 0;
            for (int w = 0; w < TRIED; w++) row[w] = reversed<BITS>((step.first + w) ^ turn) * group;
            Costs reached[SYMBOLS];
#pragma GCC unroll 16
            for (int s = 0; s < SYMBOLS; s++) {
                const Costs low = load_costs((const int16_t*)kind.low + s * group + q);
                const int at = PIECES > 1 ? piece ^ kind.newest_piece[s] : 0;
                Costs ways[CHOICES];
#pragma GCC unroll 3
                for (int w = 0; w < TRIED; w++) {
                    const int64_t source = row[w] ^ (int64_t)reversed<BITS>(s) * group;
                    ways[w] = Simd::pick(table[w * PIECES + at], low) + load_costs(from + source + q);
                }
                const Costs first_two = Simd::least_of(ways[0], ways[1]);
                if (TRIED == 2) ways[2] = first_two;
                reached[s] = TRIED == 2 ? first_two : Simd::least_of(first_two, ways[2]);
                Simd::choose(decided, ways[0], ways[1], first_two, ways[2]);
                decided += STATES / 4;
            }
            // State q << BITS | s: the vectors of all s are interleaved, in blocks of eight lanes.
#pragma GCC unroll 4
            for (int b = 0; b < BITS; b++) {
                Costs mixed[SYMBOLS];
#pragma GCC unroll 8
                for (int s = 0; s < SYMBOLS / 2; s++)
                    Simd::interleave(reached[s], reached[s + SYMBOLS / 2], mixed[2 * s], mixed[2 * s + 1]);
#pragma GCC unroll 16
                for (int s = 0; s < SYMBOLS; s++) reached[s] = mixed[s];
            }
#pragma GCC unroll 16
            for (int s = 0; s < SYMBOLS; s++) Simd::store_blocks(to + q * SYMBOLS + 8 * s, 8 * SYMBOLS, reached[s]);
        }
    }

    void renew(int16_t* metric) const {
        Costs least_ones = load_costs(metric);
        for (int64_t i = STATES; i < states; i += STATES)
            least_ones = Simd::least_of(least_ones, load_costs(metric + i));
        int16_t lanes[STATES], least_one = INT16_MAX;
        store_costs(lanes, least_ones);
        for (int l = 0; l < STATES; l++) least_one = lanes[l] < least_one ? lanes[l] : least_one;
        const Costs base = Costs{} + least_one, cut = Costs{} + (int16_t)METRIC_CUT;
        for (int64_t i = 0; i < states; i += STATES)
            store_costs(metric + i, Simd::least_of(load_costs(metric + i) - base, cut));
    }

    // Takes steps begin to end - 1 of the ring, modulo its length, from the metrics in the first place.
    void run(int64_t begin, int64_t end) const {
        int64_t at = (begin + length) % length, lane = at / steps, t = at % steps;
        for (int64_t i = 0; i < end - begin; i++) {
            prepare(t, (int)lane, taken[i]);
            if (++t == steps) {
                t = 0;
                lane = (lane + 1) % RING_LANES;
            }
        }
        for (int64_t i = 0; i < end - begin; i++) {
            const int16_t* from = metric[i & 1];
            int16_t* to = metric[~i & 1];
            uint8_t* decided = decisions + i * (states / 4);
            const RingKind& kind = form.kind[taken[i].kind];
            const bool wide = kind.low_bits > 4;
            switch (kind.bits) {
                case 1:
                    wide ? advance<1, 2>(taken[i], from, to, decided) : advance<1, 1>(taken[i], from, to, decided);
                    break;
                case 2:
                    wide ? advance<2, 2>(taken[i], from, to, decided) : advance<2, 1>(taken[i], from, to, decided);
                    break;
                case 3:
                    wide ? advance<3, 2>(taken[i], from, to, decided) : advance<3, 1>(taken[i], from, to, decided);
                    break;
                default:
                    advance<4, 1>(taken[i], from, to, decided);
            }
            if ((i + 1) % RENEWAL == 0) renew(to);
        }
    }

    // The state before step i of the run, from the one after it.
    int64_t before(int64_t i, int64_t state) const {
        const RingStep& step = taken[i];
        const RingKind& kind = form.kind[step.kind];
        const int bits = kind.bits, symbol = (int)state & ((1 << bits) - 1);
        const int64_t q = state >> bits, vector = (q / STATES << bits) + symbol;
        const int way = Simd::chosen(decisions + i * (states / 4) + vector * (STATES / 4), (int)(q % STATES));
        const int oldest = (step.first + way) ^ kind.turn[q / 16] ^ step.z_class ^ symbol;
        int reverse = 0;
        for (int b = 0; b < bits; b++) reverse |= (oldest >> b & 1) << (bits - 1 - b);
        return (int64_t)reverse * (states >> bits) + q;
    }

    // Goes back from `state` after step `last` - 1 of the run to before step `first`; writes symbols where `begin`, the
    // step of the ring where the run began, is not negative.
    int64_t back(int64_t state, int64_t first, int64_t last, int64_t begin) const {
        for (int64_t i = last - 1; i >= first; i--) {
            if (begin >= 0) {
                const int64_t at = begin + i;
                symbols[at % steps * RING_LANES + at / steps] =
                    (uint8_t)(state & ((1 << form.kind[taken[i].kind].bits) - 1));
            }
            state = before(i, state);
        }
        return state;
    }

    // The first of the best states after so many steps of the run.
    int64_t best(int64_t count) const {
        const int16_t* reached = metric[count & 1];
        int64_t at = 0;
        for (int64_t i = 1; i < states; i++) at = reached[i] < reached[at] ? i : at;
        return at;
    }

    void start(int64_t state) const {
        for (int64_t i = 0; i < states; i++) metric[0][i] = METRIC_CUT;
        metric[0][state] = 0;
    }

    void search() const {
        // The seam: the state in which the best way through the steps around it begins the ring.
        const int64_t around = least(RING_SEAM, length / 2);
        memset(metric[0], 0, (size_t)states * sizeof *metric[0]);
        run(-around, around);
        const int64_t seam = back(best(2 * around), around, 2 * around, -1);
        // Block after block from the state in which the last one ended, which steps beyond it settle.
        int64_t state = seam;
        for (int64_t begin = 0;; begin += RING_BLOCK) {
            const int64_t count = least(RING_BLOCK + form.ahead, length - begin);
            start(state);
            run(begin, begin + count);
            if (begin + count == length) {
                back(seam, 0, count, begin);
                return;
            }
            state = back(best(count), RING_BLOCK, count, -1);
            back(state, 0, RING_BLOCK, begin);
        }
    }
};

// What the search needs of memory: the longest run is that of a block, or of the seam.
struct RingRoom {
    int64_t second, decisions, taken, x, symbols, values, bytes;
};

NQZ_INLINE int64_t whole_lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

RingRoom ring_room(const Ring& ring) {
    const int64_t positions = RING_LANES * ring_steps(ring.entries), states = (int64_t)1 << ring.form->memory;
    const int64_t longest = RING_BLOCK + ring.form->ahead;
    const int64_t run = least(longest > 2 * RING_SEAM ? longest : 2 * RING_SEAM, positions);
    RingRoom room = {};
    // Not a power of two apart: what is written and read at once would share the sets of the cache.
    room.second = 2 * states + 128;
    room.decisions = 2 * room.second;
    room.taken = room.decisions + whole_lines(run * states / 4);
    room.x = room.taken + whole_lines(run * (int64_t)sizeof(RingStep));
    room.symbols = room.x + 4 * positions;
    room.values = room.symbols + positions;
    room.bytes = room.values + positions;
    return room;
}

int64_t ring_encode_scratch(const Ring& ring) { return ring_room(ring).bytes; }

void ring_encode(const Ring& ring, const float* u, int64_t n, uint8_t* out, int64_t* moments, uint8_t* scratch) {
    const RingRoom room = ring_room(ring);
    const int64_t steps = ring_steps(ring.entries), entries = ring.entries;
    int32_t* x = (int32_t*)(scratch + room.x);
    int8_t* v = (int8_t*)(scratch + room.values);
    uint8_t* symbols = scratch + room.symbols;
    for (int64_t i = 0; i < entries; i++) x[i] = round_clamped(u[i] * (float)ENTRY_UNIT, (float)ENTRY_LIMIT);
    for (int64_t i = entries; i < RING_LANES * steps; i++) x[i] = 0;
    const RingSearch search = {ring,
                               *ring.form,
                               steps,
                               RING_LANES * steps,
                               (int64_t)1 << ring.form->memory,
                               x,
                               symbols,
                               {(int16_t*)scratch, (int16_t*)(scratch + room.second)},
                               scratch + room.decisions,
                               (RingStep*)(scratch + room.taken)};
    search.search();
    ring_pack(symbols, ring.form->bits2, steps, out);
    ring_values(ring, symbols, v);
    for (int64_t i = 0; i < entries; moments += 3) {
        int64_t cross = 0, square = 0;
        uint64_t energy = 0;
        for (const int64_t end = i + n; i < end; i++) {
            cross += (int64_t)x[i] * v[i];
            square += v[i] * v[i];
            energy += (uint64_t)((int64_t)x[i] * x[i]);
        }
        moments[0] = cross;
        moments[1] = square;
        moments[2] = (int64_t)energy;
    }
}

}  // namespace
}  // namespace nqz::NQZ_ISA
