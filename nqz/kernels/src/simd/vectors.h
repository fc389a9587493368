// Vectors: the types that all instruction sets share, in terms of NQZ_VECTOR, the floats of a vector.
#pragma once

#include "../base.h"

#ifdef __AVX__
#include <immintrin.h>
#endif

#ifndef NQZ_VECTOR  // the header of the instruction set says how many
#define NQZ_VECTOR 4
#endif

namespace nqz::NQZ_ISA {
namespace {

enum {
    VECTOR = NQZ_VECTOR,                // entries of 32 bits
    SLAB = NQZ_VECTOR == 4 ? 16 : 32,   // of 8 bits, in the search for points of convolutional lattices
    WIDE = VECTOR / 2,                  // of 64 bits
    STATES = NQZ_VECTOR == 4 ? 8 : 16,  // of 16 bits, in the search for rings
    SQUARE = 16,                        // side of the squares that are transposed
};

// Unaligned vectors, which may alias the numbers that they are made of.
typedef float Vector __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));
typedef double Doubles __attribute__((vector_size(8 * WIDE), aligned(8), may_alias));
typedef float Singles __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));

typedef int32_t Ints __attribute__((vector_size(4 * VECTOR)));
typedef uint32_t Words __attribute__((vector_size(4 * VECTOR)));
typedef int64_t Longs __attribute__((vector_size(8 * WIDE)));
typedef int16_t Costs __attribute__((vector_size(2 * STATES)));
typedef uint8_t Metrics __attribute__((vector_size(SLAB)));  // modulo 256

// Functions that take or give these are inline everywhere: how processors without such registers would pass them is no
// question.
#pragma GCC diagnostic ignored "-Wpsabi"

// A byte of each of the 32 lanes of a ring.
typedef uint8_t Lanes __attribute__((vector_size(32)));
typedef uint16_t LanePairs __attribute__((vector_size(32)));

NQZ_INLINE Vector load_vector(const float* from) { return *(const Vector*)from; }
NQZ_INLINE void store_vector(float* to, Vector v) { *(Vector*)to = v; }

NQZ_INLINE Doubles load_doubles(const double* from) { return *(const Doubles*)from; }
// GCC converts half vectors, and joins them.
NQZ_INLINE Doubles load_doubles(const float* from) {
#if defined(__AVX512F__) && NQZ_VECTOR == 16
    return (Doubles)_mm512_cvtps_pd(_mm256_loadu_ps(from));
#elif defined(__AVX__) && NQZ_VECTOR == 8
    return (Doubles)_mm256_cvtps_pd(_mm_loadu_ps(from));
#else
    return __builtin_convertvector(*(const Singles*)from, Doubles);
#endif
}
// What is beyond `largest` on either side becomes it; not-a-number stays.
NQZ_INLINE Doubles limited(Doubles y, double largest) {
#if defined(__AVX512F__) && NQZ_VECTOR == 16
    const __m512d most = _mm512_set1_pd(largest), least = _mm512_set1_pd(-largest);
    return (Doubles)_mm512_max_pd(least, _mm512_min_pd(most, (__m512d)y));
#elif defined(__AVX__) && NQZ_VECTOR == 8
    const __m256d most = _mm256_set1_pd(largest), least = _mm256_set1_pd(-largest);
    return (Doubles)_mm256_max_pd(least, _mm256_min_pd(most, (__m256d)y));
#else
    const Doubles most = Doubles{} + largest;
    y = y > most ? most : y;
    return y < -most ? -most : y;
#endif
}
NQZ_INLINE void store_doubles(double* to, Doubles v) { *(Doubles*)to = v; }
NQZ_INLINE void store_doubles(float* to, Doubles v) { *(Singles*)to = __builtin_convertvector(v, Singles); }

NQZ_INLINE Costs load_costs(const int16_t* from) {
    Costs v;
    memcpy(&v, from, sizeof v);
    return v;
}
NQZ_INLINE void store_costs(int16_t* to, Costs v) { memcpy(to, &v, sizeof v); }

NQZ_INLINE Ints load_ints(const int32_t* from) {
    Ints v;
    memcpy(&v, from, sizeof v);
    return v;
}
NQZ_INLINE void store_ints(int32_t* to, Ints v) { memcpy(to, &v, sizeof v); }

NQZ_INLINE Words load_words(const void* from) {
    Words v;
    memcpy(&v, from, sizeof v);
    return v;
}
NQZ_INLINE void store_words(void* to, Words v) { memcpy(to, &v, sizeof v); }

NQZ_INLINE Lanes load_lanes(const void* from) {
    Lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}
NQZ_INLINE void store_lanes(void* to, Lanes v) { memcpy(to, &v, sizeof v); }
// Every byte shifted, and of that the bits of `mask`: none of those that come from the byte beside it.
NQZ_INLINE Lanes down(Lanes v, int by, int mask) { return (Lanes)((LanePairs)v >> by) & (Lanes{} + (uint8_t)mask); }
NQZ_INLINE Lanes up(Lanes v, int by, int mask) { return (Lanes)((LanePairs)v << by) & (Lanes{} + (uint8_t)mask); }
// Each lane has what the lane before it had, the first one what the last one had.
NQZ_INLINE Lanes turned(Lanes v) {
    uint8_t lane[33];
    store_lanes(lane + 1, v);
    lane[0] = lane[32];
    return load_lanes(lane);
}

NQZ_INLINE Words all_words(uint32_t value) { return Words{} + value; }
NQZ_INLINE Ints all_ints(int32_t value) { return Ints{} + value; }

}  // namespace
}  // namespace nqz::NQZ_ISA
