// Dither: 4-bit levels from a counter-based generator, sixteen from one 64-bit word.
#pragma once

#include "base.h"

namespace nqz::NQZ_ISA {
namespace {

// A stream of levels: a key and where it begins.
struct Dither {
    uint64_t key0, key1, counter;
};

NQZ_INLINE Dither dither_of(const Key& key, uint64_t counter) { return {key.key0, key.key1, counter}; }

NQZ_INLINE uint64_t mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

NQZ_INLINE uint64_t word(const Dither& dither, uint64_t i) {
    return mix64(dither.key1 ^ mix64(dither.key0 + (dither.counter + i + 1) * 0x9E3779B97F4A7C15u));
}

void words(const Key& key, uint64_t first, int64_t count, uint64_t* out) {
    const Dither dither = dither_of(key, first);
    for (int64_t i = 0; i < count; i++) out[i] = word(dither, (uint64_t)i);
}

// The levels of 256 positions, those of words first to first + 15.
NQZ_INLINE void levels_of_16(const Dither& dither, uint64_t first, uint8_t* out) {
    uint64_t batch[16];
    uint8_t bytes[128];
    for (int i = 0; i < 16; i++) batch[i] = word(dither, first + (uint64_t)i);
    memcpy(bytes, batch, sizeof bytes);
    for (int i = 0; i < 128; i++) {
        out[2 * i] = bytes[i] & 15;
        out[2 * i + 1] = bytes[i] >> 4;
    }
}

// Writes `count` levels.
void write_levels(const Dither& dither, int64_t count, uint8_t* out) {
    for (int64_t done = 0; done < count; done += 256) {
        if (count - done >= 256) {
            levels_of_16(dither, (uint64_t)done / 16, out + done);
        } else {
            uint8_t last[256];
            levels_of_16(dither, (uint64_t)done / 16, last);
            memcpy(out + done, last, (size_t)(count - done));
        }
    }
}

void levels(const Key& key, uint64_t counter, int64_t count, uint8_t* out) {
    write_levels(dither_of(key, counter), count, out);
}

// The levels of a group row of `count` positions from `first` on: taken from those of all positions, if they are given,
// else made here and put in `own`, which has room for whole multiples of 256.
NQZ_INLINE const uint8_t* row_levels(const Dither& dither, const uint8_t* all, int64_t first, int count, uint8_t* own) {
    if (all) return all + first;
    for (int done = 0; done < count; done += 256) levels_of_16(dither, (uint64_t)(first + done) / 16, own + done);
    return own;
}

}  // namespace
}  // namespace nqz::NQZ_ISA
