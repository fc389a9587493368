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

// Columns of contiguous entries: nothing to transpose.
template <class E>
void center_columns(const Block& block, const double* mean, const double* power0, const double* power1,
                    const int64_t* place, float* out, int64_t stride) {
    typedef typename E::type T;
    for (int64_t j = 0; j < block.width; j++) {
        if (place[j] < 0) continue;
        const T* from = (const T*)block.data + j * block.column_stride;
        float* to = out + place[j] * stride;
        const double half = mean[j] * 0.5, p0 = power0[j], p1 = power1[j];
        if (p1 == 1)
            for (int64_t i = 0; i < block.rows; i++) to[i] = (float)((E::widen(from[i]) * 0.5 - half) * p0);
        else
            for (int64_t i = 0; i < block.rows; i++)
                to[i] = (float)((E::widen(from[i]) * 0.5 - half) * p0 * p1);
    }
}

// Column j goes to row place[j] of `out`, whose rows are `stride` apart; nowhere where place[j] is negative. The second
// factors of the columns stand `powers` behind the first.
template <class E>
void center_of(const Block& block, const double* mean, const double* power, int64_t powers, const int64_t* place,
               float* out, int64_t stride) {
    typedef typename E::type T;
    // Rows taken together: as many as make whole cache lines of every column that is written.
    enum { ROWS = 4 * SQUARE };
    if (block.row_stride == 1) return center_columns<E>(block, mean, power, power + powers, place, out, stride);
    const int64_t n = block.rows, w = block.width;
    const T* data = (const T*)block.data;
    for (int64_t i0 = 0; i0 < n; i0 += ROWS)
        for (int64_t j0 = 0; j0 < w; j0 += SQUARE) {
            const int64_t rows = least(ROWS, n - i0), width = least(SQUARE, w - j0);
            double half[SQUARE] = {}, power0[SQUARE] = {}, power1[SQUARE] = {};
            float aside[ROWS], *to[SQUARE];
            bool scaled = false;
            for (int64_t j = 0; j < SQUARE; j++) {
                bool kept = j < width && place[j0 + j] >= 0;
                to[j] = kept ? out + place[j0 + j] * stride + i0 : aside;
                if (j >= width) continue;
                half[j] = mean[j0 + j] * 0.5;
                power0[j] = power[j0 + j];
                power1[j] = power[powers + j0 + j];
                scaled |= power1[j] != 1;
            }
            bool whole = width == SQUARE && block.column_stride == 1;
            for (int64_t i = 0; i < rows; i += SQUARE) {
                const int64_t height = least(SQUARE, rows - i);
                const T* from = data + (i0 + i) * block.row_stride + j0 * block.column_stride;
                float tile[SQUARE * SQUARE];
                for (int64_t r = 0; r < height; r++, from += block.row_stride) {
                    // The next rows are far apart: nothing else fetches them in time.
                    __builtin_prefetch(from + SQUARE * block.row_stride);
                    T row[SQUARE] = {};
                    if (!whole)
                        for (int64_t j = 0; j < width; j++) row[j] = from[j * block.column_stride];
                    center_row<E>(whole ? from : row, half, power0, scaled ? power1 : nullptr, tile + r * SQUARE);
                }
                if (height == SQUARE)
                    transpose_square(tile, SQUARE, to);
                else
                    for (int64_t j = 0; j < SQUARE; j++)
                        for (int64_t r = 0; r < height; r++) to[j][r] = tile[r * SQUARE + j];
                for (int64_t j = 0; j < SQUARE; j++) to[j] += SQUARE;
            }
        }
}

template <class E>
void center_and_rotate(const Block& block, const double* mean, const double* power, const int64_t* place, float* out,
                       int64_t stride, const uint64_t* signs, float* scratch) {
    typedef typename E::type T;
    if (!signs) return center_of<E>(block, mean, power, block.width, place, out, stride);
    // Few columns at a time, which are still in the cache when they are rotated.
    enum { TOGETHER = 2 * SQUARE };
    for (int64_t j = 0; j < block.width; j += TOGETHER) {
        Block part = block;
        part.data = (const T*)block.data + j * block.column_stride;
        part.width = least(TOGETHER, block.width - j);
        center_of<E>(part, mean + j, power + j, block.width, place + j, out, stride);
        for (int64_t k = j; k < j + part.width; k++)
            if (place[k] >= 0) rotate(out + place[k] * stride, 1, block.rows, signs, false, scratch);
    }
}

// Rotates the columns too where `signs` are given; `scratch` then holds n floats.
void center(const Block& block, const double* mean, const double* power, const int64_t* place, float* out,
            int64_t stride, const uint64_t* signs, float* scratch) {
    switch (block.element) {
        case FLOAT16: return center_and_rotate<Half>(block, mean, power, place, out, stride, signs, scratch);
        case BFLOAT16: return center_and_rotate<Brain>(block, mean, power, place, out, stride, signs, scratch);
        case FLOAT32: return center_and_rotate<Single>(block, mean, power, place, out, stride, signs, scratch);
        default: return center_and_rotate<Double>(block, mean, power, place, out, stride, signs, scratch);
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
    // As many columns together as stay in the second-level cache.
    int64_t group = row_stride == 1 ? 1 : GROUP;
    while (group > SQUARE && group * n > (int64_t)1 << 17) group /= 2;
    for (int64_t j0 = 0; j0 < width; j0 += group) {
        const int64_t count = least(group, width - j0);
        const float* rows[GROUP];
        for (int64_t j = 0; j < count; j++) {
            rows[j] = nullptr;
            if (place[j0 + j] < 0) continue;
            int32_t* from = points + place[j0 + j] * n;
            for (int64_t i = 0; i < n; i++) {
                float value = (float)from[i];
                memcpy(from + i, &value, 4);
            }
            rotate((float*)from, 1, n, signs, true, scratch);
            rows[j] = (const float*)from;
        }
        if (wide)
            restore_columns(rows, count, n, scale + j0, mean + j0, (double*)out + j0 * column_stride, row_stride,
                            column_stride);
        else
            restore_columns(rows, count, n, scale + j0, mean + j0, (float*)out + j0 * column_stride, row_stride,
                            column_stride);
    }
}
