// Transpose: square tiles of float32, from rows one after the other to rows anywhere.

enum { SQUARE = 16 };

#if defined(__AVX2__)
NQZ_INLINE void transpose8(__m256* r) {
    __m256 t[8], s[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            s[i + 2 * k] = _mm256_shuffle_ps(t[i + k], t[i + k + 2], 0x44);
            s[i + 2 * k + 1] = _mm256_shuffle_ps(t[i + k], t[i + k + 2], 0xEE);
        }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x31);
    }
}
#endif

// to[c][r] = from[r * pitch + c] for c and r below SQUARE.
NQZ_INLINE void transpose_square(const float* from, int64_t pitch, float* const* to) {
#if defined(__AVX512F__)
    __m512 r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_ps(from + i * pitch);
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    // r[4 i + k] holds columns k, k + 4, k + 8, k + 12 of rows 4 i to 4 i + 3.
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) {
            r[i + 2 * k] = _mm512_shuffle_ps(t[i + k], t[i + k + 2], 0x44);
            r[i + 2 * k + 1] = _mm512_shuffle_ps(t[i + k], t[i + k + 2], 0xEE);
        }
    for (int k = 0; k < 4; k++) {
        __m512 a = _mm512_shuffle_f32x4(r[k], r[k + 4], 0x88), b = _mm512_shuffle_f32x4(r[k + 8], r[k + 12], 0x88);
        __m512 c = _mm512_shuffle_f32x4(r[k], r[k + 4], 0xDD), d = _mm512_shuffle_f32x4(r[k + 8], r[k + 12], 0xDD);
        _mm512_storeu_ps(to[k], _mm512_shuffle_f32x4(a, b, 0x88));
        _mm512_storeu_ps(to[k + 4], _mm512_shuffle_f32x4(c, d, 0x88));
        _mm512_storeu_ps(to[k + 8], _mm512_shuffle_f32x4(a, b, 0xDD));
        _mm512_storeu_ps(to[k + 12], _mm512_shuffle_f32x4(c, d, 0xDD));
    }
#elif defined(__AVX2__)
    for (int c = 0; c < 16; c += 8)
        for (int i = 0; i < 16; i += 8) {
            __m256 r[8];
            for (int k = 0; k < 8; k++) r[k] = _mm256_loadu_ps(from + (i + k) * pitch + c);
            transpose8(r);
            for (int k = 0; k < 8; k++) _mm256_storeu_ps(to[c + k] + i, r[k]);
        }
#else
    for (int c = 0; c < SQUARE; c++)
        for (int i = 0; i < SQUARE; i++) to[c][i] = from[i * pitch + c];
#endif
}

// tile[i * SQUARE + j] = from[i + j * stride] for j < width <= SQUARE.
template <class T>
NQZ_INLINE void transpose_columns(const T* from, int64_t stride, int64_t rows, int64_t width, T* tile) {
    int64_t i = 0;
    if constexpr (sizeof(T) == 4)
        if (width == SQUARE)
            for (; i + SQUARE <= rows; i += SQUARE) {
                float* to[SQUARE];
                for (int r = 0; r < SQUARE; r++) to[r] = tile + (i + r) * SQUARE;
                transpose_square(from + i, stride, to);
            }
    for (; i < rows; i++)
        for (int64_t j = 0; j < width; j++) tile[i * SQUARE + j] = from[i + j * stride];
}
