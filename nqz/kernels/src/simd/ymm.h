// What AVX2 and AVX-512 do alike, on vectors of 256 bits: rings.
#pragma once

#define NQZ_SHUFFLES 1

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

    struct Nibbles {
        __m256i table;
        Nibbles() = default;
        NQZ_INLINE explicit Nibbles(const uint8_t* from)
            : table(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)from))) {}
        NQZ_INLINE Lanes operator[](Lanes index) const { return (Lanes)_mm256_shuffle_epi8(table, (__m256i)index); }
    };

    // The low four bits of a number choose within tables of 16, the others, from bit 6 down, between these. Shuffles
    // ignore bits 4 to 6, blends all but bit 7. No label is zero where there is room for a bit that says so: a vector
    // takes its sign as it is.
    static NQZ_INLINE uint8_t level(int count, bool negative, int number) {
        return (uint8_t)(negative << 7 | (number & -16) * 128 / count | (count < 128) << 4 | (number & 15));
    }
    template <int COUNT>
    struct Levels {
        enum { HIGH = COUNT == 16 ? 0 : COUNT == 32 ? 1 : COUNT == 64 ? 2 : 3, TABLES = 1 << HIGH };
        __m256i table[TABLES];
        NQZ_INLINE explicit Levels(const uint8_t* magnitude) {
            for (int i = 0; i < TABLES; i++)
                table[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)magnitude + i));
        }
        template <int FROM, int BITS>
        NQZ_INLINE __m256i chosen(__m256i index, const __m256i* shifted) const {
            if constexpr (BITS == 0)
                return _mm256_shuffle_epi8(table[FROM], index);
            else
                return blend(chosen<FROM, BITS - 1>(index, shifted),
                             chosen<FROM + (1 << (BITS - 1)), BITS - 1>(index, shifted), shifted[HIGH - BITS]);
        }
        NQZ_INLINE __m256i magnitudes(Lanes label) const {
            const __m256i index = _mm256_and_si256((__m256i)label, _mm256_set1_epi8(127));
            __m256i shifted[3];
            shifted[0] = _mm256_add_epi8(index, index);
            shifted[1] = _mm256_add_epi8(shifted[0], shifted[0]);
            shifted[2] = _mm256_add_epi8(shifted[1], shifted[1]);
            return chosen<0, HIGH>(index, shifted);
        }
        static NQZ_INLINE __m256i signs_of(Lanes label) {
            return HIGH < 3 ? (__m256i)label : _mm256_or_si256((__m256i)label, _mm256_set1_epi8(1));
        }
        // Bytes of b where the highest bit is set: the compiler would compare first, once for all.
        static NQZ_INLINE __m256i blend(__m256i a, __m256i b, __m256i where) {
            __m256i to;
            asm("vpblendvb %3, %2, %1, %0" : "=x"(to) : "x"(a), "x"(b), "x"(where));
            return to;
        }
        NQZ_INLINE Lanes values(Lanes label) const {
            return (Lanes)_mm256_sign_epi8(magnitudes(label), signs_of(label));
        }
    };

    // Pairs of products fit int16; of magnitudes up to 63, two such pairs, or four where the digit is the low one.
    template <int COUNT>
    struct LevelSums {
        enum { OFFSET = 0, IN_TURN = 1 };
        __m256i high_sum = _mm256_setzero_si256(), low_sum = _mm256_setzero_si256();
        static NQZ_INLINE __m256i wide(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }
        NQZ_INLINE void add(const Levels<COUNT>& levels, const Lanes* label, const int8_t* high, const int8_t* low) {
            __m256i h[4], l[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                __m256i v = levels.magnitudes(label[i]), sign = levels.signs_of(label[i]);
                __m256i x = _mm256_loadu_si256((const __m256i*)high + i),
                        y = _mm256_loadu_si256((const __m256i*)low + i);
                h[i] = _mm256_maddubs_epi16(v, _mm256_sign_epi8(x, sign));
                l[i] = _mm256_maddubs_epi16(v, _mm256_sign_epi8(y, sign));
                if constexpr (COUNT > 32)
                    high_sum = _mm256_add_epi32(high_sum, wide(h[i]));
                else if (i % 2)
                    high_sum = _mm256_add_epi32(high_sum, wide(_mm256_add_epi16(h[i - 1], h[i])));
                if (i % 2) l[i] = _mm256_add_epi16(l[i - 1], l[i]);
                if constexpr (COUNT > 32) {
                    if (i % 2) low_sum = _mm256_add_epi32(low_sum, wide(l[i]));
                }
            }
            if constexpr (COUNT <= 32) low_sum = _mm256_add_epi32(low_sum, wide(_mm256_add_epi16(l[1], l[3])));
        }
        NQZ_INLINE int64_t take() {
            int64_t taken = 128 * sum_of(high_sum) + sum_of(low_sum);
            high_sum = low_sum = _mm256_setzero_si256();
            return taken;
        }

      private:
        static NQZ_INLINE int64_t sum_of(__m256i x) {
            __m256i wide = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(x)),
                                            _mm256_cvtepi32_epi64(_mm256_extracti128_si256(x, 1)));
            __m128i half = _mm_add_epi64(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
            return _mm_cvtsi128_si64(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half)));
        }
    };

    struct PairSums {
        enum { WIDTH = 16 };
        __m256i sum = _mm256_setzero_si256();
        NQZ_INLINE void add(const int16_t* a, const int16_t* b) {
            sum = _mm256_add_epi32(
                sum, _mm256_madd_epi16(_mm256_loadu_si256((const __m256i*)a), _mm256_loadu_si256((const __m256i*)b)));
        }
        NQZ_INLINE int32_t total() const {
            __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
            half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
            return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1)));
        }
    };
};
#endif

}  // namespace
}  // namespace nqz::NQZ_ISA
