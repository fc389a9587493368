// Fixed point: entries times their scales, in 1/256.
#pragma once

#include "base.h"
#include "simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

// round_clamped(u · s, limit) of `count` entries, u · s · factor where factors are given.
NQZ_INLINE void round_run(const float* u, float s, const float* factor, float limit, int64_t count, int32_t* t) {
    int64_t p = 0;
    if (factor)
        for (; p + VECTOR <= count; p += VECTOR)
            store_ints(t + p, Simd::rounded(load_vector(u + p) * s * load_vector(factor + p), limit));
    else
        for (; p + VECTOR <= count; p += VECTOR) store_ints(t + p, Simd::rounded(load_vector(u + p) * s, limit));
    for (; p < count; p++) t[p] = round_clamped(factor ? u[p] * s * factor[p] : u[p] * s, limit);
}

// Fixed-point values u · scale · factor of `tile` positions from `first` on; padding is 0. `factor` may be null: ones.
void fixed_point(const float* u, const Place& place, const float* scale, const float* factor, int64_t first, int tile,
                 int32_t* t) {
    int count = (int)least(tile, place.count - first);
    if (count < 0) count = 0;
    for (int p = count; p < tile; p++) t[p] = 0;
    for (int p = 0; p < count;) {
        int64_t column = (place.start + first + p) / place.m;
        int end = (int)least(count, (column + 1) * place.m - place.start - first);
        round_run(u + first + p, scale[column], factor ? factor + p : nullptr, 0x1p29f, end - p, t + p);
        p = end;
    }
}

void round_scaled(const float* u, int64_t width, int64_t n, const float* scale, int32_t* out) {
    for (int64_t j = 0; j < width; j++) round_run(u + j * n, scale[j], nullptr, 0x1p30f, n, out + j * n);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
