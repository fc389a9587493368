// Trellis: the code bits of convolutional lattices in the entropy coder. What is coded are the inputs.
//
// A group row is four trellis steps. Bit l of a word belongs to lane l.

// The parities of the points of n lanes.
template <int L>
NQZ_INLINE uint32_t parities(const int32_t* points, const uint8_t* level, int lanes) {
    const int n = L ? L : lanes;
    uint32_t bits = 0;
    for (int l = 0; l < n; l++) bits |= (((uint32_t)points[l] + level[l]) >> 3 & 1) << l;
    return bits;
}

// Inputs of every trellis step, from the parities of its first step.
template <int L>
void find_inputs(int memory, const int32_t* points, const uint8_t* level, const Place& place, uint32_t* inputs) {
    const int n = L ? L : place.lanes;
    Encoder encoder(memory);
    for (int64_t t = 0, p = 0; p < place.positions; t++, p += 2 * n) {
        uint32_t c0, c1;
        encoder.zero_branch(c0, c1);
        inputs[t] = parities<L>(points + p, level + p, n) ^ c0;
        encoder.push(inputs[t]);
    }
}

// Chances of an input of one at a trellis step whose zero branch has the code bits c0 and c1. `table` and `level` are
// those of its positions.
template <int L>
NQZ_INLINE void input_chances(uint32_t c0, uint32_t c1, const int32_t* table, const double* weight,
                              const uint8_t* level, int lanes, int32_t* chance) {
    const int n = L ? L : lanes;
    for (int l = 0; l < n; l++) {
        const double* first = weight + 16 * (int64_t)table[l];
        const double* second = weight + 16 * (int64_t)table[n + l];
        uint32_t o0 = 8 * (c0 >> l & 1) - level[l], o1 = 8 * (c1 >> l & 1) - level[n + l];
        chance[l] = chance_of(first[o0 & 15] * second[o1 & 15], first[(o0 + 8) & 15] * second[(o1 + 8) & 15]);
    }
}

// Codes the inputs of a group row, which begins with trellis step `step`, last first.
template <int L>
NQZ_INLINE void encode_inputs(int memory, const uint32_t* inputs, int64_t step, const uint8_t* level,
                              const int32_t* table, int lanes, const double* weight, bool modelled, uint32_t* state,
                              uint16_t*& words, uint8_t* code, int64_t& code_position) {
    const int n = L ? L : lanes;
    for (int i = 3; i >= 0; i--) {
        uint32_t u = inputs[step + i];
        if (modelled) {
            Encoder encoder(memory);
            encoder.recall(inputs, step + i);
            uint32_t c0, c1, interval[32];
            int32_t chance[32];
            encoder.zero_branch(c0, c1);
            input_chances<L>(c0, c1, table + 2 * i * n, weight, level + 2 * i * n, n, chance);
            for (int l = 0; l < n; l++) {
                uint32_t zero = 4096 - (uint32_t)chance[l];
                interval[l] = u >> l & 1 ? zero | 4096u << 16 : zero << 16;
            }
            encode_row<L>(state, interval, n, words);
        } else {
            code_position -= n;
            put_bits(code, code_position, u & (uint32_t)(((uint64_t)1 << n) - 1));
        }
    }
}

// Decodes the inputs of a group row to the code bits of its eight steps. Returns false if the words run out.
template <int L>
NQZ_INLINE bool decode_inputs(Encoder& encoder, const uint8_t* level, const int32_t* table, int lanes,
                              const double* weight, bool modelled, uint32_t* state, const uint16_t*& words,
                              const uint16_t* end, const Streams& in, int64_t& code_position, uint32_t* bits) {
    const int n = L ? L : lanes;
    for (int i = 0; i < 4; i++) {
        uint32_t c0, c1, u = 0;
        encoder.zero_branch(c0, c1);
        if (modelled) {
            int32_t chance[32];
            input_chances<L>(c0, c1, table + 2 * i * n, weight, level + 2 * i * n, n, chance);
            for (int l = 0; l < n; l++) {
                uint32_t p1 = (uint32_t)chance[l], zero = 4096 - p1, slot = state[l] & 4095;
                uint32_t bit = slot >= zero;
                state[l] = (bit ? p1 : zero) * (state[l] >> 12) + slot - (bit ? zero : 0);
                u |= bit << l;
            }
            if (!refill<L>(state, n, words, end)) return false;
        } else {
            u = (uint32_t)(get_bits(in.code, in.code_bytes, code_position) & (((uint64_t)1 << n) - 1));
            code_position += n;
        }
        encoder.push(u);
        bits[2 * i] = c0 ^ u;
        bits[2 * i + 1] = c1 ^ u;
    }
    return true;
}
