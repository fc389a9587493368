// AVX-512 (F, BW, DQ, VL and CD), and its product with VNNI.
#pragma once

#define NQZ_VECTOR 16

#include "ymm.h"

namespace nqz::NQZ_ISA {
namespace {

struct Avx512 : Ymm {
    enum { RADIX = 16, TRELLIS_STEPS = 4, GATHERS = 1 };

    template <int H>
    static NQZ_INLINE Vector butterfly(Vector v) {
        Vector swapped = NQZ_SHUFFLE(v, 0 ^ H, 1 ^ H, 2 ^ H, 3 ^ H, 4 ^ H, 5 ^ H, 6 ^ H, 7 ^ H, 8 ^ H, 9 ^ H, 10 ^ H,
                                     11 ^ H, 12 ^ H, 13 ^ H, 14 ^ H, 15 ^ H);
        // The product with one or minus one is exact: this is a sum or a difference, rounded once.
        Vector sign;
        for (int i = 0; i < VECTOR; i++) sign[i] = i & H ? -1.0f : 1.0f;
        return (Vector)_mm512_fmadd_ps((__m512)v, (__m512)sign, (__m512)swapped);
    }

    static NQZ_INLINE Vector negate(Vector v, uint64_t bits) {
        __m512i x = (__m512i)v;
        return (Vector)_mm512_mask_xor_epi32(x, (__mmask16)bits, x, _mm512_set1_epi32(INT32_MIN));
    }

    template <class T>
    static NQZ_INLINE void transpose_square(const T* from, int64_t pitch, T* const* to) {
        transpose16(from, pitch, to, [](T* at, __m512 v) { _mm512_storeu_ps(at, v); });
    }
    template <class T>
    static NQZ_INLINE void stream_square(const T* from, int64_t pitch, T* const* to) {
        transpose16(from, pitch, to, [](T* at, __m512 v) { _mm512_stream_ps((float*)at, v); });
    }
    static NQZ_INLINE void settle() { _mm_sfence(); }
    template <class T, class Store>
    static NQZ_INLINE void transpose16(const T* from, int64_t pitch, T* const* to, Store store) {
        __m512 r[16], t[16];
        for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_ps(from + i * pitch);
        for (int i = 0; i < 16; i += 2) {
            t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
            t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
        }
        // r[4 i + k] holds columns k, k + 4, k + 8, k + 12 of rows 4 i to 4 i + 3.
        for (int i = 0; i < 16; i += 4)
            for (int k = 0; k < 2; k++) {
                r[i + 2 * k] = _mm512_shuffle_ps(t[i + k], t[i + k + 2], 0x44);
                r[i + 2 * k + 1] = _mm512_shuffle_ps(t[i + k], t[i + k + 2], 0xEE);
            }
        for (int k = 0; k < 4; k++) {
            __m512 a = _mm512_shuffle_f32x4(r[k], r[k + 4], 0x88), b = _mm512_shuffle_f32x4(r[k + 8], r[k + 12], 0x88);
            __m512 c = _mm512_shuffle_f32x4(r[k], r[k + 4], 0xDD), d = _mm512_shuffle_f32x4(r[k + 8], r[k + 12], 0xDD);
            store(to[k], _mm512_shuffle_f32x4(a, b, 0x88));
            store(to[k + 4], _mm512_shuffle_f32x4(c, d, 0x88));
            store(to[k + 8], _mm512_shuffle_f32x4(a, b, 0xDD));
            store(to[k + 12], _mm512_shuffle_f32x4(c, d, 0xDD));
        }
    }

    // The conversions of x86 round half to even, and the larger of not-a-number and a number is the second operand.
    static NQZ_INLINE Ints rounded(Vector v, float limit) {
        __m512 clamped = _mm512_min_ps(_mm512_max_ps((__m512)v, _mm512_set1_ps(-limit)), _mm512_set1_ps(limit));
        return (Ints)_mm512_cvtps_epi32(clamped);
    }

    static NQZ_INLINE Ints lesser(Ints a, Ints b) { return (Ints)_mm512_min_epi32((__m512i)a, (__m512i)b); }
    static NQZ_INLINE Words lesser(Words a, Words b) { return (Words)_mm512_min_epu32((__m512i)a, (__m512i)b); }

    struct States {
        int32_t* state;
        __m512i turn0, turn1, top, s0, s1;

        NQZ_INLINE States(int32_t* state_, int memory)
            : state(state_), s0(_mm512_loadu_si512(state_)), s1(_mm512_loadu_si512(state_ + 16)) {
            // Rotated right by this, the bit of lane l stands at bit `memory`.
            const __m512i ramp = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            turn0 = _mm512_sub_epi32(ramp, _mm512_set1_epi32(memory));
            turn1 = _mm512_add_epi32(turn0, _mm512_set1_epi32(16));
            top = _mm512_set1_epi32(1 << memory);
        }
        NQZ_INLINE void back(const uint8_t* rows, int64_t pitch, uint32_t* inputs) {
            const __m512i one = _mm512_set1_epi32(1);
            for (int i = 3; i >= 0; i--) {
                const uint8_t* row = rows + i * pitch;
                inputs[i] = _mm512_test_epi32_mask(s0, one) | (uint32_t)_mm512_test_epi32_mask(s1, one) << 16;
                __m512i d0 = _mm512_rorv_epi32(_mm512_i32gather_epi32(s0, row, 4), turn0);
                __m512i d1 = _mm512_rorv_epi32(_mm512_i32gather_epi32(s1, row, 4), turn1);
                s0 = _mm512_srli_epi32(_mm512_or_si512(s0, _mm512_and_si512(d0, top)), 1);
                s1 = _mm512_srli_epi32(_mm512_or_si512(s1, _mm512_and_si512(d1, top)), 1);
            }
        }
        NQZ_INLINE void store() {
            _mm512_storeu_si512(state, s0);
            _mm512_storeu_si512(state + 16, s1);
        }
    };

    struct Accumulator {
        typedef __m512i type;
        enum { WIDTH = 16, ROWS = 12, VECTORS = 2, HAS_BYTES = 0, SUMS_PAIRS = 1, IS_FAST = 1 };
        static NQZ_INLINE type load(const void* p) { return _mm512_loadu_si512(p); }
        static NQZ_INLINE void store(void* p, type x) { _mm512_storeu_si512(p, x); }
        static NQZ_INLINE type same(int32_t x) { return _mm512_set1_epi32(x); }
        static NQZ_INLINE type add(type x, type y) { return _mm512_add_epi32(x, y); }
        // Not the intrinsics: GCC spills accumulators that are operands and results of them.
        template <bool BYTES>
        static NQZ_INLINE void dot(type& sum, type b, type a) {
            static_assert(!BYTES, "of int16");
            type products;
            asm("vpmaddwd %2, %1, %0" : "=v"(products) : "v"(b), "v"(a));
            asm("vpaddd %1, %0, %0" : "+v"(sum) : "v"(products));
        }
        static NQZ_INLINE type pairs(type b, type a) {
            type products;
            asm("vpmaddubsw %2, %1, %0" : "=v"(products) : "v"(b), "v"(a));
            return products;
        }
        static NQZ_INLINE void add_pairs(type& sum, type x) { asm("vpaddw %1, %0, %0" : "+v"(sum) : "v"(x)); }
        static NQZ_INLINE type widened(type pairs, type unit) { return _mm512_madd_epi16(pairs, unit); }
        static NQZ_INLINE type half_bytes(type x, int shift) {
            return _mm512_and_si512(_mm512_srli_epi32(x, (unsigned)shift), _mm512_set1_epi8(15));
        }
    };

    struct RowPairs {
        typedef __m512i type;
        enum { WIDTH = 32, ROWS = 4, SUMS = 6, PACKED = 4 };
        static NQZ_INLINE type load(const int8_t* p) {
            return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)p));
        }
        static NQZ_INLINE type load(const int16_t* p) { return _mm512_loadu_si512(p); }
        static NQZ_INLINE type load(const int32_t* p) { return _mm512_loadu_si512(p); }
        static NQZ_INLINE void store(int32_t* p, type x) { _mm512_storeu_si512(p, x); }
        static NQZ_INLINE type zero() { return _mm512_setzero_si512(); }
        static NQZ_INLINE type same(int32_t x) { return _mm512_set1_epi32(x); }
        static NQZ_INLINE void dot(type& sum, type a, type b) { sum = _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
        static NQZ_INLINE int64_t total(type x) {
            return _mm512_reduce_add_epi64(_mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(x)),
                                                            _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(x, 1))));
        }
        static NQZ_INLINE void interleave(type a, type b, type& low, type& high) {
            low = _mm512_unpacklo_epi16(a, b);
            high = _mm512_unpackhi_epi16(a, b);
        }
        static NQZ_INLINE void put_back(const int32_t* low_high, int32_t* to) {
            const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
            const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
            const __m512i low = load(low_high), high = load(low_high + 16);
            store(to, _mm512_permutex2var_epi64(low, first, high));
            store(to + 16, _mm512_permutex2var_epi64(low, second, high));
        }
    };

    static NQZ_INLINE void look_up(const uint16_t* table, const uint8_t* index, uint16_t* to) {
        __m512i place = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i*)index));
        __m512i entries = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i*)table));
        _mm512_storeu_si512(to, _mm512_permutexvar_epi16(place, entries));
    }

    static NQZ_INLINE void spread(uint32_t bits, uint16_t* to) { _mm512_storeu_si512(to, _mm512_movm_epi16(bits)); }

    static NQZ_INLINE Words widen(const uint8_t* from) {
        return (Words)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from));
    }
    static NQZ_INLINE Words gather(const void* table, Words index) {
        return (Words)_mm512_i32gather_epi32((__m512i)index, table, 4);
    }
    static NQZ_INLINE Words gather_pairs(const uint16_t* table, Words index) {
        return (Words)_mm512_i32gather_epi32((__m512i)index, (const void*)table, 2);
    }
    static NQZ_INLINE Words gather_bytes(const uint8_t* table, Words index) {
        return (Words)_mm512_i32gather_epi32((__m512i)index, (const void*)table, 1);
    }
    static NQZ_INLINE uint32_t equal(Words a, Words b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
    static NQZ_INLINE uint32_t flags(Words chosen) { return _mm512_movepi32_mask((__m512i)chosen); }
    static NQZ_INLINE Words lanes_of(uint32_t bits) { return (Words)_mm512_movm_epi32((__mmask16)bits); }
    static NQZ_INLINE void contexts_of_bits(uint32_t bits, const uint8_t* level, uint8_t* context) {
        __m256i z = _mm256_loadu_si256((const __m256i*)level), ones = _mm256_movm_epi8(bits);
        __m256i o = _mm256_sub_epi8(_mm256_and_si256(ones, _mm256_set1_epi8(8)), z);
        _mm256_storeu_si256((__m256i*)context, _mm256_and_si256(o, _mm256_set1_epi8(15)));
    }

    static NQZ_INLINE Words refilled(Words x, const uint16_t*& words) {
        __mmask16 low = _mm512_cmplt_epu32_mask((__m512i)x, _mm512_set1_epi32(1 << 16));
        __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)words));
        words += __builtin_popcount(low);
        return (Words)_mm512_mask_or_epi32((__m512i)x, low, (__m512i)(x << 16), _mm512_maskz_expand_epi32(low, next));
    }
    static NQZ_INLINE Words emptied(Words x, Words size, uint16_t*& words) {
        const __m512i order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        __mmask16 full = _mm512_cmpge_epu32_mask((__m512i)(x >> 20), (__m512i)size);
        int count = __builtin_popcount(full);
        // The first `count` lanes go to the end.
        __m512i given = _mm512_permutexvar_epi32(_mm512_add_epi32(order, _mm512_set1_epi32(count)),
                                                 _mm512_maskz_compress_epi32(full, (__m512i)x));
        _mm256_storeu_si256((__m256i*)(words - 16), _mm512_cvtepi32_epi16(given));
        words -= count;
        return (Words)_mm512_mask_srli_epi32((__m512i)x, full, (__m512i)x, 16);
    }

    typedef __m512 Floats;
    static NQZ_INLINE Floats divided(float a, Words b) {
        return _mm512_div_ps(_mm512_set1_ps(a), _mm512_cvtepi32_ps((__m512i)b));
    }
    static NQZ_INLINE Words product(Words a, Floats b) {
        return (Words)_mm512_cvttps_epi32(_mm512_mul_ps(_mm512_cvtepu32_ps((__m512i)a), b));
    }
};

#if defined(__AVX512VNNI__)
struct Vnni : Avx512 {
    // Not the intrinsics: GCC spills accumulators that are operands and results of them.
    struct Accumulator : Avx512::Accumulator {
        enum { HAS_BYTES = 1 };
        template <bool BYTES>
        static NQZ_INLINE void dot(type& sum, type b, type a) {
            if constexpr (BYTES)
                asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(b), "v"(a));
            else
                asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(b), "v"(a));
        }
    };
};
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
struct Simd : Vnni {
    // All labels are looked up at once, 64 of them in two registers; bits 7 and 6 choose between these. Bytes are
    // multiplied where those of one side are not negative: values have an offset.
    static NQZ_INLINE uint8_t level(int count, bool negative, int number) {
        const int label = negative * count + number;  // below 256
        return (uint8_t)(label % 64 | (count == 64 ? label / 64 << 7 : label / 64 << 6));
    }
    template <int COUNT>
    struct Levels {
        enum { OFFSET = COUNT <= 32 ? 64 : 128, VECTORS = COUNT / 16 };
        __m256i table[VECTORS];
        NQZ_INLINE explicit Levels(const uint8_t* magnitude) {
            const __m256i offset = _mm256_set1_epi8((char)OFFSET);
            if constexpr (COUNT == 16) {
                const __m128i half = _mm_loadu_si128((const __m128i*)magnitude);
                const __m256i both = _mm256_set_m128i(_mm_sub_epi8(_mm_setzero_si128(), half), half);
                table[0] = _mm256_add_epi8(offset, both);
            } else {
                for (int i = 0; i < VECTORS / 2; i++) {
                    const __m256i v = _mm256_loadu_si256((const __m256i*)magnitude + i);
                    table[i] = _mm256_add_epi8(offset, v);
                    table[VECTORS / 2 + i] = _mm256_sub_epi8(offset, v);
                }
            }
        }
        // Values and OFFSET.
        NQZ_INLINE __m256i shifted_values(Lanes label) const {
            const __m256i l = (__m256i)label;
            if constexpr (COUNT == 16)
                return _mm256_permutexvar_epi8(l, table[0]);
            else if constexpr (COUNT == 32)
                return _mm256_permutex2var_epi8(table[0], l, table[1]);
            else if constexpr (COUNT == 64)
                return _mm256_mask_blend_epi8(_mm256_movepi8_mask(l), pair(0, l), pair(2, l));
            else {
                const __mmask32 odd = _mm256_movepi8_mask(_mm256_add_epi8(l, l));
                return _mm256_mask_blend_epi8(_mm256_movepi8_mask(l),
                                              _mm256_mask_blend_epi8(odd, pair(0, l), pair(2, l)),
                                              _mm256_mask_blend_epi8(odd, pair(4, l), pair(6, l)));
            }
        }
        NQZ_INLINE Lanes values(Lanes label) const {
            return (Lanes)_mm256_sub_epi8(shifted_values(label), _mm256_set1_epi8((char)OFFSET));
        }

      private:
        NQZ_INLINE __m256i pair(int i, __m256i l) const { return _mm256_permutex2var_epi8(table[i], l, table[i + 1]); }
    };
    template <int COUNT>
    struct LevelSums {
        enum { OFFSET = Levels<COUNT>::OFFSET, IN_TURN = 0 };
        __m256i high_sum = _mm256_setzero_si256(), low_sum = _mm256_setzero_si256();
        NQZ_INLINE void add(const Levels<COUNT>& levels, const Lanes* label, const int8_t* high, const int8_t* low) {
            for (int i = 0; i < 4; i++) {
                const __m256i v = levels.shifted_values(label[i]);
                const __m256i x = _mm256_loadu_si256((const __m256i*)high + i);
                const __m256i y = _mm256_loadu_si256((const __m256i*)low + i);
                asm("vpdpbusd %2, %1, %0" : "+v"(high_sum) : "v"(v), "v"(x));
                asm("vpdpbusd %2, %1, %0" : "+v"(low_sum) : "v"(v), "v"(y));
            }
        }
        NQZ_INLINE int64_t take() {
            const int64_t taken = 128 * sum_of(high_sum) + sum_of(low_sum);
            high_sum = low_sum = _mm256_setzero_si256();
            return taken;
        }

      private:
        static NQZ_INLINE int64_t sum_of(__m256i x) { return _mm512_reduce_add_epi64(_mm512_cvtepi32_epi64(x)); }
    };
    struct PairSums {
        enum { WIDTH = 32 };
        __m512i sum = _mm512_setzero_si512();
        NQZ_INLINE void add(const int16_t* a, const int16_t* b) {
            const __m512i x = _mm512_loadu_si512(a), y = _mm512_loadu_si512(b);
            asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
        }
        NQZ_INLINE int32_t total() const { return _mm512_reduce_add_epi32(sum); }
    };
};
#elif defined(__AVX512VNNI__)
typedef Vnni Simd;
#else
typedef Avx512 Simd;
#endif

}  // namespace
}  // namespace nqz::NQZ_ISA
