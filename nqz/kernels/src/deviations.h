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

// What is the same for all entries of a row, and rows of what differs.
struct Line {
    double unit, norm, noise, mean, step;
    const double *units, *norms, *noises, *means, *steps, *theta;
};

NQZ_INLINE Line line_of(const Spread& s, int64_t i) {
    const int64_t r = s.rows, c = s.columns;
    const double *a = s.a + i, *b = s.b;
    return {
        a[0], a[r], a[2 * r], a[3 * r], a[4 * r], b, b + c, b + 2 * c, b + 3 * c, b + 4 * c, s.theta + s.group[i] * c};
}

NQZ_INLINE OffBy off_by(const Spread& s, const Line& line, double raw, double estimate, int64_t j) {
    double nu = (line.noise + line.noises[j] + line.noise * line.noises[j] + s.lost) * s.share;
    double cosine = raw * line.unit * line.units[j] * s.share;
    double square = cosine * cosine, mean = line.theta[j] * s.inverse;
    square = square < 1.0 ? square : 1.0;
    double alpha = 1.0 / (1.0 + nu * s.shrink);
    double missed = nu * s.shrink * alpha;
    square = s.shrink > 0.0 ? mean : square;
    double noise = alpha * alpha * (nu + s.related * square) + missed * missed * line.theta[j];
    noise = noise > 0.0 ? noise : 0.0;
    double size = line.norm * line.norms[j] * __builtin_sqrt(noise * s.inverse) * s.power[0] * s.power[1];
    double first = line.mean * line.steps[j], second = line.means[j] * line.step;
    double rounded = s.rounding * power_of_two(__builtin_fabs(estimate));
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
void deviations_to(const Raw& raw, const Spread& spread, const U* estimates, U* out, int64_t* found) {
    enum { WIDTH = 256 };
    const double LEAST = 1e-270, MOST = 1e270;
    const Spread s = spread;  // nothing that is written can be part of it
    int64_t unknown = 0, coarse = 0;
    found[0] = -1;
    // Pieces of rows, in float64 alone and without counting: that is what compilers make vectors of.
    double points[WIDTH], sizes[WIDTH], nus[WIDTH], squares[WIDTH], rounded[WIDTH];
    for (int64_t i = 0; i < raw.rows; i++) {
        const Line line = line_of(s, i);
        for (int64_t j0 = 0; j0 < raw.columns; j0 += WIDTH) {
            const int64_t width = least(WIDTH, raw.columns - j0);
            const T* from = (const T*)raw.data + i * raw.stride + j0;
            const U* estimate = estimates + i * raw.columns + j0;
            U* to = out + i * raw.columns + j0;
            for (int64_t j = 0; j < width; j++) points[j] = (double)from[j];
            for (int64_t j = 0; j < width; j++) sizes[j] = (double)estimate[j];
            for (int64_t j = 0; j < width; j++) {
                OffBy p = off_by(s, line, points[j], sizes[j], j0 + j);
                nus[j] = p.nu;
                squares[j] = p.squares;
                rounded[j] = p.rounded;
            }
            int64_t far = 0, infinite = 0;
            for (int64_t j = 0; j < width; j++) {
                const double root = __builtin_sqrt(squares[j]);
                to[j] = (U)(nus[j] < __builtin_inf() ? root : __builtin_nan(""));
            }
            for (int64_t j = 0; j < width; j++) {
                const bool known = nus[j] < __builtin_inf(), low = squares[j] < MOST;
                const double most = 2.0 * (rounded[j] * rounded[j]);
                far += (squares[j] > LEAST) & low ? 0 : 1;
                unknown += known ? 0 : 1;
                coarse += known & low & (most > squares[j]) ? 1 : 0;
            }
            for (int64_t j = 0; far && j < width; j++)
                if (nus[j] < __builtin_inf() && !(squares[j] > LEAST && squares[j] < MOST))
                    to[j] = (U)far_root(off_by(s, line, points[j], sizes[j], j0 + j));
            for (int64_t j = 0; j < width; j++) infinite += to[j] == (U)__builtin_inf() ? 1 : 0;
            for (int64_t j = 0; infinite && found[0] < 0 && j < width; j++)
                if (to[j] == (U)__builtin_inf()) found[0] = i * raw.columns + j0 + j;
        }
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
