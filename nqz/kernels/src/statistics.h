// Statistics: for every column the first entry, shifted sums, and the largest magnitude, row after row.

template <class E>
int64_t first_not_finite(const Block& block) {
    typedef typename E::type T;
    const T* from = (const T*)block.data;
    for (int64_t i = 0; i < block.rows; i++)
        for (int64_t j = 0; j < block.width; j++)
            if (!finite(E::widen(from[i * block.row_stride + j * block.column_stride]))) return i * block.width + j;
    return -1;
}

// Adds one row. The products with a power of two are exact, or rounded once as ldexp would.
NQZ_INLINE uint64_t add_row(const double* x, const double* power0, const double* power1, int64_t width, double* first,
                            double* sum, double* square, double* largest, bool begin) {
    if (begin)
        for (int64_t j = 0; j < width; j++) first[j] = x[j] * power0[j] * power1[j];
    uint64_t bad = 0;
    for (int64_t j = 0; j < width; j++) {
        bad |= !finite(x[j]);
        double v = x[j] * power0[j] * power1[j];
        double d = v - first[j];
        double magnitude = __builtin_fabs(v);
        sum[j] += d;
        square[j] += d * d;
        largest[j] = magnitude > largest[j] ? magnitude : largest[j];
    }
    return bad;
}

template <class E>
int64_t statistics_of(const Block& block, const double* power, double* state, bool started) {
    // Tiles long in the direction in which the entries are contiguous.
    double tile[1024];
    bool upright = block.row_stride == 1 && block.column_stride != 1;
    int64_t height = upright ? 64 : 4, breadth = upright ? 16 : 256;
    int64_t w = block.width;
    uint64_t bad = 0;
    for (int64_t j0 = 0; j0 < w; j0 += breadth) {
        int64_t width = least(breadth, w - j0);
        for (int64_t i0 = 0; i0 < block.rows; i0 += height) {
            int64_t rows = least(height, block.rows - i0);
            load_tile<E>(block, i0, j0, rows, width, tile, breadth);
            for (int64_t i = 0; i < rows; i++)
                bad |= add_row(tile + i * breadth, power + j0, power + w + j0, width, state + j0, state + w + j0,
                               state + 2 * w + j0, state + 3 * w + j0, !started && i0 + i == 0);
        }
    }
    return bad ? first_not_finite<E>(block) : -1;
}

int64_t statistics(const Block& block, const double* power, double* state, bool started) {
    switch (block.element) {
        case FLOAT16: return statistics_of<Half>(block, power, state, started);
        case BFLOAT16: return statistics_of<Brain>(block, power, state, started);
        case FLOAT32: return statistics_of<Single>(block, power, state, started);
        default: return statistics_of<Double>(block, power, state, started);
    }
}
