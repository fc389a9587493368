// rANS: interleaved coders, 12-bit frequencies, 32-bit states, 16-bit words.
//
// Functions with a template parameter L work on L lanes, or on `lanes` lanes where L is 0. Rows of 32 lanes are coded
// in vectors where the instruction set gathers.
#pragma once

#include "../base.h"
#include "../simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

const uint32_t LOW = 1u << 16;

// Codes one interval on each lane, last lane first, and moves `words` down by the words written. An interval is its
// start in the low half and its end in the high half. The place below `words` must be writable; 16 places where vectors
// of lanes are used.
template <int L>
NQZ_INLINE void encode_row_of(uint32_t* state, const uint32_t* interval, int lanes, uint16_t*& words) {
    const int n = L ? L : lanes;
    uint16_t* to = words;
    uint32_t x[32], size[32], full[32];
    for (int l = 0; l < n; l++) {
        x[l] = state[l];
        size[l] = (interval[l] >> 16) - (interval[l] & 0xFFFF);
        full[l] = (x[l] >> 20) >= size[l];
    }
    for (int l = n - 1; l >= 0; l--) {
        to[-1] = (uint16_t)x[l];
        to -= full[l];
    }
    words = to;
    for (int l = 0; l < n; l++) {
        uint32_t y = full[l] ? x[l] >> 16 : x[l];
        // y < 2^32 and the quotient < 2^20: the quotient of the float64 values, cut off, is the integer quotient.
        double wide = (double)(int32_t)(y ^ 0x80000000u) + 2147483648.0;
        uint32_t q = (uint32_t)(int32_t)(wide / (double)(int32_t)size[l]);
        state[l] = y + q * (4096 - size[l]) + (interval[l] & 0xFFFF);
    }
}

// Refills the states below 2^16, first lane first. Returns false if the words run out.
template <int L>
NQZ_INLINE bool refill_of(uint32_t* state, int lanes, const uint16_t*& words, const uint16_t* end) {
    const int n = L ? L : lanes;
    const uint16_t* from = words;
    if (end - from >= n) {
        for (int l = 0; l < n; l++) {
            uint32_t low = state[l] < LOW;
            uint32_t refilled = state[l] << 16 | *from;
            state[l] = low ? refilled : state[l];
            from += low;
        }
    } else {
        for (int l = 0; l < n; l++)
            if (state[l] < LOW) {
                if (from == end) return false;
                state[l] = state[l] << 16 | *from++;
            }
    }
    words = from;
    return true;
}

// The same for every number of lanes.
NQZ_INLINE void encode_row(uint32_t* state, const uint32_t* interval, int lanes, uint16_t*& words) {
    if (lanes == 32)
        encode_row_of<32>(state, interval, lanes, words);
    else
        encode_row_of<0>(state, interval, lanes, words);
}

NQZ_INLINE bool refill(uint32_t* state, int lanes, const uint16_t*& words, const uint16_t* end) {
    return lanes == 32 ? refill_of<32>(state, lanes, words, end) : refill_of<0>(state, lanes, words, end);
}

// On each lane of a vector [start, start + size).
struct Interval {
    Words start, size;
    Simd::Floats reciprocal;
};

// The reciprocal is too small by 2^-21, which is more than rounding three times to 24 bits can make it larger.
NQZ_INLINE Interval interval_of(Words start, Words size) { return {start, size, Simd::divided(1.0f - 0x1p-21f, size)}; }

// Codes an interval on each lane.
NQZ_INLINE Words encode_lanes(Words x, const Interval& interval, uint16_t*& words) {
    const Words size = interval.size;
    x = Simd::emptied(x, size, words);
    // The quotient, below 2^20, or one less.
    Words quotient = Simd::product(x, interval.reciprocal), rest = x - quotient * size;
    Words less = (Words)((Ints)rest >= (Ints)size);
    return (quotient << 12) + rest + interval.start + (less & (4096 - size));
}

// Codes a bit on each lane, bit l of `bits` on lane l. `chance` of 4096 is that of a one, which has the upper share.
NQZ_INLINE void encode_bits(uint32_t bits, const uint32_t* chance, int lanes, uint32_t* state, uint16_t*& words) {
    if (Simd::GATHERS && lanes == 32) {
        for (int l = 32 - VECTOR; l >= 0; l -= VECTOR) {
            Words p1 = load_words(chance + l), zero = 4096 - p1, one = Simd::lanes_of(bits >> l);
            Interval interval = interval_of(one & zero, (one & p1) | (~one & zero));
            store_words(state + l, encode_lanes(load_words(state + l), interval, words));
        }
        return;
    }
    uint32_t interval[32];
    for (int l = 0; l < lanes; l++) {
        uint32_t zero = 4096 - chance[l];
        interval[l] = bits >> l & 1 ? zero | 4096u << 16 : zero << 16;
    }
    encode_row(state, interval, lanes, words);
}

// Decodes a bit on each lane. Returns false if the words run out.
NQZ_INLINE bool decode_bits(const uint32_t* chance, int lanes, uint32_t* state, const uint16_t*& words,
                            const uint16_t* end, uint32_t& bits) {
    bits = 0;
    if (Simd::GATHERS && lanes == 32 && end - words >= 32) {
        for (int l = 0; l < 32; l += VECTOR) {
            Words x = load_words(state + l), p1 = load_words(chance + l), zero = 4096 - p1, slot = x & 4095;
            Words one = (Words)((Ints)slot >= (Ints)zero);
            x = ((one & p1) | (~one & zero)) * (x >> 12) + slot - (one & zero);
            bits |= Simd::flags(one) << l;
            store_words(state + l, Simd::refilled(x, words));
        }
        return true;
    }
    for (int l = 0; l < lanes; l++) {
        uint32_t p1 = chance[l], zero = 4096 - p1, slot = state[l] & 4095, one = slot >= zero;
        state[l] = (one ? p1 : zero) * (state[l] >> 12) + slot - (one ? zero : 0);
        bits |= one << l;
    }
    return refill(state, lanes, words, end);
}

NQZ_INLINE const char* begin_states(const uint32_t* states, int lanes, uint32_t* x) {
    for (int l = 0; l < lanes; l++) {
        if (states[l] < LOW) return "a coder state is out of range";
        x[l] = states[l];
    }
    return nullptr;
}

NQZ_INLINE const char* check_end(const uint32_t* x, int lanes, const uint16_t* words, const uint16_t* end) {
    if (words != end) return "coded words are left over";
    for (int l = 0; l < lanes; l++)
        if (x[l] != LOW) return "a coder state does not end where it began";
    return nullptr;
}

const char* const WORDS_SHORT = "the coded words end too early";

// Fills `words` from the end of `space` words downwards (count + 1 at least); returns the index of the first.
int64_t rans_encode(const uint8_t* symbols, int64_t count, const uint16_t* cum, int lanes, uint32_t* states,
                    uint16_t* words, int64_t space) {
    uint16_t* to = words + space;
    for (int l = 0; l < lanes; l++) states[l] = LOW;
    for (int64_t end = count; end > 0;) {
        int n = (int)((end - 1) % lanes) + 1;  // the last row may be short
        uint32_t interval[32];
        for (int l = 0; l < n; l++) memcpy(&interval[l], cum + symbols[end - n + l], 4);
        encode_row_of<0>(states, interval, n, to);
        end -= n;
    }
    return to - words;
}

const char* rans_decode(int64_t count, const uint16_t* cum, int symbols, int lanes, const uint32_t* states,
                        const uint16_t* words, int64_t word_count, uint8_t* out) {
    uint8_t symbol_of[4096];
    for (int s = 0; s < symbols; s++)
        for (int slot = cum[s]; slot < cum[s + 1]; slot++) symbol_of[slot] = (uint8_t)s;
    uint32_t x[32];
    const uint16_t* end = words + word_count;
    if (const char* reason = begin_states(states, lanes, x)) return reason;
    for (int64_t first = 0; first < count; first += lanes) {
        int n = (int)least(lanes, count - first);
        for (int l = 0; l < n; l++) {
            uint32_t slot = x[l] & 4095;
            uint8_t s = symbol_of[slot];
            uint32_t start = cum[s], size = cum[s + 1] - start;
            x[l] = size * (x[l] >> 12) + slot - start;
            out[first + l] = s;
        }
        if (!refill_of<0>(x, n, words, end)) return WORDS_SHORT;
    }
    return check_end(x, lanes, words, end);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
