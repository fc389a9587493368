// The Voronoi code: cosets modulo qΛ, with a set of scales against overload; 32 groups at a time.
#pragma once

#include "../base.h"
#include "../dispatch.h"
#include "../dither.h"
#include "../fixed_point.h"
#include "../lattices/tile.h"

namespace nqz::NQZ_ISA {
namespace {

enum { SHRINK_LIMIT = 200 };

// Fine coordinates of the coset's member in the Voronoi cell of qΛ around the dither.
void from_digits(const GroupLattice& lattice, const Row* __restrict digit, const Row* __restrict level,
                 const Moduli& moduli, Row* __restrict y) {
    Row coarse[MOST_STEPS];
    lattice.to_point(digit, y);
    for (int i = 0; i < lattice.group; i++)
        for (int l = 0; l < 32; l++) y[i][l] = lattice.fine * y[i][l] - level[i][l];
    lattice.nearest_of_groups(y, moduli.fine, coarse);
    for (int i = 0; i < lattice.group; i++)
        for (int l = 0; l < 32; l++) y[i][l] -= moduli.fine.units[l] * coarse[i][l];
}

// Moduli of the tile that begins at `first`, and the choice of every group.
void tile_moduli(const GroupLattice& lattice, const Place& place, const Nest& nest, const uint8_t* choices,
                 int64_t first, Moduli& moduli, int* choice) {
    int64_t size = lattice.group * place.lanes, row = first / size, rows = place.positions / size;
    for (int l = 0; l < 32; l += place.lanes, row++) {
        const int chosen = row < rows ? choices[row] : 0;
        for (int lane = 0; lane < place.lanes; lane++) choice[l + lane] = chosen;
        moduli.set(l, l + place.lanes, nest.q[chosen], lattice.fine);
    }
}

// Quantizes t at the given level; returns in `accepted` the groups that survive the way to digits and back.
void attempt(const GroupLattice& lattice, const Row* __restrict t, const Row* __restrict level, const Moduli& moduli,
             Row* __restrict digit, Row* __restrict y, int32_t* __restrict accepted) {
    const int group = lattice.group, fine = lattice.fine;
    Row x[MOST_STEPS], point[MOST_STEPS];
    for (int i = 0; i < group; i++)
        for (int l = 0; l < 32; l++) x[i][l] = t[i][l] + level[i][l] * (256 / fine);
    lattice.nearest(x, FixedUnit(), point);
    lattice.to_digits(point, moduli, digit);
    from_digits(lattice, digit, level, moduli, y);
    for (int l = 0; l < 32; l++) accepted[l] = 1;
    for (int i = 0; i < group; i++)
        for (int l = 0; l < 32; l++) accepted[l] &= y[i][l] == fine * point[i][l] - level[i][l];
}

// `level` has room for the positions rounded up to whole tiles.
void voronoi_encode(const Place& place, const Key& key, const Nest& nest, const uint8_t* choices, const float* u,
                    const float* scale, uint8_t* level, uint16_t* digits, uint8_t* beta, int32_t* points,
                    int64_t* sums) {
    const GroupLattice& lattice = *group_lattice(place.lattice);
    const int group = lattice.group, tile = 32 * group;
    write_levels(dither_of(key, place.counter), whole_tiles(place.positions, group), level);
    uint64_t cross = 0, square = 0;
    for (int64_t first = 0; first < place.positions; first += tile) {
        int count = (int)least(tile, place.positions - first);
        int choice[32];
        Moduli moduli;
        tile_moduli(lattice, place, nest, choices, first, moduli, choice);
        int32_t flat[MOST_POSITIONS], base[MOST_POSITIONS];
        Row z[MOST_STEPS], t[MOST_STEPS], digit[MOST_STEPS], y[MOST_STEPS], best_digit[MOST_STEPS], best[MOST_STEPS];
        arrange(level + first, group, place.lanes, z);

        int32_t open[32], accepted[32], index[32] = {};
        for (int l = 0; l < 32; l++) open[l] = 1;
        for (int j = 0; j < 4 + SHRINK_LIMIT; j++) {
            if (j < 4) {
                float factor[MOST_POSITIONS], *to = factor;
                for (int row = 0; row < 32; row += place.lanes) {
                    const float shrunk = 1.0f / (float)nest.multiplier[4 * choice[row] + j];
                    for (int p = 0; p < group * place.lanes; p++) *to++ = shrunk;
                }
                fixed_point(u, place, scale, factor, first, tile, flat);
                arrange(flat, group, place.lanes, t);
            } else {
                // Overload even at the coarsest scale: shrink the group until it fits; the zero point always does.
                for (int i = 0; i < group; i++)
                    for (int l = 0; l < 32; l++) t[i][l] = j < 3 + SHRINK_LIMIT ? t[i][l] - ((t[i][l] + 15) >> 4) : 0;
            }
            attempt(lattice, t, z, moduli, digit, y, accepted);
            int32_t left = 0;
            for (int l = 0; l < 32; l++) {
                int32_t take = open[l] & accepted[l];
                index[l] = take ? (j < 3 ? j : 3) : index[l];
                accepted[l] = take;
                open[l] &= ~take;
                left |= open[l];
            }
            for (int i = 0; i < group; i++)
                for (int l = 0; l < 32; l++) {
                    best_digit[i][l] = accepted[l] ? digit[i][l] : best_digit[i][l];
                    best[i][l] = accepted[l] ? y[i][l] : best[i][l];
                }
            if (!left) break;
        }

        int32_t multiplier[32];
        for (int l = 0; l < 32; l++) multiplier[l] = nest.multiplier[4 * choice[l] + index[l]];
        for (int i = 0; i < group; i++)
            for (int l = 0; l < 32; l++) best[i][l] *= multiplier[l];
        spread(best_digit, group, place.lanes, count / group, digits + first);
        spread(best, group, place.lanes, count / group, points + first);
        for (int l = 0; l < count / group; l++) beta[first / group + l] = (uint8_t)index[l];

        fixed_point(u, place, scale, nullptr, first, tile, base);
        int entries = (int)least(count, place.count - first);
        for (int p = 0; p < entries; p++) {
            int64_t v = points[first + p];
            cross += (uint64_t)(base[p] * v);
            square += (uint64_t)(v * v);
        }
    }
    sums[0] = (int64_t)cross;
    sums[1] = (int64_t)square;
}

const char* voronoi_decode(const Place& place, const Key& key, const Nest& nest, const uint8_t* choices, uint8_t* level,
                           const uint16_t* digits, const uint8_t* beta, int32_t* out) {
    const GroupLattice& lattice = *group_lattice(place.lattice);
    const int group = lattice.group, tile = 32 * group;
    write_levels(dither_of(key, place.counter), whole_tiles(place.positions, group), level);
    for (int64_t first = 0; first < place.positions; first += tile) {
        int count = (int)least(tile, place.positions - first);
        int choice[32];
        Moduli moduli;
        tile_moduli(lattice, place, nest, choices, first, moduli, choice);
        uint16_t last[MOST_POSITIONS];
        int32_t multiplier[32] = {};
        Row z[MOST_STEPS], digit[MOST_STEPS], y[MOST_STEPS];
        arrange(level + first, group, place.lanes, z);
        const uint16_t* from = digits + first;
        if (count < tile) {
            memset(last, 0, sizeof last);
            memcpy(last, from, (size_t)count * sizeof *from);
            from = last;
        }
        arrange(from, group, place.lanes, digit);
        int32_t bad = 0;
        for (int i = 0; i < group; i++)
            for (int l = 0; l < 32; l++) bad |= digit[i][l] >= moduli.q[l];
        if (bad) return "a digit is out of range";
        for (int l = 0; l < count / group; l++) {
            if (beta[first / group + l] >= 4) return "the index of a scale is out of range";
            multiplier[l] = nest.multiplier[4 * choice[l] + beta[first / group + l]];
        }
        from_digits(lattice, digit, z, moduli, y);
        for (int i = 0; i < group; i++)
            for (int l = 0; l < 32; l++) y[i][l] *= multiplier[l];
        spread(y, group, place.lanes, count / group, out + first);
    }
    return nullptr;
}

}  // namespace
}  // namespace nqz::NQZ_ISA
