// The instructions of x86 for SHA-256: several messages side by side, since each of them waits for itself.
#pragma once

#include "../base.h"

#include <immintrin.h>

namespace nqz::NQZ_ISA {
namespace {

enum { SHA_BLOCK = 64, SHA_DIGEST = 32 };

alignas(16) constexpr uint32_t SHA_CONSTANTS[64] = {
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
};

// The states of N messages, words ABEF and CDGH as the instructions take them.
template <int N>
struct Sha {
    __m128i abef[N], cdgh[N];

    Sha() {
        for (int s = 0; s < N; s++) {
            abef[s] = _mm_setr_epi32(0x9B05688C, 0x510E527F, (int)0xBB67AE85, 0x6A09E667);
            cdgh[s] = _mm_setr_epi32(0x5BE0CD19, 0x1F83D9AB, (int)0xA54FF53A, 0x3C6EF372);
        }
    }

    // Takes so many blocks of each message.
    void take(const uint8_t* const* messages, int64_t blocks) {
        const __m128i swap = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
        for (int64_t b = 0; b < blocks; b++) {
            __m128i m[N][4], first[N], second[N];
            for (int s = 0; s < N; s++) {
                for (int i = 0; i < 4; i++)
                    m[s][i] =
                        _mm_shuffle_epi8(_mm_loadu_si128((const __m128i*)(messages[s] + SHA_BLOCK * b) + i), swap);
                first[s] = abef[s];
                second[s] = cdgh[s];
            }
#pragma GCC unroll 16
            for (int g = 0; g < 16; g++)
#pragma GCC unroll 2
                for (int s = 0; s < N; s++) {
                    __m128i &now = m[s][g & 3], &next = m[s][(g + 1) & 3], &past = m[s][(g + 3) & 3];
                    __m128i words = _mm_add_epi32(now, _mm_load_si128((const __m128i*)SHA_CONSTANTS + g));
                    cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], words);
                    if (g >= 3 && g < 15)
                        next = _mm_sha256msg2_epu32(_mm_add_epi32(next, _mm_alignr_epi8(now, past, 4)), now);
                    abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], _mm_shuffle_epi32(words, 0x0E));
                    if (g >= 1 && g < 13) past = _mm_sha256msg1_epu32(past, now);
                }
            for (int s = 0; s < N; s++) {
                abef[s] = _mm_add_epi32(abef[s], first[s]);
                cdgh[s] = _mm_add_epi32(cdgh[s], second[s]);
            }
        }
    }

    // The digest of message s, whose end has been taken.
    void store(int s, uint8_t* out) const {
        const __m128i swap = _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const __m128i ab = _mm_unpackhi_epi64(cdgh[s], abef[s]), ef = _mm_unpacklo_epi64(cdgh[s], abef[s]);
        _mm_storeu_si128((__m128i*)out, _mm_shuffle_epi8(ab, swap));
        _mm_storeu_si128((__m128i*)out + 1, _mm_shuffle_epi8(ef, swap));
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
