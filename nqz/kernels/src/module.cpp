// Bindings: every size and table is validated here; the kernels then work without the interpreter's lock.

#include "arguments.h"
#include "crc.h"
#include "kernels.h"
#include "ring_values.h"
#include "values.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#ifdef NQZ_X86_64
#include <cpuid.h>
#endif

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace {

using namespace nqz;

// Exponents as factors: ldexp(x, e) = x * power[0][j] * power[1][j] for every e that is allowed.
std::vector<double> powers(const Vector<int32_t>& exponent, int sign, int shift) {
    size_t w = exponent.shape(0);
    std::vector<double> power(2 * w + 1, 1.0);
    for (size_t j = 0; j < w; j++) {
        int e = exponent(j);
        require(e >= -1100 && e <= 1100, "exponent is out of range");
        e = sign * e + shift;
        // In two steps only where one does not reach; of two factors below one, the second alone can round.
        bool reach = e >= -1022 && e <= 1023;
        power[j] = std::ldexp(1.0, reach ? e : e / 2);
        power[w + j] = std::ldexp(1.0, reach ? 0 : e - e / 2);
    }
    return power;
}

// Rows of the columns: those given, each at most once, or one after the other.
std::vector<int64_t> places(const std::optional<Vector<int64_t>>& place, int64_t width, int64_t rows) {
    std::vector<int64_t> order((size_t)width + 1, -1);
    if (place) {
        require(size(*place) == width, "place must be int64 [w]");
        std::vector<bool> taken((size_t)rows, false);
        for (int64_t j = 0; j < width; j++) {
            int64_t row = order[(size_t)j] = (*place)(j);
            require(row < rows, "place names a row that does not exist");
            if (row < 0) continue;
            require(!taken[(size_t)row], "place names a row twice");
            taken[(size_t)row] = true;
        }
        return order;
    }
    require(width == rows, "there must be as many rows as columns");
    for (int64_t j = 0; j < width; j++) order[(size_t)j] = j;
    return order;
}

struct Bindings {
    const Kernels& k;

    OwnedVector<uint64_t> words(const Key& key, uint64_t first, int64_t count) const {
        require(count >= 0, "count must not be negative");
        Owned<uint64_t> out(count);
        {
            nb::gil_scoped_release release;
            k.words(key, first, count, out.data());
        }
        return out.give();
    }

    OwnedVector<uint8_t> levels(const Key& key, uint64_t counter, int64_t count) const {
        require(count >= 0, "count must not be negative");
        Owned<uint8_t> out(count);
        {
            nb::gil_scoped_release release;
            k.levels(key, counter, count, out.data());
        }
        return out.give();
    }

    int64_t column_statistics(const AnyMatrix& block, bool bfloat16, Matrix<double> state, Vector<int32_t> exponent,
                              bool started) const {
        Block b = block_of(block, bfloat16);
        require(state.shape(0) == 4 && size(state, 1) == b.width, "state must be float64 [4, w]");
        require(size(exponent) == b.width, "exponent must be int32 [w]");
        // Null where nothing needs scaling, as nearly always.
        bool plain = true;
        for (int64_t j = 0; j < b.width; j++) plain &= exponent(j) == 0;
        std::vector<double> power;
        if (!plain) power = powers(exponent, -1, 0);
        nb::gil_scoped_release release;
        return k.column_statistics(b, plain ? nullptr : power.data(), state.data(), started);
    }

    void center_rotate(const AnyMatrix& block, bool bfloat16, Vector<double> mean, Vector<int32_t> exponent,
                       const Strided<float>& out, const std::optional<Vector<int64_t>>& place,
                       const std::optional<Matrix<const uint64_t>>& signs) const {
        Block b = block_of(block, bfloat16);
        require(size(mean) == b.width, "mean must be float64 [w]");
        require(size(exponent) == b.width, "exponent must be int32 [w]");
        bool dense = out.size() == 0 || b.rows <= 1 || out.stride(1) == 1;
        require(size(out, 1) == b.rows && dense, "out must be float32 [k, n]");
        std::vector<int64_t> order = places(place, b.width, size(out, 0));
        std::vector<double> power = powers(exponent, -1, 1);
        const uint64_t* s = nullptr;
        if (signs) {
            require(size(*signs, 0) == 2 && size(*signs, 1) == (b.rows + 63) / 64,
                    "signs must be uint64 [2, ceil(n / 64)]");
            s = signs->data();
        }
        if (b.rows == 0) return;
        nb::gil_scoped_release release;
        Scratch<float> scratch(s ? b.rows : 0);
        k.center_rotate(b, mean.data(), power.data(), order.data(), out.data(), out.stride(0), s, scratch.data());
    }

    void restore(Matrix<int32_t> points, Matrix<const uint64_t> signs, Vector<double> scale, Vector<double> mean,
                 const AnyOutput& out, const std::optional<Vector<int64_t>>& place) const {
        int64_t n = size(points, 1), width = size(scale);
        require(size(signs, 0) == 2 && size(signs, 1) == (n + 63) / 64, "signs must be uint64 [2, ceil(n / 64)]");
        require(size(mean) == width, "mean must be float64 [w]");
        std::vector<int64_t> order = places(place, width, size(points, 0));
        bool wide = out.dtype() == nb::dtype<double>();
        require(wide || out.dtype() == nb::dtype<float>(), "out must be float32 or float64");
        require(size(out, 0) == n && size(out, 1) == width, "out must be [n, w]");
        if (n == 0) return;
        nb::gil_scoped_release release;
        Scratch<float> scratch(n);
        k.restore(points.data(), n, signs.data(), order.data(), width, scale.data(), mean.data(), out.data(), wide,
                  out.stride(0), out.stride(1), scratch.data());
    }

    void rotate(Matrix<float> u, Matrix<const uint64_t> signs, bool inverse) const {
        int64_t width = size(u, 0), n = size(u, 1);
        require(size(signs, 0) == 2 && size(signs, 1) == (n + 63) / 64, "signs must be uint64 [2, ceil(n / 64)]");
        if (width == 0 || n == 0) return;
        nb::gil_scoped_release release;
        Scratch<float> scratch(n);
        k.rotate(u.data(), width, n, signs.data(), inverse, scratch.data());
    }

    void rotate_wide(Matrix<double> u, Matrix<const uint64_t> signs, bool inverse) const {
        int64_t width = size(u, 0), n = size(u, 1);
        require(size(signs, 0) == 2 && size(signs, 1) == (n + 63) / 64, "signs must be uint64 [2, ceil(n / 64)]");
        if (width == 0 || n == 0) return;
        nb::gil_scoped_release release;
        Scratch<double> scratch(n);
        k.rotate_wide(u.data(), width, n, signs.data(), inverse, scratch.data());
    }

    void dither_quantize(const Place& place, const Key& key, Vector<float> u, Vector<float> scale,
                         Output<int32_t> out) const {
        require(size(u) == place.count, "u must be float32 [N]");
        check_columns(place, size(scale));
        require(size(out) == place.positions, "out must be int32 [P]");
        nb::gil_scoped_release release;
        Scratch<uint8_t> level(level_room(place)), scratch(k.dither_quantize_scratch(place));
        k.dither_quantize(place, key, u.data(), scale.data(), level.data(), scratch.data(), out.data());
    }

    void round_scaled(Matrix<const float> u, Vector<float> scale, Matrix<int32_t> out) const {
        require(size(scale) == size(u, 0), "scale must be float32 [w]");
        require(size(out, 0) == size(u, 0) && size(out, 1) == size(u, 1), "out must be int32 [w, n]");
        nb::gil_scoped_release release;
        k.round_scaled(u.data(), size(u, 0), size(u, 1), scale.data(), out.data());
    }

    nb::tuple entropy_encode(const Place& place, const Key& key, const CoderTables& all,
                             Vector<int32_t> table_of_column, Vector<int32_t> points) const {
        const ChunkTables chunk(place, all, table_of_column);
        const Tables& tables = chunk.tables;
        require(size(points) == place.positions, "points must be int32 [P]");
        int64_t code_bytes = (k.code_bits(place, tables) + 7) / 8, low_bytes = (k.low_bits(place, tables) + 7) / 8;
        Owned<uint32_t> states(place.lanes);
        Owned<uint8_t> code(code_bytes, 8), low(low_bytes, 8);
        // A position takes one word at most, and code bits 6 for 8 positions.
        Encoded out = {};
        out.states = states.data();
        out.word_space = 2 * place.positions + 16;
        out.code = code.data();
        out.low = low.data();
        Scratch<uint16_t> words(out.word_space);
        Scratch<uint64_t> codes(place.positions);
        {
            nb::gil_scoped_release release;
            code.clear();
            low.clear();
            Scratch<uint8_t> level(level_room(place));
            Scratch<uint32_t> inputs(place.positions / place.lanes / 2 + 12), chances((int64_t)tables.used_count * 256);
            out.words = words.data();
            out.codes = codes.data();
            out.inputs = inputs.data();
            out.chances = chances.data();
            k.entropy_encode(place, key, tables, points.data(), level.data(), out);
        }
        Owned<uint16_t> all_words(out.word_space - out.first_word);
        Owned<uint8_t> escapes(out.escape_bytes);
        all_words.copy(words.data() + out.first_word);
        escapes.copy(out.escapes);
        return nb::make_tuple(states.give(), all_words.give(), code.give(), low.give(), escapes.give());
    }

    typedef std::tuple<Vector<uint32_t>, Vector<uint16_t>, Vector<uint8_t>, Vector<uint8_t>, Vector<uint8_t>>
        StreamArrays;

    void entropy_decode(const Place& place, const Key& key, const CoderTables& all, Vector<int32_t> table_of_column,
                        const StreamArrays& streams, Output<int32_t> out) const {
        const ChunkTables chunk(place, all, table_of_column);
        const Tables& tables = chunk.tables;
        require(size(out) == place.positions, "out must be int32 [P]");
        const auto& [states, words, code, low, escapes] = streams;
        if (size(states) != place.lanes) raise_corrupt("a coder state is missing or left over");
        Streams in = {states.data(), words.data(), size(words),    code.data(),  size(code),
                      low.data(),    size(low),    escapes.data(), size(escapes)};
        const char* reason;
        {
            nb::gil_scoped_release release;
            Scratch<uint8_t> level(level_room(place));
            Scratch<uint32_t> decoding((int64_t)tables.used_count * 65536), chances((int64_t)tables.used_count * 256);
            reason =
                k.entropy_decode(place, key, tables, level.data(), decoding.data(), chances.data(), in, out.data());
        }
        if (reason) raise_corrupt(reason);
    }

    nb::tuple rans_encode(Vector<uint8_t> symbols, Vector<uint16_t> cum, int lanes) const {
        check_lanes(lanes);
        check_cumulative(cum);
        int known = (int)size(cum) - 1;
        bool coded[256] = {};
        for (int s = 0; s < known; s++) coded[s] = cum(s) < cum(s + 1);
        int64_t count = size(symbols), first;
        for (int64_t i = 0; i < count; i++) require(coded[symbols(i)], "a symbol has no frequency in the table");
        Owned<uint32_t> states(lanes);
        Scratch<uint16_t> words(count + 1);
        {
            nb::gil_scoped_release release;
            first = k.rans_encode(symbols.data(), count, cum.data(), lanes, states.data(), words.data(), count + 1);
        }
        Owned<uint16_t> all_words(count + 1 - first);
        all_words.copy(words.data() + first);
        return nb::make_tuple(states.give(), all_words.give());
    }

    OwnedVector<uint8_t> rans_decode(int64_t count, Vector<uint16_t> cum, int lanes, Vector<uint32_t> states,
                                     Vector<uint16_t> words) const {
        check_lanes(lanes);
        check_cumulative(cum);
        require(count >= 0, "count must not be negative");
        if (size(states) != lanes) raise_corrupt("a coder state is missing or left over");
        Owned<uint8_t> out(count);
        const char* reason;
        {
            nb::gil_scoped_release release;
            reason = k.rans_decode(count, cum.data(), (int)size(cum) - 1, lanes, states.data(), words.data(),
                                   size(words), out.data());
        }
        if (reason) raise_corrupt(reason);
        return out.give();
    }

    // What both directions of the Voronoi code check of a chunk.
    template <class Digits, class Beta>
    static void check_nested(const Place& place, const Nest& nest, const Vector<uint8_t>& choice, const Digits& digits,
                             const Beta& beta) {
        require(place.lattice == nest.lattice, "the place and the nest are of different lattices");
        require(size(choice) == groups_of(place) / place.lanes, "choice must be uint8 [group rows]");
        for (int64_t g = 0; g < size(choice); g++) require(choice(g) < 2, "choice must be 0 or 1");
        require(size(digits) == place.positions, "digits must be uint16 [P]");
        require(size(beta) == groups_of(place), "beta must be uint8 [groups]");
    }

    nb::tuple voronoi_encode(const Place& place, const Key& key, const Nest& nest, Vector<uint8_t> choice,
                             Vector<float> u, Vector<float> scale, Output<uint16_t> digits, Output<uint8_t> beta,
                             Output<int32_t> points) const {
        check_nested(place, nest, choice, digits, beta);
        require(size(u) == place.count, "u must be float32 [N]");
        check_columns(place, size(scale));
        require(size(points) == place.positions, "points must be int32 [P]");
        int64_t sums[2];
        {
            nb::gil_scoped_release release;
            Scratch<uint8_t> level(level_room(place));
            k.voronoi_encode(place, key, nest, choice.data(), u.data(), scale.data(), level.data(), digits.data(),
                             beta.data(), points.data(), sums);
        }
        return nb::make_tuple(sums[0], sums[1]);
    }

    void voronoi_decode(const Place& place, const Key& key, const Nest& nest, Vector<uint8_t> choice,
                        Vector<uint16_t> digits, Vector<uint8_t> beta, Output<int32_t> out) const {
        check_nested(place, nest, choice, digits, beta);
        require(size(out) == place.positions, "out must be int32 [P]");
        const char* reason;
        {
            nb::gil_scoped_release release;
            Scratch<uint8_t> level(level_room(place));
            reason =
                k.voronoi_decode(place, key, nest, choice.data(), level.data(), digits.data(), beta.data(), out.data());
        }
        if (reason) raise_corrupt(reason);
    }

    OwnedVector<uint8_t> pack_digits(Vector<uint16_t> digits, uint64_t q, int64_t per_word, int bits) const {
        Packing packing = packing_of(q, per_word, bits);
        int64_t count = size(digits);
        Owned<uint8_t> out(((count + per_word - 1) / per_word * bits + 7) / 8, 16);
        bool below;
        {
            nb::gil_scoped_release release;
            out.clear();
            below = k.pack_digits(digits.data(), count, packing, out.data());
        }
        require(below, "a digit is not below q");
        return out.give();
    }

    OwnedVector<uint16_t> unpack_digits(Vector<uint8_t> data, int64_t count, uint64_t q, int64_t per_word,
                                        int bits) const {
        Packing packing = packing_of(q, per_word, bits);
        require(count >= 0, "count must not be negative");
        // Before anything is allocated: the data present bound the digits.
        if (count / per_word > size(data) * 8) raise_corrupt("the digit stream has the wrong length");
        Owned<uint16_t> out(count);
        const char* reason;
        {
            nb::gil_scoped_release release;
            reason = k.unpack_digits(data.data(), size(data), count, packing, out.data());
        }
        if (reason) raise_corrupt(reason);
        return out.give();
    }

    int64_t ring_bytes(int64_t entries, int bits2) const { return ring_size(entries, bits2); }

    void ring_encode(const RingCode& code, Vector<int64_t> lengths, Vector<int32_t> bits2, int64_t first,
                     Vector<float> u, int64_t n, Output<uint8_t> out, Matrix<int64_t> moments) const {
        int64_t entries;
        require(ring_sizes(lengths, bits2, first, entries) == size(out), "out must be uint8 [bytes of the rings]");
        require(n >= 1, "rings must have whole columns");
        for (int64_t r = 0; r < size(lengths); r++) require(lengths(r) % n == 0, "rings must have whole columns");
        require(size(u) == entries, "u must be float32 [N]");
        require(size(moments, 0) == entries / n && size(moments, 1) == 3, "moments must be int64 [c, 3]");
        nb::gil_scoped_release release;
        const float* from = u.data();
        uint8_t* to = out.data();
        int64_t* sums = moments.data();
        int64_t most = 0;
        for (int64_t r = 0; r < size(lengths); r++)
            most = std::max(most, k.rings->encode_scratch(code.ring(bits2(r), lengths(r), first + r)));
        Scratch<uint8_t> scratch(most);
        for (int64_t r = 0; r < size(lengths); r++) {
            const Ring ring = code.ring(bits2(r), lengths(r), first + r);
            k.rings->encode(ring, from, n, to, sums, scratch.data());
            from += lengths(r);
            to += ring_size(lengths(r), bits2(r));
            sums += 3 * (lengths(r) / n);
        }
    }

    const RingReading& reading() const { return k.reading ? *k.reading : k.rings->reading; }

    void ring_decode(const RingCode& code, Vector<int64_t> lengths, Vector<int32_t> bits2, int64_t first,
                     Vector<uint8_t> data,
                     const nb::ndarray<nb::ndim<1>, nb::c_contig, nb::device::cpu>& points) const {
        int64_t entries;
        require(ring_sizes(lengths, bits2, first, entries) == size(data), "data must be uint8 [bytes of the rings]");
        const bool narrow = points.dtype() == nb::dtype<int8_t>();
        require(narrow || points.dtype() == nb::dtype<int32_t>(), "points must be int8 or int32");
        require(size(points) == entries, "points must be int8 or int32 [N]");
        const std::vector<Ring> rings = code.rings(lengths, bits2, first);
        const Rings all = {rings.data(), size(lengths), data.data(), code.tables(reading(), bits2)};
        nb::gil_scoped_release release;
        Scratch<uint8_t> scratch(reading().scratch(0, 0));
        reading().decode(all, points.data(), narrow ? 1 : 4, scratch.data());
    }

    // Rings of whole columns, and how many of these.
    static int64_t columns_of(const Vector<int64_t>& lengths, const Vector<int32_t>& bits2, int64_t first,
                              const Vector<uint8_t>& data, int64_t n) {
        int64_t entries;
        require(ring_sizes(lengths, bits2, first, entries) == size(data), "data must be uint8 [bytes of the rings]");
        require(n >= 1, "rings must have whole columns");
        for (int64_t r = 0; r < size(lengths); r++) require(lengths(r) % n == 0, "rings must have whole columns");
        return entries / n;
    }

    static void require_digits(const Matrix<const int16_t>& vectors, const char* message) {
        bool within = true;
        for (int64_t i = 0; i < size(vectors, 0) * size(vectors, 1); i++)
            within &= vectors.data()[i] >= -RING_VECTOR && vectors.data()[i] <= RING_VECTOR;
        require(within, message);
    }

    void ring_products(const RingCode& code, Vector<int64_t> lengths, Vector<int32_t> bits2, int64_t first,
                       Vector<uint8_t> data, Matrix<const int16_t> vectors, Matrix<int64_t> out) const {
        int64_t few = size(vectors, 0), n = size(vectors, 1), columns = columns_of(lengths, bits2, first, data, n);
        require(size(out, 0) == columns && size(out, 1) == few, "out must be int64 [c, v]");
        require_digits(vectors, "vectors must be within -16319 to 16319");
        const std::vector<Ring> rings = code.rings(lengths, bits2, first);
        const Rings all = {rings.data(), size(lengths), data.data(), code.tables(reading(), bits2)};
        nb::gil_scoped_release release;
        Scratch<uint8_t> scratch(reading().scratch(n, few));
        reading().products(all, n, vectors.data(), few, out.data(), scratch.data());
    }

    void ring_sums(const RingCode& code, Vector<int64_t> lengths, Vector<int32_t> bits2, int64_t first,
                   Vector<uint8_t> data, Matrix<const int16_t> weights, Matrix<int64_t> out) const {
        int64_t few = size(out, 0), n = size(out, 1), columns = columns_of(lengths, bits2, first, data, n);
        require(size(weights, 0) == few && size(weights, 1) == columns, "weights must be int16 [v, c]");
        require_digits(weights, "weights must be within -16319 to 16319");
        const std::vector<Ring> rings = code.rings(lengths, bits2, first);
        const Rings all = {rings.data(), size(lengths), data.data(), code.tables(reading(), bits2)};
        nb::gil_scoped_release release;
        Scratch<uint8_t> scratch(reading().sums_scratch(n, few));
        reading().sums(all, n, weights.data(), few, out.data(), scratch.data());
    }

    bool fast_product() const { return k.product.fast; }

    int64_t narrow(Vector<int32_t> points, int64_t start, Vector<int64_t> place, const AnyOutput& out) const {
        Rows rows = rows_of(out, 4);
        require(rows.stride == rows.width, "out must be contiguous");
        require(start >= 0 && start <= (int64_t)1 << 62, "start must be at least 0");
        int64_t count = size(points), m = rows.width;
        if (count == 0) return 0;
        require(m >= 1 && (start + count - 1) / m < size(place), "the chunk reaches past the last row of place");
        for (int64_t r = start / m; r <= (start + count - 1) / m; r++)
            require(place(r) >= 0 && place(r) < rows.count, "place names a row that does not exist");
        nb::gil_scoped_release release;
        return k.narrow(points.data(), count, start, m, place.data(), (void*)rows.data, rows.bytes);
    }

    void row_energies(const AnyMatrix& rows, Output<int64_t> out) const {
        Rows r = rows_of(rows, 2);
        require(size(out) == r.count, "out must be int64 [w]");
        nb::gil_scoped_release release;
        k.row_energies(r, out.data());
    }

    int64_t point_products(Vector<int32_t> points, int64_t start, Matrix<const int32_t> vectors,
                           Matrix<int64_t> out) const {
        int64_t few = size(vectors, 0), m = size(vectors, 1), count = size(points);
        require(start >= 0 && start <= (int64_t)1 << 62, "start must be at least 0");
        require(m >= 1 && count >= 1, "points and vectors must not be empty");
        require(size(out, 0) == (start + count - 1) / m - start / m + 1 && size(out, 1) == few,
                "out must be int64 [rows, b]");
        nb::gil_scoped_release release;
        return k.point_products(points.data(), count, start, m, vectors.data(), few, out.data());
    }

    void row_products(const AnyMatrix& rows, int most, Matrix<const int16_t> vectors, Matrix<int64_t> out) const {
        Rows r = rows_of(rows, 2);
        int64_t few = size(vectors, 0);
        require(most >= 0 && most <= 1 << 15, "most must be 0 to 2^15");
        require(size(vectors, 1) == r.width, "vectors must be int16 [b, m]");
        require(size(out, 0) == r.count && size(out, 1) == few, "out must be int64 [w, b]");
        require_small(vectors.data(), few * r.width);
        nb::gil_scoped_release release;
        k.row_products(r, most, vectors.data(), few, out.data());
    }

    void row_sums(const AnyMatrix& rows, int most, Matrix<const int16_t> weights, Matrix<int64_t> out) const {
        Rows r = rows_of(rows, 2);
        int64_t few = size(weights, 0);
        require(most >= 0 && most <= 1 << 15, "most must be 0 to 2^15");
        require(size(weights, 1) == r.count, "weights must be int16 [b, w]");
        require(size(out, 0) == few && size(out, 1) == r.width, "out must be int64 [b, m]");
        require_small(weights.data(), few * r.count);
        nb::gil_scoped_release release;
        Scratch<uint8_t> scratch(k.row_sums_scratch(few));
        k.row_sums(r, most, weights.data(), few, out.data(), scratch.data());
    }

    void integer_product(const AnyMatrix& a, const AnyMatrix& b, const AnyOutput& out) const {
        Rows left = rows_of(a, 2), right = rows_of(b, 2);
        require(left.width == right.width, "rows of different lengths");
        require(out.dtype() == nb::dtype<int32_t>() && size(out, 0) == left.count && size(out, 1) == right.count,
                "out must be int32 [wa, wb]");
        int64_t stride = row_stride(out);
        nb::gil_scoped_release release;
        Scratch<int32_t> scratch(k.product.scratch(left, right));
        k.product.multiply(left, right, (int32_t*)out.data(), stride, scratch.data());
    }

    int64_t estimate(const AnyMatrix& raw, Vector<double> unit_a, Vector<double> unit_b, Vector<double> spread_a,
                     Vector<double> spread_b, Vector<double> mean_a, Vector<double> mean_b, double share, double theta,
                     double factor, double length, int exponent, const AnyOutput& out) const {
        Raw r = raw_of(raw);
        require(size(unit_a) == r.rows && size(spread_a) == r.rows && size(mean_a) == r.rows,
                "unit_a, spread_a and mean_a must be float64 [r]");
        require(size(unit_b) == r.columns && size(spread_b) == r.columns && size(mean_b) == r.columns,
                "unit_b, spread_b and mean_b must be float64 [c]");
        bool wide = out.dtype() == nb::dtype<double>();
        require(wide || out.dtype() == nb::dtype<float>(), "out must be float32 or float64");
        require(size(out, 0) == r.rows && size(out, 1) == r.columns, "out must be [r, c]");
        require(row_stride(out) == r.columns, "out must be contiguous");
        require(exponent >= -2044 && exponent <= 2044, "exponent is out of range");
        // Where one factor does not reach, two.
        int half = exponent >= -1022 && exponent <= 1023 ? exponent : exponent / 2;
        Scaling scaling = {unit_a.data(),
                           unit_b.data(),
                           spread_a.data(),
                           spread_b.data(),
                           mean_a.data(),
                           mean_b.data(),
                           share,
                           theta,
                           factor,
                           length,
                           {std::ldexp(1.0, half), std::ldexp(1.0, exponent - half)}};
        nb::gil_scoped_release release;
        return k.estimate(r, scaling, out.data(), wide);
    }

    std::tuple<int64_t, int64_t, int64_t> deviations(const AnyMatrix& raw, Matrix<double> a, Matrix<double> b,
                                                     Vector<int32_t> group, Matrix<double> theta, double shrink,
                                                     double kappa, double related, double length, double rounding,
                                                     int exponent, const AnyMatrix& estimates,
                                                     const AnyOutput& out) const {
        Raw r = raw_of(raw);
        require(size(a, 0) == 5 && size(a, 1) == r.rows && size(b, 0) == 5 && size(b, 1) == r.columns,
                "sides must be float64 [5, r], [5, c]");
        require(size(group) == r.rows, "group must be int32 [r]");
        require(size(theta, 1) == r.columns, "theta must be float64 [g, c]");
        for (int64_t i = 0; i < r.rows; i++)
            require(group(i) >= 0 && group(i) < size(theta, 0), "group names a row that does not exist");
        bool wide = out.dtype() == nb::dtype<double>();
        require(wide || out.dtype() == nb::dtype<float>(), "out must be float32 or float64");
        require(estimates.dtype() == out.dtype(), "estimates and out must be of one type");
        require(size(out, 0) == r.rows && size(out, 1) == r.columns && size(estimates, 0) == r.rows &&
                    size(estimates, 1) == r.columns,
                "estimates and out must be [r, c]");
        require(row_stride(out) == r.columns && row_stride(estimates) == r.columns,
                "estimates and out must be contiguous");
        require(exponent >= -2044 && exponent <= 2044, "exponent is out of range");
        int half = exponent >= -1022 && exponent <= 1023 ? exponent : exponent / 2;
        Spread spread = {a.data(),
                         b.data(),
                         group.data(),
                         theta.data(),
                         r.rows,
                         r.columns,
                         shrink,
                         1.0 / kappa,
                         1.0 - kappa,
                         related,
                         1.0 / length,
                         rounding,
                         {std::ldexp(1.0, half), std::ldexp(1.0, exponent - half)}};
        int64_t found[3];
        {
            nb::gil_scoped_release release;
            k.deviations(r, spread, estimates.data(), out.data(), wide, found);
        }
        return {found[0], found[1], found[2]};
    }

    void group_energies(const AnyMatrix& raw, Vector<int64_t> order, Vector<int64_t> edges, Vector<double> unit,
                        bool skips, int64_t diagonal, Matrix<double> out) const {
        Raw r = raw_of(raw);
        require(size(unit) == r.rows, "unit must be float64 [r]");
        require(diagonal >= -((int64_t)1 << 62) && diagonal <= (int64_t)1 << 62, "diagonal is out of range");
        require(size(edges) >= 1 && edges(0) == 0 && edges(size(edges) - 1) == size(order),
                "edges must go from 0 to the length of order");
        for (int64_t g = 0; g + 1 < size(edges); g++) require(edges(g) <= edges(g + 1), "edges must not fall");
        for (int64_t p = 0; p < size(order); p++)
            require(order(p) >= 0 && order(p) < r.rows, "order names a row that does not exist");
        require(size(out, 0) == size(edges) - 1 && size(out, 1) == r.columns, "out must be float64 [g, c]");
        nb::gil_scoped_release release;
        k.group_energies(r, order.data(), edges.data(), size(edges) - 1, unit.data(), skips, diagonal, out.data());
    }

    int64_t select(const AnyMatrix& raw, Matrix<const double> a, Matrix<const double> b, Vector<double> limit,
                   Output<int32_t> row, Output<int32_t> column, Output<double> score) const {
        Raw r = raw_of(raw);
        require(size(a, 0) == 4 && size(a, 1) == r.rows, "a must be float64 [4, r]");
        require(size(b, 0) == 3 && size(b, 1) == r.columns, "b must be float64 [3, c]");
        require(size(limit) == r.columns, "limit must be float64 [c]");
        require(size(row) == size(column) && size(row) == size(score), "row, column and score must be of one length");
        Contest contest = {a.data(), b.data(), limit.data()};
        nb::gil_scoped_release release;
        return k.select(r, contest, size(row), row.data(), column.data(), score.data());
    }
};

template <class T>
constexpr bool is_array = false;
template <class... Ts>
constexpr bool is_array<nb::ndarray<Ts...>> = true;

template <class... Ts>
constexpr bool is_array<std::tuple<Ts...>> = (is_array<Ts> && ...);

template <class T>
constexpr bool is_optional = false;
template <class T>
constexpr bool is_optional<std::optional<T>> = true;

// No array is ever converted: a converted output would be a copy that nobody sees.
template <class T>
auto argument(const char* name) {
    if constexpr (is_array<std::decay_t<T>>)
        return nb::arg(name).noconvert();
    else if constexpr (is_optional<std::decay_t<T>>)
        return nb::arg(name).noconvert().none() = nb::none();
    else
        return nb::arg(name);
}

template <class Result, class... Arguments, size_t... I>
void define(nb::module_& m, const char* name, const Kernels& kernels, Result (Bindings::*method)(Arguments...) const,
            const std::vector<const char*>& names, std::index_sequence<I...>) {
    const Kernels* k = &kernels;
    m.def(
        name, [k, method](Arguments... a) -> Result { return (Bindings{*k}.*method)(std::forward<Arguments>(a)...); },
        argument<Arguments>(names[I])...);
}

template <class Result, class... Arguments>
void define(nb::module_& m, const char* name, const Kernels& kernels, Result (Bindings::*method)(Arguments...) const,
            const std::vector<const char*>& names) {
    define(m, name, kernels, method, names, std::index_sequence_for<Arguments...>());
}

#ifdef NQZ_X86_64
Kernels with_product(const Kernels& others, const IntegerProduct& product, const RingReading* reading) {
    Kernels kernels = others;
    kernels.product = product;
    kernels.reading = reading;
    return kernels;
}
#endif

void define_crc(nb::module_& m) {
#ifdef NQZ_X86_64
    if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) {
        m.def(
            "crc32",
            [](Vector<uint8_t> data, uint32_t value) {
                nb::gil_scoped_release release;
                return pclmul::crc32(data.data(), size(data), value);
            },
            nb::arg("data").noconvert(), nb::arg("value") = 0);
    }
#else
    (void)m;
#endif
}

void define_all(nb::module_& parent, const char* isa, const Kernels& k) {
    typedef Bindings B;
    nb::module_ m = parent.def_submodule(isa);
    for (const char* value : {"Key", "Place", "Tables", "Nest", "RingCode"}) m.attr(value) = parent.attr(value);
    define(m, "words", k, &B::words, {"key", "first", "count"});
    define(m, "levels", k, &B::levels, {"key", "counter", "count"});
    define(m, "column_statistics", k, &B::column_statistics, {"block", "bfloat16", "state", "exponent", "started"});
    define(m, "center_rotate", k, &B::center_rotate,
           {"block", "bfloat16", "mean", "exponent", "out", "place", "signs"});
    define(m, "restore", k, &B::restore, {"points", "signs", "scale", "mean", "out", "place"});
    define(m, "rotate", k, &B::rotate, {"u", "signs", "inverse"});
    define(m, "rotate_wide", k, &B::rotate_wide, {"u", "signs", "inverse"});
    define(m, "dither_quantize", k, &B::dither_quantize, {"place", "key", "u", "scale", "out"});
    define(m, "round_scaled", k, &B::round_scaled, {"u", "scale", "out"});
    define(m, "entropy_encode", k, &B::entropy_encode, {"place", "key", "tables", "table_of_column", "points"});
    define(m, "entropy_decode", k, &B::entropy_decode, {"place", "key", "tables", "table_of_column", "streams", "out"});
    define(m, "rans_encode", k, &B::rans_encode, {"symbols", "cum", "lanes"});
    define(m, "rans_decode", k, &B::rans_decode, {"count", "cum", "lanes", "states", "words"});
    define(m, "voronoi_encode", k, &B::voronoi_encode,
           {"place", "key", "nest", "choice", "u", "scale", "digits", "beta", "points"});
    define(m, "voronoi_decode", k, &B::voronoi_decode, {"place", "key", "nest", "choice", "digits", "beta", "out"});
    define(m, "pack_digits", k, &B::pack_digits, {"digits", "q", "per_word", "bits"});
    define(m, "unpack_digits", k, &B::unpack_digits, {"data", "count", "q", "per_word", "bits"});
    define(m, "ring_bytes", k, &B::ring_bytes, {"entries", "bits2"});
    define(m, "ring_encode", k, &B::ring_encode, {"code", "lengths", "bits2", "first", "u", "n", "out", "moments"});
    define(m, "ring_decode", k, &B::ring_decode, {"code", "lengths", "bits2", "first", "data", "points"});
    define(m, "ring_products", k, &B::ring_products, {"code", "lengths", "bits2", "first", "data", "vectors", "out"});
    define(m, "ring_sums", k, &B::ring_sums, {"code", "lengths", "bits2", "first", "data", "weights", "out"});
    define(m, "narrow", k, &B::narrow, {"points", "start", "place", "out"});
    define(m, "row_energies", k, &B::row_energies, {"rows", "out"});
    define(m, "point_products", k, &B::point_products, {"points", "start", "vectors", "out"});
    define(m, "row_products", k, &B::row_products, {"rows", "most", "vectors", "out"});
    define(m, "row_sums", k, &B::row_sums, {"rows", "most", "weights", "out"});
    define(m, "integer_product", k, &B::integer_product, {"a", "b", "out"});
    define(m, "estimate", k, &B::estimate,
           {"raw", "unit_a", "unit_b", "spread_a", "spread_b", "mean_a", "mean_b", "share", "theta", "factor", "length",
            "exponent", "out"});
    define(m, "deviations", k, &B::deviations,
           {"raw", "a", "b", "group", "theta", "shrink", "kappa", "related", "length", "rounding", "exponent",
            "estimates", "out"});
    define(m, "group_energies", k, &B::group_energies, {"raw", "order", "edges", "unit", "skips", "diagonal", "out"});
    define(m, "select", k, &B::select, {"raw", "a", "b", "limit", "row", "column", "score"});
    define(m, "fast_product", k, &B::fast_product, {});
    define_crc(m);
}

// An instruction set that was built, and whether this processor and operating system run it.
struct Isa {
    const char* name;
    Kernels kernels;
    bool runs;
};

#ifdef NQZ_X86_64
bool has_sha() {
    unsigned a, b, c, d;
    return __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
}

nb::bytes hash_pieces(Vector<uint8_t> data, int64_t piece) {
    require(piece > 0, "a piece must have a byte");
    piece = std::min(piece, std::max(size(data), (int64_t)1));  // twice that is a number
    std::string out((size_t)((size(data) + piece - 1) / piece) * 32, '\0');
    {
        nb::gil_scoped_release release;
        sha::hash_pieces(data.data(), size(data), piece, (uint8_t*)out.data());
    }
    return nb::bytes(out.data(), out.size());
}
#endif

// Slowest first.
std::vector<Isa> instruction_sets() {
    std::vector<Isa> sets = {{"baseline", baseline::kernels, true}};
#ifdef NQZ_X86_64
    __builtin_cpu_init();
    const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                            __builtin_cpu_supports("avx512cd");
    const bool has_vnni = has_avx512 && __builtin_cpu_supports("avx512vnni");
    sets.push_back({"avx2", avx2::kernels, __builtin_cpu_supports("avx2") != 0});
    sets.push_back({"avx512", avx512::kernels, has_avx512});
    const RingReading* reading = __builtin_cpu_supports("avx512vbmi") ? &avx512vbmi::reading : nullptr;
    sets.push_back({"avx512vnni", with_product(avx512::kernels, avx512vnni::product, reading), has_vnni});
#endif
#ifdef NQZ_ARM64
    sets.push_back({"neon", neon::kernels, true});
#endif
    return sets;
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Native kernels, one submodule for each instruction set; see nqz.reference for what they compute.";
    // The program does not collect what it holds when it exits: nanobind has no need to tell of that.
    nb::set_leak_warnings(false);
    m.attr("may_leak") = true;
    define_values(m);
    define_ring_code(m);
    static const std::vector<Isa> sets = instruction_sets();
    std::vector<std::string> available;
    for (const Isa& isa : sets) {
        if (!isa.runs) continue;
        define_all(m, isa.name, isa.kernels);
        available.push_back(isa.name);
    }
#ifdef NQZ_X86_64
    if (has_sha())
        m.def("hash_pieces", hash_pieces, nb::arg("data").noconvert(), nb::arg("size"),
              "SHA-256 of consecutive pieces, as nqz.ground.digests.of_pieces has them, by the processor's "
              "instructions.");
#endif
    m.def("available", [available] { return available; }, "Return the instruction sets that run here, slowest first.");
}
