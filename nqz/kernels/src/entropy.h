// Entropy coding of lattice points: code bits, then 16 k + o with the context o known from dither and code bit.

NQZ_INLINE int64_t column_of(const Place& place, int64_t p) {
    return (place.start + least(p, place.count - 1)) / place.m;
}

// Writes the table of every position of the group row that begins at `first`; returns whether it is one table. The last
// step of a block of leech has tables of its own.
NQZ_INLINE bool row_tables(int lattice, const Place& place, const Tables& tables, int64_t first, int32_t* table) {
    int n = group_of(lattice) * place.lanes;
    int64_t last = column_of(place, first + n - 1);
    int32_t t0 = tables.table_of_column[column_of(place, first)];
    bool same = true;
    for (int p = 0; p < n;) {
        int64_t column = column_of(place, first + p);
        int32_t t = tables.table_of_column[column];
        int end = column == last ? n : (int)least(n, (column + 1) * place.m - place.start - first);
        same &= t == t0;
        for (; p < end; p++) table[p] = t;
    }
    if (lattice == LEECH)
        for (int p = n - place.lanes; p < n; p++) table[p] = tables.last[table[p]];
    return same;
}

// How many of the first `count` positions are the last steps of blocks of leech.
NQZ_INLINE int64_t last_steps(const Place& place, int64_t count) {
    int64_t row = GOLAY_SIZE * place.lanes, rest = count % row - (row - place.lanes);
    return count / row * place.lanes + (rest > 0 ? rest : 0);
}

int64_t low_bits(int lattice, const Place& place, const Tables& tables) {
    int64_t total = 0, first = 0, last = column_of(place, place.count - 1);
    for (int64_t column = place.start / place.m; column <= last; column++) {
        int64_t end = column == last ? place.positions : (column + 1) * place.m - place.start;
        int32_t table = tables.table_of_column[column];
        total += (end - first) * tables.raw[table];
        if (lattice == LEECH) {
            int64_t special = last_steps(place, end) - last_steps(place, first);
            total += special * (tables.raw[tables.last[table]] - tables.raw[table]);
        }
        first = end;
    }
    return total;
}

NQZ_INLINE bool row_is_modelled(const Place& place, const Tables& tables, int64_t first) {
    return tables.modelled[tables.table_of_column[column_of(place, first)]] != 0;
}

int64_t code_bits(int lattice, const Place& place, const Tables& tables) {
    int64_t row = group_of(lattice) * place.lanes, total = 0;
    int64_t row_bits = (lattice == D4 ? 6 : lattice == Z ? 0 : lattice == LEECH ? LEECH_BITS : 4) * place.lanes;
    for (int64_t first = 0; first < place.positions; first += row)
        total += row_is_modelled(place, tables, first) ? 0 : row_bits;
    return total;
}

// The interval of a point's symbol in `table`; `k2` is the symbol's value, and `escaped` whether it is outside.
NQZ_INLINE uint32_t interval_of(int32_t y, const uint16_t* cum, int32_t half, int raw, int32_t& k2, bool& escaped) {
    k2 = y >> 4 >> raw;
    uint32_t s = (uint32_t)k2 + (uint32_t)half, escape = 2 * (uint32_t)half;
    escaped = s >= escape;
    s = escaped ? escape : s;
    uint32_t interval;
    memcpy(&interval, cum + (uint32_t)(y & 15) * (escape + 2) + s, 4);
    return interval;
}

// Codes the code bits of a group row, last first.
template <int LATTICE, int L>
NQZ_INLINE void encode_code(const int32_t* points, const uint8_t* level, const int32_t* table, int lanes,
                            const Tables& tables, bool modelled, uint32_t* state, uint16_t*& words, uint8_t* code,
                            int64_t& code_position) {
    typedef Code<LATTICE> C;
    const int n = L ? L : lanes;
    if (!modelled) code_position -= C::BLOCKS * C::BITS * n;
    int64_t position = code_position;
    for (int step = 0; step < C::BLOCKS; step++) {
        int block = modelled ? C::BLOCKS - 1 - step : step;
        int64_t at = (int64_t)block * C::SIZE * n;
        uint32_t index[32];
        codewords<LATTICE, L>(points + at, level + at, n, index);
        if (modelled) {
            int32_t chance[1 << C::BITS][32];
            chances<LATTICE, L>(table + at, tables.weight, level + at, n, chance);
            for (int b = 0; b < C::BITS; b++) {
                uint32_t interval[32];
                for (int l = 0; l < n; l++) {
                    uint32_t above = index[l] >> (b + 1) | 1u << (C::BITS - 1 - b);
                    uint32_t zero = 4096 - (uint32_t)chance[above][l];
                    interval[l] = index[l] >> b & 1 ? zero | 4096u << 16 : zero << 16;
                }
                encode_row<L>(state, interval, n, words);
            }
        } else {
            for (int b = 0; b < C::BITS; b++) {
                uint64_t bits = 0;
                for (int l = 0; l < n; l++) bits |= (uint64_t)(index[l] >> b & 1) << l;
                put_bits(code, position, bits);
                position += n;
            }
        }
    }
}

// Codes the code bits of a group row of leech.
template <int L>
NQZ_INLINE void encode_leech(const int32_t* points, const uint8_t* level, int lanes, uint8_t* code,
                             int64_t& code_position) {
    const int n = L ? L : lanes;
    uint32_t index[32];
    leech_indices<L>(points, level, n, index);
    code_position -= LEECH_BITS * n;
    for (int b = 0; b < LEECH_BITS; b++) {
        uint64_t bits = 0;
        for (int l = 0; l < n; l++) bits |= (uint64_t)(index[l] >> b & 1) << l;
        put_bits(code, code_position + b * n, bits);
    }
}

// Intervals of `count` points, all of one table if `same`; returns whether any is an escape.
NQZ_INLINE bool intervals(const int32_t* y, int count, const int32_t* table, bool same, const Tables& tables,
                          uint32_t* interval, int32_t* k2, bool* escaped) {
    bool any = false;
    if (same) {
        const uint16_t* cum = tables.cum + tables.offset[table[0]];
        const int32_t half = tables.half[table[0]];
        const int raw = tables.raw[table[0]];
        for (int p = 0; p < count; p++) {
            interval[p] = interval_of(y[p], cum, half, raw, k2[p], escaped[p]);
            any |= escaped[p];
        }
    } else {
        for (int p = 0; p < count; p++) {
            int32_t t = table[p];
            interval[p] =
                interval_of(y[p], tables.cum + tables.offset[t], tables.half[t], tables.raw[t], k2[p], escaped[p]);
            any |= escaped[p];
        }
    }
    return any;
}

template <int LATTICE, int L>
void encode_chunk(int memory, const int32_t* points, const Place& place, const Tables& tables, const uint8_t* level,
                  Encoded& out) {
    const int n = L ? L : place.lanes;
    const int row = group_of(LATTICE) * n;
    int64_t low_position = low_bits(LATTICE, place, tables), code_position = code_bits(LATTICE, place, tables);
    if (LATTICE == CONVOLUTIONAL) find_inputs<L>(memory, points, level, place, out.inputs);
    uint16_t* words = out.words + out.word_space;
    uint64_t *last_code = out.codes + place.positions, *codes = last_code;
    uint32_t state[32];
    for (int l = 0; l < n; l++) state[l] = LOW;

    for (int64_t first = place.positions - row; first >= 0; first -= row) {
        const int32_t* y = points + first;
        int32_t table[tile_of(LATTICE)], k2[tile_of(LATTICE)];
        uint32_t interval[tile_of(LATTICE)];
        bool escaped[tile_of(LATTICE)], any;
        bool same = row_tables(LATTICE, place, tables, first, table);
        int32_t halved[tile_of(LATTICE)];
        if constexpr (LATTICE == LEECH) {
            // Of the last step Y >> 1 is coded.
            memcpy(halved, y, (size_t)row * sizeof *y);
            for (int p = row - n; p < row; p++) halved[p] >>= 1;
            any = intervals(halved, row - n, table, same, tables, interval, k2, escaped);
            int p = row - n;
            any |= intervals(halved + p, n, table + p, same, tables, interval + p, k2 + p, escaped + p);
        } else {
            any = intervals(y, row, table, same, tables, interval, k2, escaped);
        }
        const int32_t* coded = LATTICE == LEECH ? halved : y;
        if (any)
            for (int p = row - 1; p >= 0; p--)
                if (escaped[p]) *--codes = rice_code(k2[p], tables.half[table[p]], tables.rice[table[p]]);
        if (!same || tables.raw[table[0]] || tables.raw[table[row - 1]])
            for (int p = row - 1; p >= 0; p--) {
                int raw = tables.raw[table[p]];
                low_position -= raw;
                put_bits(out.low, low_position, (uint32_t)(coded[p] >> 4) & ((1u << raw) - 1));
            }

        for (int i = group_of(LATTICE) - 1; i >= 0; i--) encode_row<L>(state, interval + i * n, n, words);
        bool modelled = tables.modelled[table[0]] != 0;
        if constexpr (LATTICE == CONVOLUTIONAL)
            encode_inputs<L>(memory, out.inputs, first / n / 2, level + first, table, n, tables.weight, modelled,
                             state, words, out.code, code_position);
        else if constexpr (LATTICE == LEECH)
            encode_leech<L>(y, level + first, n, out.code, code_position);
        else if constexpr (LATTICE != Z)
            encode_code<LATTICE, L>(y, level + first, table, n, tables, modelled, state, words, out.code,
                                    code_position);
    }
    for (int l = 0; l < n; l++) out.states[l] = state[l];
    out.first_word = words - out.words;
    out.escapes = (const uint8_t*)codes;
    out.escape_bytes = pack_codes(codes, last_code - codes);
}

// `level` has room for the positions rounded up to whole tiles.
void entropy_encode(int lattice, const int32_t* points, const Place& place, const Tables& tables, Key key,
                    uint8_t* level, Encoded& out) {
    levels(key, place.positions, level);
    bool wide = place.lanes == 32;
    int memory = memory_of(lattice);
    if (is_convolutional(lattice))
        (wide ? encode_chunk<CONVOLUTIONAL, 32> : encode_chunk<CONVOLUTIONAL, 0>)(memory, points, place, tables, level,
                                                                                  out);
    else if (lattice == Z)
        (wide ? encode_chunk<Z, 32> : encode_chunk<Z, 0>)(0, points, place, tables, level, out);
    else if (lattice == D4)
        (wide ? encode_chunk<D4, 32> : encode_chunk<D4, 0>)(0, points, place, tables, level, out);
    else if (lattice == E8)
        (wide ? encode_chunk<E8, 32> : encode_chunk<E8, 0>)(0, points, place, tables, level, out);
    else
        (wide ? encode_chunk<LEECH, 32> : encode_chunk<LEECH, 0>)(0, points, place, tables, level, out);
}
