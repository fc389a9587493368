// Center: subtract the means, scale by a power of two and transpose; and the way back.

// A tile of entries, centered and scaled. Halved before the subtraction, so that it cannot overflow. `power1` may be
// null: all ones.
template <class E>
NQZ_INLINE void center_row(const typename E::type* from, const double* half, const double* power0,
                           const double* power1, float* to) {
    if (power1)
        for (int j = 0; j < SQUARE; j++)
            to[j] = (float)((E::widen(from[j]) * 0.5 - half[j]) * power0[j] * power1[j]);
    else
        for (int j = 0; j < SQUARE; j++) to[j] = (float)((E::widen(from[j]) * 0.5 - half[j]) * power0[j]);
}

// Columns that are centered together, and are still in the cache when they are rotated; and their rows that are.
enum { STRIP = 2 * SQUARE, ROWS = 4 * SQUARE };

// Where the columns of a block go: column j to row place[j] of `out`, whose rows are `stride` apart, and nowhere where
// place[j] is negative. The second factors of the columns stand `powers` behind the first.
struct Centering {
    const double *mean, *power;
    int64_t powers;
    const int64_t* place;
    float* out;
    int64_t stride;
};

// Columns of contiguous entries: nothing to transpose.
template <class E>
void center_columns(const Block& block, int64_t first, int64_t last, const Centering& c) {
    typedef typename E::type T;
    for (int64_t j = first; j < last; j++) {
        if (c.place[j] < 0) continue;
        const T* from = (const T*)block.data + j * block.column_stride;
        float* to = c.out + c.place[j] * c.stride;
        const double half = c.mean[j] * 0.5, p0 = c.power[j], p1 = c.power[c.powers + j];
        if (p1 == 1)
            for (int64_t i = 0; i < block.rows; i++) to[i] = (float)((E::widen(from[i]) * 0.5 - half) * p0);
        else
            for (int64_t i = 0; i < block.rows; i++)
                to[i] = (float)((E::widen(from[i]) * 0.5 - half) * p0 * p1);
    }
}

// At most STRIP columns.
template <class E>
void center_strip(const Block& block, int64_t first, int64_t last, const Centering& c) {
    typedef typename E::type T;
    const T* data = (const T*)block.data + first * block.column_stride;
    double half[STRIP] = {}, power0[STRIP] = {}, power1[STRIP] = {};
    float aside[SQUARE], *to[STRIP] = {};
    bool scaled = false, any = false;
    for (int64_t j = 0; j < last - first; j++) {
        const int64_t place = c.place[first + j];
        if (place >= 0) to[j] = c.out + place * c.stride;
        half[j] = c.mean[first + j] * 0.5;
        power0[j] = c.power[first + j];
        power1[j] = c.power[c.powers + first + j];
        scaled |= power1[j] != 1;
        any |= place >= 0;
    }
    if (!any) return;
    for (int64_t i0 = 0; i0 < block.rows; i0 += ROWS) {
        const int64_t rows = least(ROWS, block.rows - i0);
        float tile[STRIP / SQUARE][ROWS * SQUARE];
        for (int64_t i = 0; i < rows; i += SQUARE)
            for (int64_t j = 0; j < last - first; j += SQUARE) {
                const int64_t width = least(SQUARE, block.width - first - j);  // may reach beyond the strip
                const bool whole = width == SQUARE && block.column_stride == 1;
                const T* from = data + (i0 + i) * block.row_stride + j * block.column_stride;
                const double* second = scaled ? power1 + j : nullptr;
                float* to_row = tile[j / SQUARE] + i * SQUARE;
                for (int64_t r = i; r < least(i + SQUARE, rows); r++, from += block.row_stride, to_row += SQUARE) {
                    // The next rows are far apart: nothing else fetches them in time.
                    __builtin_prefetch(from + SQUARE * block.row_stride);
                    T row[SQUARE] = {};
                    if (!whole)
                        for (int64_t k = 0; k < width; k++) row[k] = from[k * block.column_stride];
                    center_row<E>(whole ? from : row, half + j, power0 + j, second, to_row);
                }
            }
        for (int64_t j = 0; j < last - first; j += SQUARE)
            for (int64_t i = 0; i < rows; i += SQUARE) {
                const float* from = tile[j / SQUARE] + i * SQUARE;
                float* column[SQUARE];
                for (int64_t k = 0; k < SQUARE; k++) column[k] = to[j + k] ? to[j + k] + i0 + i : aside;
                if (rows - i >= SQUARE)
                    transpose_square(from, SQUARE, column);
                else
                    for (int64_t k = 0; k < SQUARE; k++)
                        for (int64_t r = 0; r < rows - i; r++) column[k][r] = from[r * SQUARE + k];
            }
    }
}

template <class E>
void center_and_rotate(const Block& block, const Centering& c, const uint64_t* signs, float* scratch) {
    typedef typename E::type T;
    // The first strip is narrower where that makes the others begin at cache lines.
    const int64_t line = 64 / sizeof(T), past = (int64_t)((uintptr_t)block.data / sizeof(T)) % line;
    const bool aligns = block.column_stride == 1 && block.row_stride % line == 0;
    const Rotation rotation(signs ? block.rows : 0, signs, false);
    for (int64_t first = 0, last; first < block.width; first = last) {
        last = least(first + STRIP - (aligns && first == 0 ? past : 0), block.width);
        if (block.row_stride == 1)
            center_columns<E>(block, first, last, c);
        else
            center_strip<E>(block, first, last, c);
        if (!signs) continue;
        float* columns[STRIP];
        int64_t count = 0;
        for (int64_t j = first; j < last; j++)
            if (c.place[j] >= 0) columns[count++] = c.out + c.place[j] * c.stride;
        rotate_columns(rotation, columns, count, scratch);
    }
}

// Rotates the columns too where `signs` are given; `scratch` then holds n floats.
void center(const Block& block, const double* mean, const double* power, const int64_t* place, float* out,
            int64_t stride, const uint64_t* signs, float* scratch) {
    const Centering c = {mean, power, block.width, place, out, stride};
    switch (block.element) {
        case FLOAT16: return center_and_rotate<Half>(block, c, signs, scratch);
        case BFLOAT16: return center_and_rotate<Brain>(block, c, signs, scratch);
        case FLOAT32: return center_and_rotate<Single>(block, c, signs, scratch);
        default: return center_and_rotate<Double>(block, c, signs, scratch);
    }
}

// Values beyond the type become its largest.
NQZ_INLINE double largest_of(const double*) { return 1.7976931348623157e308; }
NQZ_INLINE double largest_of(const float*) { return 3.4028234663852886e38; }

template <class T>
NQZ_INLINE void store(double y, T* to) {
    const double largest = largest_of(to);
    y = y > largest ? largest : y;
    y = y < -largest ? -largest : y;
    *to = (T)y;
}

NQZ_INLINE void store_as(Doubles y, double* to) { *(Doubles*)to = y; }
NQZ_INLINE void store_as(Doubles y, float* to) { *(Singles*)to = __builtin_convertvector(y, Singles); }

template <class T>
NQZ_INLINE void store_wide(Doubles y, T* to) {
    const Doubles largest = Doubles{} + largest_of(to);
    y = y > largest ? largest : y;
    y = y < -largest ? -largest : y;
    store_as(y, to);
}

template <class T>
NQZ_INLINE void restore_run(const float* from, int64_t count, double scale, double mean, T* to) {
    int64_t i = 0;
    for (; i + WIDE <= count; i += WIDE) store_wide(wide(from + i) * scale + mean, to + i);
    for (; i < count; i++) store((double)from[i] * scale + mean, to + i);
}

// Columns that are restored together: so many that the lines of a C-order output come in pairs or more.
enum { GROUP = 4 * SQUARE };

// At most GROUP columns of the output, from their rows (null: the mean alone).
template <class T>
void restore_columns(const float* const* rows, int64_t width, int64_t n, const double* scale, const double* mean, T* out,
                     int64_t row_stride, int64_t column_stride) {
    const int64_t height = row_stride == 1 ? n : (int64_t)SQUARE;
    for (int64_t i0 = 0; i0 < n; i0 += height) {
        const int64_t count = least(height, n - i0);
        T tile[GROUP][SQUARE];
        for (int64_t j = 0; j < width; j++) {
            T* to = row_stride == 1 ? out + j * column_stride : tile[j];
            if (rows[j])
                restore_run(rows[j] + i0, count, scale[j], mean[j], to);
            else
                for (int64_t i = 0; i < count; i++) store(mean[j], to + i);
        }
        if (row_stride == 1) continue;
        T* to = out + i0 * row_stride;
        int64_t done = 0;
        if constexpr (sizeof(T) == 4)
            if (count == SQUARE && column_stride == 1)
                for (; done + SQUARE <= width; done += SQUARE) {
                    float* line[SQUARE];
                    for (int r = 0; r < SQUARE; r++) line[r] = to + r * row_stride + done;
                    transpose_square(tile[done], SQUARE, line);
                }
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = done; j < width; j++) to[i * row_stride + j * column_stride] = tile[j][i];
        // The next lines are far apart: nothing else fetches them in time.
        if (column_stride == 1)
            for (int64_t i = 0; i < least(SQUARE, n - i0 - count); i++)
                for (int64_t j = 0; j < width; j += 64 / sizeof(T))
                    __builtin_prefetch(to + (i + SQUARE) * row_stride + j, 1);
    }
}

// The rows of `points` that `place` names turn into floats and are rotated back where they are; `scratch` holds n
// floats. Column j of the output is row place[j], or the mean alone where that is negative.
void restore(int32_t* points, int64_t n, const uint64_t* signs, const int64_t* place, int64_t width,
             const double* scale, const double* mean, void* out, bool wide, int64_t row_stride, int64_t column_stride,
             float* scratch) {
    const Rotation rotation(n, signs, true);
    // As many columns together as stay in the second-level cache.
    int64_t group = row_stride == 1 ? rotation.together() : (int64_t)GROUP;
    while (group > SQUARE && group * n > (int64_t)1 << 17) group /= 2;
    for (int64_t j0 = 0; j0 < width; j0 += group) {
        const int64_t count = least(group, width - j0);
        const float* rows[GROUP];
        float* rotated[GROUP];
        int64_t kept = 0;
        for (int64_t j = 0; j < count; j++) {
            rows[j] = nullptr;
            if (place[j0 + j] < 0) continue;
            int32_t* from = points + place[j0 + j] * n;
            for (int64_t i = 0; i < n; i++) {
                float value = (float)from[i];
                memcpy(from + i, &value, 4);
            }
            rows[j] = rotated[kept++] = (float*)from;
        }
        rotate_columns(rotation, rotated, kept, scratch);
        if (wide)
            restore_columns(rows, count, n, scale + j0, mean + j0, (double*)out + j0 * column_stride, row_stride,
                            column_stride);
        else
            restore_columns(rows, count, n, scale + j0, mean + j0, (float*)out + j0 * column_stride, row_stride,
                            column_stride);
    }
}
