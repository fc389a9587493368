// NEON, which every arm64 processor has.
#pragma once

#define NQZ_SHUFFLES 1

#include "portable.h"

#include <arm_neon.h>

namespace nqz::NQZ_ISA {
namespace {

struct Simd : Portable {
    // There are 32 registers.
    enum { RADIX = 16, TRELLIS_STEPS = 4 };

    template <int H>
    static NQZ_INLINE Vector butterfly(Vector v) {
        const float32x4_t x = (float32x4_t)v, sign = {1, H == 1 ? -1.0f : 1.0f, H == 2 ? -1.0f : 1.0f, -1};
        float32x4_t swapped = H == 1 ? vrev64q_f32(x) : vextq_f32(x, x, 2);
        // The product with one or minus one is exact: this is a sum or a difference, rounded once.
        return (Vector)vfmaq_f32(swapped, x, sign);
    }

    static NQZ_INLINE Vector negate(Vector v, uint64_t bits) {
        const int32x4_t to_top = {31, 30, 29, 28};
        uint32x4_t shifted = vshlq_u32(vdupq_n_u32((uint32_t)bits), to_top);
        return (Vector)veorq_u32((uint32x4_t)v, vandq_u32(shifted, vdupq_n_u32(1u << 31)));
    }

    template <class T>
    static NQZ_INLINE void transpose_square(const T* from, int64_t pitch, T* const* to) {
        for (int c = 0; c < SQUARE; c += 4)
            for (int i = 0; i < SQUARE; i += 4) {
                float32x4_t r[4];
                for (int k = 0; k < 4; k++) r[k] = (float32x4_t)load_vector((const float*)(from + (i + k) * pitch + c));
                transpose4(r);
                for (int k = 0; k < 4; k++) store_vector((float*)(to[c + k] + i), (Vector)r[k]);
            }
    }

    template <class T>
    static NQZ_INLINE void stream_square(const T* from, int64_t pitch, T* const* to) {
        transpose_square(from, pitch, to);
    }

    static NQZ_INLINE Ints rounded(Vector v, float limit) {
        const float32x4_t x = (float32x4_t)v, high = vdupq_n_f32(limit), low = vnegq_f32(high);
        float32x4_t clamped = vbslq_f32(vcgtq_f32(x, low), x, low);  // not-a-number is not greater
        return (Ints)vcvtnq_s32_f32(vminq_f32(clamped, high));
    }

    using Portable::lesser;
    static NQZ_INLINE Ints lesser(Ints a, Ints b) { return (Ints)vminq_s32((int32x4_t)a, (int32x4_t)b); }

    static NQZ_INLINE void choose_lesser(uint8_t* to, Metrics a0, Metrics b0, Metrics a1, Metrics b1, Metrics& least0,
                                         Metrics& least1) {
        const uint8x16_t place = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
        const uint8x16_t second0 = vcltzq_s8((int8x16_t)(b0 - a0)), second1 = vcltzq_s8((int8x16_t)(b1 - a1));
        uint8x16_t bits = vpaddq_u8(vandq_u8(second0, place), vandq_u8(second1, place));
        bits = vpaddq_u8(bits, bits);
        bits = vpaddq_u8(bits, bits);
        const uint32_t word = vgetq_lane_u32((uint32x4_t)bits, 0);
        memcpy(to, &word, 4);
        least0 = (Metrics)vbslq_u8(second0, (uint8x16_t)b0, (uint8x16_t)a0);
        least1 = (Metrics)vbslq_u8(second1, (uint8x16_t)b1, (uint8x16_t)a1);
    }

    typedef uint8x16_t Table;
    static NQZ_INLINE Table table(const uint8_t* from) { return vld1q_u8(from); }
    // A byte of the index from 16 on gives 0.
    static NQZ_INLINE Costs pick(Table table, Costs index) { return (Costs)vqtbl1q_u8(table, (uint8x16_t)index); }
    static NQZ_INLINE void choose(uint8_t* to, Costs a, Costs b, Costs ab, Costs c) {
        const uint16x8_t place = {1, 2, 4, 8, 16, 32, 64, 128};
        to[0] = (uint8_t)vaddvq_u16(vandq_u16(vcgtq_s16((int16x8_t)a, (int16x8_t)b), place));
        to[1] = (uint8_t)vaddvq_u16(vandq_u16(vcgtq_s16((int16x8_t)ab, (int16x8_t)c), place));
    }
    static NQZ_INLINE Costs least_of(Costs a, Costs b) { return (Costs)vminq_s16((int16x8_t)a, (int16x8_t)b); }
    static NQZ_INLINE void interleave(Costs a, Costs b, Costs& low, Costs& high) {
        low = (Costs)vzip1q_s16((int16x8_t)a, (int16x8_t)b);
        high = (Costs)vzip2q_s16((int16x8_t)a, (int16x8_t)b);
    }
    static NQZ_INLINE void exchange(const uint8_t* from, int by, uint8_t* to) {
        const uint8x16_t ramp = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        vst1q_u8(to, vqtbl1q_u8(vld1q_u8(from), veorq_u8(ramp, vdupq_n_u8((uint8_t)by))));
    }

    // Both halves of 32 lanes.
    struct Halves {
        uint8x16_t half[2];
        NQZ_INLINE explicit Halves(Lanes v) { memcpy(half, &v, sizeof half); }
        Halves() = default;
        NQZ_INLINE Lanes whole() const {
            Lanes v;
            memcpy(&v, half, sizeof v);
            return v;
        }
    };
    struct Nibbles {
        uint8x16_t table;
        Nibbles() = default;
        NQZ_INLINE explicit Nibbles(const uint8_t* from) : table(vld1q_u8(from)) {}
        NQZ_INLINE Lanes operator[](Lanes index) const {
            Halves i(index);
            for (int h = 0; h < 2; h++) i.half[h] = vqtbl1q_u8(table, i.half[h]);
            return i.whole();
        }
    };
    static NQZ_INLINE uint8_t level(int, bool negative, int number) { return (uint8_t)(negative << 7 | number); }
    template <int COUNT>
    struct Levels {
        enum { TABLES = COUNT / 16 };
        uint8x16_t table[TABLES];
        NQZ_INLINE explicit Levels(const uint8_t* magnitude) {
            for (int i = 0; i < TABLES; i++) table[i] = vld1q_u8(magnitude + 16 * i);
        }
        NQZ_INLINE int8x16_t half_values(uint8x16_t label) const {
            const uint8x16_t index = vandq_u8(label, vdupq_n_u8(127));
            uint8x16_t found;
            if constexpr (TABLES == 1)
                found = vqtbl1q_u8(table[0], index);
            else if constexpr (TABLES == 2)
                found = vqtbl2q_u8({{table[0], table[1]}}, index);
            else
                found = vqtbl4q_u8({{table[0], table[1], table[2], table[3]}}, index);
            if constexpr (TABLES == 8)
                found = vqtbx4q_u8(found, {{table[4], table[5], table[6], table[7]}}, vsubq_u8(index, vdupq_n_u8(64)));
            const int8x16_t sign = vshrq_n_s8((int8x16_t)label, 7);
            return vsubq_s8(veorq_s8((int8x16_t)found, sign), sign);
        }
        NQZ_INLINE Lanes values(Lanes label) const {
            Halves l(label);
            for (int h = 0; h < 2; h++) l.half[h] = (uint8x16_t)half_values(l.half[h]);
            return l.whole();
        }
    };
    template <int COUNT>
    struct LevelSums {
        enum { OFFSET = 0, IN_TURN = 0 };
        int32x4_t high_sum = vdupq_n_s32(0), low_sum = vdupq_n_s32(0);
        // Two products of a byte fit int16.
        static NQZ_INLINE int32x4_t added(int32x4_t sum, int8x16_t v, int8x16_t x) {
            return vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(v), vget_low_s8(x)), v, x));
        }
        NQZ_INLINE void add(const Levels<COUNT>& levels, const Lanes* label, const int8_t* high, const int8_t* low) {
            for (int i = 0; i < 4; i++) {
                const Halves l(label[i]);
                for (int h = 0; h < 2; h++) {
                    const int8x16_t v = levels.half_values(l.half[h]);
                    high_sum = added(high_sum, v, vld1q_s8(high + 32 * i + 16 * h));
                    low_sum = added(low_sum, v, vld1q_s8(low + 32 * i + 16 * h));
                }
            }
        }
        NQZ_INLINE int64_t take() {
            const int64_t taken = 128 * vaddlvq_s32(high_sum) + vaddlvq_s32(low_sum);
            high_sum = low_sum = vdupq_n_s32(0);
            return taken;
        }
    };
    struct PairSums {
        enum { WIDTH = 8 };
        int32x4_t sum = vdupq_n_s32(0);
        NQZ_INLINE void add(const int16_t* a, const int16_t* b) {
            const int16x8_t x = vld1q_s16(a), y = vld1q_s16(b);
            sum = vmlal_high_s16(vmlal_s16(sum, vget_low_s16(x), vget_low_s16(y)), x, y);
        }
        NQZ_INLINE int32_t total() const { return vaddvq_s32(sum); }
    };

    struct RowPairs {
        typedef int16x8_t type;
        enum { WIDTH = 8, ROWS = 4, SUMS = 6, PACKED = 2 };
        static NQZ_INLINE type load(const int8_t* p) { return vmovl_s8(vld1_s8(p)); }
        static NQZ_INLINE type load(const int16_t* p) { return vld1q_s16(p); }
        static NQZ_INLINE type load(const int32_t* p) { return (type)vld1q_s32(p); }
        static NQZ_INLINE void store(int32_t* p, type x) { vst1q_s32(p, (int32x4_t)x); }
        static NQZ_INLINE type zero() { return vdupq_n_s16(0); }
        static NQZ_INLINE type same(int32_t x) { return (type)vdupq_n_s32(x); }
        static NQZ_INLINE void dot(type& sum, type a, type b) {
            const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
            sum = (type)vaddq_s32((int32x4_t)sum, vpaddq_s32(low, high));
        }
        static NQZ_INLINE int64_t total(type x) { return vaddlvq_s32((int32x4_t)x); }
        static NQZ_INLINE void interleave(type a, type b, type& low, type& high) {
            low = vzip1q_s16(a, b);
            high = vzip2q_s16(a, b);
        }
        static NQZ_INLINE void put_back(const int32_t* low_high, int32_t* to) {
            memcpy(to, low_high, WIDTH * sizeof *to);
        }
    };

    struct Accumulator {
        struct type {
            int32x4_t low, high;
        };
        enum { WIDTH = 8, ROWS = 5, VECTORS = 2, HAS_BYTES = 0, SUMS_PAIRS = 0, IS_FAST = 0 };
        static NQZ_INLINE type load(const void* p) {
            return {(int32x4_t)load_ints((const int32_t*)p), (int32x4_t)load_ints((const int32_t*)p + 4)};
        }
        static NQZ_INLINE void store(void* p, type x) {
            store_ints((int32_t*)p, (Ints)x.low);
            store_ints((int32_t*)p + 4, (Ints)x.high);
        }
        static NQZ_INLINE type same(int32_t x) { return {vdupq_n_s32(x), vdupq_n_s32(x)}; }
        static NQZ_INLINE type add(type x, type y) { return {vaddq_s32(x.low, y.low), vaddq_s32(x.high, y.high)}; }
        // b holds groups of eight columns, a the same group everywhere.
        template <bool BYTES>
        static NQZ_INLINE void dot(type& sum, type b, type a) {
            static_assert(!BYTES, "of int16");
            int16x8_t first = vuzp1q_s16((int16x8_t)b.low, (int16x8_t)b.high);
            int16x8_t second = vuzp2q_s16((int16x8_t)b.low, (int16x8_t)b.high);
            int16x4_t pair = vcreate_s16((uint32_t)vgetq_lane_s32(a.low, 0));
            sum.low = vmlal_lane_s16(sum.low, vget_low_s16(first), pair, 0);
            sum.high = vmlal_high_lane_s16(sum.high, first, pair, 0);
            sum.low = vmlal_lane_s16(sum.low, vget_low_s16(second), pair, 1);
            sum.high = vmlal_high_lane_s16(sum.high, second, pair, 1);
        }
    };

    static NQZ_INLINE void look_up(const uint16_t* table, const uint8_t* index, uint16_t* to) {
        const uint8x16x2_t bytes = vld2q_u8((const uint8_t*)table);  // the low ones and the high ones
        for (int l = 0; l < 32; l += 16) {
            uint8x16_t place = vld1q_u8(index + l);
            vst2q_u8((uint8_t*)(to + l), {{vqtbl1q_u8(bytes.val[0], place), vqtbl1q_u8(bytes.val[1], place)}});
        }
    }

  private:
    static NQZ_INLINE void transpose4(float32x4_t* r) {
        float64x2_t t0 = (float64x2_t)vtrn1q_f32(r[0], r[1]), t1 = (float64x2_t)vtrn2q_f32(r[0], r[1]);
        float64x2_t t2 = (float64x2_t)vtrn1q_f32(r[2], r[3]), t3 = (float64x2_t)vtrn2q_f32(r[2], r[3]);
        r[0] = (float32x4_t)vtrn1q_f64(t0, t2);
        r[1] = (float32x4_t)vtrn1q_f64(t1, t3);
        r[2] = (float32x4_t)vtrn2q_f64(t0, t2);
        r[3] = (float32x4_t)vtrn2q_f64(t1, t3);
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
