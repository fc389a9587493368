// Nearest: the quantizer of a chunk, for every lattice.

template <int LATTICE, class Unit>
NQZ_INLINE void nearest_point(const Tile<group_of(LATTICE)>& x, const Unit& unit, Tile<group_of(LATTICE)>& point) {
    if constexpr (LATTICE == Z)
        nearest_z(x, unit, point);
    else if constexpr (LATTICE == D4)
        nearest_d4(x, unit, point);
    else if constexpr (LATTICE == E8)
        nearest_e8(x, unit, point);
    else
        nearest_leech(x, unit, point);
}

template <int LATTICE>
void nearest_chunk(const float* u, const Place& place, const float* scale, const uint8_t* level, int32_t* out) {
    const int fine = fine_of(LATTICE), step = 256 / fine, tile = tile_of(LATTICE);
    for (int64_t first = 0; first < place.positions; first += tile) {
        int count = (int)least(tile, place.positions - first);
        int32_t t[tile];
        Tile<group_of(LATTICE)> x, point;
        fixed_point(u, place, scale, nullptr, first, tile, t);
        for (int p = 0; p < tile; p++) t[p] += level[first + p] * step;
        arrange(t, place.lanes, x);
        nearest_point<LATTICE>(x, FixedUnit(), point);
        spread(point, place.lanes, count, out + first);
        for (int p = 0; p < count; p++) out[first + p] = fine * out[first + p] - level[first + p];
    }
}

// The positions rounded up to whole tiles.
NQZ_INLINE int64_t whole_tiles(int lattice, const Place& place) {
    int64_t tile = tile_of(lattice);
    return (place.positions + tile - 1) / tile * tile;
}

// `level` has room for the positions rounded up to whole tiles, `scratch` is aligned to 64 bytes.
void nearest(int lattice, const float* u, const Place& place, const float* scale, Key key, uint8_t* level,
             uint8_t* scratch, int32_t* out) {
    if (is_convolutional(lattice))
        return nearest_convolutional(memory_of(lattice), u, place, scale, key, level, scratch, out);
    levels(key, whole_tiles(lattice, place), level);
    if (lattice == Z)
        nearest_chunk<Z>(u, place, scale, level, out);
    else if (lattice == D4)
        nearest_chunk<D4>(u, place, scale, level, out);
    else if (lattice == E8)
        nearest_chunk<E8>(u, place, scale, level, out);
    else
        nearest_chunk<LEECH>(u, place, scale, level, out);
}
