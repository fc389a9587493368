// From the number of a lattice to its struct: the only place that knows the numbers.
#pragma once

#include "base.h"
#include "lattices/lattices.h"
#include "lattices/tile.h"

namespace nqz::NQZ_ISA {
namespace {

// Calls f with an object of the lattice's struct; the number must be one of a lattice.
template <class F, class L, class... Rest>
NQZ_INLINE auto with_lattice(int number, F f, List<L, Rest...>) {
    if (number == L::NUMBER) return f(L());
    if constexpr (sizeof...(Rest) > 0)
        return with_lattice(number, f, List<Rest...>());
    else
        return f(Conv());
}

template <class F>
NQZ_INLINE auto with_lattice(int number, F f) {
    return with_lattice(number, f, GroupLattices());
}

LatticeFacts lattice_facts(int number) {
    return with_lattice(number, [&](auto lattice) {
        typedef decltype(lattice) L;
        bool exists = true;
        if constexpr (L::TRELLIS) exists = L::is(number);
        return LatticeFacts{exists,           L::NAME,        L::GROUP, L::NESTED != 0, L::HALVES_LAST != 0,
                            L::MODELLED != 0, L::TRELLIS != 0};
    });
}

// What the quantizers ask of a lattice with groups, by pointers: they are compiled once for all of them. x, point and
// digit are tiles apart from each other.
struct GroupLattice {
    int group, fine;
    void (*nearest)(const Row* x, const FixedUnit& unit, Row* point);
    void (*nearest_of_groups)(const Row* x, const GroupUnit& unit, Row* point);
    void (*to_digits)(const Row* point, const Moduli& moduli, Row* digit);
    void (*to_point)(const Row* digit, Row* point);
};

template <class Lattice>
constexpr GroupLattice GROUP_LATTICE = {
    Lattice::GROUP,     Lattice::FINE,    Lattice::template nearest<FixedUnit>, Lattice::template nearest<GroupUnit>,
    Lattice::to_digits, Lattice::to_point};

// Null where it has none.
NQZ_INLINE const GroupLattice* group_lattice(int number) {
    return with_lattice(number, [](auto lattice) -> const GroupLattice* {
        typedef decltype(lattice) L;
        if constexpr (L::TRELLIS)
            return nullptr;
        else
            return &GROUP_LATTICE<L>;
    });
}

}  // namespace
}  // namespace nqz::NQZ_ISA
