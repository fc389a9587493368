// CRC-32 by multiplication without carries: 64 bytes at a time are folded onto the next ones, then 16, and what is left
// is reduced (Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction, 2009).
#pragma once

#include "../base.h"

#include <smmintrin.h>
#include <wmmintrin.h>

namespace nqz::NQZ_ISA {
namespace {

struct Crc32 {
    enum { LEAST = 64, STEP = 16 };

    static NQZ_INLINE __m128i load(const uint8_t* from) { return _mm_loadu_si128((const __m128i*)from); }
    // Both halves of what is to be folded, by powers of x modulo the polynomial, and what it is folded onto.
    static NQZ_INLINE __m128i fold(__m128i x, __m128i by, __m128i onto) {
        const __m128i low = _mm_clmulepi64_si128(x, by, 0x00), high = _mm_clmulepi64_si128(x, by, 0x11);
        return _mm_xor_si128(_mm_xor_si128(low, high), onto);
    }

    // Of at least LEAST bytes, a multiple of STEP; the CRC before and after is not inverted.
    static uint32_t of(const uint8_t* data, int64_t count, uint32_t crc) {
        const __m128i by_512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);  // x^(512 - 64 ± 32), bits reversed
        const __m128i by_128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
        const __m128i by_64 = _mm_set_epi64x(0, 0x0163cd6124);
        const __m128i polynomial = _mm_set_epi64x(0x01f7011641, 0x01db710641);  // the quotient's, and itself
        const __m128i low = _mm_setr_epi32(-1, 0, -1, 0);
        __m128i x[4];
        for (int i = 0; i < 4; i++) x[i] = load(data + 16 * i);
        x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)crc));
        for (data += 64, count -= 64; count >= 64; data += 64, count -= 64)
            for (int i = 0; i < 4; i++) x[i] = fold(x[i], by_512, load(data + 16 * i));
        __m128i sum = x[0];
        for (int i = 1; i < 4; i++) sum = fold(sum, by_128, x[i]);
        for (; count >= 16; data += 16, count -= 16) sum = fold(sum, by_128, load(data));
        sum = _mm_xor_si128(_mm_srli_si128(sum, 8), _mm_clmulepi64_si128(sum, by_128, 0x10));
        sum = _mm_xor_si128(_mm_srli_si128(sum, 4), _mm_clmulepi64_si128(_mm_and_si128(sum, low), by_64, 0x00));
        __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(sum, low), polynomial, 0x10);
        quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low), polynomial, 0x00);
        return (uint32_t)_mm_extract_epi32(_mm_xor_si128(sum, quotient), 1);
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
