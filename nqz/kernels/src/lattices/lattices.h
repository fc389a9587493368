// The lattices: a struct each, where everything that is true of it stands. What dispatch.h makes of them is all that
// the rest of the kernels knows.
//
// A lattice with groups (z, d4, e8, leech) has
//     NAME, NUMBER                    its name in messages, its number in the format
//     GROUP, FINE                     steps of a group, fine coordinates to an integer
//     NESTED                          whether it has a Voronoi code
//     nearest(x, unit, point)         the nearest points of the 32 groups of a tile, in integers
//     to_digits, to_point             for the Voronoi code: the coordinates of a point in a basis, modulo q, and back
//     BLOCKS, SIZE, BITS              for the entropy code: blocks of a group, their steps, and code bits of each,
//     codewords, contexts             the indices of the codewords of points, and Y mod 16 from them,
//     code_bit                        bit i of the codeword of an index, where MODELLED: where its chances are
//     modelled, HALVES_LAST, last               whether Y mod 32 of the last step follows from all others, and how.
// conv has trellises instead (TRELLIS).
#pragma once

#include "conv.h"
#include "d4.h"
#include "e8.h"
#include "leech.h"
#include "z.h"

namespace nqz::NQZ_ISA {
namespace {

template <class...>
struct List {};

typedef List<Z, D4, E8, Leech> GroupLattices;

}  // namespace
}  // namespace nqz::NQZ_ISA
