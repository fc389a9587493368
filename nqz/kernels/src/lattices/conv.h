// Convolutional codes of rate 1/2 with 2^memory states: generators, and the bit-sliced encoder.
//
// Each lane of a chunk runs one trellis from state 0; trellis step t spans the lane's steps 2t and 2t + 1. With
// reg = state << 1 | input, the code bits c0 and c1 are the parities of reg masked by the generators; the next state is
// reg mod 2^memory. All generators have their lowest and highest bit set, so the two branches that leave a state, and
// the two that enter one, have complementary labels (c0, c1).
#pragma once

#include "../base.h"

namespace nqz::NQZ_ISA {
namespace {

enum { MEMORY_MIN = 2, MEMORY_MAX = 12 };

struct Generators {
    uint32_t g0, g1;
};

// By memory. They are part of the format.
constexpr Generators GENERATORS[MEMORY_MAX + 1] = {
    {0, 0},       {0, 0},       {05, 07},       {015, 017},     {023, 035},     {057, 075},       {0127, 0165},
    {0225, 0367}, {0561, 0753}, {01131, 01537}, {02117, 03315}, {04335, 05723}, {010243, 015035},
};

NQZ_INLINE constexpr uint32_t parity_of(uint32_t v) { return (uint32_t)__builtin_popcount(v) & 1; }

// 2 c0 + c1 of the branch of `reg`. Linear: the label of a ^ b is the label of a ^ the label of b.
NQZ_INLINE constexpr int label_of(int memory, uint32_t reg) {
    return (int)(2 * parity_of(reg & GENERATORS[memory].g0) + parity_of(reg & GENERATORS[memory].g1));
}

// TrellisEncoder for up to 32 lanes at once, bit l of a word for lane l: the inputs that form the state, latest first.
struct TrellisEncoder {
    uint32_t past[MEMORY_MAX];
    int memory;
    Generators generators;

    NQZ_INLINE explicit TrellisEncoder(int memory_) : memory(memory_), generators(GENERATORS[memory_]) {
        for (int i = 0; i < MEMORY_MAX; i++) past[i] = 0;
    }
    // Code bits of the branches of input 0; an input of one flips both.
    NQZ_INLINE void zero_branch(uint32_t& c0, uint32_t& c1) const {
        c0 = c1 = 0;
        for (int i = 0; i < memory; i++) {
            c0 ^= past[i] & (0 - (generators.g0 >> (i + 1) & 1));
            c1 ^= past[i] & (0 - (generators.g1 >> (i + 1) & 1));
        }
    }
    NQZ_INLINE void push(uint32_t input) {
        for (int i = MEMORY_MAX - 1; i > 0; i--) past[i] = past[i - 1];
        past[0] = input;
    }
};

// Which of the inputs before a step its code bits are the sums of: 1 is the latest. Bit l of an input is of lane l.
struct Taps {
    int count[2], back[2][MEMORY_MAX];

    NQZ_INLINE Taps() : count(), back() {}
    NQZ_INLINE explicit Taps(int memory) : count(), back() {
        const uint32_t generators[2] = {GENERATORS[memory].g0, GENERATORS[memory].g1};
        for (int c = 0; c < 2; c++)
            for (int i = 1; i <= memory; i++)
                if (generators[c] >> i & 1) back[c][count[c]++] = i;
    }
    // Code bit c of the branch of input 0; an input of one flips both code bits. MEMORY_MAX inputs stand before `now`.
    NQZ_INLINE uint32_t zero_branch(int c, const uint32_t* now) const {
        uint32_t sum = 0;
        for (int i = 0; i < count[c]; i++) sum ^= now[-back[c][i]];
        return sum;
    }
};

// conv: integers whose parities are a codeword of a convolutional code. The nearest points are found by viterbi.h, and
// the inputs are coded by codings/conv_bits.h.
struct Conv {
    static constexpr const char* NAME = "convolutional";
    enum { NUMBER = 32 };          // and the memory
    enum { GROUP = 8, FINE = 8 };  // a group row is four trellis steps
    enum { NESTED = 0, HALVES_LAST = 0, TRELLIS = 1, MODELLED = 1 };
    enum { BLOCKS = 4, BITS = 1 };  // inputs of a group

    static NQZ_INLINE bool is(int lattice) { return lattice >= NUMBER + MEMORY_MIN && lattice <= NUMBER + MEMORY_MAX; }
    static NQZ_INLINE int memory(const Place& place) { return place.lattice - NUMBER; }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
