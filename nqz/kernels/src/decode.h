// Entropy decoding of lattice points.

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

// Code bits of a group row of leech.
template <int L>
NQZ_INLINE void decode_leech(int lanes, const Streams& in, int64_t& code_position, uint32_t* index) {
    const int n = L ? L : lanes;
    for (int l = 0; l < n; l++) index[l] = 0;
    for (int b = 0; b < LEECH_BITS; b++) {
        uint32_t bits = (uint32_t)get_bits(in.code, in.code_bytes, code_position);
        for (int l = 0; l < n; l++) index[l] |= (bits >> l & 1) << b;
        code_position += n;
    }
}

// Decodes the symbols of `count` positions, whole steps, all of one table if `same`. Returns false if the words run
// out.
template <int L>
NQZ_INLINE bool decode_symbols(int count, const uint32_t* context, const int32_t* table, bool same, int lanes,
                               const Tables& tables, const uint32_t* decoding, uint32_t* state, const uint16_t*& words,
                               const uint16_t* end, uint32_t* symbol) {
    const int n = L ? L : lanes;
    for (int p = 0; p < count; p += n) {
        const uint32_t* o = context + p;
        uint32_t entry[32];
        if (same) {
            const uint32_t* d = decoding + 65536 * (int64_t)tables.slot[table[0]];
            for (int l = 0; l < n; l++) entry[l] = d[(int32_t)(o[l] << 12 | (state[l] & 4095))];
        } else {
            for (int l = 0; l < n; l++)
                entry[l] = decoding[65536 * (int64_t)tables.slot[table[p + l]] +
                                    (int64_t)(o[l] << 12 | (state[l] & 4095))];
        }
        for (int l = 0; l < n; l++) {
            symbol[p + l] = entry[l] & 255;
            state[l] = (entry[l] >> 20) * (state[l] >> 12) + (entry[l] >> 8 & 4095);
        }
        if (!refill<L>(state, n, words, end)) return false;
    }
    return true;
}

// Joins symbols, escapes, low bits and contexts to points. k must lie within `limit`.
NQZ_INLINE const char* join(const uint32_t* symbol, const uint32_t* context, const int32_t* table, bool same, int count,
                            int32_t limit, const Tables& tables, const Streams& in, int64_t& escape_position,
                            int64_t& low_position, int32_t* y) {
    if (same && !tables.raw[table[0]]) {
        int32_t half = tables.half[table[0]];
        uint32_t any = 0;
        for (int p = 0; p < count; p++) {
            any |= symbol[p] == 2 * (uint32_t)half;
            y[p] = 16 * ((int32_t)symbol[p] - half) + (int32_t)context[p];
        }
        if (!any) return nullptr;
    }
    for (int p = 0; p < count; p++) {
        int32_t h = tables.half[table[p]];
        int raw = tables.raw[table[p]];
        int64_t k2 = (int64_t)symbol[p] - h;
        if (k2 == h)
            if (const char* reason = read_escape(in, escape_position, h, tables.rice[table[p]], k2)) return reason;
        int64_t k = k2 * ((int64_t)1 << raw);
        if (raw) {
            k += (int64_t)(get_bits(in.low, in.low_bytes, low_position) & ((1u << raw) - 1));
            low_position += raw;
        }
        if (k < -limit || k >= limit) return "an escape is out of range";
        y[p] = (int32_t)(16 * k) + (int32_t)context[p];
    }
    return nullptr;
}

template <int LATTICE, int L>
const char* decode_chunk(int memory, const Place& place, const Tables& tables, const uint8_t* level,
                         const uint32_t* decoding, const Streams& in, int32_t* out) {
    const int n = L ? L : place.lanes;
    const int row = group_of(LATTICE) * n;
    const int fine = fine_of(LATTICE);
    uint32_t state[32];
    if (const char* reason = begin_states(in.states, n, state)) return reason;
    if (const char* reason = check_bits(in.low, in.low_bytes, low_bits(LATTICE, place, tables),
                                        "the stream of low bits has the wrong length",
                                        "the padding of the stream of low bits is not zero"))
        return reason;
    if (const char* reason = check_bits(in.code, in.code_bytes, code_bits(LATTICE, place, tables),
                                        "the stream of code bits has the wrong length",
                                        "the padding of the stream of code bits is not zero"))
        return reason;
    const uint16_t *words = in.words, *end = in.words + in.word_count;
    int64_t low_position = 0, code_position = 0, escape_position = 0;
    Encoder encoder(LATTICE == CONVOLUTIONAL ? memory : MEMORY_MIN);

    for (int64_t first = 0; first < place.positions; first += row) {
        const uint8_t* z = level + first;
        int32_t table[tile_of(LATTICE)];
        bool same = row_tables(LATTICE, place, tables, first, table);

        bool modelled = tables.modelled[table[0]] != 0;
        uint32_t context[tile_of(LATTICE)], symbol[tile_of(LATTICE)], index[2][32];
        if constexpr (LATTICE == CONVOLUTIONAL) {
            uint32_t bits[8];
            if (!decode_inputs<L>(encoder, z, table, n, tables.weight, modelled, state, words, end, in, code_position,
                                  bits))
                return WORDS_SHORT;
            for (int i = 0; i < 8; i++)
                for (int l = 0; l < n; l++) context[i * n + l] = (8 * (bits[i] >> l & 1) - z[i * n + l]) & 15;
        } else if constexpr (LATTICE == LEECH) {
            decode_leech<L>(n, in, code_position, index[0]);
            leech_contexts<L>(index[0], z, n, context);
        } else {
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

        int32_t* y = out + first;
        const int known = (LATTICE == LEECH ? group_of(LATTICE) - 1 : group_of(LATTICE)) * n;
        if (!decode_symbols<L>(known, context, table, same, n, tables, decoding, state, words, end, symbol))
            return WORDS_SHORT;
        if (const char* reason =
                join(symbol, context, table, same, known, 1 << 27, tables, in, escape_position, low_position, y))
            return reason;
        if constexpr (LATTICE == LEECH) {
            // Of the last step Y >> 1 is coded.
            uint32_t o[32], last[32];
            leech_last<L>(index[0], y, z, n, context + known, last);
            for (int l = 0; l < n; l++) o[l] = last[l] >> 1;
            if (!decode_symbols<L>(n, o, table + known, same, n, tables, decoding, state, words, end, symbol))
                return WORDS_SHORT;
            if (const char* reason =
                    join(symbol, o, table + known, same, n, 1 << 26, tables, in, escape_position, low_position, y + known))
                return reason;
            for (int l = 0; l < n; l++) y[known + l] = 2 * y[known + l] + (int32_t)(last[l] & 1);
        }
    }
    if (const char* reason = check_bits(in.escapes, in.escape_bytes, escape_position, "escapes are left over",
                                        "the padding of the stream of escapes is not zero"))
        return reason;
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
    if (lattice == LEECH) decode = wide ? decode_chunk<LEECH, 32> : decode_chunk<LEECH, 0>;
    return decode(memory_of(lattice), place, tables, level, decoding, in, out);
}
