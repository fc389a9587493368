// dither_quantize: scale, add the dither, take the nearest point of the lattice, less the dither.
#pragma once

#include "base.h"
#include "dispatch.h"
#include "dither.h"
#include "fixed_point.h"
#include "lattices/tile.h"
#include "lattices/viterbi.h"

namespace nqz::NQZ_ISA {
namespace {

// `level` has room for the positions rounded up to whole tiles.
void quantize_groups(const GroupLattice& lattice, const Place& place, const Dither& dither, const float* u,
                     const float* scale, uint8_t* level, int32_t* out) {
    const int fine = lattice.fine, step = 256 / fine, tile = 32 * lattice.group;
    write_levels(dither, whole_tiles(place.positions, lattice.group), level);
    for (int64_t first = 0; first < place.positions; first += tile) {
        const int count = (int)least(tile, place.positions - first);
        int32_t t[MOST_POSITIONS];
        Row x[MOST_STEPS], point[MOST_STEPS];
        fixed_point(u, place, scale, nullptr, first, tile, t);
        for (int p = 0; p < tile; p++) t[p] += level[first + p] * step;
        arrange(t, lattice.group, place.lanes, x);
        lattice.nearest(x, FixedUnit(), point);
        spread(point, lattice.group, place.lanes, count / lattice.group, t);
        for (int p = 0; p < count; p++) out[first + p] = fine * t[p] - level[first + p];
    }
}

int64_t dither_quantize_scratch(const Place& place) {
    return group_lattice(place.lattice) ? 0 : viterbi_scratch(place);
}

// `scratch` is aligned to 64 bytes.
void dither_quantize(const Place& place, const Key& key, const float* u, const float* scale, uint8_t* level,
                     uint8_t* scratch, int32_t* out) {
    const Dither dither = dither_of(key, place.counter);
    if (const GroupLattice* lattice = group_lattice(place.lattice))
        quantize_groups(*lattice, place, dither, u, scale, level, out);
    else
        search_trellises(place, dither, u, scale, level, scratch, out);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
