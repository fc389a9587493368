// Vectors of rANS lanes: 32-bit numbers, NQZ_LANES of them, where the instruction set can gather. Elsewhere NQZ_LANES
// is not defined, and plain loops do the same.
//
// Words of lanes that are refilled or emptied stand side by side in memory. Lanes and words are matched by a
// permutation: AVX-512 has instructions for it, for AVX2 a table holds one for each of the 256 sets of 8 lanes.

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define NQZ_LANES 16

typedef uint32_t Lanes __attribute__((vector_size(64)));
typedef int32_t SignedLanes __attribute__((vector_size(64)));

NQZ_INLINE Lanes widen(const uint8_t* from) {
    return (Lanes)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from));
}
NQZ_INLINE Lanes gather(const void* table, Lanes index) {
    return (Lanes)_mm512_i32gather_epi32((__m512i)index, table, 4);
}
NQZ_INLINE Lanes gather_pairs(const uint16_t* table, Lanes index) {
    return (Lanes)_mm512_i32gather_epi32((__m512i)index, (const void*)table, 2);
}
NQZ_INLINE Lanes gather_bytes(const uint8_t* table, Lanes index) {
    return (Lanes)_mm512_i32gather_epi32((__m512i)index, (const void*)table, 1);
}
NQZ_INLINE Lanes lesser(Lanes a, Lanes b) { return (Lanes)_mm512_min_epu32((__m512i)a, (__m512i)b); }
// Bit l: whether the lanes are equal; whether the highest bit is set.
NQZ_INLINE uint32_t equal(Lanes a, Lanes b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
NQZ_INLINE uint32_t flags(Lanes chosen) { return _mm512_movepi32_mask((__m512i)chosen); }
// All ones in the lanes (for bytes_of, the bytes) whose bit is set.
NQZ_INLINE Lanes lanes_of(uint32_t bits) { return (Lanes)_mm512_movm_epi32((__mmask16)bits); }
NQZ_INLINE __m256i bytes_of(uint32_t bits) { return _mm256_movm_epi8(bits); }

// Lanes below 2^16 take one word each, first lane first. Reads NQZ_LANES words.
NQZ_INLINE Lanes refilled(Lanes x, const uint16_t*& words) {
    __mmask16 low = _mm512_cmplt_epu32_mask((__m512i)x, _mm512_set1_epi32(1 << 16));
    __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)words));
    words += __builtin_popcount(low);
    return (Lanes)_mm512_mask_or_epi32((__m512i)x, low, (__m512i)(x << 16), _mm512_maskz_expand_epi32(low, next));
}

// Lanes of at least size · 2^20 give one word each, last lane first. Writes NQZ_LANES places below `words`.
NQZ_INLINE Lanes emptied(Lanes x, Lanes size, uint16_t*& words) {
    const __m512i order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __mmask16 full = _mm512_cmpge_epu32_mask((__m512i)(x >> 20), (__m512i)size);
    int count = __builtin_popcount(full);
    // The first `count` lanes go to the end.
    __m512i given = _mm512_permutexvar_epi32(_mm512_add_epi32(order, _mm512_set1_epi32(count)),
                                             _mm512_maskz_compress_epi32(full, (__m512i)x));
    _mm256_storeu_si256((__m256i*)(words - 16), _mm512_cvtepi32_epi16(given));
    words -= count;
    return (Lanes)_mm512_mask_srli_epi32((__m512i)x, full, (__m512i)x, 16);
}

typedef __m512 Floats;

NQZ_INLINE Floats divided(float a, Lanes b) { return _mm512_div_ps(_mm512_set1_ps(a), _mm512_cvtepi32_ps((__m512i)b)); }
// The product, cut off.
NQZ_INLINE Lanes product(Lanes a, Floats b) {
    return (Lanes)_mm512_cvttps_epi32(_mm512_mul_ps(_mm512_cvtepu32_ps((__m512i)a), b));
}

#elif defined(__AVX2__)
#define NQZ_LANES 8

typedef uint32_t Lanes __attribute__((vector_size(32)));
typedef int32_t SignedLanes __attribute__((vector_size(32)));

struct Moves {
    uint8_t spread[256][8];  // which word each lane of the set takes
    uint8_t pack[256][8];    // the lanes of the set, in the last places
    constexpr Moves() : spread(), pack() {
        for (int set = 0; set < 256; set++) {
            int count = 0;
            for (int l = 0; l < 8; l++) {
                spread[set][l] = (uint8_t)count;
                count += set >> l & 1;
            }
            for (int l = 7, to = 7; l >= 0; l--)
                if (set >> l & 1) pack[set][to--] = (uint8_t)l;
        }
    }
};
constexpr Moves MOVES;

NQZ_INLINE __m256i moved(__m256i x, const uint8_t* move) {
    return _mm256_permutevar8x32_epi32(x, _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)move)));
}
NQZ_INLINE uint32_t signs(__m256i x) { return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(x)); }

NQZ_INLINE Lanes widen(const uint8_t* from) {
    return (Lanes)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from));
}
NQZ_INLINE Lanes gather(const void* table, Lanes index) {
    return (Lanes)_mm256_i32gather_epi32((const int*)table, (__m256i)index, 4);
}
NQZ_INLINE Lanes gather_pairs(const uint16_t* table, Lanes index) {
    return (Lanes)_mm256_i32gather_epi32((const int*)(const void*)table, (__m256i)index, 2);
}
NQZ_INLINE Lanes gather_bytes(const uint8_t* table, Lanes index) {
    return (Lanes)_mm256_i32gather_epi32((const int*)(const void*)table, (__m256i)index, 1);
}
NQZ_INLINE Lanes lesser(Lanes a, Lanes b) { return (Lanes)_mm256_min_epu32((__m256i)a, (__m256i)b); }
NQZ_INLINE uint32_t equal(Lanes a, Lanes b) { return signs(_mm256_cmpeq_epi32((__m256i)a, (__m256i)b)); }
NQZ_INLINE uint32_t flags(Lanes chosen) { return signs((__m256i)chosen); }
NQZ_INLINE Lanes lanes_of(uint32_t bits) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return (Lanes)_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), bit), bit);
}
NQZ_INLINE __m256i bytes_of(uint32_t bits) {
    const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), byte);
    return _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
}

NQZ_INLINE Lanes refilled(Lanes x, const uint16_t*& words) {
    __m256i low = _mm256_cmpeq_epi32((__m256i)(x >> 16), _mm256_setzero_si256());
    __m256i next = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)words));
    uint32_t set = signs(low);
    words += __builtin_popcount(set);
    next = _mm256_or_si256((__m256i)(x << 16), moved(next, MOVES.spread[set]));
    return (Lanes)_mm256_blendv_epi8((__m256i)x, next, low);
}

NQZ_INLINE Lanes emptied(Lanes x, Lanes size, uint16_t*& words) {
    __m256i kept = _mm256_cmpgt_epi32((__m256i)size, (__m256i)(x >> 20));
    uint32_t set = ~signs(kept) & 255;
    __m256i given = moved((__m256i)(x & 65535), MOVES.pack[set]);
    _mm_storeu_si128((__m128i*)(words - 8),
                     _mm_packus_epi32(_mm256_castsi256_si128(given), _mm256_extracti128_si256(given, 1)));
    words -= __builtin_popcount(set);
    return (Lanes)_mm256_blendv_epi8((__m256i)(x >> 16), (__m256i)x, kept);
}

typedef __m256 Floats;

NQZ_INLINE Floats divided(float a, Lanes b) { return _mm256_div_ps(_mm256_set1_ps(a), _mm256_cvtepi32_ps((__m256i)b)); }
NQZ_INLINE Lanes product(Lanes a, Floats b) {
    // Both halves are converted exactly, and their sum is rounded once.
    __m256 high = _mm256_mul_ps(_mm256_cvtepi32_ps((__m256i)(a >> 16)), _mm256_set1_ps(65536.0f));
    __m256 sum = _mm256_add_ps(high, _mm256_cvtepi32_ps((__m256i)(a & 65535)));
    return (Lanes)_mm256_cvttps_epi32(_mm256_mul_ps(sum, b));
}
#endif

#ifdef NQZ_LANES
NQZ_INLINE Lanes load_lanes(const void* from) {
    Lanes x;
    memcpy(&x, from, sizeof x);
    return x;
}
NQZ_INLINE void store_lanes(void* to, Lanes x) { memcpy(to, &x, sizeof x); }
NQZ_INLINE Lanes all(uint32_t value) { return Lanes{} + value; }

// On each lane [start, start + size).
struct Interval {
    Lanes start, size;
    Floats reciprocal;
};

// The reciprocal is too small by 2^-21, which is more than rounding three times to 24 bits can make it larger.
NQZ_INLINE Interval interval_of(Lanes start, Lanes size) { return {start, size, divided(1.0f - 0x1p-21f, size)}; }

// Codes an interval on each lane.
NQZ_INLINE Lanes encode_lanes(Lanes x, const Interval& interval, uint16_t*& words) {
    const Lanes size = interval.size;
    x = emptied(x, size, words);
    // The quotient, below 2^20, or one less.
    Lanes quotient = product(x, interval.reciprocal), rest = x - quotient * size;
    Lanes less = (Lanes)((SignedLanes)rest >= (SignedLanes)size);
    return (quotient << 12) + rest + interval.start + (less & (4096 - size));
}
#endif
