// Which entries of a product are near the top of their column: what a search keeps of a tile.
#pragma once

#include "base.h"

namespace nqz::NQZ_ISA {
namespace {

template <class T, bool REACH>
int64_t select_from(const Raw& raw, const Contest& c, int64_t space, int32_t* row, int32_t* column, double* score) {
    enum { WIDTH = 64 };
    int64_t count = 0;
    for (int64_t i = 0; i < raw.rows; i++) {
        const T* from = (const T*)raw.data + i * raw.stride;
        const double unit = c.a[i], mean = c.a[raw.rows + i], offset = c.a[2 * raw.rows + i];
        const double reach = c.a[3 * raw.rows + i];
        const double *units = c.b, *means = c.b + raw.columns, *reaches = c.b + 2 * raw.columns;
        for (int64_t j0 = 0; j0 < raw.columns; j0 += WIDTH) {
            const int64_t j1 = j0 + least(WIDTH, raw.columns - j0);
            int64_t any = 0;
            for (int64_t j = j0; j < j1; j++) {
                double x = (double)from[j] * unit * units[j] + (mean * means[j] + offset);
                if (REACH) x = x + reach * reaches[j];
                any += x > c.limit[j] ? 1 : 0;
            }
            if (!any) continue;
            for (int64_t j = j0; j < j1; j++) {
                double x = (double)from[j] * unit * units[j] + (mean * means[j] + offset);
                double most = REACH ? x + reach * reaches[j] : x;
                if (!(most > c.limit[j])) continue;
                if (count < space) row[count] = (int32_t)i, column[count] = (int32_t)j, score[count] = x;
                count++;
            }
        }
    }
    return count;
}

// Entries whose score, with what it may be off by, is above the limit of their column, row after row: as many as there
// is space for. Returns how many there are.
int64_t select(const Raw& raw, const Contest& contest, int64_t space, int32_t* row, int32_t* column, double* score) {
    bool reach = false;
    for (int64_t j = 0; j < raw.columns; j++) reach |= contest.b[2 * raw.columns + j] != 0.0;
    if (raw.integer)
        return reach ? select_from<int32_t, true>(raw, contest, space, row, column, score)
                     : select_from<int32_t, false>(raw, contest, space, row, column, score);
    return reach ? select_from<double, true>(raw, contest, space, row, column, score)
                 : select_from<double, false>(raw, contest, space, row, column, score);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
