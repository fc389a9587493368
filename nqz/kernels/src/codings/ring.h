// The ring code: bytes to symbols and back, and the integers that they stand for. The layout of the bytes is told in
// nqz/reference/codings/ring.py.
#pragma once

#include "../base.h"

namespace nqz::NQZ_ISA {
namespace {

enum { RING_LANES = 32, RING_DITHER = 1 << 16 };

NQZ_INLINE int64_t ring_steps(int64_t entries) { return (entries + RING_LANES - 1) / RING_LANES; }

// Bits of the symbols of step t, and which kind of step that is.
NQZ_INLINE int ring_kind(int bits2, int64_t t) { return bits2 & (int)t & 1; }
NQZ_INLINE int ring_bits(int bits2, int64_t t) { return bits2 / 2 + ring_kind(bits2, t); }

NQZ_INLINE int64_t ring_bytes(int64_t entries, int bits2) { return 4 * (ring_steps(entries) * bits2 / 2); }

// The rows of a block, one after the other: which bits of the symbols, and of which steps.
struct RingRow {
    int low, width;   // bits of a field
    int step, pitch;  // of the first field, and from one to the next
};
struct RingBlock {
    int steps, count;
    RingRow rows[7];
};

inline RingBlock ring_block(int bits2) {
    static const int STEPS[9] = {0, 0, 8, 16, 4, 16, 8, 16, 2};
    RingBlock block = {STEPS[bits2], 0, {}};
    for (int low = 0; low < (bits2 + 1) / 2;) {
        const int width = bits2 == 8 ? 4 : low == 0 && bits2 > 3 ? 2 : 1;
        const int pitch = bits2 % 2 && low == bits2 / 2 ? 2 : 1;
        for (int step = pitch - 1; step < block.steps; step += pitch * (8 / width))
            block.rows[block.count++] = {low, width, step, pitch};
        low += width;
    }
    return block;
}

// The bytes of a ring from its symbols.
void ring_pack(const uint8_t* symbols, int bits2, int64_t steps, uint8_t* data) {
    const RingBlock block = ring_block(bits2);
    int64_t t = 0;
    for (; t + block.steps <= steps; t += block.steps)
        for (int r = 0; r < block.count; r++, data += RING_LANES) {
            const RingRow row = block.rows[r];
            const int mask = (1 << row.width) - 1;
            memset(data, 0, RING_LANES);
            for (int i = 0, shift = 8 - row.width; shift >= 0; i++, shift -= row.width) {
                const uint8_t* from = symbols + (t + row.step + i * row.pitch) * RING_LANES;
                for (int l = 0; l < RING_LANES; l++) data[l] |= (uint8_t)((from[l] >> row.low & mask) << shift);
            }
        }
    for (; t < steps; t++)
        for (int bit = 0; bit < ring_bits(bits2, t); bit++, data += 4) {
            uint32_t word = 0;
            for (int l = 0; l < RING_LANES; l++) word |= (uint32_t)(symbols[t * RING_LANES + l] >> bit & 1) << l;
            memcpy(data, &word, 4);
        }
}

// The 32 levels of dither of step t.
NQZ_INLINE const uint8_t* ring_dither(const Ring& ring, int64_t t) {
    return ring.dither + ((ring.first + t * RING_LANES) & (RING_DITHER - 1));
}

// The integers v [steps][32] that symbols stand for.
void ring_values(const Ring& ring, const uint8_t* symbols, int8_t* v) {
    const RingForm& form = *ring.form;
    const int64_t steps = ring_steps(ring.entries);
    const uint32_t mask = (1u << form.window) - 1;
    uint32_t window[RING_LANES];
    // Each lane goes on where the one before it ends.
    for (int lane = 0; lane < RING_LANES; lane++) {
        uint32_t bits = 0;
        int before = lane;
        int64_t t = 0;
        for (int shift = 0; shift < form.window;) {
            if (t == 0) {
                before = (before + RING_LANES - 1) % RING_LANES;
                t = steps;
            }
            t--;
            bits |= (uint32_t)symbols[t * RING_LANES + before] << shift;
            shift += ring_bits(form.bits2, t);
        }
        window[lane] = bits & mask;
    }
    const uint8_t label_mask = (uint8_t)((1 << form.label_bits) - 1);
    for (int64_t t = 0; t < steps; t++) {
        const RingKind& kind = form.kind[ring_kind(form.bits2, t)];
        const uint8_t *z = ring_dither(ring, t), *symbol = symbols + t * RING_LANES;
        const uint8_t* labels = kind.labels;
        for (int l = 0; l < RING_LANES; l++) {
            window[l] = (window[l] << kind.bits | symbol[l]) & mask;
            v[t * RING_LANES + l] = form.values[labels[window[l]] ^ (z[l] & label_mask)];
        }
    }
}

}  // namespace
}  // namespace nqz::NQZ_ISA
