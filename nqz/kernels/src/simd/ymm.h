// What AVX2 and AVX-512 do alike, on vectors of 256 bits: the search for rings.
#pragma once

#include "portable.h"

#include <immintrin.h>

namespace nqz::NQZ_ISA {
namespace {

#if NQZ_VECTOR >= 8
struct Ymm : Portable {
    typedef __m256i Table;  // twice
    static NQZ_INLINE Table table(const uint8_t* from) {
        return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)from));
    }
    // A byte of the index from 128 on gives 0.
    static NQZ_INLINE Costs pick(Table table, Costs index) { return (Costs)_mm256_shuffle_epi8(table, (__m256i)index); }
    static NQZ_INLINE Costs least_of(Costs a, Costs b) { return (Costs)_mm256_min_epi16((__m256i)a, (__m256i)b); }
    // In each half of the 32 bits, eight lanes of the one, then of the other.
    static NQZ_INLINE void choose(uint8_t* to, Costs a, Costs b, Costs ab, Costs c) {
        __m256i second = _mm256_cmpgt_epi16((__m256i)a, (__m256i)b),
                third = _mm256_cmpgt_epi16((__m256i)ab, (__m256i)c);
        int bits = _mm256_movemask_epi8(_mm256_packs_epi16(second, third));
        memcpy(to, &bits, 4);
    }
    static NQZ_INLINE int chosen(const uint8_t* from, int lane) {
        uint32_t bits;
        memcpy(&bits, from, 4);
        bits >>= lane + (lane & 8);
        return bits >> 8 & 1 ? 2 : (int)(bits & 1);
    }
    static NQZ_INLINE void interleave(Costs a, Costs b, Costs& low, Costs& high) {
        low = (Costs)_mm256_unpacklo_epi16((__m256i)a, (__m256i)b);
        high = (Costs)_mm256_unpackhi_epi16((__m256i)a, (__m256i)b);
    }
    static NQZ_INLINE void store_blocks(int16_t* to, int64_t pitch, Costs v) {
        _mm_storeu_si128((__m128i*)to, _mm256_castsi256_si128((__m256i)v));
        _mm_storeu_si128((__m128i*)(to + pitch), _mm256_extracti128_si256((__m256i)v, 1));
    }
    static NQZ_INLINE void exchange(const uint8_t* from, int by, uint8_t* to) {
        const __m128i ramp = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m128i index = _mm_xor_si128(ramp, _mm_set1_epi8((char)by));
        _mm_storeu_si128((__m128i*)to, _mm_shuffle_epi8(_mm_loadu_si128((const __m128i*)from), index));
    }
};
#endif

}  // namespace
}  // namespace nqz::NQZ_ISA
