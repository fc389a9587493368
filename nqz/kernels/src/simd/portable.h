// Every operation that the kernels ask of an instruction set, in plain C++: what it means, and what an instruction set
// without a better way inherits. Its own header (see simd.h) derives from `Portable` and replaces what it can.
#pragma once

#include "../base.h"
#include "vectors.h"

#if defined(__clang__) || __GNUC__ >= 12
#define NQZ_SHUFFLE(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define NQZ_SHUFFLE(v, ...) __builtin_shuffle(v, Ints{__VA_ARGS__})
#endif

namespace nqz::NQZ_ISA {
namespace {

// Limits v to [-limit, limit] (not-a-number becomes -limit) and rounds it, half to even.
NQZ_INLINE int32_t round_clamped(float v, float limit) {
    v = v > -limit ? v : -limit;
    v = v < limit ? v : limit;
    // From 2^23 on a float32 is an integer already.
    float magnitude = __builtin_fabsf(v);
    float rounded = (magnitude + 0x1p23f) - 0x1p23f;
    rounded = magnitude < 0x1p23f ? rounded : magnitude;
    int32_t t = (int32_t)rounded;
    return v < 0 ? -t : t;
}

struct Portable {
    // How much to take at once, which is a question of registers: vectors of a Hadamard transform (8 or 16), and steps
    // of a trellis (2 or 4).
    enum { RADIX = 8, TRELLIS_STEPS = 2 };

    // Whether rows of 32 lanes are coded in vectors of Words (the last part below); else plain loops do the same. It
    // pays where memory can be gathered.
    enum { GATHERS = 0 };

    // ------------------------------------------------------------------------------------------------ rotation

    // v[i ^ H] + (i & H ? -v[i] : v[i]), rounded once, for H < VECTOR.
    template <int H>
    static NQZ_INLINE Vector butterfly(Vector v) {
        Ints sign;
        for (int i = 0; i < VECTOR; i++) sign[i] = i & H ? INT32_MIN : 0;
#if NQZ_VECTOR == 16
        Vector swapped = NQZ_SHUFFLE(v, 0 ^ H, 1 ^ H, 2 ^ H, 3 ^ H, 4 ^ H, 5 ^ H, 6 ^ H, 7 ^ H, 8 ^ H, 9 ^ H, 10 ^ H,
                                     11 ^ H, 12 ^ H, 13 ^ H, 14 ^ H, 15 ^ H);
#elif NQZ_VECTOR == 8
        Vector swapped = NQZ_SHUFFLE(v, 0 ^ H, 1 ^ H, 2 ^ H, 3 ^ H, 4 ^ H, 5 ^ H, 6 ^ H, 7 ^ H);
#else
        Vector swapped = NQZ_SHUFFLE(v, 0 ^ H, 1 ^ H, 2 ^ H, 3 ^ H);
#endif
        return swapped + (Vector)((Ints)v ^ sign);
    }

    // The vector with those entries negated whose bit is set, of the lowest VECTOR bits.
    static NQZ_INLINE Vector negate(Vector v, uint64_t bits) {
        Ints place;
        for (int i = 0; i < VECTOR; i++) place[i] = 1 << i;
        Ints all = all_ints((int32_t)(uint32_t)(bits & ((1u << VECTOR) - 1)));
        return (Vector)((Ints)v ^ ((Ints)((all & place) == place) & INT32_MIN));
    }

    // to[c][r] = from[r * pitch + c] for c and r below SQUARE; T has 32 bits. Nothing of `to` lies in `from`.
    template <class T>
    static NQZ_INLINE void transpose_square(const T* from, int64_t pitch, T* const* to) {
        for (int c = 0; c < SQUARE; c++)
            for (int i = 0; i < SQUARE; i++) to[c][i] = from[i * pitch + c];
    }

    // The same, for lines of 64 bytes that begin at multiples of that and that nobody reads soon; `settle` comes before
    // anybody does.
    template <class T>
    static NQZ_INLINE void stream_square(const T* from, int64_t pitch, T* const* to) {
        for (int c = 0; c < SQUARE; c++)
            for (int i = 0; i < SQUARE; i++) to[c][i] = from[i * pitch + c];
    }
    static NQZ_INLINE void settle() {}

    // ------------------------------------------------------------------------------------------------ quantizers

    // round_clamped of every entry.
    static NQZ_INLINE Ints rounded(Vector v, float limit) {
        Ints t;
        for (int i = 0; i < VECTOR; i++) t[i] = round_clamped(v[i], limit);
        return t;
    }

    static NQZ_INLINE Ints lesser(Ints a, Ints b) {
        Ints second = b < a;
        return (b & second) | (a & ~second);
    }

    // ------------------------------------------------------------------------------------------------ Viterbi

    // Of two pairs of metrics the lesser: the second where b - a modulo 256 is negative as int8. Writes on which lanes
    // it is, SLAB bits of the first pair, then of the second.
    static NQZ_INLINE void choose_lesser(uint8_t* to, Metrics a0, Metrics b0, Metrics a1, Metrics b1, Metrics& least0,
                                         Metrics& least1) {
        Metrics second0 = (Metrics)(b0 - a0 > 127), second1 = (Metrics)(b1 - a1 > 127);
        uint64_t bits = 0;
        for (int l = 0; l < SLAB; l++)
            bits |= (uint64_t)(second0[l] & 1) << l | (uint64_t)(second1[l] & 1) << (SLAB + l);
        memcpy(to, &bits, 2 * SLAB / 8);
        least0 = (b0 & second0) | (a0 & ~second0);
        least1 = (b1 & second1) | (a1 & ~second1);
    }

    // States of SLAB lanes on the way back through a trellis.
    struct States {
        int32_t* state;
        int memory;

        NQZ_INLINE States(int32_t* state_, int memory_) : state(state_), memory(memory_) {}
        // Goes back four steps, whose decisions begin at `rows`, `pitch` bytes apart, SLAB bits for each state. Bit l
        // of inputs[i] is the input of lane l at step i, the lowest bit of its state.
        NQZ_INLINE void back(const uint8_t* rows, int64_t pitch, uint32_t* inputs) {
            for (int i = 3; i >= 0; i--) {
                inputs[i] = 0;
                for (int l = 0; l < SLAB; l++) {
                    int32_t s = state[l];
                    uint32_t word = 0;
                    memcpy(&word, rows + i * pitch + SLAB / 8 * s, SLAB / 8);
                    inputs[i] |= (uint32_t)(s & 1) << l;
                    state[l] = s >> 1 | (int32_t)(word >> l & 1) << (memory - 1);
                }
            }
        }
        // Writes the states back to where they came from.
        NQZ_INLINE void store() {}
    };

    // ------------------------------------------------------------------------------------------------ rings

    // A table of 16 bytes, and its entries by the low bytes of `index`, below 16; the high bytes are 128.
    struct Table {
        uint8_t entry[16];
    };
    static NQZ_INLINE Table table(const uint8_t* from) {
        Table t;
        memcpy(&t, from, sizeof t);
        return t;
    }
    static NQZ_INLINE Costs pick(const Table& table, Costs index) {
        Costs v;
        for (int l = 0; l < STATES; l++) v[l] = table.entry[index[l] & 15];
        return v;
    }
    static NQZ_INLINE Costs least_of(Costs a, Costs b) { return b < a ? b : a; }

    // Writes a choice for each of STATES states, two bits: 2 where c < ab, the lesser of a and b, else 1 where b < a;
    // and reads that of a lane.
    static NQZ_INLINE void choose(uint8_t* to, Costs a, Costs b, Costs ab, Costs c) {
        Costs second = b < a, third = c < ab;
        uint32_t bits = 0;
        for (int l = 0; l < STATES; l++)
            bits |= (uint32_t)(second[l] & 1) << l | (uint32_t)(third[l] & 1) << (STATES + l);
        memcpy(to, &bits, STATES / 4);
    }
    static NQZ_INLINE int chosen(const uint8_t* from, int lane) {
        uint32_t bits = 0;
        memcpy(&bits, from, STATES / 4);
        return bits >> (STATES + lane) & 1 ? 2 : (int)(bits >> lane & 1);
    }

    // In every block of eight lanes: lanes 0 to 3 of both in turn, and lanes 4 to 7.
    static NQZ_INLINE void interleave(Costs a, Costs b, Costs& low, Costs& high) {
        low = high = Costs{};
        for (int l = 0; l < STATES; l += 8)
            for (int i = 0; i < 4; i++) {
                low[l + 2 * i] = a[l + i];
                low[l + 2 * i + 1] = b[l + i];
                high[l + 2 * i] = a[l + i + 4];
                high[l + 2 * i + 1] = b[l + i + 4];
            }
    }
    // Blocks of eight lanes, `pitch` apart.
    static NQZ_INLINE void store_blocks(int16_t* to, int64_t pitch, Costs v) {
        for (int l = 0; l < STATES; l += 8) memcpy(to + l / 8 * pitch, (const char*)&v + 2 * l, 16);
    }
    // to[i ^ by] = from[i] for i and by below 16.
    static NQZ_INLINE void exchange(const uint8_t* from, int by, uint8_t* to) {
        for (int i = 0; i < 16; i++) to[i ^ by] = from[i];
    }

    // ------------------------------------------------------------------------------------------------ product

    // Sums of int32: `dot` adds the inner products of groups, of four int8 (the first operand unsigned) where BYTES,
    // else of two int16. A block of sums has ROWS x VECTORS vectors of WIDTH.
    struct Accumulator {
        struct type {
            uint32_t lane[4];
        };
        enum { WIDTH = 4, ROWS = 4, VECTORS = 2 };
        enum { HAS_BYTES = 0 };   // whether it can take BYTES
        enum { SUMS_PAIRS = 0 };  // or else multiply bytes in pairs: see byte_sums.h
        enum { IS_FAST = 0 };     // at least as fast as a good BLAS in float32
        static NQZ_INLINE type load(const void* p) {
            type x;
            memcpy(&x, p, sizeof x);
            return x;
        }
        static NQZ_INLINE void store(void* p, type x) { memcpy(p, &x, sizeof x); }
        static NQZ_INLINE type same(int32_t x) { return {{(uint32_t)x, (uint32_t)x, (uint32_t)x, (uint32_t)x}}; }
        static NQZ_INLINE type add(type x, type y) {
            for (int l = 0; l < 4; l++) x.lane[l] += y.lane[l];
            return x;
        }
        template <bool BYTES>
        static NQZ_INLINE void dot(type& sum, type b, type a) {
            static_assert(!BYTES, "of int16");
            for (int l = 0; l < 4; l++) {
                int32_t low = (int16_t)b.lane[l] * (int16_t)a.lane[l];
                int32_t high = (int16_t)(b.lane[l] >> 16) * (int16_t)(a.lane[l] >> 16);
                sum.lane[l] += (uint32_t)low + (uint32_t)high;
            }
        }
    };

    // Where SUMS_PAIRS, an Accumulator has `pairs`, products of unsigned bytes with int8 as sums of two, of int16;
    // `add_pairs`; `widened`, which multiplies sums with `unit` and adds neighbors; and `half_bytes`, four bits of
    // every byte. Then there is window_energies(from, stride, rows, bytes, offset, energy): of rows of int8, to which
    // an offset can be added, quarters of the largest sums, at least, of the squares of entries 4 g and 4 g + 1, or
    // 4 g + 2 and 4 g + 3, for g in windows of 2, 3, 4 and 8 groups.

    // ------------------------------------------------------------------------------------------------ rings

    // Where tables of 16 bytes are looked up on all lanes at once, NQZ_SHUFFLES is 1, and there are:
    //   Nibbles, a table of 16 bytes, and what it has at indices below 16;
    //   level, the byte that stands for a sign and the number of one of `count` magnitudes: 16, 32, 64 or 128;
    //   Levels<count>, the values of such bytes; magnitudes are at most 63 where there are up to 32 of them;
    //   LevelSums<count>, sums of values, to each of which it may add OFFSET, times vectors of two digits to base 128,
    //   the high one in -127 ... 127, the low one in -64 ... 63: `add` takes four steps, `take` gives what there is of
    //   up to 2^15; IN_TURN where registers do not hold what both labels and sums take.

    // Sums of products of int16, WIDTH at a time.
    struct PairSums {
        enum { WIDTH = 8 };
        int32_t sum = 0;  // of sums by lane, GCC 12 leaves out every other one on arm64
        NQZ_INLINE void add(const int16_t* a, const int16_t* b) {
            for (int k = 0; k < WIDTH; k++) sum += a[k] * b[k];
        }
        // Which fit int32.
        NQZ_INLINE int32_t total() const { return sum; }
    };

    // Rows of int8 and int16, WIDTH at a time, in pairs: `dot` adds products of pairs to sums of int32. `interleave`
    // puts two rows in turn, in an order of columns that `put_back` makes straight in sums; `total` adds up all sums.
    // Tuning: ROWS that are multiplied with four vectors at a time, SUMS vectors with PACKED of pairs.
    struct RowPairs {
        struct type {
            int32_t lane[4];
        };
        enum { WIDTH = 8, ROWS = 2, SUMS = 2, PACKED = 2 };
        static NQZ_INLINE type load(const int8_t* p) {
            int16_t wide[WIDTH];
            for (int k = 0; k < WIDTH; k++) wide[k] = p[k];
            return load(wide);
        }
        static NQZ_INLINE type load(const int16_t* p) {
            type x;
            memcpy(&x, p, sizeof x);
            return x;
        }
        static NQZ_INLINE type load(const int32_t* p) {
            type x;
            memcpy(&x, p, sizeof x);
            return x;
        }
        static NQZ_INLINE void store(int32_t* p, type x) { memcpy(p, &x, sizeof x); }
        static NQZ_INLINE type zero() { return {{0, 0, 0, 0}}; }
        static NQZ_INLINE type same(int32_t x) { return {{x, x, x, x}}; }
        static NQZ_INLINE void dot(type& sum, type a, type b) {
            for (int l = 0; l < 4; l++)
                sum.lane[l] += (int16_t)a.lane[l] * (int16_t)b.lane[l] + (a.lane[l] >> 16) * (b.lane[l] >> 16);
        }
        static NQZ_INLINE int64_t total(type x) {
            int64_t sum = 0;
            for (int l = 0; l < 4; l++) sum += x.lane[l];
            return sum;
        }
        static NQZ_INLINE void interleave(type a, type b, type& low, type& high) {
            int16_t x[WIDTH], y[WIDTH], both[2 * WIDTH];
            memcpy(x, &a, sizeof x);
            memcpy(y, &b, sizeof y);
            for (int k = 0; k < WIDTH; k++) {
                both[2 * k] = x[k];
                both[2 * k + 1] = y[k];
            }
            low = load(both);
            high = load(both + WIDTH);
        }
        static NQZ_INLINE void put_back(const int32_t* low_high, int32_t* to) {
            memcpy(to, low_high, WIDTH * sizeof *to);
        }
    };

    // ------------------------------------------------------------------------------------------------ code bits

    // table[index[l]] of 32 lanes; the table has 16 entries, and indices are below 16.
    static NQZ_INLINE void look_up(const uint16_t* table, const uint8_t* index, uint16_t* to) {
        for (int l = 0; l < 32; l++) to[l] = table[index[l]];
    }

    // All ones on those of 32 lanes whose bit is set.
    static NQZ_INLINE void spread(uint32_t bits, uint16_t* to) {
        static const uint16_t PLACE[16] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
        for (int half = 0; half < 2; half++, bits >>= 16)
            for (int l = 0; l < 16; l++)
                to[16 * half + l] = ((uint16_t)bits & PLACE[l]) == PLACE[l] ? (uint16_t)65535 : (uint16_t)0;
    }

    // ------------------------------------------------------------------------------------------------ coder lanes
    // Used where GATHERS; VECTOR divides 32.

    // VECTOR bytes as Words.
    static NQZ_INLINE Words widen(const uint8_t* from) {
        Words v;
        for (int l = 0; l < VECTOR; l++) v[l] = from[l];
        return v;
    }
    // 32 bits at table + 4 index, + 2 index and + index bytes.
    static NQZ_INLINE Words gather(const void* table, Words index) { return gather_at(table, index * 4); }
    static NQZ_INLINE Words gather_pairs(const uint16_t* table, Words index) { return gather_at(table, index * 2); }
    static NQZ_INLINE Words gather_bytes(const uint8_t* table, Words index) { return gather_at(table, index); }

    static NQZ_INLINE Words lesser(Words a, Words b) { return b < a ? b : a; }
    // Bit l: whether the lanes are equal; whether the highest bit is set.
    static NQZ_INLINE uint32_t equal(Words a, Words b) { return flags((Words)(a == b)); }
    static NQZ_INLINE uint32_t flags(Words chosen) {
        uint32_t bits = 0;
        for (int l = 0; l < VECTOR; l++) bits |= chosen[l] >> 31 << l;
        return bits;
    }
    // All ones in the lanes whose bit is set, of the lowest VECTOR bits.
    static NQZ_INLINE Words lanes_of(uint32_t bits) {
        Words v;
        for (int l = 0; l < VECTOR; l++) v[l] = 0 - (bits >> l & 1);
        return v;
    }
    // (8 · bit l - level[l]) mod 16 of 32 lanes.
    static NQZ_INLINE void contexts_of_bits(uint32_t bits, const uint8_t* level, uint8_t* context) {
        for (int l = 0; l < 32; l++) context[l] = (uint8_t)((8 * (bits >> l & 1) - level[l]) & 15);
    }

    // Lanes below 2^16 take one word each, first lane first. May read VECTOR words.
    static NQZ_INLINE Words refilled(Words x, const uint16_t*& words) {
        for (int l = 0; l < VECTOR; l++)
            if (x[l] < 1u << 16) x[l] = x[l] << 16 | *words++;
        return x;
    }
    // Lanes of at least size · 2^20 give one word each, last lane first. May write VECTOR places below `words`.
    static NQZ_INLINE Words emptied(Words x, Words size, uint16_t*& words) {
        for (int l = VECTOR - 1; l >= 0; l--)
            if (x[l] >> 20 >= size[l]) {
                *--words = (uint16_t)x[l];
                x[l] >>= 16;
            }
        return x;
    }

    // Reciprocals, a / b rounded; and the product with them of numbers below 2^32, cut off, each rounded twice at most.
    typedef Vector Floats;
    static NQZ_INLINE Floats divided(float a, Words b) {
        Vector v;
        for (int l = 0; l < VECTOR; l++) v[l] = a / (float)(int32_t)b[l];
        return v;
    }
    static NQZ_INLINE Words product(Words a, Floats b) {
        Words v;
        for (int l = 0; l < VECTOR; l++) v[l] = (uint32_t)(int32_t)((float)a[l] * b[l]);
        return v;
    }

    // Where NQZ_FEW_SYMBOLS is 1, FewSymbols(cum, symbols) is a table of up to MOST + 1 symbols, an odd number;
    // `decode` takes whole steps of 32 lanes to points and, a bit for each lane, whether they are escapes. It may read
    // 8 words more than it takes, and 32 a step.

  private:
    static NQZ_INLINE Words gather_at(const void* table, Words offset) {
        Words v;
        for (int l = 0; l < VECTOR; l++) {
            uint32_t entry;
            memcpy(&entry, (const char*)table + (int32_t)offset[l], 4);
            v[l] = entry;
        }
        return v;
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
