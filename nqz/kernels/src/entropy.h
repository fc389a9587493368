// Entropy coding of lattice points: code bits, then 16 k + o with the context o known from dither and code bit.

NQZ_INLINE int64_t column_of(const Place& place, int64_t p) {
    return (place.start + least(p, place.count - 1)) / place.m;
}

// Writes the table of every position of the group row that begins at `first`; returns whether it is one table.
NQZ_INLINE bool row_tables(const Place& place, const Tables& tables, int64_t first, int32_t* table) {
    int n = 8 * place.lanes;
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
    return same;
}

int64_t low_bits(const Place& place, const Tables& tables) {
    int64_t total = 0, first = 0, last = column_of(place, place.count - 1);
    for (int64_t column = place.start / place.m; column <= last; column++) {
        int64_t end = column == last ? place.positions : (column + 1) * place.m - place.start;
        total += (end - first) * tables.raw[tables.table_of_column[column]];
        first = end;
    }
    return total;
}

NQZ_INLINE bool row_is_modelled(const Place& place, const Tables& tables, int64_t first) {
    return tables.modelled[tables.table_of_column[column_of(place, first)]] != 0;
}

int64_t code_bits(int lattice, const Place& place, const Tables& tables) {
    int64_t row_bits = (lattice == D4 ? 6 : lattice == Z ? 0 : 4) * place.lanes, total = 0;
    for (int64_t first = 0; first < place.positions; first += 8 * place.lanes)
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

template <int LATTICE, int L>
void encode_chunk(int memory, const int32_t* points, const Place& place, const Tables& tables, const uint8_t* level,
                  Encoded& out) {
    const int n = L ? L : place.lanes;
    const int row = 8 * n;
    int64_t low_position = low_bits(place, tables), code_position = code_bits(LATTICE, place, tables);
    if (LATTICE == CONVOLUTIONAL) find_inputs<L>(memory, points, level, place, out.inputs);
    uint16_t* words = out.words + out.word_space;
    int32_t* escapes = out.escapes + out.escape_space;
    uint32_t state[32];
    for (int l = 0; l < n; l++) state[l] = LOW;

    for (int64_t first = place.positions - row; first >= 0; first -= row) {
        const int32_t* y = points + first;
        int32_t table[TILE], k2[TILE];
        uint32_t interval[TILE];
        bool escaped[TILE], any = false;
        bool same = row_tables(place, tables, first, table);
        if (same) {
            const uint16_t* cum = tables.cum + tables.offset[table[0]];
            const int32_t half = tables.half[table[0]];
            const int raw = tables.raw[table[0]];
            for (int p = 0; p < row; p++) {
                interval[p] = interval_of(y[p], cum, half, raw, k2[p], escaped[p]);
                any |= escaped[p];
            }
        } else {
            for (int p = 0; p < row; p++) {
                int32_t t = table[p];
                interval[p] = interval_of(y[p], tables.cum + tables.offset[t], tables.half[t], tables.raw[t], k2[p],
                                          escaped[p]);
                any |= escaped[p];
            }
        }
        if (any)
            for (int p = row - 1; p >= 0; p--)
                if (escaped[p]) *--escapes = k2[p];
        if (!same || tables.raw[table[0]])
            for (int p = row - 1; p >= 0; p--) {
                int raw = tables.raw[table[p]];
                low_position -= raw;
                put_bits(out.low, low_position, (uint32_t)(y[p] >> 4) & ((1u << raw) - 1));
            }

        for (int i = 7; i >= 0; i--) encode_row<L>(state, interval + i * n, n, words);
        bool modelled = tables.modelled[table[0]] != 0;
        if constexpr (LATTICE == CONVOLUTIONAL)
            encode_inputs<L>(memory, out.inputs, first / n / 2, level + first, table, n, tables.weight, modelled,
                             state, words, out.code, code_position);
        else if constexpr (LATTICE != Z)
            encode_code<LATTICE, L>(y, level + first, table, n, tables, modelled, state, words, out.code,
                                    code_position);
    }
    for (int l = 0; l < n; l++) out.states[l] = state[l];
    out.first_word = words - out.words;
    out.first_escape = escapes - out.escapes;
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
    else
        (wide ? encode_chunk<E8, 32> : encode_chunk<E8, 0>)(0, points, place, tables, level, out);
}

// Decoding tables: for every context and slot the symbol, the distance from its start and its size.
void fill_decoding(const Tables& tables, uint32_t* decoding) {
    for (int u = 0; u < tables.used_count; u++) {
        int32_t t = tables.used[u];
        int symbols = 2 * tables.half[t] + 1;
        const uint16_t* cum = tables.cum + tables.offset[t];
        uint32_t* to = decoding + 65536 * (int64_t)tables.slot[t];
        for (int o = 0; o < 16; o++, cum += symbols + 1)
            for (int s = 0; s < symbols; s++) {
                uint32_t size = (uint32_t)(cum[s + 1] - cum[s]), entry = size << 20 | (uint32_t)s;
                for (uint32_t d = 0; d < size; d++) *to++ = entry | d << 8;
            }
    }
}

// Decodes the codeword indices of a group row: index[block][lane].
template <int LATTICE, int L>
NQZ_INLINE bool decode_code(const uint8_t* level, const int32_t* table, int lanes, const Tables& tables, bool modelled,
                            uint32_t* state, const uint16_t*& words, const uint16_t* end, const Streams& in,
                            int64_t& code_position, uint32_t (*index)[32]) {
    typedef Code<LATTICE> C;
    const int n = L ? L : lanes;
    for (int block = 0; block < C::BLOCKS; block++) {
        uint32_t* c = index[block];
        if (modelled) {
            int64_t at = (int64_t)block * C::SIZE * n;
            int32_t chance[1 << C::BITS][32];
            chances<LATTICE, L>(table + at, tables.weight, level + at, n, chance);
            for (int l = 0; l < n; l++) c[l] = 1;
            for (int b = 0; b < C::BITS; b++) {
                for (int l = 0; l < n; l++) {
                    uint32_t p1 = (uint32_t)chance[c[l]][l], zero = 4096 - p1, slot = state[l] & 4095;
                    uint32_t bit = slot >= zero;
                    state[l] = (bit ? p1 : zero) * (state[l] >> 12) + slot - (bit ? zero : 0);
                    c[l] = 2 * c[l] + bit;
                }
                if (!refill<L>(state, n, words, end)) return false;
            }
            for (int l = 0; l < n; l++) c[l] -= 1u << C::BITS;
        } else {
            for (int l = 0; l < n; l++) c[l] = 0;
            for (int b = 0; b < C::BITS; b++) {
                uint32_t bits = (uint32_t)get_bits(in.code, in.code_bytes, code_position);
                for (int l = 0; l < n; l++) c[l] |= (bits >> l & 1) << b;
                code_position += n;
            }
        }
    }
    return true;
}

template <int LATTICE, int L>
const char* decode_chunk(int memory, const Place& place, const Tables& tables, const uint8_t* level, const uint32_t* decoding,
                         const Streams& in, int32_t* out) {
    const int n = L ? L : place.lanes;
    const int row = 8 * n;
    const int fine = fine_of(LATTICE);
    uint32_t state[32];
    if (const char* reason = begin_states(in.states, n, state)) return reason;
    if (const char* reason = check_bits(in.low, in.low_bytes, low_bits(place, tables),
                                        "the stream of low bits has the wrong length",
                                        "the padding of the stream of low bits is not zero"))
        return reason;
    if (const char* reason = check_bits(in.code, in.code_bytes, code_bits(LATTICE, place, tables),
                                        "the stream of code bits has the wrong length",
                                        "the padding of the stream of code bits is not zero"))
        return reason;
    const uint16_t *words = in.words, *end = in.words + in.word_count;
    const int32_t *escapes = in.escapes, *last_escape = in.escapes + in.escape_count;
    int64_t low_position = 0, code_position = 0;
    Encoder encoder(LATTICE == CONVOLUTIONAL ? memory : MEMORY_MIN);

    for (int64_t first = 0; first < place.positions; first += row) {
        const uint8_t* z = level + first;
        int32_t table[TILE];
        bool same = row_tables(place, tables, first, table);
        int32_t half = tables.half[table[0]];

        bool modelled = tables.modelled[table[0]] != 0;
        uint32_t context[TILE], symbol[TILE];
        if constexpr (LATTICE == CONVOLUTIONAL) {
            uint32_t bits[8];
            if (!decode_inputs<L>(encoder, z, table, n, tables.weight, modelled, state, words, end, in, code_position,
                                  bits))
                return WORDS_SHORT;
            for (int i = 0; i < 8; i++)
                for (int l = 0; l < n; l++) context[i * n + l] = (8 * (bits[i] >> l & 1) - z[i * n + l]) & 15;
        } else {
            uint32_t index[2][32];
            if constexpr (LATTICE != Z)
                if (!decode_code<LATTICE, L>(z, table, n, tables, modelled, state, words, end, in, code_position, index))
                    return WORDS_SHORT;
            for (int i = 0; i < 8; i++)
                for (int l = 0; l < n; l++) {
                    uint32_t bit = 0;
                    if constexpr (LATTICE != Z)
                        bit = code_bit<LATTICE>(index[i / Code<LATTICE>::SIZE][l], i % Code<LATTICE>::SIZE);
                    context[i * n + l] = ((uint32_t)fine * bit - z[i * n + l]) & 15;
                }
        }

        for (int i = 0; i < 8; i++) {
            const uint32_t* o = context + i * n;
            uint32_t entry[32];
            if (same) {
                const uint32_t* d = decoding + 65536 * (int64_t)tables.slot[table[0]];
                for (int l = 0; l < n; l++) entry[l] = d[(int32_t)(o[l] << 12 | (state[l] & 4095))];
            } else {
                for (int l = 0; l < n; l++)
                    entry[l] = decoding[65536 * (int64_t)tables.slot[table[i * n + l]] +
                                        (int64_t)(o[l] << 12 | (state[l] & 4095))];
            }
            for (int l = 0; l < n; l++) {
                symbol[i * n + l] = entry[l] & 255;
                state[l] = (entry[l] >> 20) * (state[l] >> 12) + (entry[l] >> 8 & 4095);
            }
            if (!refill<L>(state, n, words, end)) return WORDS_SHORT;
        }

        int32_t* y = out + first;
        if (same && !tables.raw[table[0]]) {
            uint32_t any = 0;
            for (int p = 0; p < row; p++) {
                any |= symbol[p] == 2 * (uint32_t)half;
                y[p] = 16 * ((int32_t)symbol[p] - half) + (int32_t)context[p];
            }
            if (!any) continue;
        }
        for (int p = 0; p < row; p++) {
            int32_t h = tables.half[table[p]];
            int raw = tables.raw[table[p]];
            int64_t k2 = (int64_t)symbol[p] - h;
            if (k2 == h) {
                if (escapes == last_escape) return "the escapes end too early";
                k2 = *escapes++;
                if (-h <= k2 && k2 < h) return "an escape is not one";
            }
            int64_t k = k2 * ((int64_t)1 << raw);
            if (raw) {
                k += (int64_t)(get_bits(in.low, in.low_bytes, low_position) & ((1u << raw) - 1));
                low_position += raw;
            }
            if (k < -(1 << 27) || k >= 1 << 27) return "an escape is out of range";
            y[p] = (int32_t)(16 * k) + (int32_t)context[p];
        }
    }
    if (escapes != last_escape) return "escapes are left over";
    return check_end(state, n, words, end);
}

// `decoding` has room for 65536 entries for each used table.
const char* entropy_decode(int lattice, const Place& place, const Tables& tables, Key key, uint8_t* level,
                           uint32_t* decoding, const Streams& in, int32_t* out) {
    levels(key, place.positions, level);
    fill_decoding(tables, decoding);
    bool wide = place.lanes == 32;
    auto decode = wide ? decode_chunk<E8, 32> : decode_chunk<E8, 0>;
    if (is_convolutional(lattice)) decode = wide ? decode_chunk<CONVOLUTIONAL, 32> : decode_chunk<CONVOLUTIONAL, 0>;
    if (lattice == Z) decode = wide ? decode_chunk<Z, 32> : decode_chunk<Z, 0>;
    if (lattice == D4) decode = wide ? decode_chunk<D4, 32> : decode_chunk<D4, 0>;
    return decode(memory_of(lattice), place, tables, level, decoding, in, out);
}
