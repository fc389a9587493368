// Lattice: the nearest point of z, d4 and e8 (Construction A) in integers, 32 groups of eight at a time.
//
// A tile is 32 groups of G entries, consecutive positions of a chunk, arranged as [G][32]: coordinate by group. With
// fewer than 32 lanes a tile holds several group rows side by side.

enum { TILE = 256 };  // of groups of eight

template <int G>
using Tile = int32_t[G][32];

NQZ_INLINE constexpr int group_of(int lattice) { return lattice == LEECH ? 24 : 8; }
NQZ_INLINE constexpr int fine_of(int lattice) { return lattice == Z ? 16 : lattice == LEECH ? 4 : 8; }
NQZ_INLINE constexpr int tile_of(int lattice) { return 32 * group_of(lattice); }

template <int G, class T>
NQZ_INLINE void arrange(const T* in, int lanes, int32_t (&tile)[G][32]) {
    if (lanes == 32) {
        int32_t* flat = &tile[0][0];
        for (int p = 0; p < 32 * G; p++) flat[p] = in[p];
        return;
    }
    for (int p = 0; p < 32 * G; p++) {
        int step = p / lanes;
        tile[step % G][step / G * lanes + p % lanes] = in[p];
    }
}

// Copies the first `count` positions back.
template <int G, class T>
NQZ_INLINE void spread(const int32_t (&tile)[G][32], int lanes, int count, T* out) {
    if (lanes == 32 && count == 32 * G) {
        const int32_t* flat = &tile[0][0];
        for (int p = 0; p < 32 * G; p++) out[p] = (T)flat[p];
        return;
    }
    for (int p = 0; p < count; p++) {
        int step = p / lanes;
        out[p] = (T)tile[step % G][step / G * lanes + p % lanes];
    }
}

// Unit of 256 fixed-point steps, the same for all groups.
struct FixedUnit {
    NQZ_INLINE int32_t unit(int) const { return 256; }
    NQZ_INLINE int32_t half(int) const { return 128; }
    NQZ_INLINE int32_t over_one(int32_t v, int) const { return v >> 8; }   // floor(v / unit)
    NQZ_INLINE int32_t over_two(int32_t v, int) const { return v >> 9; }   // floor(v / (2 unit))
    NQZ_INLINE int32_t over_four(int32_t v, int) const { return v >> 10; } // floor(v / (4 unit))
};

// floor(v / d) by the rounded reciprocal of d: off by one at most while the quotient stays below 2^22.
NQZ_INLINE int32_t floor_divide(int32_t v, int32_t d, float reciprocal) {
    int32_t q = (int32_t)((float)v * reciprocal);
    int32_t rest = v - q * d;
    return q + (rest >= d) - (rest < 0);
}

// A unit for each group.
struct GroupUnit {
    int32_t units[32];
    float one[32], two[32], four[32];
    NQZ_INLINE void set(int l, int32_t unit) {
        units[l] = unit;
        one[l] = 1.0f / (float)unit;
        two[l] = 1.0f / (float)(2 * unit);
        four[l] = 1.0f / (float)(4 * unit);
    }
    NQZ_INLINE int32_t unit(int l) const { return units[l]; }
    NQZ_INLINE int32_t half(int l) const { return units[l] >> 1; }
    NQZ_INLINE int32_t over_one(int32_t v, int l) const { return floor_divide(v, units[l], one[l]); }
    NQZ_INLINE int32_t over_two(int32_t v, int l) const { return floor_divide(v, 2 * units[l], two[l]); }
    NQZ_INLINE int32_t over_four(int32_t v, int l) const { return floor_divide(v, 4 * units[l], four[l]); }
};

template <class Unit>
NQZ_INLINE void nearest_z(const Tile<8>& x, const Unit& unit, Tile<8>& point) {
    for (int i = 0; i < 8; i++)
        for (int l = 0; l < 32; l++) point[i][l] = unit.over_one(x[i][l] + unit.half(l), l);
}

// Nearest even integers, the step to the nearest odd ones, and what an odd one costs more.
template <class Unit>
NQZ_INLINE void split(const Tile<8>& x, const Unit& unit, Tile<8>& even, Tile<8>& toward, Tile<8>& cost) {
    for (int i = 0; i < 8; i++)
        for (int l = 0; l < 32; l++) {
            int32_t q = unit.over_two(x[i][l] + unit.unit(l), l);
            int32_t r = x[i][l] - 2 * unit.unit(l) * q;
            int32_t magnitude = r < 0 ? -r : r;
            even[i][l] = 2 * q;
            toward[i][l] = r < 0 ? -1 : 1;
            cost[i][l] = unit.unit(l) - 2 * magnitude;
        }
}

template <class Unit>
NQZ_INLINE void nearest_d4(const Tile<8>& x, const Unit& unit, Tile<8>& point) {
    Tile<8> toward, cost;
    split(x, unit, point, toward, cost);
    for (int i = 0; i < 8; i += 4) {
        int32_t parity[32], cheapest[32], where[32];
        for (int l = 0; l < 32; l++) {
            parity[l] = where[l] = 0;
            cheapest[l] = INT32_MAX;
        }
        for (int k = i; k < i + 4; k++)
            for (int l = 0; l < 32; l++) {
                int32_t w = cost[k][l], magnitude = w < 0 ? -w : w;
                bool less = magnitude < cheapest[l];
                cheapest[l] = less ? magnitude : cheapest[l];
                where[l] = less ? k : where[l];
                parity[l] ^= w < 0 ? 1 : 0;
            }
        for (int k = i; k < i + 4; k++)
            for (int l = 0; l < 32; l++) {
                int32_t odd = cost[k][l] < 0 ? 1 : 0;
                odd ^= where[l] == k ? parity[l] : 0;
                point[k][l] += odd ? toward[k][l] : 0;
            }
    }
}

template <class Unit>
NQZ_INLINE void nearest_e8(const Tile<8>& x, const Unit& unit, Tile<8>& point) {
    Tile<8> toward, w;
    split(x, unit, point, toward, w);
    for (int h = 1; h < 8; h *= 2)
        for (int i = 0; i < 8; i++)
            if (!(i & h))
                for (int l = 0; l < 32; l++) {
                    int32_t a = w[i][l], b = w[i + h][l];
                    w[i][l] = a + b;
                    w[i + h][l] = a - b;
                }
    int32_t best[32], index[32], negative[32];
    for (int l = 0; l < 32; l++) {
        best[l] = w[0][l] < 0 ? -w[0][l] : w[0][l];
        negative[l] = w[0][l] < 0;
        index[l] = 0;
    }
    for (int a = 1; a < 8; a++)
        for (int l = 0; l < 32; l++) {
            int32_t magnitude = w[a][l] < 0 ? -w[a][l] : w[a][l];
            bool more = magnitude > best[l];
            best[l] = more ? magnitude : best[l];
            negative[l] = more ? w[a][l] < 0 : negative[l];
            index[l] = more ? a : index[l];
        }
    for (int i = 0; i < 8; i++)
        for (int l = 0; l < 32; l++) {
            int32_t hits = index[l] & i;
            int32_t odd = (negative[l] ^ hits ^ (hits >> 1) ^ (hits >> 2)) & 1;
            point[i][l] += odd ? toward[i][l] : 0;
        }
}

// Limits v to [-limit, limit] (not-a-number becomes -limit) and rounds it, half to even.
NQZ_INLINE int32_t round_clamped(float v, float limit) {
    v = v > -limit ? v : -limit;
    v = v < limit ? v : limit;
    // From 2^23 on a float32 is an integer already.
    float magnitude = __builtin_fabsf(v);
    float rounded = (magnitude + 0x1p23f) - 0x1p23f;
    rounded = magnitude < 0x1p23f ? rounded : magnitude;
    int32_t t = (int32_t)rounded;
    return v < 0 ? -t : t;
}

// round_clamped(u · s, 2^29) of `count` entries.
NQZ_INLINE void fixed_run(const float* u, float s, int count, int32_t* t) {
    const float limit = 0x1p29f;
    int p = 0;
    // The conversions of x86 round half to even, and the larger of not-a-number and a number is the second operand.
#if defined(__AVX512F__)
    for (; p + 16 <= count; p += 16) {
        __m512 v = _mm512_max_ps(_mm512_mul_ps(_mm512_loadu_ps(u + p), _mm512_set1_ps(s)), _mm512_set1_ps(-limit));
        _mm512_storeu_si512(t + p, _mm512_cvtps_epi32(_mm512_min_ps(v, _mm512_set1_ps(limit))));
    }
#elif defined(__AVX2__)
    for (; p + 8 <= count; p += 8) {
        __m256 v = _mm256_max_ps(_mm256_mul_ps(_mm256_loadu_ps(u + p), _mm256_set1_ps(s)), _mm256_set1_ps(-limit));
        _mm256_storeu_si256((__m256i*)(t + p), _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(limit))));
    }
#elif defined(__SSE2__)
    for (; p + 4 <= count; p += 4) {
        __m128 v = _mm_max_ps(_mm_mul_ps(_mm_loadu_ps(u + p), _mm_set1_ps(s)), _mm_set1_ps(-limit));
        _mm_storeu_si128((__m128i*)(t + p), _mm_cvtps_epi32(_mm_min_ps(v, _mm_set1_ps(limit))));
    }
#endif
    for (; p < count; p++) t[p] = round_clamped(u[p] * s, limit);
}

// Fixed-point values u · scale · factor of `tile` positions from `first` on; padding is 0.
NQZ_INLINE void fixed_point(const float* u, const Place& place, const float* scale, const float* factor, int64_t first,
                            int tile, int32_t* t) {
    int count = (int)least(tile, place.count - first);
    if (count < 0) count = 0;
    for (int p = count; p < tile; p++) t[p] = 0;
    const float limit = 0x1p29f;
    for (int p = 0; p < count;) {
        int64_t column = (place.start + first + p) / place.m;
        int end = (int)least(count, (column + 1) * place.m - place.start - first);
        float s = scale[column];
        if (factor)
            for (int i = p; i < end; i++) t[i] = round_clamped(u[first + i] * s * factor[i], limit);
        else
            fixed_run(u + first + p, s, end - p, t + p);
        p = end;
    }
}

void quantize_exact(const float* u, int64_t width, int64_t n, const float* scale, int32_t* out) {
    for (int64_t j = 0; j < width; j++)
        for (int64_t i = 0; i < n; i++) out[j * n + i] = round_clamped(u[j * n + i] * scale[j], 0x1p30f);
}
