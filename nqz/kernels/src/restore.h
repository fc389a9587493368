// restore: rotate points back, scale them, add the means, and transpose.
#pragma once

#include "base.h"
#include "rotate.h"
#include "simd/simd.h"

namespace nqz::NQZ_ISA {
namespace {

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

template <class T>
NQZ_INLINE void store_wide(Doubles y, T* to) {
    store_doubles(to, limited(y, largest_of(to)));
}

template <class T>
NQZ_INLINE void restore_run(const float* from, int64_t count, double scale, double mean, T* to) {
    int64_t i = 0;
    for (; i + WIDE <= count; i += WIDE) store_wide(load_doubles(from + i) * scale + mean, to + i);
    for (; i < count; i++) store((double)from[i] * scale + mean, to + i);
}

// Lines of outputs of so many bytes are written past the caches, which would read them first and drop them soon.
enum { FAR = 1 << 25 };

// Columns that are restored together: so many that the lines of a C-order output come in pairs or more.
enum { GROUP = 4 * SQUARE };

// At most GROUP columns of the output, from their rows (null: the mean alone).
template <class T>
void restore_columns(const float* const* rows, int64_t width, int64_t n, const double* scale, const double* mean,
                     T* out, int64_t row_stride, int64_t column_stride, bool far) {
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
                for (; done < width; done += SQUARE) {
                    const int64_t breadth = least(SQUARE, width - done);
                    float *line[SQUARE], part[SQUARE][SQUARE];
                    for (int r = 0; r < SQUARE; r++) line[r] = breadth == SQUARE ? to + r * row_stride + done : part[r];
                    if (far && breadth == SQUARE)
                        Simd::stream_square(tile[done], SQUARE, line);
                    else
                        Simd::transpose_square(tile[done], SQUARE, line);
                    if (breadth == SQUARE) continue;
                    for (int r = 0; r < SQUARE; r++)
                        memcpy(to + r * row_stride + done, part[r], (size_t)breadth * sizeof(float));
                }
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = done; j < width; j++) to[i * row_stride + j * column_stride] = tile[j][i];
        // The next lines are far apart: nothing else fetches them in time.
        if (column_stride == 1 && !far)
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
    const bool far = !wide && column_stride == 1 && row_stride % 16 == 0 && row_stride * n >= FAR / 4;
    // The first lines end where those of the caches begin.
    const int64_t before = far ? (int64_t)((0 - (uintptr_t)out) / 4 % 16) : 0;
    for (int64_t j0 = 0, count; j0 < width; j0 += count) {
        count = least(j0 == 0 && before ? before : group, width - j0);
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
                            column_stride, false);
        else
            restore_columns(rows, count, n, scale + j0, mean + j0, (float*)out + j0 * column_stride, row_stride,
                            column_stride, far && j0 >= before);
    }
    Simd::settle();
}

}  // namespace
}  // namespace nqz::NQZ_ISA
