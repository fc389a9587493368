// Trellis: the code bits of convolutional lattices in the entropy coder. What is coded are the inputs.
//
// A group row is four trellis steps. Bit l of a word belongs to lane l.

// Contexts of the points of n lanes whose code bits are `bits`.
template <int L>
NQZ_INLINE void code_contexts(uint32_t bits, const uint8_t* level, int lanes, uint8_t* context) {
#ifdef NQZ_LANES
    if (L == 32) {
        __m256i z = _mm256_loadu_si256((const __m256i*)level), ones = bytes_of(bits);
        __m256i o = _mm256_sub_epi8(_mm256_and_si256(ones, _mm256_set1_epi8(8)), z);
        _mm256_storeu_si256((__m256i*)context, _mm256_and_si256(o, _mm256_set1_epi8(15)));
        return;
    }
#endif
    const int n = L ? L : lanes;
    for (int l = 0; l < n; l++) context[l] = (uint8_t)((8 * (bits >> l & 1) - level[l]) & 15);
}

// The parities of the points of n lanes.
template <int L>
NQZ_INLINE uint32_t parities(const int32_t* points, const uint8_t* level, int lanes) {
    const int n = L ? L : lanes;
    uint32_t bits = 0;
#ifdef NQZ_LANES
    if (L == 32) {
        for (int l = 0; l < 32; l += NQZ_LANES)
            bits |= flags((Lanes)((SignedLanes)((load_lanes(points + l) + widen(level + l)) << 28) >> 31)) << l;
        return bits;
    }
#endif
    for (int l = 0; l < n; l++) bits |= (((uint32_t)points[l] + level[l]) >> 3 & 1) << l;
    return bits;
}

// Inputs of every trellis step, from the parities of its first step. MEMORY_MAX zeros stand before `inputs`.
template <int L>
void find_inputs(int memory, const int32_t* points, const Key& key, const uint8_t* level, const Place& place,
                 uint32_t* inputs) {
    const int n = L ? L : place.lanes;
    const Taps taps(memory);
    for (int64_t first = 0; first < place.positions; first += 8 * n) {
        uint8_t own[256];
        const uint8_t* z = row_levels<L>(key, level, first, 8 * n, own);
        for (int i = 0; i < 4; i++, inputs++)
            *inputs = parities<L>(points + first + 2 * i * n, z + 2 * i * n, n) ^ taps.zero_branch(0, inputs);
    }
}

// Chances of an input of one, by the contexts of the zero branch of a trellis step, 16 · first + second.
void branch_chances(const double* weight, uint32_t* chance) {
    for (int o = 0; o < 16; o++)
        for (int o2 = 0; o2 < 16; o2++)
            *chance++ = (uint32_t)chance_of(weight[o] * weight[o2], weight[o ^ 8] * weight[o2 ^ 8]);
}

// Chances of an input of one at a trellis step whose zero branch has the code bits c0 and c1. `level` is that of its
// positions, and `table` their tables, unless `chance_table` holds the chances of the only one.
template <int L>
NQZ_INLINE void input_chances(uint32_t c0, uint32_t c1, const uint32_t* chance_table, const int32_t* table,
                              const double* weight, const uint8_t* level, int lanes, uint32_t* chance) {
    const int n = L ? L : lanes;
    uint8_t first[32], second[32];
    code_contexts<L>(c0, level, n, first);
    code_contexts<L>(c1, level + n, n, second);
    if (chance_table) {
#ifdef NQZ_LANES
        if (L == 32) {
            for (int l = 0; l < 32; l += NQZ_LANES)
                store_lanes(chance + l, gather(chance_table, widen(first + l) << 4 | widen(second + l)));
            return;
        }
#endif
        for (int l = 0; l < n; l++) chance[l] = chance_table[16 * first[l] + second[l]];
    } else {
        for (int l = 0; l < n; l++) {
            const double* of_first = weight + 16 * (int64_t)table[l];
            const double* of_second = weight + 16 * (int64_t)table[n + l];
            chance[l] = (uint32_t)chance_of(of_first[first[l]] * of_second[second[l]],
                                            of_first[first[l] ^ 8] * of_second[second[l] ^ 8]);
        }
    }
}

// Codes the inputs of a group row, last first; `inputs` points to the first of the four.
template <int L>
NQZ_INLINE void encode_inputs(const Taps& taps, const uint32_t* inputs, const uint8_t* level,
                              const uint32_t* chance_table, const int32_t* table, int lanes, const double* weight,
                              bool modelled, uint32_t* state, uint16_t*& words, uint8_t* code,
                              int64_t& code_position) {
    const int n = L ? L : lanes;
    if (!modelled) {
        code_position -= 4 * n;
        for (int i = 0; i < 4; i++)
            put_bits(code, code_position + i * n, inputs[i] & (uint32_t)(((uint64_t)1 << n) - 1));
        return;
    }
    for (int i = 3; i >= 0; i--) {
        uint32_t c0 = taps.zero_branch(0, inputs + i), c1 = taps.zero_branch(1, inputs + i), chance[32];
        input_chances<L>(c0, c1, chance_table, table + 2 * i * n, weight, level + 2 * i * n, n, chance);
        encode_bits<L>(inputs[i], chance, n, state, words);
    }
}

// Decodes the inputs of a group row to the code bits of its eight steps. The MEMORY_MAX inputs before it are in `past`,
// which takes those of the row in. Returns false if the words run out.
template <int L>
NQZ_INLINE bool decode_inputs(const Taps& taps, uint32_t* past, const uint8_t* level, const uint32_t* chance_table,
                              const int32_t* table, int lanes, const double* weight, bool modelled, uint32_t* state,
                              const uint16_t*& words, const uint16_t* end, const Streams& in, int64_t& code_position,
                              uint32_t* bits) {
    const int n = L ? L : lanes;
    uint32_t inputs[MEMORY_MAX + 4];
    memcpy(inputs, past, MEMORY_MAX * sizeof *past);
    for (int i = 0; i < 4; i++) {
        uint32_t* now = inputs + MEMORY_MAX + i;
        uint32_t c0 = taps.zero_branch(0, now), c1 = taps.zero_branch(1, now);
        if (modelled) {
            uint32_t chance[32];
            input_chances<L>(c0, c1, chance_table, table + 2 * i * n, weight, level + 2 * i * n, n, chance);
            if (!decode_bits<L>(chance, n, state, words, end, *now)) return false;
        } else {
            *now = (uint32_t)(get_bits(in.code, in.code_bytes, code_position) & (((uint64_t)1 << n) - 1));
            code_position += n;
        }
        bits[2 * i] = c0 ^ *now;
        bits[2 * i + 1] = c1 ^ *now;
    }
    memcpy(past, inputs + 4, MEMORY_MAX * sizeof *past);
    return true;
}
