// Voronoi code: cosets modulo qΛ, with a set of scales against overload; 32 groups at a time.

template <int LATTICE>
using Groups = Tile<group_of(LATTICE)>;

enum { SHRINK_LIMIT = 200 };

// Parity coordinates and the coordinates whose sum has the same parity; the rest carry information.
template <int LATTICE>
struct Parity {
    enum { COUNT = LATTICE == E8 ? 4 : LATTICE == D4 ? 2 : 0 };
    static NQZ_INLINE const int* row(int k) {
        static const int e8[4][4] = {{3, 0, 1, 2}, {5, 0, 1, 4}, {6, 0, 2, 4}, {7, 1, 2, 4}};
        static const int d4[2][4] = {{3, 0, 1, 2}, {7, 4, 5, 6}};
        return LATTICE == E8 ? e8[k] : d4[k & 1];
    }
};

// The moduli of 32 groups, as divisors of lattice and of fine coordinates.
struct Moduli {
    int32_t q[32];
    float reciprocal[32];
    GroupUnit fine;
};

template <int LATTICE>
NQZ_INLINE void to_digits(const Groups<LATTICE>& point, const Moduli& moduli, Groups<LATTICE>& digit) {
    if constexpr (LATTICE == LEECH) return leech_digits(point, moduli.q, digit);
    for (int i = 0; i < 8; i++)
        for (int l = 0; l < 32; l++) digit[i][l] = point[i][l];
    for (int k = 0; k < Parity<LATTICE>::COUNT; k++) {
        const int* row = Parity<LATTICE>::row(k);
        for (int l = 0; l < 32; l++)
            digit[row[0]][l] = (point[row[0]][l] - point[row[1]][l] - point[row[2]][l] - point[row[3]][l]) >> 1;
    }
    for (int i = 0; i < 8; i++)
        for (int l = 0; l < 32; l++)
            digit[i][l] -= moduli.q[l] * floor_divide(digit[i][l], moduli.q[l], moduli.reciprocal[l]);
}

// Fine coordinates of the coset's member in the Voronoi cell of qΛ around the dither.
template <int LATTICE>
NQZ_INLINE void from_digits(const Groups<LATTICE>& digit, const Groups<LATTICE>& level, const Moduli& moduli,
                            Groups<LATTICE>& y) {
    const int fine = fine_of(LATTICE), group = group_of(LATTICE);
    Groups<LATTICE> coarse;
    if constexpr (LATTICE == LEECH)
        leech_point(digit, y);
    else
        for (int i = 0; i < 8; i++)
            for (int l = 0; l < 32; l++) y[i][l] = digit[i][l];
    for (int k = 0; k < Parity<LATTICE>::COUNT; k++) {
        const int* row = Parity<LATTICE>::row(k);
        for (int l = 0; l < 32; l++)
            y[row[0]][l] = 2 * digit[row[0]][l] + digit[row[1]][l] + digit[row[2]][l] + digit[row[3]][l];
    }
    for (int i = 0; i < group; i++)
        for (int l = 0; l < 32; l++) y[i][l] = fine * y[i][l] - level[i][l];
    nearest_point<LATTICE>(y, moduli.fine, coarse);
    for (int i = 0; i < group; i++)
        for (int l = 0; l < 32; l++) y[i][l] -= moduli.fine.units[l] * coarse[i][l];
}

// Moduli of the tile that begins at `first`, and the choice of every group.
NQZ_INLINE void tile_moduli(int lattice, const Place& place, const Scales& scales, int64_t first, Moduli& moduli,
                            int* choice) {
    int64_t size = group_of(lattice) * place.lanes, row = first / size, rows = place.positions / size;
    for (int l = 0; l < 32; l++) {
        int64_t g = row + l / place.lanes;
        choice[l] = g < rows ? scales.choice[g] : 0;
        int32_t q = scales.q[choice[l]];
        moduli.q[l] = q;
        moduli.reciprocal[l] = 1.0f / (float)q;
        moduli.fine.set(l, fine_of(lattice) * q);
    }
}

// Quantizes t at the given level; returns in `accepted` the groups that survive the way to digits and back.
template <int LATTICE>
NQZ_INLINE void attempt(const Groups<LATTICE>& t, const Groups<LATTICE>& level, const Moduli& moduli,
                        Groups<LATTICE>& digit, Groups<LATTICE>& y, int32_t* accepted) {
    const int fine = fine_of(LATTICE), group = group_of(LATTICE);
    Groups<LATTICE> x, point;
    for (int i = 0; i < group; i++)
        for (int l = 0; l < 32; l++) x[i][l] = t[i][l] + level[i][l] * (256 / fine);
    nearest_point<LATTICE>(x, FixedUnit(), point);
    to_digits<LATTICE>(point, moduli, digit);
    from_digits<LATTICE>(digit, level, moduli, y);
    for (int l = 0; l < 32; l++) accepted[l] = 1;
    for (int i = 0; i < group; i++)
        for (int l = 0; l < 32; l++) accepted[l] &= y[i][l] == fine * point[i][l] - level[i][l];
}

template <int LATTICE>
void voronoi_encode_chunk(const float* u, const Place& place, const float* scale, const Scales& scales,
                          const uint8_t* level, uint16_t* digits, uint8_t* beta, int32_t* points, int64_t* sums) {
    const int group = group_of(LATTICE), tile = tile_of(LATTICE);
    uint64_t cross = 0, square = 0;
    for (int64_t first = 0; first < place.positions; first += tile) {
        int count = (int)least(tile, place.positions - first);
        int choice[32];
        Moduli moduli;
        tile_moduli(LATTICE, place, scales, first, moduli, choice);
        int32_t flat[tile], base[tile];
        Groups<LATTICE> z, t, digit, y, best_digit, best;
        arrange(level + first, place.lanes, z);

        int32_t open[32], accepted[32], index[32] = {};
        for (int l = 0; l < 32; l++) open[l] = 1;
        for (int j = 0; j < 4 + SHRINK_LIMIT; j++) {
            if (j < 4) {
                float factor[tile];
                for (int p = 0; p < tile; p++)
                    factor[p] = 1.0f / (float)scales.multiplier[4 * choice[p / group / place.lanes * place.lanes] + j];
                fixed_point(u, place, scale, factor, first, tile, flat);
                arrange(flat, place.lanes, t);
            } else {
                // Overload even at the coarsest scale: shrink the group until it fits; the zero point always does.
                for (int i = 0; i < group; i++)
                    for (int l = 0; l < 32; l++)
                        t[i][l] = j < 3 + SHRINK_LIMIT ? t[i][l] - ((t[i][l] + 15) >> 4) : 0;
            }
            attempt<LATTICE>(t, z, moduli, digit, y, accepted);
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
        for (int l = 0; l < 32; l++) multiplier[l] = scales.multiplier[4 * choice[l] + index[l]];
        for (int i = 0; i < group; i++)
            for (int l = 0; l < 32; l++) best[i][l] *= multiplier[l];
        spread(best_digit, place.lanes, count, digits + first);
        spread(best, place.lanes, count, points + first);
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

// `level` has room for the positions rounded up to whole tiles.
void voronoi_encode(int lattice, const float* u, const Place& place, const float* scale, Key key, const Scales& scales,
                    uint8_t* level, uint16_t* digits, uint8_t* beta, int32_t* points, int64_t* sums) {
    levels(key, whole_tiles(lattice, place), level);
    (lattice == Z    ? voronoi_encode_chunk<Z>
     : lattice == D4 ? voronoi_encode_chunk<D4>
     : lattice == E8 ? voronoi_encode_chunk<E8>
                     : voronoi_encode_chunk<LEECH>)(u, place, scale, scales, level, digits, beta, points, sums);
}

template <int LATTICE>
const char* voronoi_decode_chunk(const Place& place, const Scales& scales, const uint8_t* level,
                                 const uint16_t* digits, const uint8_t* beta, int32_t* out) {
    const int group = group_of(LATTICE), tile = tile_of(LATTICE);
    for (int64_t first = 0; first < place.positions; first += tile) {
        int count = (int)least(tile, place.positions - first);
        int choice[32];
        Moduli moduli;
        tile_moduli(LATTICE, place, scales, first, moduli, choice);
        int32_t flat[tile] = {}, multiplier[32] = {};
        Groups<LATTICE> z, digit, y;
        for (int p = 0; p < count; p++) flat[p] = digits[first + p];
        arrange(level + first, place.lanes, z);
        arrange(flat, place.lanes, digit);
        int32_t bad = 0;
        for (int i = 0; i < group; i++)
            for (int l = 0; l < 32; l++) bad |= digit[i][l] >= moduli.q[l];
        if (bad) return "a digit is out of range";
        for (int l = 0; l < count / group; l++) {
            if (beta[first / group + l] >= 4) return "the index of a scale is out of range";
            multiplier[l] = scales.multiplier[4 * choice[l] + beta[first / group + l]];
        }
        from_digits<LATTICE>(digit, z, moduli, y);
        for (int i = 0; i < group; i++)
            for (int l = 0; l < 32; l++) y[i][l] *= multiplier[l];
        spread(y, place.lanes, count, out + first);
    }
    return nullptr;
}

const char* voronoi_decode(int lattice, const Place& place, Key key, const Scales& scales, uint8_t* level,
                           const uint16_t* digits, const uint8_t* beta, int32_t* out) {
    levels(key, whole_tiles(lattice, place), level);
    return (lattice == Z    ? voronoi_decode_chunk<Z>
            : lattice == D4 ? voronoi_decode_chunk<D4>
            : lattice == E8 ? voronoi_decode_chunk<E8>
                            : voronoi_decode_chunk<LEECH>)(place, scales, level, digits, beta, out);
}
