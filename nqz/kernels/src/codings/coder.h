// What the two directions of the entropy coder and the code bits of a lattice share: coders, rows, and a lattice's
// functions for its code bits.
#pragma once

#include "../base.h"
#include "../dither.h"
#include "../lattices/conv.h"
#include "ahead.h"
#include "rans.h"

namespace nqz::NQZ_ISA {
namespace {

// A group row of a chunk, whose table is `t` at its first position.
struct GroupRow {
    int64_t first;          // position
    const int32_t* points;  // to be encoded
    const uint8_t* level;   // if read
    int32_t t;
    bool same;             // whether all positions have table t
    const int32_t* table;  // of every position, unless all have the same; then where the code bits are modelled
    bool modelled;
};

// Where the coding of a chunk is. The encoder goes backwards: rows, steps and lanes last first.
struct Encoder {
    const Place& place;
    const Tables& tables;
    const Dither dither;
    const uint8_t* level;  // of all positions, or null: made row by row
    const int32_t* points;
    Encoded& out;
    const int n;  // lanes
    uint32_t state[32];
    uint16_t* words;
    uint64_t* codes;  // of escapes
    int64_t low_position, code_position;
    Taps taps;  // of trellises
    LookAhead ahead;
};

struct Decoder {
    const Place& place;
    const Tables& tables;
    const Dither dither;
    const uint8_t* level;
    const uint32_t* decoding;
    uint32_t* chances;  // working memory, as in Encoded
    const Streams& in;
    const int n;
    uint32_t state[32];
    const uint16_t *words, *end;
    int64_t escape_position, low_position, code_position;
    Taps taps;  // of trellises
    enum { MOST_INPUTS = 64 };
    uint32_t inputs[MOST_INPUTS];  // their latest, at least MEMORY_MAX
    int input_count;
    LookAhead ahead;
};

// Code bits of a lattice.
struct CodeBits {
    int group;
    bool halves_last;
    bool plain_levels, modelled_levels;  // whether encoding reads levels, plain bits and modelled ones
    // Before the first row; may be null.
    void (*begin_encoding)(Encoder& encoder);
    void (*begin_decoding)(Decoder& decoder);
    void (*encode)(Encoder& encoder, const GroupRow& row);
    // Writes Y mod 16 of every position of the row; `index` keeps what `last` needs. Returns false if the words run
    // out.
    bool (*decode)(Decoder& decoder, const GroupRow& row, uint32_t (*index)[32], uint8_t* context);
    // Y mod 32 of the last step; null unless halves_last.
    void (*last)(const uint32_t (*index)[32], const GroupRow& row, const int32_t* points, int n, const uint8_t* context,
                 uint32_t* known);
};

}  // namespace
}  // namespace nqz::NQZ_ISA
