// Center: subtract the means, scale by a power of two and transpose; and the way back.

template <class E>
void center_of(const Block& block, const double* mean, const double* power, float* out) {
    enum { ROWS = 64, WIDTH = 16 };
    double tile[ROWS * WIDTH];
    float narrow[ROWS * WIDTH];
    int64_t n = block.rows, w = block.width;
    for (int64_t i0 = 0; i0 < n; i0 += ROWS) {
        int64_t rows = least(ROWS, n - i0);
        for (int64_t j0 = 0; j0 < w; j0 += WIDTH) {
            int64_t width = least(WIDTH, w - j0);
            load_tile<E>(block, i0, j0, rows, width, tile, WIDTH);
            double half[WIDTH] = {}, power0[WIDTH] = {}, power1[WIDTH] = {};
            for (int64_t j = 0; j < width; j++) {
                half[j] = mean[j0 + j] * 0.5;
                power0[j] = power[j0 + j];
                power1[j] = power[w + j0 + j];
            }
            for (int64_t j = width; j < WIDTH; j++)
                for (int64_t i = 0; i < rows; i++) tile[i * WIDTH + j] = 0;
            // Halved before the subtraction, so that it cannot overflow.
            for (int64_t i = 0; i < rows; i++)
                for (int j = 0; j < WIDTH; j++)
                    narrow[i * WIDTH + j] = (float)((tile[i * WIDTH + j] * 0.5 - half[j]) * power0[j] * power1[j]);
            for (int64_t j = 0; j < width; j++)
                for (int64_t i = 0; i < rows; i++) out[(j0 + j) * n + i0 + i] = narrow[i * WIDTH + j];
        }
    }
}

void center(const Block& block, const double* mean, const double* power, float* out) {
    switch (block.element) {
        case FLOAT16: return center_of<Half>(block, mean, power, out);
        case BFLOAT16: return center_of<Brain>(block, mean, power, out);
        case FLOAT32: return center_of<Single>(block, mean, power, out);
        default: return center_of<Double>(block, mean, power, out);
    }
}

NQZ_INLINE void store(double y, double* to) { *to = y; }

NQZ_INLINE void store(double y, float* to) {
    const double largest = 3.4028234663852886e38;  // of float32
    y = y > largest ? largest : y;
    y = y < -largest ? -largest : y;
    *to = (float)y;
}

template <class T>
void restore_to(const float* u, int64_t width, int64_t n, const double* scale, const double* mean, T* out,
                int64_t row_stride, int64_t column_stride) {
    enum { ROWS = 64, WIDTH = 16 };
    T tile[WIDTH][ROWS];
    for (int64_t i0 = 0; i0 < n; i0 += ROWS) {
        int64_t rows = least(ROWS, n - i0);
        for (int64_t j0 = 0; j0 < width; j0 += WIDTH) {
            int64_t columns = least(WIDTH, width - j0);
            for (int64_t j = 0; j < columns; j++) {
                const float* from = u + (j0 + j) * n + i0;
                for (int64_t i = 0; i < rows; i++)
                    store((double)from[i] * scale[j0 + j] + mean[j0 + j], &tile[j][i]);
            }
            T* to = out + i0 * row_stride + j0 * column_stride;
            if (row_stride == 1) {
                for (int64_t j = 0; j < columns; j++)
                    for (int64_t i = 0; i < rows; i++) to[i + j * column_stride] = tile[j][i];
            } else {
                for (int64_t i = 0; i < rows; i++)
                    for (int64_t j = 0; j < columns; j++) to[i * row_stride + j * column_stride] = tile[j][i];
            }
        }
    }
}

void restore(const float* u, int64_t width, int64_t n, const double* scale, const double* mean, void* out, bool wide,
             int64_t row_stride, int64_t column_stride) {
    if (wide)
        restore_to(u, width, n, scale, mean, (double*)out, row_stride, column_stride);
    else
        restore_to(u, width, n, scale, mean, (float*)out, row_stride, column_stride);
}
