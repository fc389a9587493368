// Viterbi: the nearest point of a convolutional lattice, SLAB lanes side by side in one vector of 16-bit metrics.
//
// A step's cost is h = 128 - |r|, r the distance from the nearest even integer in 1/256: half of what an odd integer
// costs more than the even one. A branch with code bits (c0, c1) is given the metric e = ±h0 ± h1, plus where the bit
// is 1: that is its cost less the mean h0 + h1 of all branches, and an exact integer. Complementary labels have
// opposite metrics, and a butterfly (two states, their two common successors) needs only one: -e or e everywhere.
//
// No overflow in 16 bits: |e| <= 256. Every state is reached from every other within `memory` <= 12 steps, so once
// `memory` steps are done, metrics lie within 2 * 256 * 12 = 6144 of one another. Every BATCH = 64 steps the metric of
// state 0 is subtracted from all (which decides nothing): below 6144 + 64 * 256 = 22528 in magnitude. A window begins
// with 0 in the known state and FORBIDDEN = 8192 in the others: at most 8192 + 64 * 256 = 24576. A path from a
// forbidden state never wins: within 12 steps it costs at least 8192 - 12 * 256 = 5120, an allowed one at most 3072.

#if defined(__AVX512BW__)
enum { SLAB = 32 };
#elif defined(__AVX2__)
enum { SLAB = 16 };
#else
enum { SLAB = 8 };
#endif
enum { BATCH = 64, FORBIDDEN = 8192 };

typedef int16_t Metrics __attribute__((vector_size(2 * SLAB)));

// Decisions of the states 2i and 2i + 1, 2 SLAB bits: the bit of each lane and state is set where b < a.
#if defined(__AVX512BW__)
NQZ_INLINE Metrics lesser(Metrics a, Metrics b) { return (Metrics)_mm512_min_epi16((__m512i)a, (__m512i)b); }

NQZ_INLINE void decide(uint8_t* to, Metrics a0, Metrics b0, Metrics a1, Metrics b1) {
    uint32_t even = _mm512_cmplt_epi16_mask((__m512i)b0, (__m512i)a0);
    uint32_t odd = _mm512_cmplt_epi16_mask((__m512i)b1, (__m512i)a1);
    memcpy(to, &even, 4);
    memcpy(to + 4, &odd, 4);
}
#elif defined(__AVX2__)
NQZ_INLINE Metrics lesser(Metrics a, Metrics b) { return (Metrics)_mm256_min_epi16((__m256i)a, (__m256i)b); }

NQZ_INLINE void decide(uint8_t* to, Metrics a0, Metrics b0, Metrics a1, Metrics b1) {
    __m256i even = _mm256_cmpgt_epi16((__m256i)a0, (__m256i)b0), odd = _mm256_cmpgt_epi16((__m256i)a1, (__m256i)b1);
    int bits = _mm256_movemask_epi8(_mm256_packs_epi16(even, odd));
    memcpy(to, &bits, 4);
}
#elif defined(__SSE2__)
NQZ_INLINE Metrics lesser(Metrics a, Metrics b) { return (Metrics)_mm_min_epi16((__m128i)a, (__m128i)b); }

NQZ_INLINE void decide(uint8_t* to, Metrics a0, Metrics b0, Metrics a1, Metrics b1) {
    __m128i even = _mm_cmpgt_epi16((__m128i)a0, (__m128i)b0), odd = _mm_cmpgt_epi16((__m128i)a1, (__m128i)b1);
    int bits = _mm_movemask_epi8(_mm_packs_epi16(even, odd));
    memcpy(to, &bits, 2);
}
#else
NQZ_INLINE Metrics lesser(Metrics a, Metrics b) { return b < a ? b : a; }

NQZ_INLINE void decide(uint8_t* to, Metrics a0, Metrics b0, Metrics a1, Metrics b1) {
    const Metrics place = {1, 2, 4, 8, 16, 32, 64, 128};
    Metrics even = (Metrics)(b0 < a0) & place, odd = (Metrics)(b1 < a1) & place;
    int bits = 0;
    for (int l = 0; l < SLAB; l++) bits |= even[l] | odd[l] << 8;
    memcpy(to, &bits, 2);
}
#endif

// Where the decisions of a state begin, and the bit of lane l in the 32 bits (16 where SLAB is 8) that begin there.
NQZ_INLINE int64_t decision_offset(int32_t state) {
    return SLAB == 32 ? 4 * (int64_t)state : 2 * SLAB / 8 * (int64_t)(state >> 1);
}
NQZ_INLINE int decision_bit(int32_t state, int l) {
    return SLAB == 32 ? l : SLAB == 16 ? (l >> 3) * 16 + (state & 1) * 8 + (l & 7) : (state & 1) * 8 + l;
}

// Trellis steps taken at once: the metrics of 2^STEPS states, 2^(memory - STEPS) apart, stay in registers meanwhile.
template <int MEMORY>
struct Radix {
    enum { STEPS = SLAB == 32 && MEMORY >= 4 ? 4 : 2, WIDTH = 1 << STEPS, COUNT = 1 << (MEMORY - STEPS) };
};

// Step STEP of a block, on butterfly K of WIDTH / 2. `x` holds the block's metrics; its index is the part of the state
// above the block's number j, followed by the part below. `plus` and `minus` are h0 + h1 and h0 - h1, with the signs
// that j gives them; `to` are the step's decisions from j on.
template <int MEMORY, int STEP, int K>
NQZ_INLINE void butterfly(const Metrics* x, Metrics* y, Metrics plus, Metrics minus, uint8_t* to) {
    typedef Radix<MEMORY> R;
    constexpr uint32_t high = K >> STEP, low = K & ((1 << STEP) - 1);
    constexpr uint32_t reg = high << (MEMORY - R::STEPS + STEP + 1) | low << 1;
    constexpr int label = label_of(MEMORY, reg);
    Metrics e = label == 0 || label == 3 ? plus : minus;
    Metrics s0 = x[K], s1 = x[K + R::WIDTH / 2];
    Metrics more0 = s0 + e, less0 = s0 - e, more1 = s1 + e, less1 = s1 - e;
    // The branch from s0 with input 0 has the label; the one from s1, its complement.
    Metrics a0 = label >= 2 ? more0 : less0, b0 = label >= 2 ? less1 : more1;
    Metrics a1 = label >= 2 ? less0 : more0, b1 = label >= 2 ? more1 : less1;
    decide(to + decision_offset((int32_t)reg), a0, b0, a1, b1);
    y[2 * K] = lesser(a0, b0);
    y[2 * K + 1] = lesser(a1, b1);
}

template <int MEMORY, int STEP, int K>
struct Butterflies {
    static NQZ_INLINE void run(const Metrics* x, Metrics* y, Metrics plus, Metrics minus, uint8_t* to) {
        Butterflies<MEMORY, STEP, K - 1>::run(x, y, plus, minus, to);
        butterfly<MEMORY, STEP, K - 1>(x, y, plus, minus, to);
    }
};
template <int MEMORY, int STEP>
struct Butterflies<MEMORY, STEP, 0> {
    static NQZ_INLINE void run(const Metrics*, Metrics*, Metrics, Metrics, uint8_t*) {}
};

// Branch metrics of one trellis step by label.
struct Branches {
    Metrics of[4];
};

template <int MEMORY, int STEP>
NQZ_INLINE void advance(const Metrics* x, Metrics* y, const Branches* branches, const uint8_t* flip, int j,
                        uint8_t* decisions) {
    typedef Radix<MEMORY> R;
    const int64_t row = ((int64_t)2 * SLAB / 8) << (MEMORY - 1);
    const Metrics* e = branches[STEP].of;
    int by = flip[STEP * R::COUNT + j];
    Butterflies<MEMORY, STEP, R::WIDTH / 2>::run(x, y, e[3 ^ by], e[2 ^ by],
                                                 decisions + STEP * row + decision_offset(j << (STEP + 1)));
}

template <int MEMORY>
struct Viterbi {
    typedef Radix<MEMORY> R;
    enum { STATES = 1 << MEMORY };
    static constexpr int64_t ROW = 2 * SLAB / 8 * (int64_t)STATES / 2;  // bytes of decisions of one trellis step

    const int32_t* x;  // fixed point, [2 steps][lanes]
    int lanes, lane;   // lanes of the chunk, and the slab's first
    Metrics *metrics, *spare;  // [STATES] each
    uint8_t* decisions;
    uint8_t flip[R::STEPS * R::COUNT];

    NQZ_INLINE void prepare() {
        for (int step = 0; step < R::STEPS; step++)
            for (int j = 0; j < R::COUNT; j++)
                flip[step * R::COUNT + j] = (uint8_t)label_of(MEMORY, (uint32_t)j << (step + 1));
    }

    // Branch metrics of `count` <= BATCH trellis steps; 0 for lanes that the chunk does not have.
    NQZ_INLINE void fill(int64_t first, int count, Branches* branches) const {
        int16_t h[2 * BATCH][SLAB];
        const int32_t* from = x + 2 * first * lanes + lane;
        if (lanes - lane >= SLAB) {
            for (int i = 0; i < 2 * count; i++, from += lanes)
                for (int l = 0; l < SLAB; l++) {
                    int32_t r = ((from[l] + 256) & 511) - 256;
                    h[i][l] = (int16_t)(128 - (r < 0 ? -r : r));
                }
        } else {
            for (int i = 0; i < 2 * count; i++, from += lanes)
                for (int l = 0; l < SLAB; l++) {
                    int32_t r = l < lanes - lane ? ((from[l] + 256) & 511) - 256 : 128;
                    h[i][l] = (int16_t)(128 - (r < 0 ? -r : r));
                }
        }
        for (int t = 0; t < count; t++) {
            Metrics h0, h1;
            memcpy(&h0, h[2 * t], sizeof h0);
            memcpy(&h1, h[2 * t + 1], sizeof h1);
            branches[t].of[3] = h0 + h1;
            branches[t].of[2] = h0 - h1;
            branches[t].of[1] = h1 - h0;
            branches[t].of[0] = -h0 - h1;
        }
    }

    NQZ_INLINE void begin() {
        for (int s = 0; s < STATES; s++)
            for (int l = 0; l < SLAB; l++) metrics[s][l] = s ? FORBIDDEN : 0;
    }

    // Decisions of the trellis steps [first, end), to row `to` on.
    void forward(int64_t first, int64_t end, uint8_t* to) {
        Branches branches[BATCH];
        for (int64_t t = first; t < end; t += BATCH) {
            int count = (int)least(BATCH, end - t);
            fill(t, count, branches);
            for (int i = 0; i < count; i += R::STEPS, to += R::STEPS * ROW) {
                for (int j = 0; j < R::COUNT; j++) {
                    Metrics m[R::WIDTH], n[R::WIDTH];
                    for (int k = 0; k < R::WIDTH; k++) m[k] = metrics[j + k * R::COUNT];
                    advance<MEMORY, 0>(m, n, branches + i, flip, j, to);
                    advance<MEMORY, 1>(n, m, branches + i, flip, j, to);
                    if constexpr (R::STEPS == 4) {
                        advance<MEMORY, 2>(m, n, branches + i, flip, j, to);
                        advance<MEMORY, 3>(n, m, branches + i, flip, j, to);
                    }
                    for (int k = 0; k < R::WIDTH; k++) spare[j * R::WIDTH + k] = m[k];
                }
                Metrics* swap = metrics;
                metrics = spare;
                spare = swap;
            }
            Metrics base = metrics[0];
            for (int s = 0; s < STATES; s++) metrics[s] -= base;
        }
    }

    // The best state of each lane.
    NQZ_INLINE void best(int32_t* state) const {
        Metrics least_one = metrics[0], at = {};
        for (int s = 1; s < STATES; s++) {
            Metrics less = (Metrics)(metrics[s] < least_one);
            at = (at & ~less) | ((Metrics{} + (int16_t)s) & less);
            least_one = lesser(least_one, metrics[s]);
        }
        for (int l = 0; l < SLAB; l++) state[l] = at[l];
    }

    // Follows the decisions in rows [begin, end) back from `state`; adds the inputs to `inputs`, if any.
    void back(int64_t begin, int64_t end, int32_t* state, uint32_t* inputs) const {
        const uint8_t* row = decisions + (end - 1) * ROW;
#if defined(__AVX512BW__)
        const __m512i ramp = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        // Rotated right by this, the bit of lane l stands at bit MEMORY.
        const __m512i turn0 = _mm512_sub_epi32(ramp, _mm512_set1_epi32(MEMORY));
        const __m512i turn1 = _mm512_add_epi32(turn0, _mm512_set1_epi32(16));
        const __m512i one = _mm512_set1_epi32(1), top = _mm512_set1_epi32(STATES);
        __m512i s0 = _mm512_loadu_si512(state), s1 = _mm512_loadu_si512(state + 16);
        for (int64_t t = end - 1; t >= begin; t--, row -= ROW) {
            if (inputs) inputs[t] = (uint32_t)_mm512_test_epi32_mask(s0, one) |
                                    (uint32_t)_mm512_test_epi32_mask(s1, one) << 16;
            __m512i d0 = _mm512_rorv_epi32(_mm512_i32gather_epi32(s0, row, 4), turn0);
            __m512i d1 = _mm512_rorv_epi32(_mm512_i32gather_epi32(s1, row, 4), turn1);
            s0 = _mm512_srli_epi32(_mm512_or_si512(s0, _mm512_and_si512(d0, top)), 1);
            s1 = _mm512_srli_epi32(_mm512_or_si512(s1, _mm512_and_si512(d1, top)), 1);
        }
        _mm512_storeu_si512(state, s0);
        _mm512_storeu_si512(state + 16, s1);
#elif defined(__AVX2__)
        const __m256i ramp = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i one = _mm256_set1_epi32(1), half = _mm256_set1_epi32(16);
        __m256i s0 = _mm256_loadu_si256((const __m256i*)state), s1 = _mm256_loadu_si256((const __m256i*)state + 1);
        for (int64_t t = end - 1; t >= begin; t--, row -= ROW) {
            if (inputs) {
                int low = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32(s0, 31)));
                int high = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32(s1, 31)));
                inputs[t] |= (uint32_t)(low | high << 8) << lane;
            }
            __m256i w0 = _mm256_i32gather_epi32((const int*)row, _mm256_srli_epi32(s0, 1), 4);
            __m256i w1 = _mm256_i32gather_epi32((const int*)row, _mm256_srli_epi32(s1, 1), 4);
            __m256i bit0 = _mm256_add_epi32(_mm256_slli_epi32(_mm256_and_si256(s0, one), 3), ramp);
            __m256i bit1 = _mm256_add_epi32(_mm256_slli_epi32(_mm256_and_si256(s1, one), 3), ramp);
            __m256i d0 = _mm256_and_si256(_mm256_srlv_epi32(w0, bit0), one);
            __m256i d1 = _mm256_and_si256(_mm256_srlv_epi32(w1, _mm256_or_si256(bit1, half)), one);
            s0 = _mm256_or_si256(_mm256_srli_epi32(s0, 1), _mm256_slli_epi32(d0, MEMORY - 1));
            s1 = _mm256_or_si256(_mm256_srli_epi32(s1, 1), _mm256_slli_epi32(d1, MEMORY - 1));
        }
        _mm256_storeu_si256((__m256i*)state, s0);
        _mm256_storeu_si256((__m256i*)state + 1, s1);
#else
        for (int64_t t = end - 1; t >= begin; t--, row -= ROW) {
            uint32_t bits = 0;
            for (int l = 0; l < SLAB; l++) {
                int32_t s = state[l];
                uint16_t word;
                memcpy(&word, row + decision_offset(s), 2);
                bits |= (uint32_t)(s & 1) << l;
                state[l] = s >> 1 | (int32_t)(word >> decision_bit(s, l) & 1) << (MEMORY - 1);
            }
            if (inputs) inputs[t] |= bits << lane;
        }
#endif
    }
};

// Trellis steps that a window decides, and those that it looks ahead: few enough to stay in the second-level cache.
enum { WINDOW = 1024 };
NQZ_INLINE int64_t window_ahead(int memory) { return 64 * memory; }

// Bytes of working memory: metrics and the decisions of a window for every slab, each on a multiple of 64 bytes.
NQZ_INLINE int64_t metrics_bytes(int memory) { return 2 * ((int64_t)sizeof(Metrics) << memory); }
NQZ_INLINE int64_t decision_bytes(int memory, const Place& place) {
    int64_t steps = least(place.positions / place.lanes / 2, WINDOW + window_ahead(memory));
    return (((steps * (2 * SLAB / 8)) << (memory - 1)) + 63) / 64 * 64;
}
NQZ_INLINE int slabs_of(const Place& place) { return (place.lanes + SLAB - 1) / SLAB; }

int64_t nearest_scratch(int lattice, const Place& place) {
    if (!is_convolutional(lattice)) return 0;
    int memory = memory_of(lattice);
    return slabs_of(place) * (metrics_bytes(memory) + decision_bytes(memory, place));
}

// Turns the fixed-point values of `steps` trellis steps and the path's inputs into fine coordinates: 8 times the
// nearest integer of the parity of the code bit, less the level.
template <int L>
void follow(Encoder& encoder, const uint32_t* inputs, int64_t steps, int lanes, const uint8_t* level, int32_t* x) {
    const int n = L ? L : lanes;
    for (int64_t t = 0; t < steps; t++) {
        uint32_t odd[2];
        encoder.zero_branch(odd[0], odd[1]);
        odd[0] ^= inputs[t];
        odd[1] ^= inputs[t];
        encoder.push(inputs[t]);
        for (int i = 0; i < 2; i++, x += n, level += n) {
#if defined(__AVX512BW__)
            if constexpr (L == 32) {
                for (int l = 0; l < 32; l += 16) {
                    __mmask16 one = (__mmask16)(odd[i] >> l);
                    __m512i v = _mm512_loadu_si512(x + l);
                    v = _mm512_mask_add_epi32(v, _knot_mask16(one), v, _mm512_set1_epi32(256));
                    v = _mm512_and_si512(_mm512_srai_epi32(v, 5), _mm512_set1_epi32(-16));
                    v = _mm512_mask_or_epi32(v, one, v, _mm512_set1_epi32(8));
                    __m512i z = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)(level + l)));
                    _mm512_storeu_si512(x + l, _mm512_sub_epi32(v, z));
                }
                continue;
            }
#endif
            for (int l = 0; l < n; l++) {
                int32_t one = (int32_t)(odd[i] >> l & 1);
                x[l] = ((x[l] + 256 - 256 * one) >> 5 & -16) + 8 * one - level[l];
            }
        }
    }
}

// Fixed-point values and levels of the positions [first, end).
NQZ_INLINE void dithered(const float* u, const Place& place, const float* scale, Key key, int64_t first, int64_t end,
                         uint8_t* level, int32_t* x) {
    // Sixteen levels are one word; windows begin at multiples of 16.
    key.counter += (uint64_t)first / 16;
    levels(key, end - first, level + first);
    for (; first < end; first += TILE) {
        int count = (int)least(TILE, end - first);
        int32_t t[TILE];
        fixed_point(u, place, scale, nullptr, first, count, t);
        for (int p = 0; p < count; p++) x[first + p] = t[p] + 32 * level[first + p];
    }
}

template <int MEMORY>
void search(const float* u, const Place& place, const float* scale, Key key, uint8_t* level, uint8_t* scratch,
            int32_t* x) {
    const int64_t steps = place.positions / place.lanes / 2, pair = 2 * place.lanes;
    const int64_t ahead = window_ahead(MEMORY);
    const int slabs = slabs_of(place);
    Viterbi<MEMORY> slab[32 / SLAB];
    for (int s = 0; s < slabs; s++) {
        Viterbi<MEMORY>& v = slab[s];
        v.x = x;
        v.lanes = place.lanes;
        v.lane = s * SLAB;
        v.metrics = (Metrics*)(scratch + s * metrics_bytes(MEMORY));
        v.spare = v.metrics + v.STATES;
        v.decisions = scratch + slabs * metrics_bytes(MEMORY) + s * decision_bytes(MEMORY, place);
        v.prepare();
        v.begin();
    }
    Encoder encoder(MEMORY);
    for (int64_t first = 0, done = 0; first < steps; first += WINDOW) {
        int64_t keep = least(steps - first, WINDOW), end = least(steps, first + WINDOW + ahead);
        uint32_t inputs[WINDOW] = {};
        dithered(u, place, scale, key, pair * done, pair * end, level, x);
        for (int s = 0; s < slabs; s++) {
            Viterbi<MEMORY>& v = slab[s];
            int32_t state[SLAB];
            v.forward(done, end, v.decisions + (done - first) * v.ROW);
            v.best(state);
            v.back(keep, end - first, state, nullptr);
            v.back(0, keep, state, inputs);
            // The rest is the beginning of the next window.
            memmove(v.decisions, v.decisions + keep * v.ROW, (size_t)((end - first - keep) * v.ROW));
        }
        (place.lanes == 32 ? follow<32> : follow<0>)(encoder, inputs, keep, place.lanes, level + pair * first,
                                                     x + pair * first);
        done = end;
    }
}

// `level` has room for the positions, `scratch` is aligned to 64 bytes.
void nearest_convolutional(int memory, const float* u, const Place& place, const float* scale, Key key, uint8_t* level,
                           uint8_t* scratch, int32_t* out) {
    switch (memory) {
        case 2: return search<2>(u, place, scale, key, level, scratch, out);
        case 3: return search<3>(u, place, scale, key, level, scratch, out);
        case 4: return search<4>(u, place, scale, key, level, scratch, out);
        case 5: return search<5>(u, place, scale, key, level, scratch, out);
        case 6: return search<6>(u, place, scale, key, level, scratch, out);
        case 7: return search<7>(u, place, scale, key, level, scratch, out);
        case 8: return search<8>(u, place, scale, key, level, scratch, out);
        case 9: return search<9>(u, place, scale, key, level, scratch, out);
        case 10: return search<10>(u, place, scale, key, level, scratch, out);
        case 11: return search<11>(u, place, scale, key, level, scratch, out);
        default: return search<12>(u, place, scale, key, level, scratch, out);
    }
}
