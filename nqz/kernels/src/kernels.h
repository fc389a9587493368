// What the bindings and the kernels share: plain types and a table of functions, one table for each instruction set.
//
// Nothing inline stands here. The kernels are compiled once for every instruction set, and an inline function shared
// between those objects could end up, in its AVX-512 form, in the code that runs on a processor without it.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace nqz {

// What the bindings must know of a lattice; see lattices/lattices.h.
struct LatticeFacts {
    bool exists;
    const char* name;
    int group;         // steps of a group
    bool nested;       // has a Voronoi code
    bool halves_last;  // the last step of a group has tables of its own
    bool modelled;     // its code bits can be modelled
    bool trellis;      // and their chances can look ahead
};

enum Element { FLOAT16, BFLOAT16, FLOAT32, FLOAT64 };

// A strided matrix of rows x width entries; strides count entries.
struct Block {
    const void* data;
    Element element;
    int64_t rows, width, row_stride, column_stride;
};

// Where a chunk lies: in its panel, on its lanes, and in the dither.
struct Place {
    int lattice;
    int64_t count;      // N
    int64_t positions;  // P
    int64_t start;      // position of entry 0 in the panel
    int64_t m;          // entries of a column
    int lanes;
    uint64_t counter;  // of the first level
};

// Rows of int8, int16 or int32 entries; the stride counts entries.
struct Rows {
    const void* data;
    int bytes;
    int64_t count, width, stride;
};

// Exact products, int32 or float64; the stride counts entries.
struct Raw {
    const void* data;
    bool integer;
    int64_t rows, columns, stride;
};

// What makes scores of a product, and which of them count: see nqz/reference/select.py.
struct Contest {
    const double *a, *b, *limit;
};

// What makes an estimate of a product: see nqz/reference/estimate.py.
struct Scaling {
    const double *unit_a, *unit_b, *spread_a, *spread_b, *mean_a, *mean_b;
    double share, theta, factor, length, power[2];
};

// What makes the standard deviations of an estimate: see nqz/reference/deviations.py.
struct Spread {
    const double *a, *b;  // [5, rows], [5, columns]
    const int32_t* group;
    const double* theta;  // [groups, columns]
    int64_t rows, columns;
    double shrink, share, lost, related, inverse, rounding, power[2];
};

struct Key {
    uint64_t key0, key1;
};

// Tables of the entropy coder, and which of them the chunk uses.
struct Tables {
    const int32_t* table_of_column;
    const int32_t* half;
    const int32_t* raw;
    const int32_t* rice;
    const int64_t* offset;
    const uint16_t* cum;
    const uint16_t* weight;
    const uint8_t* modelled;  // 2: by chances that look ahead
    const int32_t* last;      // for leech: the table of a block's last entry
    const int32_t* used;      // the tables that the chunk uses
    int used_count;
    const int32_t* slot;  // [T] number of a used table among the used ones
};

// Streams of an encoded chunk. The encoder fills `words` from the end of their space downwards and leaves 16 free; the
// stream of escapes begins at `escapes`, in the working memory for their codes.
struct Encoded {
    uint32_t* states;
    uint16_t* words;
    int64_t first_word, word_space;
    uint8_t* code;    // zeroed, with 8 bytes to spare
    uint8_t* low;     // zeroed, with 8 bytes to spare
    uint64_t* codes;  // working memory, [P]
    const uint8_t* escapes;
    int64_t escape_bytes;
    uint32_t* inputs;   // working memory, [P / (2 L) + 12]; used for convolutional lattices
    uint32_t* chances;  // working memory, [256 used tables]; holds weights for the lattices with codewords
};

struct Streams {
    const uint32_t* states;
    const uint16_t* words;
    int64_t word_count;
    const uint8_t* code;
    int64_t code_bytes;
    const uint8_t* low;
    int64_t low_bytes;
    const uint8_t* escapes;
    int64_t escape_bytes;
};

// Moduli and scales of a Voronoi code.
struct Nest {
    int lattice;
    int32_t q[2];
    int32_t multiplier[2 * 4];
};

struct Packing {
    uint64_t q, limit;  // limit = q^per_word
    int64_t per_word;
    int bits;
};

// Steps of a ring whose symbols have so many bits; see nqz/reference/codings/ring.py and ring_codes.py.
struct RingKind {
    int bits, low_bits;         // of a symbol; of a label below its class
    int choices;                // classes that are tried
    const uint16_t* low;        // [states] by newest symbol, then the rest: four low bits of the label, and 2^15
    const uint8_t* turn;        // [states / 16 / symbols] what the middle of a window turns its class to
    const uint8_t* piece;       // likewise the low bits of its label above the fourth
    uint8_t newest_piece[16];   // and what the newest symbol does to these
    const uint8_t* labels;      // [2^window] of windows
    const int32_t* thresholds;  // [classes - choices] where the classes tried change
};

// The constants of a rate and a window.
struct RingForm {
    int bits2, window, label_bits, memory, ahead;
    float scale;           // from entries in fixed point to units of the search
    const float* centers;  // [labels] the table in these
    const int8_t* values;  // [labels] the table
    RingKind kind[2];
};

// A ring: its form, entries, and the table of dither from its own first entry on, which goes round.
struct Ring {
    const RingForm* form;
    int64_t entries;
    const uint8_t* dither;
    int64_t first;
};

// Rings whose bytes follow one another, and by 2 K what `prepare` made of the forms that are among them.
struct Rings {
    const Ring* ring;
    int64_t count;
    const uint8_t* data;
    const uint8_t* const* tables;
};

// Rings are read: decoded, and multiplied with vectors. `prepare` makes so many bytes of a form and of dither, which
// are the same for all rings of a matrix. `scratch` says how many bytes of working memory decoding takes, and
// multiplying columns of n entries.
struct RingReading {
    int64_t table_bytes;
    void (*prepare)(const RingForm& form, const uint8_t* dither, uint8_t* tables);
    int64_t (*scratch)(int64_t n, int64_t few);
    void (*decode)(const Rings& rings, void* points, int bytes, uint8_t* scratch);
    void (*products)(const Rings& rings, int64_t n, const int16_t* vectors, int64_t few, int64_t* out,
                     uint8_t* scratch);
    int64_t (*sums_scratch)(int64_t n, int64_t few);
    void (*sums)(const Rings& rings, int64_t n, const int16_t* weights, int64_t few, int64_t* out, uint8_t* scratch);
};

// And written.
struct RingKernels {
    int64_t (*encode_scratch)(const Ring& ring);
    void (*encode)(const Ring& ring, const float* u, int64_t n, uint8_t* out, int64_t* moments, uint8_t* scratch);
    RingReading reading;
};

// Exact products of rows, modulo 2^32.
struct IntegerProduct {
    int64_t (*scratch)(const Rows& a, const Rows& b);  // dwords
    void (*multiply)(const Rows& a, const Rows& b, int32_t* out, int64_t stride, int32_t* scratch);
    bool fast;  // at least as fast as a good BLAS in float32
};

// The kernels of an instruction set, named as in Python; see nqz/reference. `exponents` come as the powers of two of
// powers_of. Decoders return null, or why the stream is corrupt.
struct Kernels {
    LatticeFacts (*facts)(int lattice);
    void (*words)(const Key& key, uint64_t first, int64_t count, uint64_t* out);
    void (*levels)(const Key& key, uint64_t counter, int64_t count, uint8_t* out);

    int64_t (*column_statistics)(const Block& block, const double* power, double* state, bool started);
    void (*center_rotate)(const Block& block, const double* mean, const double* power, const int64_t* place, float* out,
                          int64_t stride, const uint64_t* signs, float* scratch);
    void (*rotate)(float* u, int64_t width, int64_t n, const uint64_t* signs, bool inverse, float* scratch);
    void (*rotate_wide)(double* u, int64_t width, int64_t n, const uint64_t* signs, bool inverse, double* scratch);
    void (*restore)(int32_t* points, int64_t n, const uint64_t* signs, const int64_t* place, int64_t width,
                    const double* scale, const double* mean, void* out, bool wide, int64_t row_stride,
                    int64_t column_stride, float* scratch);

    int64_t (*dither_quantize_scratch)(const Place& place);
    void (*dither_quantize)(const Place& place, const Key& key, const float* u, const float* scale, uint8_t* level,
                            uint8_t* scratch, int32_t* out);
    void (*round_scaled)(const float* u, int64_t width, int64_t n, const float* scale, int32_t* out);

    int64_t (*low_bits)(const Place& place, const Tables& tables);
    int64_t (*code_bits)(const Place& place, const Tables& tables);
    void (*entropy_encode)(const Place& place, const Key& key, const Tables& tables, const int32_t* points,
                           uint8_t* level, Encoded& out);
    const char* (*entropy_decode)(const Place& place, const Key& key, const Tables& tables, uint8_t* level,
                                  uint32_t* decoding, uint32_t* chances, const Streams& in, int32_t* out);
    int64_t (*rans_encode)(const uint8_t* symbols, int64_t count, const uint16_t* cum, int lanes, uint32_t* states,
                           uint16_t* words, int64_t space);
    const char* (*rans_decode)(int64_t count, const uint16_t* cum, int symbols, int lanes, const uint32_t* states,
                               const uint16_t* words, int64_t word_count, uint8_t* out);
    void (*voronoi_encode)(const Place& place, const Key& key, const Nest& nest, const uint8_t* choice, const float* u,
                           const float* scale, uint8_t* level, uint16_t* digits, uint8_t* beta, int32_t* points,
                           int64_t* sums);
    const char* (*voronoi_decode)(const Place& place, const Key& key, const Nest& nest, const uint8_t* choice,
                                  uint8_t* level, const uint16_t* digits, const uint8_t* beta, int32_t* out);
    bool (*pack_digits)(const uint16_t* digits, int64_t count, const Packing& packing, uint8_t* out);
    const char* (*unpack_digits)(const uint8_t* data, int64_t bytes, int64_t count, const Packing& packing,
                                 uint16_t* out);

    int64_t (*narrow)(const int32_t* points, int64_t count, int64_t start, int64_t m, const int64_t* place, void* out,
                      int bytes);
    void (*row_energies)(const Rows& rows, int64_t* out);
    int64_t (*point_products)(const int32_t* points, int64_t count, int64_t start, int64_t m, const int32_t* vectors,
                              int64_t few, int64_t* out);
    void (*row_products)(const Rows& rows, int most, const int16_t* vectors, int64_t few, int64_t* out);
    int64_t (*row_sums_scratch)(int64_t few);
    void (*row_sums)(const Rows& rows, int most, const int16_t* weights, int64_t few, int64_t* out, uint8_t* scratch);
    int64_t (*estimate)(const Raw& raw, const Scaling& scaling, void* out, bool wide);
    void (*deviations)(const Raw& raw, const Spread& spread, const void* estimates, void* out, bool wide,
                       int64_t* found);
    void (*group_energies)(const Raw& raw, const int64_t* order, const int64_t* edges, int64_t groups,
                           const double* unit, bool skips, int64_t diagonal, double* out);
    int64_t (*select)(const Raw& raw, const Contest& contest, int64_t space, int32_t* row, int32_t* column,
                      double* score);
    IntegerProduct product;
    const RingKernels* rings;
    const RingReading* reading;  // of rings, where not by `rings`
};

namespace baseline {
extern const Kernels kernels;
}
namespace neon {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}

// What avx512 has with VNNI: a product of its own; and with VBMI besides, a reading of rings.
namespace avx512vnni {
extern const IntegerProduct product;
}
namespace avx512vbmi {
extern const RingReading reading;
}

// SHA-256 of consecutive pieces of a buffer, the last of which may be shorter: 32 bytes for each. For processors with
// instructions for it.
namespace sha {
void hash_pieces(const uint8_t* data, int64_t bytes, int64_t piece, uint8_t* out);
}

}  // namespace nqz
