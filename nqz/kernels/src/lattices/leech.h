// Leech: the lattice in 24 dimensions, in integer coordinates: nearest point, code bits, digits of the Voronoi code.
//
// A point is m + 2 c_i + 4 k_i, m 0 or 1, c a codeword of the extended binary Golay code, the sum of k_i = m (mod 2).
//
// In the Miracle Octad Generator the code has the positions in six columns of four. With the rows standing for 0, 1, ω
// and ω² of the field of four elements, a column stands for the sum of the rows with a one. The codewords are the words
// in which the columns stand for a word of the hexacode (64 of them) and have all the parity of the first row. Given
// what a column stands for and its parity, there are two columns, complements of each other.
#pragma once

#include "../base.h"
#include "../simd/simd.h"
#include "tile.h"

namespace nqz::NQZ_ISA {
namespace {

enum { GOLAY_SIZE = 24, GOLAY_BITS = 12 };

// Row i of the generator has bit i, no other of bits 0 to 11, and these bits 12 to 23. Part of the format.
constexpr uint32_t GOLAY[GOLAY_BITS] = {0x25F, 0x727, 0xB8B, 0x1F3, 0x5CD, 0xC75,
                                        0x6B9, 0x96E, 0xAB6, 0xCDA, 0xF1C, 0xFE0};

constexpr int COLUMN[6][4] = {{0, 1, 2, 3},     {4, 5, 6, 12},    {7, 8, 9, 13},
                              {10, 14, 15, 16}, {11, 17, 18, 19}, {20, 21, 22, 23}};

// Bits of the codeword of an index: the information bits c_0 to c_11.
NQZ_INLINE uint32_t golay_word(uint32_t index) {
    uint32_t word = index & 4095;
    for (int i = 0; i < GOLAY_BITS; i++) word ^= (0 - (index >> i & 1)) & (GOLAY[i] << GOLAY_BITS);
    return word;
}

// The words of the hexacode by their last pair of digits: four first and second pairs, 4 · digit + digit.
struct Hexacode {
    uint8_t pairs[16][4][2];
    static constexpr int times(int a, int b) { return a && b ? (a + b - 2) % 3 + 1 : 0; }
    constexpr Hexacode() : pairs() {
        int found[16] = {};
        for (int word = 0; word < 64; word++) {
            int a = word >> 4, b = word >> 2 & 3, c = word & 3, value[4] = {};
            for (int x = 1; x < 4; x++) value[x] = times(a, times(x, x)) ^ times(b, x) ^ c;
            int last = 4 * value[2] + value[3];
            pairs[last][found[last]][0] = (uint8_t)(4 * a + b);
            pairs[last][found[last]++][1] = (uint8_t)(4 * c + value[1]);
        }
    }
};
constexpr Hexacode HEXACODE;

// The column of parity `parity` with first row `top` that stands for `digit`, row i at bit i.
NQZ_INLINE constexpr int column_word(int digit, int parity, int top) {
    constexpr int odd[4] = {0xE, 2, 4, 8};
    return top | (parity ^ top ? odd[digit] : odd[digit] ^ 0xE);
}

// Keys: a cost in units of 4 · unit, 12 bits up, above the information bits of a word. As they add up, the least key is
// that of the least cost and, of equal ones, of the lowest index. Costs are 0 to 2 · 24 · unit (what a coordinate costs
// more than with the better of its code bits, at most `unit`; a move in every column, at most 4 · unit), below 2^20 for
// the largest unit, 4 · 4096. The sum begins at KEY_BIAS, so that signed comparison does.
enum { INDEX_BITS = 12 };
const int32_t KEY_BIAS = INT32_MIN;

typedef Ints Keys;

// What the coordinates cost with either code bit, for one m and 32 groups: keys, the key of moving k to the other side
// (its nearest value having the wrong parity), and whether the nearest k is odd (-1 or 0).
struct Choices {
    int32_t key[2][GOLAY_SIZE][32], move[2][GOLAY_SIZE][32], odd[2][GOLAY_SIZE][32];
};

// x = unit · (m + 4 q) + a, -2 unit <= a < 2 unit.
template <class Unit>
NQZ_INLINE int32_t split_four(int32_t x, int32_t m, const Unit& unit, int l, int32_t& q) {
    int32_t v = x - unit.unit(l) * m;
    q = unit.over_four(v + 2 * unit.unit(l), l);
    return v - 4 * unit.unit(l) * q;
}

template <class Unit>
void weigh(const Row* __restrict x, const Unit& unit, int m, Choices& __restrict choices) {
    for (int i = 0; i < GOLAY_SIZE; i++) {
        const int32_t bit = i < GOLAY_BITS ? 1 << i : 0;
        const uint32_t bias = i == 0 ? (uint32_t)KEY_BIAS : 0;
        for (int l = 0; l < 32; l++) {
            int32_t q, a = split_four(x[i][l], m, unit, l, q);
            int32_t magnitude = a < 0 ? -a : a, one = unit.unit(l) - magnitude;
            choices.key[0][i][l] = (int32_t)(((uint32_t)(one < 0 ? -one : 0) << INDEX_BITS) + bias);
            choices.key[1][i][l] = (int32_t)(((uint32_t)(one < 0 ? 0 : one) << INDEX_BITS) + bias) + bit;
            choices.move[0][i][l] = (2 * (2 * unit.unit(l) - magnitude)) << INDEX_BITS;
            choices.move[1][i][l] = (2 * magnitude) << INDEX_BITS;
            choices.odd[0][i][l] = -(q & 1);
            choices.odd[1][i][l] = -((q ^ (a < 0 ? 1 : 0)) & 1);
        }
    }
}

// Keys of the columns: by parity, digit, and 2 · first row + parity of the sum of k.
typedef Keys Columns[2][4][4];
// Keys of a pair of columns: by digits, and 2 · sum of the first rows + parity of the sum of k.
typedef Keys Pairs[16][4];

NQZ_INLINE void weigh_column(const Choices& choices, const int* rows, int slice, Columns& out) {
    Keys key[2][4], move[2][4], odd[2][4];  // of the first two rows and of the last two
    for (int half = 0; half < 2; half++)
        for (int v = 0; v < 4; v++) {
            int first = rows[2 * half], second = rows[2 * half + 1];
            key[half][v] =
                load_ints(&choices.key[v & 1][first][slice]) + load_ints(&choices.key[v >> 1][second][slice]);
            move[half][v] = Simd::lesser(load_ints(&choices.move[v & 1][first][slice]),
                                         load_ints(&choices.move[v >> 1][second][slice]));
            odd[half][v] =
                load_ints(&choices.odd[v & 1][first][slice]) ^ load_ints(&choices.odd[v >> 1][second][slice]);
        }
    for (int parity = 0; parity < 2; parity++)
        for (int digit = 0; digit < 4; digit++)
            for (int top = 0; top < 2; top++) {
                int v = column_word(digit, parity, top), a = v & 3, b = v >> 2;
                Keys sum = key[0][a] + key[1][b], least_move = Simd::lesser(move[0][a], move[1][b]);
                Keys wrong = odd[0][a] ^ odd[1][b];
                out[parity][digit][2 * top] = sum + (least_move & wrong);
                out[parity][digit][2 * top + 1] = sum + (least_move & ~wrong);
            }
}

// The least sum for either first row and either parity.
NQZ_INLINE void combine(const Keys* a, const Keys* b, Keys* out) {
    for (int s = 0; s < 4; s++)
        out[s] =
            Simd::lesser(Simd::lesser(a[0] + b[s], a[1] + b[s ^ 1]), Simd::lesser(a[2] + b[s ^ 2], a[3] + b[s ^ 3]));
}

// Least keys of all codewords, the sum of k having the parity of m.
void search_codewords(const Choices& choices, int m, int32_t* best) {
    for (int slice = 0; slice < 32; slice += VECTOR) {
        Columns columns[6];
        for (int j = 0; j < 6; j++) weigh_column(choices, COLUMN[j], slice, columns[j]);
        Keys least_key = {};
        least_key += INT32_MAX;
        for (int parity = 0; parity < 2; parity++) {
            Pairs pairs[3];
            for (int j = 0; j < 3; j++)
                for (int digits = 0; digits < 16; digits++)
                    combine(columns[2 * j][parity][digits >> 2], columns[2 * j + 1][parity][digits & 3],
                            pairs[j][digits]);
            for (int digits = 0; digits < 16; digits++) {
                Keys sum[4], either[4];
                const uint8_t (*word)[2] = HEXACODE.pairs[digits];
                combine(pairs[0][word[0][0]], pairs[1][word[0][1]], sum);
                for (int w = 1; w < 4; w++) {
                    combine(pairs[0][word[w][0]], pairs[1][word[w][1]], either);
                    for (int s = 0; s < 4; s++) sum[s] = Simd::lesser(sum[s], either[s]);
                }
                for (int s = 0; s < 4; s++)
                    least_key = Simd::lesser(least_key, sum[s] + pairs[2][digits][s ^ (2 * parity + m)]);
            }
        }
        memcpy(best + slice, &least_key, sizeof least_key);
    }
}

template <class Unit>
void nearest_leech(const Row* __restrict x, const Unit& unit, Row* __restrict point) {
    Choices choices;
    int32_t best[2][32], offset[32] = {}, m[32];
    uint32_t word[32];
    for (int which = 0; which < 2; which++) {
        weigh(x, unit, which, choices);
        search_codewords(choices, which, best[which]);
    }
    // What the nearest coordinates without regard to c and k cost more with m = 1, in units of `unit`.
    for (int i = 0; i < GOLAY_SIZE; i++)
        for (int l = 0; l < 32; l++) {
            int32_t q, a = split_four(x[i][l], 0, unit, l, q), magnitude = a < 0 ? -a : a;
            int32_t over = 2 * unit.unit(l) - magnitude;
            offset[l] += unit.unit(l) - 2 * (magnitude < over ? magnitude : over);
        }
    for (int l = 0; l < 32; l++) {
        uint32_t even = (uint32_t)best[0][l] ^ (uint32_t)KEY_BIAS, odd = (uint32_t)best[1][l] ^ (uint32_t)KEY_BIAS;
        m[l] = 4 * (int32_t)(odd >> INDEX_BITS) + offset[l] < 4 * (int32_t)(even >> INDEX_BITS);
        word[l] = golay_word(m[l] ? odd : even);
    }
    // The point of this word, and the coordinate that it costs least to move.
    int32_t parity[32], cheapest[32], where[32] = {}, step[32] = {};
    for (int l = 0; l < 32; l++) {
        parity[l] = m[l];
        cheapest[l] = INT32_MAX;
    }
    for (int i = 0; i < GOLAY_SIZE; i++)
        for (int l = 0; l < 32; l++) {
            int32_t q, a = split_four(x[i][l], m[l], unit, l, q), c = (int32_t)(word[l] >> i & 1);
            int32_t below = a < 0 ? 1 : 0, magnitude = a < 0 ? -a : a;
            int32_t move = c ? magnitude : 2 * unit.unit(l) - magnitude;
            int32_t k = q - (c & below);
            bool less = move < cheapest[l];
            cheapest[l] = less ? move : cheapest[l];
            where[l] = less ? i : where[l];
            step[l] = less ? (below ^ c ? -4 : 4) : step[l];
            parity[l] ^= k & 1;
            point[i][l] = m[l] + 2 * c + 4 * k;
        }
    for (int i = 0; i < GOLAY_SIZE; i++)
        for (int l = 0; l < 32; l++) point[i][l] += parity[l] && where[l] == i ? step[l] : 0;
}

// Adds `sign` times the information coordinates' part of the points to coordinates 12 to 23.
NQZ_INLINE void add_checks(const Row* digit, int32_t sign, Row* to) {
    for (int j = GOLAY_BITS; j < GOLAY_SIZE; j++) {
        for (int i = 1; i < GOLAY_BITS; i++) {
            int32_t factor = 2 * sign * (int32_t)(GOLAY[i] >> (j - GOLAY_BITS) & 1);
            for (int l = 0; l < 32; l++) to[j][l] += factor * digit[i][l];
        }
        for (int l = 0; l < 32; l++) to[j][l] += sign * digit[0][l];
    }
}

struct Leech {
    static constexpr const char* NAME = "leech";
    enum { NUMBER = 3, GROUP = GOLAY_SIZE, FINE = 4 };
    enum { NESTED = 1, HALVES_LAST = 1, TRELLIS = 0, MODELLED = 0 };
    enum { BLOCKS = 1, SIZE = GOLAY_SIZE, BITS = GOLAY_BITS + 1 };

    template <class Unit>
    static void nearest(const Row* __restrict x, const Unit& unit, Row* __restrict point) {
        nearest_leech(x, unit, point);
    }

    // Entropy coding. The index of a point: the information bits of c, then m.

    template <class Lanes>
    static NQZ_INLINE void codewords(const int32_t* points, const uint8_t* level, Lanes n, uint32_t* __restrict index) {
        for (int l = 0; l < n; l++) index[l] = (((uint32_t)points[l] + level[l]) >> 2 & 1) << GOLAY_BITS;
        for (int i = 0; i < GOLAY_BITS; i++)
            for (int l = 0; l < n; l++) index[l] |= (((uint32_t)points[i * n + l] + level[i * n + l]) >> 3 & 1) << i;
    }

    // Y mod 16 of the n lanes of a group row.
    template <class Lanes>
    static NQZ_INLINE void contexts(const uint32_t (*__restrict index)[32], const uint8_t* level, Lanes n,
                                    uint8_t* __restrict context) {
        uint32_t word[32];
        for (int l = 0; l < n; l++) word[l] = golay_word(index[0][l]);
        for (int i = 0; i < GOLAY_SIZE; i++)
            for (int l = 0; l < n; l++) {
                uint32_t residue = (index[0][l] >> GOLAY_BITS) + 2 * (word[l] >> i & 1);
                context[i * n + l] = (uint8_t)((4 * residue - level[i * n + l]) & 15);
            }
    }

    // Y mod 32 of the last step of a group row, from the other points and its Y mod 16.
    template <class Lanes>
    static NQZ_INLINE void last(const uint32_t (*__restrict index)[32], const int32_t* points, const uint8_t* level,
                                Lanes n, const uint8_t* __restrict context, uint32_t* known) {
        const int last = GOLAY_SIZE - 1;
        for (int l = 0; l < n; l++) known[l] = index[0][l] >> GOLAY_BITS;
        for (int i = 0; i < last; i++)
            for (int l = 0; l < n; l++) known[l] ^= ((uint32_t)points[i * n + l] + level[i * n + l]) >> 4;
        for (int l = 0; l < n; l++) {
            uint32_t z = level[last * n + l], o = context[l];
            // 16 (k mod 2) + residue - level, the residue being (o + level) mod 16.
            known[l] = (16 * (known[l] & 1) + ((o + z) & 15) - z) & 31;
        }
    }

    // Voronoi code. Digits are the coordinates, modulo q, in the basis (1, ..., 1, -3), twice rows 1 to 11 of the
    // generator, 4 e_j + 4 e_23 for j = 12 to 22, and 8 e_23.
    static void to_digits(const Row* __restrict point, const Moduli& moduli, Row* __restrict digit) {
        const int last = GOLAY_SIZE - 1;
        for (int i = 0; i < GOLAY_SIZE; i++)
            for (int l = 0; l < 32; l++)
                digit[i][l] = i && i < GOLAY_BITS ? (point[i][l] - point[0][l]) >> 1 : point[i][l];
        add_checks(digit, -1, digit);
        for (int l = 0; l < 32; l++) digit[last][l] += 4 * digit[0][l];
        for (int j = GOLAY_BITS; j < last; j++)
            for (int l = 0; l < 32; l++) {
                digit[last][l] -= digit[j][l];
                digit[j][l] >>= 2;
            }
        for (int l = 0; l < 32; l++) digit[last][l] >>= 3;
        // Digits reach 2^29: beyond what a float32 reciprocal divides exactly.
        double reciprocal[32];
        for (int l = 0; l < 32; l++) reciprocal[l] = 1.0 / (double)moduli.q[l];
        for (int i = 0; i < GOLAY_SIZE; i++)
            for (int l = 0; l < 32; l++) {
                int32_t rest = digit[i][l] - moduli.q[l] * (int32_t)((double)digit[i][l] * reciprocal[l]);
                rest += rest < 0 ? moduli.q[l] : 0;
                digit[i][l] = rest - (rest >= moduli.q[l] ? moduli.q[l] : 0);
            }
    }

    static void to_point(const Row* __restrict digit, Row* __restrict point) {
        const int last = GOLAY_SIZE - 1;
        for (int i = 0; i < GOLAY_SIZE; i++)
            for (int l = 0; l < 32; l++)
                point[i][l] = i == 0           ? digit[0][l]
                              : i < GOLAY_BITS ? digit[0][l] + 2 * digit[i][l]
                              : i < last       ? 4 * digit[i][l]
                                               : 8 * digit[i][l] - 4 * digit[0][l];
        for (int j = GOLAY_BITS; j < last; j++)
            for (int l = 0; l < 32; l++) point[last][l] += 4 * digit[j][l];
        add_checks(digit, 1, point);
    }
};

}  // namespace
}  // namespace nqz::NQZ_ISA
