// Nearest: the quantizer of a chunk, for every lattice.

// `level` has room for the positions rounded up to whole tiles, `scratch` is aligned to 64 bytes.
void nearest(int lattice, const float* u, const Place& place, const float* scale, Key key, uint8_t* level,
             uint8_t* scratch, int32_t* out) {
    levels(key, (place.positions + TILE - 1) / TILE * TILE, level);
    if (is_convolutional(lattice))
        nearest_convolutional(memory_of(lattice), u, place, scale, level, scratch, out);
    else if (lattice == Z)
        nearest_chunk<Z>(u, place, scale, level, out);
    else if (lattice == D4)
        nearest_chunk<D4>(u, place, scale, level, out);
    else
        nearest_chunk<E8>(u, place, scale, level, out);
}
