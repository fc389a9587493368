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

    static NQZ_INLINE void choose_lesser(uint8_t* to, Metrics a0, Metrics b0, Metrics a1, Metrics b1, Metrics& least0,
                                         Metrics& least1) {
        __m128i less0 = (__m128i)(b0 - a0), less1 = (__m128i)(b1 - a1), zero = _mm_setzero_si128();
        uint32_t bits = (uint32_t)_mm_movemask_epi8(less0) | (uint32_t)_mm_movemask_epi8(less1) << 16;
        memcpy(to, &bits, 4);
        // Where the difference is negative, it is added.
        least0 = a0 + (Metrics)_mm_and_si128(less0, _mm_cmpgt_epi8(zero, less0));
        least1 = a1 + (Metrics)_mm_and_si128(less1, _mm_cmpgt_epi8(zero, less1));
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

    struct RowPairs {
        typedef __m128i type;
        enum { WIDTH = 8, ROWS = 2, SUMS = 6, PACKED = 2 };
        static NQZ_INLINE type load(const int8_t* p) {
            const __m128i x = _mm_loadl_epi64((const __m128i*)p);
            return _mm_srai_epi16(_mm_unpacklo_epi8(x, x), 8);
        }
        static NQZ_INLINE type load(const int16_t* p) { return _mm_loadu_si128((const __m128i*)p); }
        static NQZ_INLINE type load(const int32_t* p) { return _mm_loadu_si128((const __m128i*)p); }
        static NQZ_INLINE void store(int32_t* p, type x) { _mm_storeu_si128((__m128i*)p, x); }
        static NQZ_INLINE type zero() { return _mm_setzero_si128(); }
        static NQZ_INLINE type same(int32_t x) { return _mm_set1_epi32(x); }
        static NQZ_INLINE void dot(type& sum, type a, type b) { sum = _mm_add_epi32(sum, _mm_madd_epi16(a, b)); }
        static NQZ_INLINE int64_t total(type x) {
            int32_t lane[4];
            store(lane, x);
            return (int64_t)lane[0] + lane[1] + lane[2] + lane[3];
        }
        static NQZ_INLINE void interleave(type a, type b, type& low, type& high) {
            low = _mm_unpacklo_epi16(a, b);
            high = _mm_unpackhi_epi16(a, b);
        }
        static NQZ_INLINE void put_back(const int32_t* low_high, int32_t* to) {
            memcpy(to, low_high, WIDTH * sizeof *to);
        }
    };
};

}  // namespace
}  // namespace nqz::NQZ_ISA
