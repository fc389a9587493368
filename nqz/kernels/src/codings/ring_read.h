// Rings, read from their first step on: their bytes unit by unit, and the windows that they begin with.
#pragma once

#include "../base.h"
#include "ring.h"
#include "ring_rows.h"

namespace nqz::NQZ_ISA {
namespace {

// A place in a ring. Steps that fill no unit stand in one of their own, `rest`.
struct RingPlace {
    const uint8_t* data;
    int bits2;
    int64_t entries, steps, units;  // units that are whole and left
    uint32_t dither;                // of the next step
    uint8_t rest[MOST_UNIT];

    // The first place of a ring.
    RingPlace(const Ring& ring, const uint8_t* data_)
        : data(data_),
          bits2(ring.form->bits2),
          entries(ring.entries),
          steps(ring_steps(entries)),
          units(steps / unit_steps(bits2)),
          dither((uint32_t)ring.first) {
        if (rest_steps()) spread_rest();
    }
    int rest_steps() const { return (int)(steps % unit_steps(bits2)); }

    NQZ_INLINE const uint8_t* next() {
        const uint8_t* unit = units > 0 ? data : rest;
        units--;
        data += unit_bytes(bits2);
        return unit;
    }
    NQZ_INLINE uint32_t next_dither(int count) {
        const uint32_t at = dither;
        dither = (at + 32 * (uint32_t)count) % RING_DITHER;
        return at;
    }

    // The windows before the first step: the ring is closed.
    Windows before() const {
        Windows window;
        const int rest_count = rest_steps();
        const uint8_t* end = data + units * unit_bytes(bits2);
        if (!rest_count && units >= 2 && (bits2 & (bits2 - 1)) == 0) {
            // of 1, 2 and 4 bits, rows are bytes of the string of bits
            window.low = load_lanes(end - 32);
            window.high = load_lanes(end - 64);
            window.turn();
            return window;
        }
        // Two units have 16 bits at least. Where there are fewer steps, lanes before the last one are seen, too.
        const int64_t whole = least(units, 2);
        for (int64_t bits = 0; bits < 16; bits += whole == 2 ? 16 : steps) {
            for (int64_t unit = whole; unit > 0; unit--)
                push(window, end - unit * unit_bytes(bits2), unit_steps(bits2));
            push(window, rest, rest_count);
            window.turn();
        }
        return window;
    }

  private:
    void push(Windows& window, const uint8_t* unit, int count) const {
        for (int i = 0; i < count; i++) window.push(symbol_of(unit, bits2, i), ring_bits(bits2, i));
    }

    // Steps that fill no block have a word of 32 lanes for every bit of their symbols.
    void spread_rest() {
        const uint8_t* from = data + units * unit_bytes(bits2);
        memset(rest, 0, sizeof rest);
        int step = 0;
        if (bits2 == 8 && rest_steps() >= 2) {  // whose blocks are half a unit
            memcpy(rest, from, 32);
            from += 32;
            step = 2;
        }
        for (; step < rest_steps(); step++)
            for (int bit = 0; bit < ring_bits(bits2, step); bit++, from += 4) {
                uint32_t word;
                memcpy(&word, from, 4);
                const int place = place_of(step, bit);
                for (int l = 0; l < 32; l++) rest[place / 8 * 32 + l] |= (uint8_t)((word >> l & 1) << place % 8);
            }
    }
    // 8 times the row that a bit of a symbol is in, and the bit of a byte.
    int place_of(int step, int bit) const {
        if (bits2 == 8) return 8 * (step / 2) + 4 - step % 2 * 4 + bit;
        const int low = bits2 < 4 ? 1 : 2, eighth = unit_steps(bits2), bits = bits2 / 2;
        if (bit < low) return 8 * (step * low / 8) + 8 - low - step * low % 8 + bit;
        if (bit < bits) return eighth * low + 8 * (step / 8) + 7 - step % 8;
        return eighth * bits + 7 - step / 2;
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
