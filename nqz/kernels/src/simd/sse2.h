// SSE2, which every x86-64 processor has.
#pragma once

#include "portable.h"

#include <emmintrin.h>

namespace nqz::NQZ_ISA {
namespace {

struct Simd : Portable {
    // The conversions of x86 round half to even, and the larger of not-a-number and a number is the second operand.
    static NQZ_INLINE Ints rounded(Vector v, float limit) {
        __m128 clamped = _mm_min_ps(_mm_max_ps((__m128)v, _mm_set1_ps(-limit)), _mm_set1_ps(limit));
        return (Ints)_mm_cvtps_epi32(clamped);
    }

    using Portable::lesser;
    static NQZ_INLINE Metrics lesser(Metrics a, Metrics b) { return (Metrics)_mm_min_epi16((__m128i)a, (__m128i)b); }

    static NQZ_INLINE void decide(uint8_t* to, Metrics a0, Metrics b0, Metrics a1, Metrics b1) {
        __m128i even = _mm_cmpgt_epi16((__m128i)a0, (__m128i)b0), odd = _mm_cmpgt_epi16((__m128i)a1, (__m128i)b1);
        int bits = _mm_movemask_epi8(_mm_packs_epi16(even, odd));
        memcpy(to, &bits, 2);
    }

    static NQZ_INLINE Costs least_of(Costs a, Costs b) { return (Costs)_mm_min_epi16((__m128i)a, (__m128i)b); }
    static NQZ_INLINE void choose(uint8_t* to, Costs a, Costs b, Costs ab, Costs c) {
        __m128i second = _mm_cmpgt_epi16((__m128i)a, (__m128i)b), third = _mm_cmpgt_epi16((__m128i)ab, (__m128i)c);
        int bits = _mm_movemask_epi8(_mm_packs_epi16(second, third));
        memcpy(to, &bits, 2);
    }
    static NQZ_INLINE void interleave(Costs a, Costs b, Costs& low, Costs& high) {
        low = (Costs)_mm_unpacklo_epi16((__m128i)a, (__m128i)b);
        high = (Costs)_mm_unpackhi_epi16((__m128i)a, (__m128i)b);
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
