// AVX2: vectors of 256 bits, and gathering.
#pragma once

#define NQZ_VECTOR 8

#include "ymm.h"

namespace nqz::NQZ_ISA {
namespace {

// Words of lanes that are refilled or emptied stand side by side in memory. Lanes and words are matched by a
// permutation: a table holds one for each of the 256 sets of 8 lanes.
struct Moves {
    uint8_t spread[256][8];  // which word each lane of the set takes
    uint8_t pack[256][16];   // the bytes of the lanes that are not in the set, in the last places
    constexpr Moves() : spread(), pack() {
        for (int set = 0; set < 256; set++) {
            int count = 0;
            for (int l = 0; l < 8; l++) {
                spread[set][l] = (uint8_t)count;
                count += set >> l & 1;
            }
            for (int l = 7, to = 7; l >= 0; l--)
                if (!(set >> l & 1)) {
                    pack[set][2 * to] = (uint8_t)(2 * l);
                    pack[set][2 * to + 1] = (uint8_t)(2 * l + 1);
                    to--;
                }
        }
    }
};
constexpr Moves MOVES;

struct Simd : Ymm {
    enum { GATHERS = 1 };

    template <class T>
    static NQZ_INLINE void transpose_square(const T* from, int64_t pitch, T* const* to) {
        transpose16(from, pitch, to, [](float* at, __m256 v) { _mm256_storeu_ps(at, v); });
    }
    template <class T>
    static NQZ_INLINE void stream_square(const T* from, int64_t pitch, T* const* to) {
        transpose16(from, pitch, to, [](float* at, __m256 v) { _mm256_stream_ps(at, v); });
    }
    static NQZ_INLINE void settle() { _mm_sfence(); }

    // The conversions of x86 round half to even, and the larger of not-a-number and a number is the second operand.
    static NQZ_INLINE Ints rounded(Vector v, float limit) {
        __m256 clamped = _mm256_min_ps(_mm256_max_ps((__m256)v, _mm256_set1_ps(-limit)), _mm256_set1_ps(limit));
        return (Ints)_mm256_cvtps_epi32(clamped);
    }

    static NQZ_INLINE Ints lesser(Ints a, Ints b) { return (Ints)_mm256_min_epi32((__m256i)a, (__m256i)b); }
    static NQZ_INLINE Words lesser(Words a, Words b) { return (Words)_mm256_min_epu32((__m256i)a, (__m256i)b); }

    // The highest bits of a register are the state; below these stand the inputs that it has left behind.
    struct States {
        int32_t* state;
        int memory;
        __m256i s[4];

        NQZ_INLINE States(int32_t* state_, int memory_) : state(state_), memory(memory_) {
            for (int v = 0; v < 4; v++)
                s[v] = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i*)state + v), 32 - memory);
        }
        NQZ_INLINE void back(const uint8_t* rows, int64_t pitch, uint32_t* inputs) {
            const __m256i top = _mm256_set1_epi32(INT32_MIN);
            for (int i = 3; i >= 0; i--)
                for (int v = 0; v < 4; v++) {
                    // Shifted left by this, the bit of a lane stands at the top.
                    const __m256i to_top = _mm256_sub_epi32(_mm256_set1_epi32(31 - 8 * v), ramp());
                    __m256i word =
                        _mm256_i32gather_epi32((const int*)(rows + i * pitch), _mm256_srli_epi32(s[v], 32 - memory), 4);
                    word = _mm256_and_si256(_mm256_sllv_epi32(word, to_top), top);
                    s[v] = _mm256_or_si256(_mm256_srli_epi32(s[v], 1), word);
                }
            // Four inputs of a lane in the upper half of a byte, those of all lanes side by side.
            __m256i left[4];
            for (int v = 0; v < 4; v++)
                left[v] = _mm256_and_si256(_mm256_srli_epi32(s[v], 24 - memory), _mm256_set1_epi32(0xF0));
            __m256i all =
                _mm256_packus_epi16(_mm256_packus_epi32(left[0], left[1]), _mm256_packus_epi32(left[2], left[3]));
            all = _mm256_permutevar8x32_epi32(all, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            for (int i = 0; i < 4; i++, all = _mm256_add_epi8(all, all))
                inputs[i] = (uint32_t)_mm256_movemask_epi8(all);
        }
        NQZ_INLINE void store() {
            for (int v = 0; v < 4; v++) _mm256_storeu_si256((__m256i*)state + v, _mm256_srli_epi32(s[v], 32 - memory));
        }

      private:
        static NQZ_INLINE __m256i ramp() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
    };

    struct Accumulator {
        typedef __m256i type;
        enum { WIDTH = 8, ROWS = 6, VECTORS = 2, HAS_BYTES = 0, SUMS_PAIRS = 1, IS_FAST = 1 };
        static NQZ_INLINE type load(const void* p) { return _mm256_loadu_si256((const __m256i*)p); }
        static NQZ_INLINE void store(void* p, type x) { _mm256_storeu_si256((__m256i*)p, x); }
        static NQZ_INLINE type same(int32_t x) { return _mm256_set1_epi32(x); }
        static NQZ_INLINE type add(type x, type y) { return _mm256_add_epi32(x, y); }
        // Not the intrinsics: GCC spills accumulators that are operands and results of them.
        template <bool BYTES>
        static NQZ_INLINE void dot(type& sum, type b, type a) {
            static_assert(!BYTES, "of int16");
            type products;
            asm("vpmaddwd %2, %1, %0" : "=x"(products) : "x"(b), "x"(a));
            asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products));
        }
        static NQZ_INLINE type pairs(type b, type a) {
            type products;
            asm("vpmaddubsw %2, %1, %0" : "=x"(products) : "x"(b), "x"(a));
            return products;
        }
        static NQZ_INLINE void add_pairs(type& sum, type x) { asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(x)); }
        static NQZ_INLINE type widened(type pairs, type unit) { return _mm256_madd_epi16(pairs, unit); }
        static NQZ_INLINE type half_bytes(type x, int shift) {
            return _mm256_and_si256(_mm256_srli_epi32(x, (unsigned)shift), _mm256_set1_epi8(15));
        }
    };

    static NQZ_INLINE void look_up(const uint16_t* table, const uint8_t* index, uint16_t* to) {
        const __m256i bytes = _mm256_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10,
                                               12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
        __m256i entries = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i*)table), bytes);
        __m256i low = _mm256_permute4x64_epi64(entries, 0x88), high = _mm256_permute4x64_epi64(entries, 0xDD);
        __m256i place = _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i*)index), 0xD8);
        low = _mm256_shuffle_epi8(low, place);
        high = _mm256_shuffle_epi8(high, place);
        _mm256_storeu_si256((__m256i*)to, _mm256_unpacklo_epi8(low, high));
        _mm256_storeu_si256((__m256i*)to + 1, _mm256_unpackhi_epi8(low, high));
    }

    static NQZ_INLINE void spread(uint32_t bits, uint16_t* to) {
        const __m256i place =
            _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, INT16_MIN);
        __m256i low = _mm256_set1_epi16((int16_t)bits), high = _mm256_set1_epi16((int16_t)(bits >> 16));
        _mm256_storeu_si256((__m256i*)to, _mm256_cmpeq_epi16(_mm256_and_si256(low, place), place));
        _mm256_storeu_si256((__m256i*)to + 1, _mm256_cmpeq_epi16(_mm256_and_si256(high, place), place));
    }

    static NQZ_INLINE Words widen(const uint8_t* from) {
        return (Words)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from));
    }
    static NQZ_INLINE Words gather(const void* table, Words index) {
        return (Words)_mm256_i32gather_epi32((const int*)table, (__m256i)index, 4);
    }
    static NQZ_INLINE Words gather_pairs(const uint16_t* table, Words index) {
        return (Words)_mm256_i32gather_epi32((const int*)(const void*)table, (__m256i)index, 2);
    }
    static NQZ_INLINE Words gather_bytes(const uint8_t* table, Words index) {
        return (Words)_mm256_i32gather_epi32((const int*)(const void*)table, (__m256i)index, 1);
    }
    static NQZ_INLINE uint32_t equal(Words a, Words b) { return signs(_mm256_cmpeq_epi32((__m256i)a, (__m256i)b)); }
    static NQZ_INLINE uint32_t flags(Words chosen) { return signs((__m256i)chosen); }
    static NQZ_INLINE Words lanes_of(uint32_t bits) {
        const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        return (Words)_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), bit), bit);
    }
    static NQZ_INLINE void contexts_of_bits(uint32_t bits, const uint8_t* level, uint8_t* context) {
        const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
        const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201);
        __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), byte);
        __m256i ones = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
        __m256i z = _mm256_loadu_si256((const __m256i*)level);
        __m256i o = _mm256_sub_epi8(_mm256_and_si256(ones, _mm256_set1_epi8(8)), z);
        _mm256_storeu_si256((__m256i*)context, _mm256_and_si256(o, _mm256_set1_epi8(15)));
    }

    static NQZ_INLINE Words refilled(Words x, const uint16_t*& words) {
        __m256i low = _mm256_cmpeq_epi32((__m256i)(x >> 16), _mm256_setzero_si256());
        __m256i next = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)words));
        uint32_t set = signs(low);
        words += __builtin_popcount(set);
        next = _mm256_or_si256((__m256i)(x << 16), moved(next, MOVES.spread[set]));
        return (Words)_mm256_blendv_epi8((__m256i)x, next, low);
    }
    static NQZ_INLINE Words emptied(Words x, Words size, uint16_t*& words) {
        __m256i kept = _mm256_cmpgt_epi32((__m256i)size, (__m256i)(x >> 20));
        const uint32_t set = signs(kept);
        const __m256i low = (__m256i)(x & 65535);
        const __m128i all = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
        _mm_storeu_si128((__m128i*)(words - 8),
                         _mm_shuffle_epi8(all, _mm_loadu_si128((const __m128i*)MOVES.pack[set])));
        words += __builtin_popcount(set) - 8;
        return (Words)_mm256_blendv_epi8((__m256i)(x >> 16), (__m256i)x, kept);
    }

    typedef __m256 Floats;
    static NQZ_INLINE Floats divided(float a, Words b) {
        return _mm256_div_ps(_mm256_set1_ps(a), _mm256_cvtepi32_ps((__m256i)b));
    }
    static NQZ_INLINE Words product(Words a, Floats b) {
        // Both halves are converted exactly, and their sum is rounded once.
        __m256 high = _mm256_mul_ps(_mm256_cvtepi32_ps((__m256i)(a >> 16)), _mm256_set1_ps(65536.0f));
        __m256 sum = _mm256_add_ps(high, _mm256_cvtepi32_ps((__m256i)(a & 65535)));
        return (Words)_mm256_cvttps_epi32(_mm256_mul_ps(sum, b));
    }

  private:
    template <class T, class Store>
    static NQZ_INLINE void transpose16(const T* from, int64_t pitch, T* const* to, Store store) {
        for (int c = 0; c < 16; c += 8)
            for (int i = 0; i < 16; i += 8) {
                __m256 r[8];
                for (int k = 0; k < 8; k++) r[k] = _mm256_loadu_ps((const float*)(from + (i + k) * pitch + c));
                transpose8(r);
                for (int k = 0; k < 8; k++) store((float*)(to[c + k] + i), r[k]);
            }
    }
    static NQZ_INLINE void transpose8(__m256* r) {
        __m256 t[8], s[8];
        for (int i = 0; i < 8; i += 2) {
            t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
            t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
        }
        for (int i = 0; i < 8; i += 4)
            for (int k = 0; k < 2; k++) {
                s[i + 2 * k] = _mm256_shuffle_ps(t[i + k], t[i + k + 2], 0x44);
                s[i + 2 * k + 1] = _mm256_shuffle_ps(t[i + k], t[i + k + 2], 0xEE);
            }
        for (int i = 0; i < 4; i++) {
            r[i] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x20);
            r[i + 4] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x31);
        }
    }
    static NQZ_INLINE __m256i moved(__m256i x, const uint8_t* move) {
        return _mm256_permutevar8x32_epi32(x, _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)move)));
    }
    static NQZ_INLINE uint32_t signs(__m256i x) { return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(x)); }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
