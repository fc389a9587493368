// Rotate: two rounds of signs and fast Walsh-Hadamard transforms.
//
// Every output is a fixed tree of sums, whatever the blocking: natural order, butterflies of growing span. Long columns
// are rotated one by one, vectors being pieces of a column; short ones SQUARE at a time, a vector holding an entry of
// each.
#pragma once

#include "base.h"
#include "simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

// Vectors that are transformed together at most.
enum { RADIX = Simd::RADIX };

// Butterflies of spans 1, 2, ... VECTOR / 2 within a vector.
NQZ_INLINE Vector within(Vector v) {
    v = Simd::butterfly<1>(v);
    v = Simd::butterfly<2>(v);
    if constexpr (VECTOR > 4) v = Simd::butterfly<VECTOR / 2 < 8 ? VECTOR / 2 : 4>(v);
    if constexpr (VECTOR > 8) v = Simd::butterfly<VECTOR / 2>(v);
    return v;
}

// Butterflies of spans 1, 2, ... COUNT / 2 across vectors.
template <int COUNT>
NQZ_INLINE void across(Vector* v) {
#pragma GCC unroll 4
    for (int span = 1; span < COUNT; span *= 2)
#pragma GCC unroll 16
        for (int i = 0; i < COUNT; i++)
            if (!(i & span)) {
                Vector a = v[i], b = v[i + span];
                v[i] = a + b;
                v[i + span] = a - b;
            }
}

// All spans below COUNT * VECTOR, for n a multiple of that; first the signs, if any.
template <int COUNT>
void transform_base(float* u, int64_t n, const uint64_t* signs) {
    for (int64_t i = 0; i < n; i += COUNT * VECTOR) {
        Vector v[COUNT];
#pragma GCC unroll 16
        for (int k = 0; k < COUNT; k++) {
            const int64_t at = i + k * VECTOR;
            v[k] = load_vector(u + at);
            // Short vectors share a word of signs, or begin at one; told so for long ones, GCC spills registers.
            const int64_t past = VECTOR < 16 ? (i & 63) + (k * VECTOR & 63) : at & 63;
            const int64_t word = VECTOR < 16 ? i / 64 + k * VECTOR / 64 : at / 64;
            if (signs) v[k] = Simd::negate(v[k], signs[word] >> past);
            v[k] = within(v[k]);
        }
        across<COUNT>(v);
#pragma GCC unroll 16
        for (int k = 0; k < COUNT; k++) store_vector(u + i + k * VECTOR, v[k]);
    }
}

// Spans h, 2h, ... R h / 2, and a factor.
template <int R>
void transform_spans(float* u, int64_t n, int64_t h, float factor) {
    for (int64_t i = 0; i < n; i += R * h)
        for (int64_t j = i; j < i + h; j += VECTOR) {
            Vector v[R];
#pragma GCC unroll 16
            for (int k = 0; k < R; k++) v[k] = load_vector(u + j + k * h);
            across<R>(v);
#pragma GCC unroll 16
            for (int k = 0; k < R; k++) store_vector(u + j + k * h, v[k] * factor);
        }
}

// All spans from `h` up to n / 2, and a factor in the last pass.
void transform_from(float* u, int64_t n, int64_t h, float factor) {
    // More than 8 lines a large power of two apart do not fit the first-level cache together.
    const int64_t near = 1024;
    while (h < n) {
        int64_t left = n / h;
        int radix = left >= RADIX && (RADIX == 8 || h <= near) ? RADIX : left >= 8 ? 8 : (int)left;
        float by = radix == left ? factor : 1.0f;
        if (radix == 16) transform_spans<RADIX == 16 ? 16 : 8>(u, n, h, by);
        if (radix == 8) transform_spans<8>(u, n, h, by);
        if (radix == 4) transform_spans<4>(u, n, h, by);
        if (radix == 2) transform_spans<2>(u, n, h, by);
        h *= radix;
    }
}

// An entry of each of SQUARE columns.
typedef float Entries __attribute__((vector_size(4 * SQUARE)));

template <class T>
void scale_by(T* u, int64_t n, float factor) {
    for (int64_t i = 0; i < n; i++) u[i] = u[i] * factor;
}

template <class T>
NQZ_INLINE void butterflies(T* u, int64_t n) {
    for (int64_t h = 1; h < n; h *= 2)
        for (int64_t i = 0; i < n; i += 2 * h)
            for (int64_t j = i; j < i + h; j++) {
                T x = u[j], y = u[j + h];
                u[j] = x + y;
                u[j + h] = x - y;
            }
}

// Negates the coordinates whose bit is set.
void flip(float* u, int64_t n, const uint64_t* signs) {
    int64_t i = 0;
    for (; i + VECTOR <= n; i += VECTOR) {
        store_vector(u + i, Simd::negate(load_vector(u + i), signs[i / 64] >> (i & 63)));
    }
    for (; i < n; i++)
        if (signs[i / 64] >> (i & 63) & 1) u[i] = -u[i];
}

template <class T>
void flip(T* u, int64_t n, const uint64_t* signs) {
    for (int64_t i = 0; i < n; i++)
        if (signs[i / 64] >> (i & 63) & 1) u[i] = -u[i];
}

// The transform of n = 2^k entries in place, unnormalized but for a factor; first the signs, if any.
void hadamard(float* u, int64_t n, const uint64_t* signs, float factor) {
    const int64_t cached = 4096;  // entries that stay in the first-level cache
    if (n <= VECTOR) {
        if (signs) flip(u, n, signs);
        butterflies(u, n);
        return scale_by(u, n, factor);
    }
    const int64_t part = least(n, cached);
    for (int64_t i = 0; i < n; i += part) {
        const uint64_t* s = signs ? signs + i / 64 : nullptr;
        if (part > RADIX * VECTOR) {
            transform_base<RADIX>(u + i, part, s);
            transform_from(u + i, part, RADIX * VECTOR, part == n ? factor : 1.0f);
        } else {
            transform_base<1>(u + i, part, s);
            transform_from(u + i, part, VECTOR, part == n ? factor : 1.0f);
        }
    }
    transform_from(u, n, part, factor);
}

template <class T>
void hadamard(T* u, int64_t n, const uint64_t* signs, float factor) {
    if (signs) flip(u, n, signs);
    butterflies(u, n);
    scale_by(u, n, factor);
}

// The Householder reflection I - (2/m) 11' across m segments.
template <int M, class T>
void reflect_segments(T* u, int64_t size) {
    const float factor = (float)(2.0 / (double)M);
    int64_t i = 0;
    for (; sizeof(T) == sizeof(float) && i + VECTOR <= size; i += VECTOR) {
        Vector x[M], sum;
        for (int t = 0; t < M; t++) x[t] = load_vector((const float*)(u + i + t * size));
        sum = x[0] + x[1];
        for (int t = 2; t < M; t++) sum = sum + x[t];
        sum = sum * factor;
        for (int t = 0; t < M; t++) store_vector((float*)(u + i + t * size), x[t] - sum);
    }
    for (; i < size; i++) {
        T sum = u[i] + u[i + size];
        for (int t = 2; t < M; t++) sum = sum + u[i + t * size];
        sum = sum * factor;
        for (int t = 0; t < M; t++) u[i + t * size] = u[i + t * size] - sum;
    }
}

template <class T>
void reflect(T* u, int64_t size, int64_t m) {
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

template <class T>
void rotate_segments(T* u, int64_t n, int64_t m, const uint64_t* signs, int64_t sign_words, bool inverse) {
    const int64_t size = n / m;
    const uint64_t *first = signs + (inverse ? sign_words : 0), *second = signs + (inverse ? 0 : sign_words);
    const float factor = (float)(1.0 / (double)size);
    if (m == 1) {
        hadamard(u, n, inverse ? nullptr : first, 1.0f);
        hadamard(u, n, inverse ? first : second, factor);
        if (inverse) flip(u, n, second);
        return;
    }
    for (int round = 0; round < 2; round++) {
        const uint64_t* s = round ? second : first;
        if (inverse)
            reflect(u, size, m);
        else
            flip(u, n, s);
        for (int64_t t = 0; t < m; t++) hadamard(u + t * size, size, nullptr, 1.0f);
        if (inverse)
            flip(u, n, s);
        else
            reflect(u, size, m);
    }
    scale_by(u, n, factor);
}

template <class T>
void rotate_overlap(T* u, int64_t n, const uint64_t* signs, int64_t sign_words, bool inverse, int64_t step,
                    T* scratch) {
    int64_t size = 1;
    float norm = 1;
    while (2 * size <= n) size *= 2;
    // Each transform is made orthonormal at once: the coordinates outside it must keep their scale.
    norm = (float)__builtin_sqrt(1.0 / (double)size);
    T* last = u + n - size;
    for (int round = 0; round < 2; round++) {
        int which = inverse ? 1 - round : round;
        const uint64_t *s = signs + which * sign_words, *other = signs + (1 - which) * sign_words;
        if (!inverse) flip(u, n, s);
        T* part[2] = {inverse ? last : u, inverse ? u : last};
        for (int k = 0; k < 2; k++) {
            hadamard(part[k], size, nullptr, norm);
            // Signs between the two as well: where they overlap almost entirely, they would undo each other.
            if (k == 0) flip(u, n, other);
        }
        if (inverse) flip(u, n, s);
        if (round == 0) {
            memcpy(scratch, u, (size_t)n * sizeof(T));
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

// How columns of one length are rotated.
struct Rotation {
    // Columns of at most SHORT entries are rotated together.
    enum { SHORT = 128 };
    int64_t n, odd, step, words;
    const uint64_t* signs;
    bool inverse;

    Rotation(int64_t n, const uint64_t* signs, bool inverse)
        : n(n), odd(n), step(0), words((n + 63) / 64), signs(signs), inverse(inverse) {
        while (odd > 0 && odd % 2 == 0) odd /= 2;
        if (odd > 7) step = permutation_step(n);
    }

    // Columns at once that are worth it.
    int64_t together() const { return n <= SHORT ? SQUARE : 1; }

    template <class T>
    void operator()(T* u, T* scratch) const {
        if (odd <= 7)
            rotate_segments(u, n, odd, signs, words, inverse);
        else
            rotate_overlap(u, n, signs, words, inverse, step, scratch);
    }
};

// At most SQUARE short columns side by side.
void rotate_short(const Rotation& rotation, float* const* columns, int64_t count) {
    const int64_t n = rotation.n, whole = n / SQUARE * SQUARE;
    Entries u[Rotation::SHORT], scratch[Rotation::SHORT];
    float *flat = (float*)u, *to[SQUARE];
    if (count == SQUARE && whole) {
        float square[SQUARE * SQUARE];
        for (int64_t i = 0; i < whole; i += SQUARE) {
            for (int64_t c = 0; c < SQUARE; c++) memcpy(square + c * SQUARE, columns[c] + i, sizeof(float) * SQUARE);
            for (int64_t r = 0; r < SQUARE; r++) to[r] = flat + (i + r) * SQUARE;
            Simd::transpose_square(square, SQUARE, to);
        }
    }
    const int64_t rest = count == SQUARE ? whole : 0;
    for (int64_t i = rest; i < n; i++)
        for (int64_t c = 0; c < SQUARE; c++) flat[i * SQUARE + c] = c < count ? columns[c][i] : 0.0f;
    rotation(u, scratch);
    for (int64_t i = 0; i < rest; i += SQUARE) {
        for (int64_t c = 0; c < SQUARE; c++) to[c] = columns[c] + i;
        Simd::transpose_square(flat + i * SQUARE, SQUARE, to);
    }
    for (int64_t i = rest; i < n; i++)
        for (int64_t c = 0; c < count; c++) columns[c][i] = flat[i * SQUARE + c];
}

// Any number of columns; `scratch` holds n floats.
void rotate_columns(const Rotation& rotation, float* const* columns, int64_t count, float* scratch) {
    if (rotation.together() > 1 && count > 1)
        for (int64_t j = 0; j < count; j += SQUARE) rotate_short(rotation, columns + j, least(SQUARE, count - j));
    else
        for (int64_t j = 0; j < count; j++) rotation(columns[j], scratch);
}

// The rows of `u`; `scratch` holds n floats.
void rotate(float* u, int64_t width, int64_t n, const uint64_t* signs, bool inverse, float* scratch) {
    const Rotation rotation(n, signs, inverse);
    float* columns[SQUARE];
    for (int64_t first = 0; first < width; first += SQUARE) {
        const int64_t count = least(SQUARE, width - first);
        for (int64_t j = 0; j < count; j++) columns[j] = u + (first + j) * n;
        rotate_columns(rotation, columns, count, scratch);
    }
}

// The same of float64: the constants are those of float32, so that it is the same map.
void rotate_wide(double* u, int64_t width, int64_t n, const uint64_t* signs, bool inverse, double* scratch) {
    const Rotation rotation(n, signs, inverse);
    for (int64_t i = 0; i < width; i++) rotation(u + i * n, scratch);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
