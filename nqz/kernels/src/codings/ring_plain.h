// Values of rings lane by lane, where tables are not looked up in vectors.
#pragma once

#include "../base.h"
#include "ring_read.h"

namespace nqz::NQZ_ISA {
namespace {

// The rings of one rate, one at a time.
struct PlainReader {
    enum { TABLE_BYTES = 0, HAS_PRODUCTS = 0 };
    static void prepare(const RingForm&, const uint8_t*, uint8_t*) {}

    const RingForm& form;
    const uint8_t* dither;
    const int steps;  // of a unit
    uint32_t window[32];

    PlainReader(const RingForm& form_, const uint8_t* levels, const uint8_t*)
        : form(form_), dither(levels), steps(unit_steps(form_.bits2)) {}
    void start(const RingPlace& place) {
        const Windows before = place.before();
        for (int l = 0; l < 32; l++) window[l] = (uint32_t)(before.low[l] | before.high[l] << 8);
    }
    // Values of so many units.
    void values(RingPlace& place, int64_t units, int8_t* to) {
        const uint32_t mask = (1u << form.window) - 1, label_mask = (1u << form.label_bits) - 1;
        for (; units > 0; units--) {
            const uint8_t* unit = place.next();
            for (int i = 0; i < steps; i++, to += 32) {
                const RingKind& kind = form.kind[ring_kind(form.bits2, i)];
                const Lanes symbol = symbol_of(unit, form.bits2, i);
                const uint8_t* z = dither + place.next_dither(1);
                for (int l = 0; l < 32; l++) {
                    window[l] = window[l] << kind.bits | symbol[l];
                    to[l] = form.values[kind.labels[window[l] & mask] ^ (z[l] & label_mask)];
                }
            }
        }
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
