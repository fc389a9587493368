// Arguments of the bindings: array types, scratch memory, and the checks that several functions share.
#pragma once

#include "kernels.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdlib.h>
#include <string.h>

#include <new>
#include <utility>
#include <vector>

namespace nb = nanobind;

namespace {

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Output = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Strided = nb::ndarray<T, nb::ndim<2>, nb::device::cpu>;
using AnyMatrix = nb::ndarray<nb::ro, nb::ndim<2>, nb::device::cpu>;
using AnyOutput = nb::ndarray<nb::ndim<2>, nb::device::cpu>;
template <class T>
using OwnedVector = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

inline void require(bool condition, const char* message) {
    if (!condition) throw nb::value_error(message);
}

[[noreturn]] inline void raise_corrupt(const char* reason) {
    nb::object type = nb::module_::import_("nqz.ground.corrupt").attr("CorruptStream");
    PyErr_SetString(type.ptr(), reason);
    throw nb::python_error();
}

template <class Array>
int64_t size(const Array& array, size_t axis = 0) {
    return (int64_t)array.shape(axis);
}

// Scratch memory is kept from call to call, for a page that is touched for the first time costs more than the
// arithmetic on it. Each thread has a stack: what is taken last is given back first. When nothing is in use, what
// remains is one block, as large as the largest call so far needed, or none beyond KEPT_BYTES.
class Stack {
  public:
    ~Stack() {
        for (Piece& piece : pieces_) free(piece.memory);
    }
    // `bytes` of memory, aligned to ALIGNMENT and not initialized.
    void* take(size_t bytes) {
        if (!SEPARATE) bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        if (SEPARATE || pieces_.empty() || pieces_.back().size - pieces_.back().used < bytes) {
            size_t size = !SEPARATE && pieces_.empty() && wanted_ > bytes ? wanted_ : bytes;
            void* memory;
            pieces_.reserve(pieces_.size() + 1);
            if (posix_memalign(&memory, ALIGNMENT, size)) throw std::bad_alloc();
            pieces_.push_back({(char*)memory, size, 0});
        }
        Piece& piece = pieces_.back();
        void* taken = piece.memory + piece.used;
        piece.used += bytes;
        total_ += bytes;
        if (total_ > wanted_) wanted_ = total_;
        return taken;
    }
    // Gives back what was taken last.
    void give(void* taken) {
        Piece& piece = pieces_.back();
        size_t left = (size_t)((char*)taken - piece.memory);
        total_ -= piece.used - left;
        piece.used = left;
        if (left == 0 && (SEPARATE || pieces_.size() > 1 || wanted_ > KEPT_BYTES)) {
            free(piece.memory);
            pieces_.pop_back();
        }
        if (total_ == 0) {
            // Another time one piece of the whole size takes its place.
            if (!pieces_.empty() && pieces_.back().size < wanted_) {
                free(pieces_.back().memory);
                pieces_.pop_back();
            }
            if (wanted_ > KEPT_BYTES) wanted_ = 0;
        }
    }
    static Stack& of_thread() {
        static thread_local Stack stack;
        return stack;
    }

  private:
    static constexpr size_t ALIGNMENT = 64, KEPT_BYTES = (size_t)1 << 25;
#if defined(__SANITIZE_ADDRESS__)
    static constexpr bool SEPARATE = true;  // a block of its own each time, so that every overrun is seen
#else
    static constexpr bool SEPARATE = false;
#endif
    struct Piece {
        char* memory;
        size_t size, used;
    };
    std::vector<Piece> pieces_;
    size_t total_ = 0, wanted_ = 0;
};

// Memory of the calling thread's stack for as long as the object lives, on a 64-byte boundary and not initialized.
template <class T>
class Scratch {
  public:
    explicit Scratch(int64_t count) : data_((T*)Stack::of_thread().take((size_t)(count + 1) * sizeof(T))) {}
    ~Scratch() { Stack::of_thread().give(data_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    T* data() { return data_; }

  private:
    T* data_;
};

// An array to be returned, not initialized; `spare` items stand behind it.
template <class T>
class Owned {
  public:
    explicit Owned(int64_t count, int64_t spare = 0)
        : data_((T*)malloc(((size_t)count + (size_t)spare + 1) * sizeof(T))), count_(count), spare_(spare) {
        if (!data_) throw std::bad_alloc();
    }
    ~Owned() { free(data_); }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    T* data() { return data_; }
    void clear() { memset(data_, 0, (size_t)(count_ + spare_) * sizeof(T)); }
    void copy(const T* from) {
        if (count_) memcpy(data_, from, (size_t)count_ * sizeof(T));
    }
    OwnedVector<T> give() {
        nb::capsule owner(data_, [](void* p) noexcept { free(p); });
        return OwnedVector<T>(std::exchange(data_, nullptr), {(size_t)count_}, owner);
    }

  private:
    T* data_;
    int64_t count_, spare_;
};

inline void check_lanes(int lanes) {
    require(lanes == 1 || lanes == 2 || lanes == 4 || lanes == 8 || lanes == 16 || lanes == 32,
            "lanes must be 1, 2, 4, 8, 16 or 32");
}

inline void check_cumulative(const Vector<uint16_t>& cum) {
    require(size(cum) >= 2 && size(cum) <= 257, "cum must be uint16 [2 to 257]");
    bool valid = cum(0) == 0 && cum(size(cum) - 1) == 4096;
    for (int64_t s = 0; s + 1 < size(cum); s++) valid &= cum(s) <= cum(s + 1);
    require(valid, "cum is not a table of 12-bit frequencies");
}

inline nqz::Block block_of(const AnyMatrix& block, bool bfloat16) {
    nqz::Element element;
    if (bfloat16) {
        require(block.dtype() == nb::dtype<uint16_t>(), "bfloat16 entries are given as uint16");
        element = nqz::BFLOAT16;
    } else {
        bool is_float = block.dtype().code == (uint8_t)nb::dlpack::dtype_code::Float && block.dtype().lanes == 1;
        int bits = is_float ? block.dtype().bits : 0;
        require(bits == 16 || bits == 32 || bits == 64, "block must be float16, float32 or float64");
        element = bits == 16 ? nqz::FLOAT16 : bits == 32 ? nqz::FLOAT32 : nqz::FLOAT64;
    }
    return {block.data(), element, size(block, 0), size(block, 1), block.stride(0), block.stride(1)};
}

// Steps between the rows of a matrix whose rows are contiguous; those of an empty array mean nothing.
template <class Array>
int64_t row_stride(const Array& array) {
    int64_t rows = size(array, 0), width = size(array, 1);
    require(rows == 0 || width < 2 || array.stride(1) == 1, "entries of a row must be contiguous");
    return rows < 2 || width == 0 ? width : array.stride(0);
}

// Rows of signed integers of up to `widest` bytes, entries of a row next to each other.
template <class Array>
nqz::Rows rows_of(const Array& array, int widest) {
    bool integer = array.dtype().code == (uint8_t)nb::dlpack::dtype_code::Int && array.dtype().lanes == 1;
    int bits = integer ? array.dtype().bits : 0;
    require((bits == 8 || bits == 16 || bits == 32) && bits <= 8 * widest,
            widest == 2 ? "rows must be int8 or int16" : "rows must be int8, int16 or int32");
    return {array.data(), bits / 8, size(array, 0), size(array, 1), row_stride(array)};
}

// Entries of vectors that rows are multiplied with.
inline void require_small(const int16_t* entries, int64_t count) {
    bool small = true;
    for (int64_t i = 0; i < count; i++) small &= entries[i] <= 1 << 14 && entries[i] >= -(1 << 14);
    require(small, "an entry is beyond 2^14");
}

inline nqz::Raw raw_of(const AnyMatrix& raw) {
    bool integer = raw.dtype() == nb::dtype<int32_t>();
    require(integer || raw.dtype() == nb::dtype<double>(), "raw must be int32 or float64");
    return {raw.data(), integer, size(raw, 0), size(raw, 1), row_stride(raw)};
}

inline nqz::Packing packing_of(uint64_t q, int64_t per_word, int bits) {
    require(q >= 2 && q <= 65536 && per_word >= 1 && bits >= 1 && bits <= 63, "q, per_word or bits is out of range");
    require(per_word <= 63, "the digits do not fit the word");
    uint64_t limit = 1;
    for (int64_t i = 0; i < per_word; i++) {
        require(limit <= (((uint64_t)1 << bits) / q), "the digits do not fit the word");
        limit *= q;
    }
    return {q, limit, per_word, bits};
}

}  // namespace
