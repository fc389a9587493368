// Standard deviations of estimates of products, entry by entry in float64.
#pragma once

#include "base.h"
#include "element.h"

namespace nqz::NQZ_ISA {
namespace {

// The largest power of two that is at most x, which is not negative; 0 for subnormal numbers.
NQZ_INLINE double power_of_two(double x) {
    uint64_t bits;
    memcpy(&bits, &x, 8);
    bits &= 0x7FF0000000000000u;
    memcpy(&x, &bits, 8);
    return x;
}

// What an entry is off by, each of its own cause.
struct OffBy {
    double nu, size, first, second, rounded, squares;
};

template <class T, class U>
NQZ_INLINE OffBy parts_of(const Spread& s, T raw, U estimate, int64_t i, int64_t j, const double* theta) {
    const double *a = s.a + i, *b = s.b + j;
    const int64_t r = s.rows, c = s.columns;
    double noise_a = a[2 * r], noise_b = b[2 * c];
    double nu = (noise_a + noise_b + noise_a * noise_b + s.lost) * s.share;
    double cosine = (double)raw * a[0] * b[0] * s.share;
    double square = cosine * cosine < 1.0 ? cosine * cosine : 1.0;
    double alpha = 1.0 / (1.0 + nu * s.shrink);
    double missed = nu * s.shrink * alpha;
    square = s.shrink > 0.0 ? theta[j] * s.inverse : square;
    double noise = alpha * alpha * (nu + s.related * square) + missed * missed * theta[j];
    noise = noise > 0.0 ? noise : 0.0;
    double size = a[r] * b[c] * __builtin_sqrt(noise * s.inverse) * s.power[0] * s.power[1];
    double first = a[3 * r] * b[4 * c], second = b[3 * c] * a[4 * r];
    double rounded = s.rounding * power_of_two(__builtin_fabs((double)estimate));
    double squares = size * size + first * first + second * second + rounded * rounded;
    return {nu, size, first, second, rounded, squares};
}

NQZ_INLINE double larger(double x, double y) { return x > y ? x : y; }

// The root of a sum of squares, parts of which may be beyond float64.
inline double far_root(const OffBy& p) {
    double most = larger(larger(p.size, p.first), larger(p.second, p.rounded));
    if (!(most < __builtin_inf())) return __builtin_inf();
    double scale = most < 0x1p-1022 ? 0x1p-1022 : power_of_two(most), squares = 0.0;
    const double parts[4] = {p.size, p.first, p.second, p.rounded};
    for (double part : parts) squares = squares + (part / scale) * (part / scale);
    return scale * __builtin_sqrt(squares);
}

template <class T, class U>
void deviations_to(const Raw& raw, const Spread& s, const U* estimates, U* out, int64_t* found) {
    const double LEAST = 1e-270, MOST = 1e270;
    int64_t unknown = 0, coarse = 0;
    found[0] = -1;
    for (int64_t i = 0; i < raw.rows; i++) {
        const T* from = (const T*)raw.data + i * raw.stride;
        const U* estimate = estimates + i * raw.columns;
        const double* theta = s.theta + s.group[i] * raw.columns;
        U* to = out + i * raw.columns;
        int64_t far = 0, infinite = 0;
        for (int64_t j = 0; j < raw.columns; j++) {
            OffBy p = parts_of(s, from[j], estimate[j], i, j, theta);
            bool known = p.nu < __builtin_inf();
            to[j] = (U)(known ? __builtin_sqrt(p.squares) : __builtin_nan(""));
            far += !(p.squares > LEAST && p.squares < MOST);
            unknown += !known;
            coarse += known && 2.0 * (p.rounded * p.rounded) > p.squares && p.squares < MOST;
        }
        for (int64_t j = 0; far && j < raw.columns; j++) {
            OffBy p = parts_of(s, from[j], estimate[j], i, j, theta);
            if (p.nu < __builtin_inf() && !(p.squares > LEAST && p.squares < MOST)) to[j] = (U)far_root(p);
        }
        for (int64_t j = 0; j < raw.columns; j++) infinite += to[j] == (U)__builtin_inf();
        for (int64_t j = 0; infinite && found[0] < 0 && j < raw.columns; j++)
            if (to[j] == (U)__builtin_inf()) found[0] = i * raw.columns + j;
    }
    found[1] = unknown;
    found[2] = coarse;
}

// The position of the first infinite entry or -1, the number of unknown ones, and of those that are mostly rounding.
void deviations(const Raw& raw, const Spread& spread, const void* estimates, void* out, bool wide, int64_t* found) {
    if (raw.integer)
        return wide ? deviations_to<int32_t>(raw, spread, (const double*)estimates, (double*)out, found)
                    : deviations_to<int32_t>(raw, spread, (const float*)estimates, (float*)out, found);
    return wide ? deviations_to<double>(raw, spread, (const double*)estimates, (double*)out, found)
                : deviations_to<double>(raw, spread, (const float*)estimates, (float*)out, found);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
