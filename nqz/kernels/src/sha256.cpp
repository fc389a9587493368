// SHA-256 (FIPS 180-4) of the pieces of a message, two at a time, with the instructions that x86 processors have for
// it.
//
// Each of those instructions waits for the one before it, longer than it keeps the processor busy: two messages side by
// side take little more time than one.

#include "kernels.h"

#include <immintrin.h>
#include <string.h>

namespace nqz {
namespace shani {
namespace {

const int64_t BLOCK = 64;

alignas(16) const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// The state of a message in the order of the instructions, and the last 16 words of its schedule.
struct Message {
    __m128i abef, cdgh, words[4];
};

inline __attribute__((always_inline)) void load(const uint32_t* state, Message& m) {
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i*)state), 0xB1);        // b a d c
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i*)(state + 4)), 0x1B);  // h g f e
    m.abef = _mm_alignr_epi8(abcd, efgh, 8);
    m.cdgh = _mm_blend_epi16(efgh, abcd, 0xF0);
}

inline __attribute__((always_inline)) void store(const Message& m, uint32_t* state) {
    __m128i feba = _mm_shuffle_epi32(m.abef, 0x1B), dchg = _mm_shuffle_epi32(m.cdgh, 0xB1);
    _mm_storeu_si128((__m128i*)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i*)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

// Four rounds, the `quarter`-th of 16.
template <int QUARTER>
inline __attribute__((always_inline)) void rounds(Message& m, const uint8_t* block) {
    const __m128i bytes = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
    __m128i& now = m.words[QUARTER % 4];
    if (QUARTER < 4) {
        now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i*)(block + 16 * QUARTER)), bytes);
    } else {
        const __m128i &next = m.words[(QUARTER + 1) % 4], &third = m.words[(QUARTER + 2) % 4],
                      &last = m.words[(QUARTER + 3) % 4];
        __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(now, next), _mm_alignr_epi8(last, third, 4));
        now = _mm_sha256msg2_epu32(sum, last);
    }
    __m128i input = _mm_add_epi32(now, _mm_load_si128((const __m128i*)(ROUND + 4 * QUARTER)));
    m.cdgh = _mm_sha256rnds2_epu32(m.cdgh, m.abef, input);
    m.abef = _mm_sha256rnds2_epu32(m.abef, m.cdgh, _mm_shuffle_epi32(input, 0x0E));
}

template <int QUARTER>
inline __attribute__((always_inline)) void all_rounds(Message& a, Message& b, const uint8_t* x, const uint8_t* y) {
    if constexpr (QUARTER < 16) {
        rounds<QUARTER>(a, x);
        rounds<QUARTER>(b, y);
        all_rounds<QUARTER + 1>(a, b, x, y);
    }
}

// Both messages, of whole blocks.
void compress(uint32_t* first_state, const uint8_t* first, uint32_t* second_state, const uint8_t* second,
              int64_t blocks) {
    Message a, b;
    load(first_state, a);
    load(second_state, b);
    for (int64_t i = 0; i < blocks; i++, first += BLOCK, second += BLOCK) {
        const __m128i a0 = a.abef, a1 = a.cdgh, b0 = b.abef, b1 = b.cdgh;
        all_rounds<0>(a, b, first, second);
        a.abef = _mm_add_epi32(a.abef, a0);
        a.cdgh = _mm_add_epi32(a.cdgh, a1);
        b.abef = _mm_add_epi32(b.abef, b0);
        b.cdgh = _mm_add_epi32(b.cdgh, b1);
    }
    store(a, first_state);
    store(b, second_state);
}

// The end of a message of `bytes` bytes: what is left of it, a one, zeros and its length in bits. Returns the blocks.
int64_t ending(const uint8_t* message, int64_t bytes, uint8_t* out) {
    const int64_t left = bytes % BLOCK, blocks = left < BLOCK - 8 ? 1 : 2;
    memset(out, 0, 2 * BLOCK);
    memcpy(out, message + bytes - left, (size_t)left);
    out[left] = 0x80;
    for (int i = 0; i < 8; i++) out[BLOCK * blocks - 1 - i] = (uint8_t)((uint64_t)bytes * 8 >> 8 * i);
    return blocks;
}

void hash_pair(const uint8_t* first, const uint8_t* second, int64_t bytes, uint8_t* first_out, uint8_t* second_out) {
    const uint32_t begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint32_t state[2][8];
    uint8_t end[2][2 * BLOCK];
    memcpy(state[0], begin, sizeof begin);
    memcpy(state[1], begin, sizeof begin);
    compress(state[0], first, state[1], second, bytes / BLOCK);
    const int64_t blocks = ending(first, bytes, end[0]);
    ending(second, bytes, end[1]);
    compress(state[0], end[0], state[1], end[1], blocks);
    uint8_t* out[2] = {first_out, second_out};
    for (int m = 0; m < 2; m++)
        for (int i = 0; i < 32; i++) out[m][i] = (uint8_t)(state[m][i / 4] >> (24 - 8 * (i % 4)));
}

}  // namespace

void sha256_pieces(const uint8_t* data, int64_t bytes, int64_t size, uint8_t* out) {
    for (; bytes >= 2 * size; data += 2 * size, bytes -= 2 * size, out += 64)
        hash_pair(data, data + size, size, out, out + 32);
    for (; bytes > 0; data += size, bytes -= size, out += 32) {
        const int64_t length = bytes < size ? bytes : size;
        uint8_t again[32];
        hash_pair(data, data, length, out, again);
    }
}

}  // namespace shani
}  // namespace nqz
