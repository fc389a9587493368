// The instruction set that this object is compiled for: `Simd`, and the types of vectors.h. All code that knows an
// instruction set stands in this folder; the kernels are algorithms on these names.
//
// The header of an instruction set
//   - defines NQZ_VECTOR (4, 8 or 16 floats in a vector) before it includes portable.h,
//   - derives `Simd` from `Portable` and replaces there what it does better, each operation with the same result to the
//     bit; portable.h says what every one of them means.
//
// The operations, all static members of Simd (`using Portable::lesser;` where not all of its overloads are replaced):
//     RADIX, TRELLIS_STEPS, GATHERS                          tuning
//     butterfly<H>(Vector), negate(Vector, bits)             rotation
//     transpose_square(from, pitch, to)                      rotation, centering, restoring, packing for products
//     stream_square(from, pitch, to), settle()               restoring
//     rounded(Vector, limit), lesser(Ints, Ints)             nearest points
//     choose_lesser(to, a0, b0, a1, b1, least0, least1), struct States    Viterbi
//     Table, table(from), pick(table, index), least_of(Costs, Costs), interleave(a, b, low, high),
//         store_blocks(to, pitch, v), choose(to, a, b, ab, c), chosen(from, lane),
//         exchange(from, by, to)                             the search for rings
//     struct PairSums; and, where NQZ_SHUFFLES, struct Nibbles, level, Levels, LevelSums    reading rings
//     struct Accumulator; and, where that SUMS_PAIRS, window_energies    integer products
//     struct RowPairs                                        rows of small integers times a few vectors
//     look_up(table, index, to), spread(bits, to)            code bits of the entropy coder
//     and, where GATHERS, the lanes of the entropy coder: widen, gather, gather_pairs, gather_bytes,
//     lesser(Words, Words), equal, flags, lanes_of, contexts_of_bits, refilled, emptied, Floats, divided, product
//     and, where NQZ_FEW_SYMBOLS, struct FewSymbols
//
// NQZ_PLAIN asks for plain C++ all the same.
#pragma once

#if defined(NQZ_PLAIN)
#include "plain.h"
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "avx512.h"
#elif defined(__AVX2__)
#include "avx2.h"
#elif defined(__SSE2__)
#include "sse2.h"
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include "neon.h"
#else
#include "plain.h"
#endif
