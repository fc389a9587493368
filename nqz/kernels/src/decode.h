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
                uint32_t bits, of_one[32];
                for (int l = 0; l < n; l++) of_one[l] = (uint32_t)chance[c[l]][l];
                if (!decode_bits<L>(of_one, n, state, words, end, bits)) return false;
                for (int l = 0; l < n; l++) c[l] = 2 * c[l] + (bits >> l & 1);
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

// Decodes the symbols of whole steps, all of one table, to points whose low bits are zero. Bit l of escaped[i]: whether
// that of lane l in step i is an escape. Returns false if the words run out.
template <int L>
NQZ_INLINE bool decode_steps(int steps, const uint8_t* context, const uint32_t* decoding, int32_t half, int raw,
                             int lanes, uint32_t* state, const uint16_t*& words, const uint16_t* end, int32_t* y,
                             uint32_t* escaped) {
    const uint32_t escape = 2 * (uint32_t)half;
    const int shift = 4 + raw;
#ifdef NQZ_LANES
    if (L == 32 && end - words >= 32 * steps) {
        const int vectors = 32 / NQZ_LANES;
        const uint16_t* from = words;
        Lanes x[vectors];
        for (int v = 0; v < vectors; v++) x[v] = load_lanes(state + v * NQZ_LANES);
        for (int i = 0; i < steps; i++) {
            uint32_t found = 0;
            for (int v = 0; v < vectors; v++) {
                int p = 32 * i + v * NQZ_LANES;
                Lanes o = widen(context + p), entry = gather(decoding, o << 12 | (x[v] & 4095)), s = entry & 255;
                x[v] = refilled((entry >> 20) * (x[v] >> 12) + (entry >> 8 & 4095), from);
                found |= equal(s, all(escape)) << (v * NQZ_LANES);
                store_lanes(y + p, ((s - (uint32_t)half) << shift) + o);
            }
            escaped[i] = found;
        }
        words = from;
        for (int v = 0; v < vectors; v++) store_lanes(state + v * NQZ_LANES, x[v]);
        return true;
    }
#endif
    const int n = L ? L : lanes;
    for (int i = 0; i < steps; i++) {
        const uint8_t* o = context + i * n;
        uint32_t entry[32], any = 0, found = 0;
        for (int l = 0; l < n; l++) entry[l] = decoding[(int32_t)((uint32_t)o[l] << 12 | (state[l] & 4095))];
        for (int l = 0; l < n; l++) {
            uint32_t s = entry[l] & 255;
            any |= s == escape;
            state[l] = (entry[l] >> 20) * (state[l] >> 12) + (entry[l] >> 8 & 4095);
            y[i * n + l] = (int32_t)(((s - (uint32_t)half) << shift) + o[l]);
        }
        if (any)
            for (int l = 0; l < n; l++) found |= (uint32_t)((entry[l] & 255) == escape) << l;
        escaped[i] = found;
        if (!refill<L>(state, n, words, end)) return false;
    }
    return true;
}

// Adds the lowest `raw` bits of k to `count` points.
template <int L>
NQZ_INLINE void add_low(int count, int raw, const Streams& in, int64_t position, int32_t* y) {
    const uint32_t mask = (1u << raw) - 1;
#ifdef NQZ_LANES
    // The last four bytes read begin where the last point's bits do.
    if (L == 32 && (position + (int64_t)(count - 1) * raw) / 8 + 4 <= in.low_bytes) {
        Lanes bit = all((uint32_t)(position & 7));
        for (uint32_t l = 0; l < NQZ_LANES; l++) bit[l] += l * (uint32_t)raw;
        for (int p = 0; p < count; p += NQZ_LANES, bit += NQZ_LANES * (uint32_t)raw) {
            Lanes low = gather_bytes(in.low + position / 8, bit >> 3) >> (bit & 7) & mask;
            store_lanes(y + p, load_lanes(y + p) + (low << 4));
        }
        return;
    }
#endif
    for (int p = 0; p < count; p++, position += raw)
        y[p] += (int32_t)((uint32_t)get_bits(in.low, in.low_bytes, position) & mask) << 4;
}

const char* const OUT_OF_RANGE = "an escape is out of range";

// k from its higher and its lower bits; whether it lies within `limit`.
NQZ_INLINE bool join(int64_t k2, int raw, uint32_t low, int32_t limit, int64_t& k) {
    k = k2 * ((int64_t)1 << raw) + low;
    return -limit <= k && k < limit;
}

// Where a decoder is in the streams beside the words.
struct Forwards {
    int64_t escape_position, low_position, code_position;
};

// Decodes the points of whole steps, all of one table. k must lie within `limit`.
template <int L>
NQZ_INLINE const char* decode_points(int steps, const uint8_t* context, const Tables& tables, int32_t t,
                                     const uint32_t* decoding, int32_t limit, int lanes, uint32_t* state,
                                     const uint16_t*& words, const uint16_t* end, const Streams& in, Forwards& at,
                                     int32_t* y) {
    const int n = L ? L : lanes;
    const int32_t half = tables.half[t];
    const int raw = tables.raw[t];
    uint32_t escaped[GOLAY_SIZE], any = 0;
    if (!decode_steps<L>(steps, context, decoding + 65536 * (int64_t)tables.slot[t], half, raw, n, state, words, end, y,
                         escaped))
        return WORDS_SHORT;
    if (raw) {
        add_low<L>(steps * n, raw, in, at.low_position, y);
        at.low_position += (int64_t)steps * n * raw;
    }
    for (int i = 0; i < steps; i++) any |= escaped[i];
    if (any)
        for (int i = 0; i < steps; i++)
            for (uint32_t left = escaped[i]; left; left &= left - 1) {
                int32_t& point = y[i * n + __builtin_ctz(left)];
                int64_t k2, k;
                if (const char* reason = read_escape(in, at.escape_position, half, tables.rice[t], k2)) return reason;
                if (!join(k2, raw, (uint32_t)point >> 4 & ((1u << raw) - 1), limit, k)) return OUT_OF_RANGE;
                point = (int32_t)(16 * k) + (point & 15);
            }
    if (((int64_t)half << raw) > limit)
        for (int p = 0; p < steps * n; p++)
            if (y[p] >> 4 < -limit || y[p] >> 4 >= limit) return OUT_OF_RANGE;
    return nullptr;
}

// The same for points of several tables.
template <int L>
NQZ_INLINE const char* decode_mixed(int steps, const uint8_t* context, const Tables& tables, const int32_t* table,
                                    const uint32_t* decoding, int32_t limit, int lanes, uint32_t* state,
                                    const uint16_t*& words, const uint16_t* end, const Streams& in, Forwards& at,
                                    int32_t* y) {
    const int n = L ? L : lanes;
    for (int i = 0; i < steps; i++) {
        for (int l = 0; l < n; l++) {
            const int p = i * n + l, raw = tables.raw[table[p]];
            const int32_t half = tables.half[table[p]];
            const uint32_t o = context[p];
            uint32_t entry = decoding[65536 * (int64_t)tables.slot[table[p]] + (int64_t)(o << 12 | (state[l] & 4095))];
            state[l] = (entry >> 20) * (state[l] >> 12) + (entry >> 8 & 4095);
            int64_t k2 = (int64_t)(entry & 255) - half, k;
            if (k2 == half)
                if (const char* reason = read_escape(in, at.escape_position, half, tables.rice[table[p]], k2))
                    return reason;
            uint32_t low = (uint32_t)get_bits(in.low, in.low_bytes, at.low_position) & ((1u << raw) - 1);
            at.low_position += raw;
            if (!join(k2, raw, low, limit, k)) return OUT_OF_RANGE;
            y[p] = (int32_t)(16 * k) + (int32_t)o;
        }
        if (!refill<L>(state, n, words, end)) return WORDS_SHORT;
    }
    return nullptr;
}

template <int LATTICE, int L>
const char* decode_chunk(int memory, const Place& place, const Tables& tables, const Key& key, const uint8_t* level,
                         const uint32_t* decoding, const uint32_t* chance_tables, const Streams& in, int32_t* out) {
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
    Forwards at = {0, 0, 0};
    const Taps taps(LATTICE == CONVOLUTIONAL ? memory : MEMORY_MIN);
    uint32_t past[MEMORY_MAX] = {};

    Run run(place, tables, false);
    for (int64_t first = 0; first < place.positions; first += row) {
        while (run.end <= first) run.forward();
        const int32_t t = run.table;
        const bool same = run.end >= first + row, modelled = tables.modelled[t] != 0;
        int32_t table[tile_of(LATTICE)];
        if (!same || (modelled && LATTICE != CONVOLUTIONAL)) row_tables(LATTICE, place, tables, first, table);
        uint8_t own[tile_of(LATTICE)], context[tile_of(LATTICE)];
        const uint8_t* z = row_levels<L>(key, level, first, row, own);

        uint32_t index[2][32];
        if constexpr (LATTICE == CONVOLUTIONAL) {
            uint32_t bits[8];
            if (!decode_inputs<L>(taps, past, z, same ? chance_tables + 256 * tables.slot[t] : nullptr, table, n,
                                  tables.weight, modelled, state, words, end, in, at.code_position, bits))
                return WORDS_SHORT;
            for (int i = 0; i < 8; i++) code_contexts<L>(bits[i], z + i * n, n, context + i * n);
        } else if constexpr (LATTICE == LEECH) {
            decode_leech<L>(n, in, at.code_position, index[0]);
            leech_contexts<L>(index[0], z, n, context);
        } else {
            if constexpr (LATTICE != Z)
                if (!decode_code<LATTICE, L>(z, table, n, tables, modelled, state, words, end, in, at.code_position,
                                             index))
                    return WORDS_SHORT;
            for (int i = 0; i < 8; i++)
                for (int l = 0; l < n; l++) {
                    uint32_t bit = 0;
                    if constexpr (LATTICE != Z)
                        bit = code_bit<LATTICE>(index[i / Code<LATTICE>::SIZE][l], i % Code<LATTICE>::SIZE);
                    context[i * n + l] = (uint8_t)(((uint32_t)fine * bit - z[i * n + l]) & 15);
                }
        }

        int32_t* y = out + first;
        const int known = LATTICE == LEECH ? group_of(LATTICE) - 1 : group_of(LATTICE);
        if (const char* reason =
                same ? decode_points<L>(known, context, tables, t, decoding, 1 << 27, n, state, words, end, in, at, y)
                     : decode_mixed<L>(known, context, tables, table, decoding, 1 << 27, n, state, words, end, in, at,
                                   y))
            return reason;
        if constexpr (LATTICE == LEECH) {
            // Of the last step Y >> 1 is coded.
            uint32_t last[32];
            uint8_t* o = context + known * n;
            int32_t* halved = y + known * n;
            leech_last<L>(index[0], y, z, n, o, last);
            for (int l = 0; l < n; l++) o[l] = (uint8_t)(last[l] >> 1);
            if (const char* reason = same ? decode_points<L>(1, o, tables, tables.last[t], decoding, 1 << 26, n, state,
                                                             words, end, in, at, halved)
                                          : decode_mixed<L>(1, o, tables, table + known * n, decoding, 1 << 26, n,
                                                            state, words, end, in, at, halved))
                return reason;
            for (int l = 0; l < n; l++) halved[l] = 2 * halved[l] + (int32_t)(last[l] & 1);
        }
    }
    if (const char* reason = check_bits(in.escapes, in.escape_bytes, at.escape_position, "escapes are left over",
                                        "the padding of the stream of escapes is not zero"))
        return reason;
    return check_end(state, n, words, end);
}

// `level` has room for the positions, `decoding` for 65536 entries and `chances` for 256 for each used table.
const char* entropy_decode(int lattice, const Place& place, const Tables& tables, Key key, uint8_t* level,
                           uint32_t* decoding, uint32_t* chances, const Streams& in, int32_t* out) {
    bool wide = place.lanes == 32;
    if (!wide) levels(key, place.positions, level);
    fill_decoding(tables, decoding);
    if (is_convolutional(lattice)) fill_chances(tables, chances);
    auto decode = wide ? decode_chunk<E8, 32> : decode_chunk<E8, 0>;
    if (is_convolutional(lattice)) decode = wide ? decode_chunk<CONVOLUTIONAL, 32> : decode_chunk<CONVOLUTIONAL, 0>;
    if (lattice == Z) decode = wide ? decode_chunk<Z, 32> : decode_chunk<Z, 0>;
    if (lattice == D4) decode = wide ? decode_chunk<D4, 32> : decode_chunk<D4, 0>;
    if (lattice == LEECH) decode = wide ? decode_chunk<LEECH, 32> : decode_chunk<LEECH, 0>;
    return decode(memory_of(lattice), place, tables, key, level, decoding, chances, in, out);
}
