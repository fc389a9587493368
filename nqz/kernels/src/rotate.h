// Rotate: two rounds of signs and fast Walsh-Hadamard transforms.
//
// Every output is a fixed tree of sums, whatever the blocking: natural order, butterflies of growing span.

#ifdef __AVX512F__
enum { VECTOR = 16 };
#elif defined(__AVX2__)
enum { VECTOR = 8 };
#else
enum { VECTOR = 4 };
#endif

// Unaligned vectors, which may alias the floats that they are made of.
typedef float Vector __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));
typedef int32_t IntVector __attribute__((vector_size(4 * VECTOR)));

#if defined(__clang__) || __GNUC__ >= 12
#define NQZ_SHUFFLE(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define NQZ_SHUFFLE(v, ...) __builtin_shuffle(v, IntVector{__VA_ARGS__})
#endif

// Butterflies of span H < VECTOR within a vector.
template <int H>
NQZ_INLINE Vector butterfly(Vector v) {
    IntVector sign;
    for (int i = 0; i < VECTOR; i++) sign[i] = i & H ? INT32_MIN : 0;
#ifdef __AVX512F__
    Vector swapped = NQZ_SHUFFLE(v, 0 ^ H, 1 ^ H, 2 ^ H, 3 ^ H, 4 ^ H, 5 ^ H, 6 ^ H, 7 ^ H, 8 ^ H, 9 ^ H, 10 ^ H,
                                 11 ^ H, 12 ^ H, 13 ^ H, 14 ^ H, 15 ^ H);
#elif defined(__AVX2__)
    Vector swapped = NQZ_SHUFFLE(v, 0 ^ H, 1 ^ H, 2 ^ H, 3 ^ H, 4 ^ H, 5 ^ H, 6 ^ H, 7 ^ H);
#else
    Vector swapped = NQZ_SHUFFLE(v, 0 ^ H, 1 ^ H, 2 ^ H, 3 ^ H);
#endif
    return swapped + (Vector)((IntVector)v ^ sign);
}

NQZ_INLINE void load_vector(Vector& v, const float* from) { v = *(const Vector*)from; }
NQZ_INLINE void store_vector(float* to, Vector v) { *(Vector*)to = v; }

// All spans below VECTOR, for n a multiple of VECTOR.
void transform_within(float* u, int64_t n) {
    for (int64_t i = 0; i < n; i += VECTOR) {
        Vector v;
        load_vector(v, u + i);
        v = butterfly<1>(v);
        v = butterfly<2>(v);
#if defined(__AVX2__)
        v = butterfly<4>(v);
#endif
#ifdef __AVX512F__
        v = butterfly<8>(v);
#endif
        store_vector(u + i, v);
    }
}

// Spans h and 2h.
void transform_twice(float* u, int64_t n, int64_t h) {
    for (int64_t i = 0; i < n; i += 4 * h)
        for (int64_t j = i; j < i + h; j += VECTOR) {
            Vector a, b, c, d;
            load_vector(a, u + j);
            load_vector(b, u + j + h);
            load_vector(c, u + j + 2 * h);
            load_vector(d, u + j + 3 * h);
            Vector e = a + b, f = a - b, g = c + d, k = c - d;
            store_vector(u + j, e + g);
            store_vector(u + j + h, f + k);
            store_vector(u + j + 2 * h, e - g);
            store_vector(u + j + 3 * h, f - k);
        }
}

// Span h.
void transform_once(float* u, int64_t n, int64_t h) {
    for (int64_t i = 0; i < n; i += 2 * h)
        for (int64_t j = i; j < i + h; j += VECTOR) {
            Vector a, b;
            load_vector(a, u + j);
            load_vector(b, u + j + h);
            store_vector(u + j, a + b);
            store_vector(u + j + h, a - b);
        }
}

// All spans from `h` up to n / 2.
void transform_from(float* u, int64_t n, int64_t h) {
    for (; 4 * h <= n; h *= 4) transform_twice(u, n, h);
    if (2 * h <= n) transform_once(u, n, h);
}

// The transform of n = 2^k entries in place, unnormalized.
void hadamard(float* u, int64_t n) {
    const int64_t cached = 4096;  // entries that stay in the first-level cache
    if (n < VECTOR) {
        for (int64_t h = 1; h < n; h *= 2)
            for (int64_t i = 0; i < n; i++)
                if (!(i & h)) {
                    float x = u[i], y = u[i + h];
                    u[i] = x + y;
                    u[i + h] = x - y;
                }
        return;
    }
    int64_t part = least(n, cached);
    for (int64_t i = 0; i < n; i += part) {
        transform_within(u + i, part);
        transform_from(u + i, part, VECTOR);
    }
    transform_from(u, n, part);
}

void scale_by(float* u, int64_t n, float factor) {
    for (int64_t i = 0; i < n; i++) u[i] *= factor;
}

// Negates the coordinates whose bit is set.
void flip(float* u, int64_t n, const uint64_t* signs) {
    for (int64_t i = 0; i < n; i += 64) {
        uint32_t halves[2] = {(uint32_t)signs[i / 64], (uint32_t)(signs[i / 64] >> 32)};
        for (int part = 0; part < 2; part++) {
            int64_t first = i + 32 * part;
            int count = (int)least(32, n - first);
            uint32_t bits[32];
            if (count == 32) {
                memcpy(bits, u + first, sizeof bits);
                for (int j = 0; j < 32; j++) bits[j] ^= halves[part] >> j << 31;
                memcpy(u + first, bits, sizeof bits);
            } else {
                for (int j = 0; j < count; j++)
                    if (halves[part] >> j & 1) u[first + j] = -u[first + j];
            }
        }
    }
}

// The Householder reflection I - (2/m) 11' across m segments.
template <int M>
void reflect_segments(float* u, int64_t size) {
    const float factor = (float)(2.0 / (double)M);
    int64_t i = 0;
    for (; i + VECTOR <= size; i += VECTOR) {
        Vector x[M], sum;
        for (int t = 0; t < M; t++) load_vector(x[t], u + i + t * size);
        sum = x[0] + x[1];
        for (int t = 2; t < M; t++) sum = sum + x[t];
        sum = sum * factor;
        for (int t = 0; t < M; t++) store_vector(u + i + t * size, x[t] - sum);
    }
    for (; i < size; i++) {
        float sum = u[i] + u[i + size];
        for (int t = 2; t < M; t++) sum = sum + u[i + t * size];
        sum = sum * factor;
        for (int t = 0; t < M; t++) u[i + t * size] -= sum;
    }
}

void reflect(float* u, int64_t size, int64_t m) {
    if (m == 3) reflect_segments<3>(u, size);
    if (m == 5) reflect_segments<5>(u, size);
    if (m == 7) reflect_segments<7>(u, size);
}

int64_t permutation_step(int64_t n) {
    int64_t step = n * 40503 >> 16;
    if (step < 1) step = 1;
    for (;; step++) {
        int64_t a = step, b = n;
        while (b) {
            int64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) return step;
    }
}

void rotate_segments(float* u, int64_t n, int64_t m, const uint64_t* signs, int64_t sign_words, bool inverse) {
    int64_t size = n / m;
    for (int round = 0; round < 2; round++) {
        const uint64_t* s = signs + (inverse ? 1 - round : round) * sign_words;
        if (inverse) reflect(u, size, m);
        if (!inverse) flip(u, n, s);
        for (int64_t t = 0; t < m; t++) hadamard(u + t * size, size);
        if (inverse) flip(u, n, s);
        if (!inverse) reflect(u, size, m);
    }
    scale_by(u, n, (float)(1.0 / (double)size));
}

void rotate_overlap(float* u, int64_t n, const uint64_t* signs, int64_t sign_words, bool inverse, int64_t step,
                    float* scratch) {
    int64_t size = 1;
    float norm = 1;
    while (2 * size <= n) size *= 2;
    // Each transform is made orthonormal at once: the coordinates outside it must keep their scale.
    norm = (float)__builtin_sqrt(1.0 / (double)size);
    float* last = u + n - size;
    for (int round = 0; round < 2; round++) {
        int which = inverse ? 1 - round : round;
        const uint64_t *s = signs + which * sign_words, *other = signs + (1 - which) * sign_words;
        if (!inverse) flip(u, n, s);
        float* part[2] = {inverse ? last : u, inverse ? u : last};
        for (int k = 0; k < 2; k++) {
            hadamard(part[k], size);
            scale_by(part[k], size, norm);
            // Signs between the two as well: where they overlap almost entirely, they would undo each other.
            if (k == 0) flip(u, n, other);
        }
        if (inverse) flip(u, n, s);
        if (round == 0) {
            memcpy(scratch, u, (size_t)n * sizeof(float));
            for (int64_t i = 0, from = 0; i < n; i++) {
                if (inverse)
                    u[from] = scratch[i];
                else
                    u[i] = scratch[from];
                from += step;
                if (from >= n) from -= n;
            }
        }
    }
}

// `scratch` holds n floats.
void rotate(float* u, int64_t width, int64_t n, const uint64_t* signs, bool inverse, float* scratch) {
    int64_t sign_words = (n + 63) / 64;
    int64_t m = n;
    while (m % 2 == 0) m /= 2;
    int64_t step = m <= 7 ? 0 : permutation_step(n);
    for (int64_t j = 0; j < width; j++) {
        if (m <= 7)
            rotate_segments(u + j * n, n, m, signs, sign_words, inverse);
        else
            rotate_overlap(u + j * n, n, signs, sign_words, inverse, step, scratch);
    }
}
