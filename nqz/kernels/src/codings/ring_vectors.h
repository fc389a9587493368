// Values of rings in vectors, and their products with one vector where they are decoded: by its two digits to base 128,
// as bytes.
#pragma once

#include "../base.h"
#include "ring_read.h"
#include "ring_units.h"

#include <new>

#if NQZ_SHUFFLES

namespace nqz::NQZ_ISA {
namespace {

// The constants of a rate and the dither, prepared for look-ups: a label is the exclusive or of what its window adds up
// to and of its dither, as bytes that `Levels` takes.
struct RingTables {
    uint8_t part[MOST_PARTS][16];
    uint8_t magnitude[128];
    uint8_t dither[RING_DITHER + 32 * MOST_STEPS];  // which goes round

    RingTables(const RingForm& form, const uint8_t* levels) {
        const int count = 1 << (form.label_bits - 1);
        memcpy(magnitude, form.values + count, (size_t)count);
        for (int i = 0; i < MOST_PARTS; i++) {
            const RingKind& kind = form.kind[form.bits2 % 2 && i >= 4];
            const int bits = form.memory + kind.bits;
            for (int index = 0; index < 16; index++) {
                uint8_t sum = 0;
                for (int b = 0; b < 4; b++) {
                    const int bit = seen(form.bits2, i, b);
                    if (index >> b & 1 && bit < bits) sum ^= byte_of(count, kind.labels[1 << bit]) ^ byte_of(count, 0);
                }
                part[i][index] = sum;
            }
        }
        // Bits of labels add up in their bytes, too, but for what all have in common.
        uint8_t low[16], high[16];
        for (int k = 0; k < 16; k++) {
            low[k] = byte_of(count, k);
            high[k] = (uint8_t)(byte_of(count, (k << 4) & (2 * count - 1)) ^ byte_of(count, 0));
        }
        const Simd::Nibbles lower(low), upper(high);
        for (int i = 0; i < RING_DITHER; i += 32) {
            const Lanes z = load_lanes(levels + i);
            store_lanes(dither + i, lower[down(z, 0, 15)] ^ upper[down(z, 4, 15)]);
        }
        memcpy(dither + RING_DITHER, dither, sizeof dither - RING_DITHER);
    }

  private:
    // The upper half of labels have the magnitudes, the lower half their negatives.
    static uint8_t byte_of(int count, int label) {
        const bool negative = label < count;
        return Simd::level(count, negative, (negative ? ~label : label) & (count - 1));
    }
};

// Where a reader is, in registers.
struct Cursor {
    const uint8_t *data, *rest;
    int64_t left;  // whole units
    uint32_t dither;

    NQZ_INLINE explicit Cursor(const RingPlace& place)
        : data(place.data), rest(place.rest), left(place.units), dither(place.dither) {}
    NQZ_INLINE void keep(RingPlace& place) const {
        place.data = data;
        place.units = left;
        place.dither = dither;
    }
};

// A reader of the rings of a rate; it goes on where it was left.
template <class Units, int COUNT>
struct RingLevels {
    enum { STEPS = Units::STEPS, STATE = sizeof(Units) };
    enum { AHEAD = 2048 };  // bytes that are fetched before they are read
    typedef Simd::LevelSums<COUNT> Sums;

    Simd::Nibbles part[Units::PARTS];
    Simd::Levels<COUNT> levels;
    const uint8_t* dither;

    NQZ_INLINE explicit RingLevels(const RingTables& tables) : levels(tables.magnitude), dither(tables.dither) {
        for (int i = 0; i < Units::PARTS; i++) part[i] = Simd::Nibbles(tables.part[i]);
    }
    // Labels of the next unit.
    NQZ_INLINE void labels(Units& units, Cursor& at, Lanes* label) const {
        const uint8_t* z = dither + at.dither;
        for (int i = 0; i < Units::BYTES; i += 64) __builtin_prefetch(at.data + AHEAD + i);
        units.labels(at.left > 0 ? at.data : at.rest, part,
                     [&](int i, Lanes found) { label[i] = found ^ load_lanes(z + 32 * i); });
        at.left--;
        at.data += Units::BYTES;
        at.dither = (at.dither + 32 * STEPS) % RING_DITHER;
    }

    static void start(const RingPlace& place, void* state) {
        const Units units(place.before());
        memcpy(state, &units, sizeof units);
    }
    // Values of so many units.
    static void values(const RingTables& tables, RingPlace& place, void* state, int64_t count, int8_t* to) {
        const RingLevels kind(tables);
        Units units = *(const Units*)state;
        Cursor at(place);
        for (int64_t unit = 0; unit < count; unit++, to += 32 * STEPS) {
            Lanes label[STEPS];
            kind.labels(units, at, label);
#pragma GCC unroll 8
            for (int i = 0; i < STEPS; i++) store_lanes(to + 32 * i, kind.levels.values(label[i]));
        }
        memcpy(state, &units, sizeof units);
        at.keep(place);
    }
    // Products of the columns of a ring, of n entries, whole groups of four steps. Where there are not enough registers
    // for the constants of both, labels come first, then their values.
    static void products(const RingTables& tables, const RingPlace& place, const void* state, int64_t n,
                         const int8_t* high, const int8_t* low, int64_t offset, int64_t* out) {
        enum { TOGETHER = Sums::IN_TURN ? 16 : STEPS / 4, MOST = 1 << 13 };  // groups, and those until sums are taken
        const RingLevels kind(tables);
        Units units = *(const Units*)state;
        Cursor cursor(place);
        Lanes label[4 * TOGETHER];
        Sums sums;
        int64_t at = 0, left = least(n / 128, MOST), sum = 0;
        for (int64_t groups = place.steps / 4; groups > 0; groups -= TOGETHER) {
            for (int64_t step = 0; step < 4 * least(groups, TOGETHER); step += STEPS)
                kind.labels(units, cursor, label + step);
#pragma GCC unroll 4
            for (int i = 0; i < TOGETHER; i++) {
                if (i >= groups) break;
                sums.add(kind.levels, label + 4 * i, high + at, low + at);
                at += 128;
                if (--left > 0) continue;
                sum += sums.take();
                if (at == n) {
                    *out++ = sum - Sums::OFFSET * offset;
                    at = sum = 0;
                }
                left = least((n - at) / 128, MOST);
            }
        }
    }
};

// The functions of a rate.
struct RingFunctions {
    void (*start)(const RingPlace&, void*);
    void (*values)(const RingTables&, RingPlace&, void*, int64_t, int8_t*);
    void (*products)(const RingTables&, const RingPlace&, const void*, int64_t, const int8_t*, const int8_t*, int64_t,
                     int64_t*);
};

enum { MOST_STATE = 20 * 32 };

template <class Units, int COUNT>
NQZ_INLINE RingFunctions functions_of() {
    typedef RingLevels<Units, COUNT> Kind;
    static_assert((int)Kind::STATE <= (int)MOST_STATE, "a reader's state has its room");
    return {Kind::start, Kind::values, Kind::products};
}

inline RingFunctions functions_of(const RingForm& form) {
    switch (form.bits2) {
        case 2:
            return functions_of<RingUnits<2, 4>, 16>();
        case 3:
            return functions_of<HalfUnits<3>, 32>();
        case 4:
            return form.window == 12 ? functions_of<RingUnits<4, 3>, 32>() : functions_of<RingUnits<4, 4>, 32>();
        case 5:
            return functions_of<HalfUnits<5>, 64>();
        case 6:
            if (form.label_bits == 8)
                return form.window == 16 ? functions_of<RingUnits<6, 5>, 128>() : functions_of<RingUnits<6, 4>, 128>();
            return form.window == 16 ? functions_of<RingUnits<6, 5>, 64>() : functions_of<RingUnits<6, 4>, 64>();
        case 7:
            return functions_of<HalfUnits<7>, 128>();
        default:
            return functions_of<RingUnits<8, 4>, 128>();
    }
}

// The rings of one rate, one at a time.
struct VectorReader {
    enum { TABLE_BYTES = sizeof(RingTables), HAS_PRODUCTS = 1 };
    static void prepare(const RingForm& form, const uint8_t* dither, uint8_t* to) { new (to) RingTables(form, dither); }

    const RingFunctions of;
    const RingTables& tables;
    const int steps;  // of a unit
    Lanes state[MOST_STATE / 32];

    VectorReader(const RingForm& form, const uint8_t*, const uint8_t* prepared)
        : of(functions_of(form)), tables(*(const RingTables*)prepared), steps(unit_steps(form.bits2)) {}
    void start(const RingPlace& place) { of.start(place, state); }
    void values(RingPlace& place, int64_t units, int8_t* to) { of.values(tables, place, state, units, to); }
    void products(const RingPlace& place, int64_t n, const int8_t* high, const int8_t* low, int64_t offset,
                  int64_t* out) const {
        of.products(tables, place, state, n, high, low, offset, out);
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA

#endif
