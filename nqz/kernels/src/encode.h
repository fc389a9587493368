// Entropy encoding of lattice points. The coder runs backwards: rows, steps and lanes last first.

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

// Codes the points of whole steps, all of one table. Bit l of escaped[i]: whether the point of lane l in step i is an
// escape.
template <int L>
NQZ_INLINE void encode_steps(int steps, const int32_t* y, const uint16_t* cum, int32_t half, int raw, int lanes,
                             uint32_t* state, uint16_t*& words, uint32_t* escaped) {
#ifdef NQZ_LANES
    if (L == 32) {
        const int vectors = 32 / NQZ_LANES;
        const uint32_t escape = 2 * (uint32_t)half, width = escape + 2;
        Lanes x[vectors];
        for (int v = 0; v < vectors; v++) x[v] = load_lanes(state + v * NQZ_LANES);
        uint16_t* to = words;
        for (int i = steps - 1; i >= 0; i--) {
            // What does not depend on the states goes first, so that one step overlaps with the next.
            Interval interval[vectors];
            uint32_t found = 0;
            for (int v = 0; v < vectors; v++) {
                Lanes point = load_lanes(y + 32 * i + v * NQZ_LANES);
                Lanes s = lesser((Lanes)((SignedLanes)point >> (4 + raw)) + (uint32_t)half, all(escape));
                Lanes ends = gather_pairs(cum, (point & 15) * width + s), start = ends & 65535;
                found |= equal(s, all(escape)) << (v * NQZ_LANES);
                interval[v] = interval_of(start, (ends >> 16) - start);
            }
            escaped[i] = found;
            for (int v = vectors - 1; v >= 0; v--) x[v] = encode_lanes(x[v], interval[v], to);
        }
        words = to;
        for (int v = 0; v < vectors; v++) store_lanes(state + v * NQZ_LANES, x[v]);
        return;
    }
#endif
    const int n = L ? L : lanes;
    for (int i = steps - 1; i >= 0; i--) {
        uint32_t interval[32], found = 0;
        bool outside[32], any = false;
        for (int l = 0; l < n; l++) {
            int32_t k2;
            interval[l] = interval_of(y[i * n + l], cum, half, raw, k2, outside[l]);
            any |= outside[l];
        }
        if (any)
            for (int l = 0; l < n; l++) found |= (uint32_t)outside[l] << l;
        escaped[i] = found;
        encode_row<L>(state, interval, n, words);
    }
}

// Puts the lowest `raw` bits of k of `count` points at a position of their stream; those behind are there already.
NQZ_INLINE void put_low(const int32_t* y, int count, int raw, uint8_t* low, int64_t position) {
    uint8_t* to = low + position / 8;
    const uint32_t mask = (1u << raw) - 1;
    uint64_t window = *to;
    int held = (int)(position & 7);
    for (int p = 0; p < count; p++) {
        window |= (uint64_t)((uint32_t)(y[p] >> 4) & mask) << held;
        held += raw;
        if (held >= 32) {
            uint32_t whole = (uint32_t)window;
            memcpy(to, &whole, 4);
            to += 4;
            window >>= 32;
            held -= 32;
        }
    }
    put_bits(to, 0, window);
}

// The streams that an encoder fills backwards, beside the words.
struct Backwards {
    uint64_t* codes;  // of escapes
    int64_t low_position, code_position;
};

// Codes the points of whole steps, with all that belongs to them; one table.
template <int L>
NQZ_INLINE void encode_points(int steps, const int32_t* y, const Tables& tables, int32_t t, int lanes, uint32_t* state,
                              uint16_t*& words, const Encoded& out, Backwards& at) {
    const int n = L ? L : lanes;
    const int32_t half = tables.half[t];
    const int raw = tables.raw[t];
    uint32_t escaped[GOLAY_SIZE], any = 0;
    encode_steps<L>(steps, y, tables.cum + tables.offset[t], half, raw, n, state, words, escaped);
    for (int i = 0; i < steps; i++) any |= escaped[i];
    if (any)
        for (int i = steps - 1; i >= 0; i--)
            for (uint32_t left = escaped[i]; left;) {
                int l = 31 - __builtin_clz(left);
                left ^= 1u << l;
                *--at.codes = rice_code(y[i * n + l] >> 4 >> raw, half, tables.rice[t]);
            }
    if (raw) {
        at.low_position -= (int64_t)steps * n * raw;
        put_low(y, steps * n, raw, out.low, at.low_position);
    }
}

// The same for points of several tables.
template <int L>
NQZ_INLINE void encode_mixed(int steps, const int32_t* y, const Tables& tables, const int32_t* table, int lanes,
                             uint32_t* state, uint16_t*& words, const Encoded& out, Backwards& at) {
    const int n = L ? L : lanes;
    for (int i = steps - 1; i >= 0; i--) {
        uint32_t interval[32];
        for (int l = n - 1; l >= 0; l--) {
            int p = i * n + l;
            int32_t t = table[p], half = tables.half[t], k2;
            int raw = tables.raw[t];
            bool escaped;
            interval[l] = interval_of(y[p], tables.cum + tables.offset[t], half, raw, k2, escaped);
            if (escaped) *--at.codes = rice_code(k2, half, tables.rice[t]);
            at.low_position -= raw;
            put_bits(out.low, at.low_position, (uint32_t)(y[p] >> 4) & ((1u << raw) - 1));
        }
        encode_row<L>(state, interval, n, words);
    }
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
                uint32_t bits = 0, of_one[32];
                for (int l = 0; l < n; l++) {
                    uint32_t above = index[l] >> (b + 1) | 1u << (C::BITS - 1 - b);
                    of_one[l] = (uint32_t)chance[above][l];
                    bits |= (index[l] >> b & 1) << l;
                }
                encode_bits<L>(bits, of_one, n, state, words);
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

template <int LATTICE, int L>
void encode_chunk(int memory, const int32_t* points, const Place& place, const Tables& tables, const Key& key,
                  const uint8_t* level, Encoded& out) {
    const int n = L ? L : place.lanes;
    const int row = group_of(LATTICE) * n;
    const Taps taps(LATTICE == CONVOLUTIONAL ? memory : MEMORY_MIN);
    uint32_t* inputs = out.inputs + MEMORY_MAX;
    if (LATTICE == CONVOLUTIONAL) {
        for (int i = 0; i < MEMORY_MAX; i++) out.inputs[i] = 0;
        find_inputs<L>(memory, points, key, level, place, inputs);
        fill_chances(tables, out.chances);
    }
    uint64_t* last_code = out.codes + place.positions;
    Backwards at = {last_code, low_bits(LATTICE, place, tables), code_bits(LATTICE, place, tables)};
    uint16_t* words = out.words + out.word_space;
    uint32_t state[32];
    for (int l = 0; l < n; l++) state[l] = LOW;

    Run run(place, tables, true);
    for (int64_t first = place.positions - row; first >= 0; first -= row) {
        const int32_t* y = points + first;
        while (run.begin > first) run.backward();
        const int32_t t = run.table;
        const bool same = run.end >= first + row, modelled = tables.modelled[t] != 0;
        int32_t table[tile_of(LATTICE)], halved[32];
        if (!same || (modelled && LATTICE != CONVOLUTIONAL)) row_tables(LATTICE, place, tables, first, table);
        uint8_t own[tile_of(LATTICE)];
        const uint8_t* z = nullptr;
        if (LATTICE != Z && (LATTICE != CONVOLUTIONAL || modelled)) z = row_levels<L>(key, level, first, row, own);

        const int known = LATTICE == LEECH ? group_of(LATTICE) - 1 : group_of(LATTICE);
        if (LATTICE == LEECH) {
            // Of the last step Y >> 1 is coded.
            for (int l = 0; l < n; l++) halved[l] = y[known * n + l] >> 1;
            if (same)
                encode_points<L>(1, halved, tables, tables.last[t], n, state, words, out, at);
            else
                encode_mixed<L>(1, halved, tables, table + known * n, n, state, words, out, at);
        }
        if (same)
            encode_points<L>(known, y, tables, t, n, state, words, out, at);
        else
            encode_mixed<L>(known, y, tables, table, n, state, words, out, at);

        if constexpr (LATTICE == CONVOLUTIONAL)
            encode_inputs<L>(taps, inputs + first / n / 2, z, same ? out.chances + 256 * tables.slot[t] : nullptr,
                             table, n, tables.weight, modelled, state, words, out.code, at.code_position);
        else if constexpr (LATTICE == LEECH)
            encode_leech<L>(y, z, n, out.code, at.code_position);
        else if constexpr (LATTICE != Z)
            encode_code<LATTICE, L>(y, z, table, n, tables, modelled, state, words, out.code, at.code_position);
    }
    for (int l = 0; l < n; l++) out.states[l] = state[l];
    out.first_word = words - out.words;
    out.escapes = (const uint8_t*)at.codes;
    out.escape_bytes = pack_codes(at.codes, last_code - at.codes);
}

// `level` has room for the positions.
void entropy_encode(int lattice, const int32_t* points, const Place& place, const Tables& tables, Key key,
                    uint8_t* level, Encoded& out) {
    bool wide = place.lanes == 32;
    if (!wide) levels(key, place.positions, level);
    auto encode = wide ? encode_chunk<E8, 32> : encode_chunk<E8, 0>;
    if (is_convolutional(lattice)) encode = wide ? encode_chunk<CONVOLUTIONAL, 32> : encode_chunk<CONVOLUTIONAL, 0>;
    if (lattice == Z) encode = wide ? encode_chunk<Z, 32> : encode_chunk<Z, 0>;
    if (lattice == D4) encode = wide ? encode_chunk<D4, 32> : encode_chunk<D4, 0>;
    if (lattice == LEECH) encode = wide ? encode_chunk<LEECH, 32> : encode_chunk<LEECH, 0>;
    encode(memory_of(lattice), points, place, tables, key, level, out);
}
