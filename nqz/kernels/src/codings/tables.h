// The tables of the entropy coder along a chunk: which table codes which position, and the lengths of the streams of
// plain bits.
#pragma once

#include "../base.h"
#include "../dispatch.h"

namespace nqz::NQZ_ISA {
namespace {

NQZ_INLINE int64_t column_of(const Place& place, int64_t p) {
    return (place.start + least(p, place.count - 1)) / place.m;
}

// Positions `begin` to `end` - 1, consecutive columns with one table. (Positions beyond the entries go with the last.)
struct Run {
    const Place& place;
    const Tables& tables;
    const int64_t first_column, last_column;
    int64_t begin, end, column;  // the next column in the direction taken
    int32_t table = 0;

    NQZ_INLINE Run(const Place& place_, const Tables& tables_, bool from_end)
        : place(place_),
          tables(tables_),
          first_column(place_.start / place_.m),
          last_column(column_of(place_, place_.count - 1)),
          begin(from_end ? place_.positions : 0),
          end(begin),
          column(from_end ? last_column : first_column) {}
    void forward() {
        begin = end;
        table = tables.table_of_column[column];
        do column++;
        while (column <= last_column && tables.table_of_column[column] == table);
        end = column > last_column ? place.positions : column * place.m - place.start;
    }
    void backward() {
        end = begin;
        table = tables.table_of_column[column];
        do column--;
        while (column >= first_column && tables.table_of_column[column] == table);
        begin = column < first_column ? 0 : (column + 1) * place.m - place.start;
    }
};

// Writes the table of every position of the group row that begins at `first`; the last step has tables of its own where
// `halves_last`.
void row_tables(int group, bool halves_last, const Place& place, const Tables& tables, int64_t first, int32_t* table) {
    const int n = group * place.lanes;
    const int64_t last = column_of(place, first + n - 1);
    for (int p = 0; p < n;) {
        int64_t column = column_of(place, first + p);
        int32_t t = tables.table_of_column[column];
        int end = column == last ? n : (int)least(n, (column + 1) * place.m - place.start - first);
        for (; p < end; p++) table[p] = t;
    }
    if (halves_last)
        for (int p = n - place.lanes; p < n; p++) table[p] = tables.last[table[p]];
}

// How many of the first `count` positions are in the last steps of groups.
NQZ_INLINE int64_t last_steps(const Place& place, int group, int64_t count) {
    const int64_t row = group * place.lanes, rest = count % row - (row - place.lanes);
    return count / row * place.lanes + (rest > 0 ? rest : 0);
}

int64_t low_bits(const Place& place, const Tables& tables) {
    const LatticeFacts facts = lattice_facts(place.lattice);
    int64_t total = 0;
    for (Run run(place, tables, false); run.end < place.positions;) {
        run.forward();
        total += (run.end - run.begin) * tables.raw[run.table];
        if (facts.halves_last) {
            int64_t special = last_steps(place, facts.group, run.end) - last_steps(place, facts.group, run.begin);
            total += special * (tables.raw[tables.last[run.table]] - tables.raw[run.table]);
        }
    }
    return total;
}

// Of a group row all code bits are modelled, or none, as its first position has it.
int64_t code_bits(const Place& place, const Tables& tables) {
    const int64_t row = lattice_facts(place.lattice).group * place.lanes;
    const int64_t row_bits = place.lanes * with_lattice(place.lattice, [](auto lattice) {
                                 typedef decltype(lattice) L;
                                 return L::BLOCKS * L::BITS;
                             });
    int64_t total = 0;
    for (Run run(place, tables, false); run.end < place.positions;) {
        run.forward();
        int64_t rows = (run.end + row - 1) / row - (run.begin + row - 1) / row;
        total += tables.modelled[run.table] ? 0 : rows * row_bits;
    }
    return total;
}

}  // namespace
}  // namespace nqz::NQZ_ISA
