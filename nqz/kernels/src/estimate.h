// From exact products to estimates, entry by entry in float64; and the energy of products by groups of rows.
#pragma once

#include "base.h"
#include "element.h"

namespace nqz::NQZ_ISA {
namespace {

template <class T, class U>
int64_t estimate_to(const Raw& raw, const Scaling& s, U* out) {
    uint64_t bad = 0;
    for (int64_t i = 0; i < raw.rows; i++) {
        const T* from = (const T*)raw.data + i * raw.stride;
        U* to = out + i * raw.columns;
        const double unit = s.unit_a[i], spread = s.spread_a[i], mean = s.mean_a[i];
        for (int64_t j = 0; j < raw.columns; j++) {
            double nu = spread * s.spread_b[j] * s.share - 1.0;
            double factor = unit * s.unit_b[j] * s.factor / (s.theta + nu);
            double product = (double)from[j] * factor * s.power[0] * s.power[1];
            to[j] = (U)(product + s.length * (mean * s.mean_b[j]));
            bad |= !finite(to[j]);
        }
    }
    if (bad)
        for (int64_t i = 0; i < raw.rows * raw.columns; i++)
            if (!finite(out[i])) return i;
    return -1;
}

// Returns -1, or the position of the first entry that is not finite.
int64_t estimate(const Raw& raw, const Scaling& scaling, void* out, bool wide) {
    if (raw.integer)
        return wide ? estimate_to<int32_t>(raw, scaling, (double*)out)
                    : estimate_to<int32_t>(raw, scaling, (float*)out);
    return wide ? estimate_to<double>(raw, scaling, (double*)out) : estimate_to<double>(raw, scaling, (float*)out);
}

template <class T>
void group_energies_of(const Raw& raw, const int64_t* order, const int64_t* edges, int64_t groups, const double* unit,
                       bool skips, int64_t diagonal, double* out) {
    enum { WIDTH = 512 };
    for (int64_t j0 = 0; j0 < raw.columns; j0 += WIDTH) {
        int64_t width = least(WIDTH, raw.columns - j0);
        for (int64_t g = 0; g < groups; g++) {
            double* sums = out + g * raw.columns + j0;
            for (int64_t j = 0; j < width; j++) sums[j] = 0.0;
            for (int64_t p = edges[g]; p < edges[g + 1]; p++) {
                const T* from = (const T*)raw.data + order[p] * raw.stride + j0;
                int64_t skip = order[p] - diagonal - j0;
                bool here = skips && skip >= 0 && skip < width;
                double kept = here ? sums[skip] : 0.0;
                for (int64_t j = 0; j < width; j++) {
                    double x = (double)from[j] * unit[order[p]];
                    sums[j] += x * x;
                }
                if (here) sums[skip] = kept;
            }
        }
    }
}

// For every group of rows and every column the sum of (unit[row] raw)², row after row in the given order. If `skips`,
// entries [i, i - diagonal] do not count.
void group_energies(const Raw& raw, const int64_t* order, const int64_t* edges, int64_t groups, const double* unit,
                    bool skips, int64_t diagonal, double* out) {
    if (raw.integer)
        group_energies_of<int32_t>(raw, order, edges, groups, unit, skips, diagonal, out);
    else
        group_energies_of<double>(raw, order, edges, groups, unit, skips, diagonal, out);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
