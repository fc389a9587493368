// What AVX2 and AVX-512 do alike, on vectors of 256 bits: searches of trellises, and rings.
#pragma once

#define NQZ_SHUFFLES 1
#define NQZ_FEW_SYMBOLS 1

#include "portable.h"

#include <immintrin.h>

namespace nqz::NQZ_ISA {
namespace {

#if NQZ_VECTOR >= 8
// Words that lanes take stand side by side in memory: for each of the 256 sets of 8 lanes, the bytes that each takes.
struct Takes {
    uint8_t bytes[256][16];
    constexpr Takes() : bytes() {
        for (int set = 0; set < 256; set++)
            for (int l = 0, count = 0; l < 8; l++) {
                const bool in = set >> l & 1;
                bytes[set][2 * l] = in ? (uint8_t)(2 * count) : (uint8_t)128;
                bytes[set][2 * l + 1] = in ? (uint8_t)(2 * count + 1) : (uint8_t)128;
                count += in;
            }
    }
};
constexpr Takes TAKES;

struct Ymm : Portable {
    typedef uint32_t Bits __attribute__((aligned(1), may_alias));

    static NQZ_INLINE void choose_lesser(uint8_t* to, Metrics a0, Metrics b0, Metrics a1, Metrics b1, Metrics& least0,
                                         Metrics& least1) {
        // Left alone, GCC takes sums apart that are needed as they are, and gathers the words in a vector to store
        // them.
        asm("" : "+v"(a0), "+v"(a1));
        const __m256i less0 = (__m256i)(b0 - a0), less1 = (__m256i)(b1 - a1);
        volatile Bits* bits = (volatile Bits*)to;
        bits[0] = (uint32_t)_mm256_movemask_epi8(less0);
        bits[1] = (uint32_t)_mm256_movemask_epi8(less1);
        least0 = (Metrics)_mm256_blendv_epi8((__m256i)a0, (__m256i)b0, less0);
        least1 = (Metrics)_mm256_blendv_epi8((__m256i)a1, (__m256i)b1, less1);
    }

    // The state of eight lanes, with a word for each that is below 2^16.
    static NQZ_INLINE __m256i taken(__m256i x, const uint16_t*& words) {
        const __m256i empty = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), _mm256_setzero_si256());
        const uint32_t set = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(empty));
        const __m128i next =
            _mm_shuffle_epi8(_mm_loadu_si128((const __m128i*)words), _mm_loadu_si128((const __m128i*)TAKES.bytes[set]));
        words += __builtin_popcount(set);
        return _mm256_or_si256(_mm256_sllv_epi32(x, _mm256_and_si256(empty, _mm256_set1_epi32(16))),
                               _mm256_cvtepu16_epi32(next));
    }

    // Every byte holds a lane, in the order that packing leaves them in: the first four of all eights, then the others.
    // Slots and where symbols begin are apart, 32 high + low.
    struct FewSymbols {
        enum { MOST = VECTOR == 8 ? 24 : 12 };          // with more, 512 bits gather faster
        int count;                                      // of symbols but the first one
        uint8_t high[MOST + 1][16], low[MOST + 1][16];  // where each begins, by context; behind the last one 4096

        NQZ_INLINE FewSymbols(const uint16_t* cum, int symbols) : count(symbols - 1) {
            for (int s = 0; s < symbols; s++)
                for (int o = 0; o < 16; o++) {
                    const uint16_t begin = cum[o * (symbols + 1) + s + 1];
                    high[s][o] = (uint8_t)(begin >> 5);
                    low[s][o] = begin & 31;
                }
        }
        // Not inline: that leaves it less registers.
        __attribute__((noinline)) void decode(int steps, const uint8_t* context, uint32_t* state,
                                              const uint16_t*& words, int32_t* y, uint32_t* escaped) const {
            const __m256i packed = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
            const __m256i unpacked = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            const __m256i zero = _mm256_setzero_si256(), digits = _mm256_set1_epi16(32 << 8 | 1);
            const uint16_t* from = words;
            __m256i x[4];
            for (int v = 0; v < 4; v++) x[v] = _mm256_loadu_si256((const __m256i*)state + v);
            for (int i = 0; i < steps; i++) {
                const __m256i context_of_lane = _mm256_loadu_si256((const __m256i*)(context + 32 * i));
                const __m256i o = _mm256_permutevar8x32_epi32(context_of_lane, packed);
                const __m256i all_slots = _mm256_set1_epi32(4095), last_five = _mm256_set1_epi16(31);
                __m256i slot[2], slot_high, slot_low;
                for (int p = 0; p < 2; p++)
                    slot[p] = _mm256_packus_epi32(_mm256_and_si256(x[2 * p], all_slots),
                                                  _mm256_and_si256(x[2 * p + 1], all_slots));
                slot_high = _mm256_packus_epi16(_mm256_srli_epi16(slot[0], 5), _mm256_srli_epi16(slot[1], 5));
                slot_low =
                    _mm256_packus_epi16(_mm256_and_si256(slot[0], last_five), _mm256_and_si256(slot[1], last_five));

                // Of the symbols from the last one on, those that begin beyond the slot are passed over.
                __m256i symbol = _mm256_set1_epi8((char)(count / 2)), beyond = zero;
                __m256i begin_high = zero, begin_low = zero;
                __m256i end_high = _mm256_shuffle_epi8(table(high[0]), o);
                __m256i end_low = _mm256_shuffle_epi8(table(low[0]), o);
                __m256i h = end_high, l = end_low;
                // All but these waits in memory, and none of these, which follow one from the other.
                __m256i waits[6] = {x[0], x[1], x[2], x[3], slot[0], slot[1]};
                asm volatile("" : "+m"(waits));
                const auto compare = [&](int next) {
                    beyond = _mm256_cmpgt_epi8(h, _mm256_add_epi8(slot_high, _mm256_cmpgt_epi8(l, slot_low)));
                    symbol = _mm256_add_epi8(symbol, beyond);
                    begin_high = _mm256_blendv_epi8(h, begin_high, beyond);
                    begin_low = _mm256_blendv_epi8(l, begin_low, beyond);
                    h = _mm256_shuffle_epi8(table(high[next]), o);
                    l = _mm256_shuffle_epi8(table(low[next]), o);
                    end_high = _mm256_blendv_epi8(h, end_high, beyond);
                    end_low = _mm256_blendv_epi8(l, end_low, beyond);
                };
                for (int s = 0; s < count; s += 2) {
                    compare(s + 1);
                    compare(s + 2);
                }
                asm volatile("" : "+m"(waits));
                for (int v = 0; v < 4; v++) x[v] = waits[v];

                escaped[i] = ~(uint32_t)_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(beyond, unpacked));
                const __m256i fine = _mm256_slli_epi16(o, 4);
                for (int p = 0; p < 2; p++) {
                    const auto widened = [&](__m256i a, __m256i b) {
                        return p ? _mm256_unpackhi_epi8(a, b) : _mm256_unpacklo_epi8(a, b);
                    };
                    const __m256i begin = _mm256_maddubs_epi16(widened(begin_low, begin_high), digits);
                    const __m256i end = _mm256_maddubs_epi16(widened(end_low, end_high), digits);
                    const __m256i size = _mm256_sub_epi16(end, begin), rest = _mm256_sub_epi16(waits[4 + p], begin);
                    const __m256i point = widened(fine, symbol);  // 256 k + 16 o
                    for (int q = 0; q < 2; q++) {
                        const auto wide = [&](__m256i a, __m256i b) {
                            return q ? _mm256_unpackhi_epi16(a, b) : _mm256_unpacklo_epi16(a, b);
                        };
                        const int v = 2 * p + q;
                        _mm256_storeu_si256((__m256i*)(y + 32 * i) + v, _mm256_srai_epi32(wide(zero, point), 20));
                        const __m256i share = _mm256_mullo_epi32(wide(size, zero), _mm256_srli_epi32(x[v], 12));
                        x[v] = _mm256_add_epi32(share, wide(rest, zero));
                    }
                }
                for (int v = 0; v < 4; v++) x[v] = taken(x[v], from);
            }
            words = from;
            for (int v = 0; v < 4; v++) _mm256_storeu_si256((__m256i*)state + v, x[v]);
        }
    };

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

    static NQZ_INLINE void window_energies(const int8_t* from, int64_t stride, int64_t rows, int64_t bytes, int offset,
                                           uint16_t* energy) {
        __m256i most[4];
        for (int w = 0; w < 4; w++) most[w] = _mm256_setzero_si256();
        const __m256i more = _mm256_set1_epi8((char)offset), three_more = _mm256_set1_epi16(3);
        // Of pairs; sums of 2^16 and more become 2^16 - 1, and what -128 is counted as is not less than its square.
        const auto energies = [&](const int8_t* at) {
            const __m256i m = _mm256_abs_epi8(_mm256_add_epi8(_mm256_loadu_si256((const __m256i*)at), more));
            return _mm256_srli_epi16(_mm256_adds_epu16(_mm256_maddubs_epi16(m, m), three_more), 2);
        };
        const auto add = [&](const int8_t* at) {
            __m256i e = energies(at), three = _mm256_adds_epu16(e, energies(at + 4));
            most[1] = _mm256_max_epu16(most[1], _mm256_adds_epu16(three, energies(at + 8)));
            e = _mm256_adds_epu16(e, _mm256_shuffle_epi32(e, 0xB1));
            most[0] = _mm256_max_epu16(most[0], e);
            e = _mm256_adds_epu16(e, _mm256_shuffle_epi32(e, 0x4E));
            most[2] = _mm256_max_epu16(most[2], e);
            e = _mm256_adds_epu16(e, _mm256_permute2x128_si256(e, e, 1));
            most[3] = _mm256_max_epu16(most[3], e);
        };
        for (int64_t r = 0; r < rows; r++, from += stride) {
            int64_t i = 0;
            for (; i + 40 <= bytes; i += 32) add(from + i);
            for (; i < bytes; i += 32) {
                int8_t last[40] = {};
                memcpy(last, from + i, (size_t)(bytes - i < 40 ? bytes - i : 40));
                add(last);
            }
        }
        for (int w = 0; w < 4; w++) {
            uint16_t each[16];
            memcpy(each, &most[w], sizeof each);
            energy[w] = 0;
            for (int l = 0; l < 16; l++) energy[w] = each[l] > energy[w] ? each[l] : energy[w];
        }
    }

    struct RowPairs {
        typedef __m256i type;
        enum { WIDTH = 16, ROWS = 2, SUMS = 6, PACKED = 2 };
        static NQZ_INLINE type load(const int8_t* p) {
            return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)p));
        }
        static NQZ_INLINE type load(const int16_t* p) { return _mm256_loadu_si256((const __m256i*)p); }
        static NQZ_INLINE type load(const int32_t* p) { return _mm256_loadu_si256((const __m256i*)p); }
        static NQZ_INLINE void store(int32_t* p, type x) { _mm256_storeu_si256((__m256i*)p, x); }
        static NQZ_INLINE type zero() { return _mm256_setzero_si256(); }
        static NQZ_INLINE type same(int32_t x) { return _mm256_set1_epi32(x); }
        static NQZ_INLINE void dot(type& sum, type a, type b) { sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
        static NQZ_INLINE int64_t total(type x) {
            __m256i wide = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(x)),
                                            _mm256_cvtepi32_epi64(_mm256_extracti128_si256(x, 1)));
            __m128i half = _mm_add_epi64(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
            return _mm_cvtsi128_si64(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half)));
        }
        static NQZ_INLINE void interleave(type a, type b, type& low, type& high) {
            low = _mm256_unpacklo_epi16(a, b);
            high = _mm256_unpackhi_epi16(a, b);
        }
        static NQZ_INLINE void put_back(const int32_t* low_high, int32_t* to) {
            const __m256i low = load(low_high), high = load(low_high + 8);
            store(to, _mm256_permute2x128_si256(low, high, 0x20));
            store(to + 8, _mm256_permute2x128_si256(low, high, 0x31));
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
