// Values that functions of the bindings take: checked once, when they are made.
#pragma once

#include "arguments.h"
#include "kernels.h"

#include <nanobind/nanobind.h>

#include <stdint.h>

#include <string>
#include <vector>

namespace {

constexpr int MAX_LATTICES = 256;  // a byte of the format

// Facts of lattices are the same for every instruction set.
inline nqz::LatticeFacts facts_of(int lattice) { return nqz::baseline::kernels.facts(lattice); }

// The lattices that `chosen` takes, as numbers and names: "0 (z), 1 (d4) or 34 to 44 (convolutional)".
template <class Chosen>
std::string listed(Chosen chosen, const std::string& last) {
    std::vector<std::string> items;
    for (int first = 0, end; first < MAX_LATTICES; first = end) {
        end = first + 1;
        const nqz::LatticeFacts facts = facts_of(first);
        if (!facts.exists || !chosen(facts)) continue;
        while (facts_of(end).exists && facts_of(end).name == std::string(facts.name)) end++;
        const std::string to = end > first + 1 ? " to " + std::to_string(end - 1) : "";
        items.push_back(std::to_string(first) + to + " (" + facts.name + ")");
    }
    std::string list = items[0];
    for (size_t i = 1; i < items.size(); i++) list += (i + 1 < items.size() ? ", " : " " + last + " ") + items[i];
    return list;
}

inline void check_lattice(int lattice) {
    if (!facts_of(lattice).exists)
        throw nb::value_error(("lattice must be " + listed([](const auto&) { return true; }, "or")).c_str());
}

inline nqz::Place place_of(int lattice, int64_t count, int64_t start, int64_t m, int lanes, uint64_t counter) {
    check_lattice(lattice);
    require(count >= 1 && count <= 1 << 20, "a chunk has 1 to 2^20 entries");
    check_lanes(lanes);
    require(start >= 0 && start <= (int64_t)1 << 62 && m >= 1 && m <= (int64_t)1 << 40,
            "start must be at least 0 and m at least 1");
    const int64_t row = facts_of(lattice).group * lanes;
    return {lattice, count, (count + row - 1) / row * row, start, m, lanes, counter};
}

inline int64_t groups_of(const nqz::Place& place) { return place.positions / facts_of(place.lattice).group; }

// Room for the dither levels of a chunk, and of the rest of its last tile.
inline int64_t level_room(const nqz::Place& place) { return place.positions + 32 * facts_of(place.lattice).group; }

inline void check_columns(const nqz::Place& place, int64_t columns) {
    require((place.start + place.count - 1) / place.m < columns, "the chunk reaches past the last column of the panel");
}

inline nqz::Nest nest_of(int lattice, const Vector<int32_t>& q, const Matrix<const int32_t>& multiplier) {
    const auto nested = [](const nqz::LatticeFacts& facts) { return facts.nested; };
    if (!facts_of(lattice).exists || !facts_of(lattice).nested)
        throw nb::value_error(("the Voronoi code is for lattices " + listed(nested, "and")).c_str());
    require(size(q) == 2, "q must be int32 [2]");
    require(size(multiplier, 0) == 2 && size(multiplier, 1) == 4, "multiplier must be int32 [2, 4]");
    nqz::Nest nest = {lattice, {}, {}};
    for (int c = 0; c < 2; c++) {
        require(q(c) >= 2 && q(c) <= 4096, "q must be 2 to 4096");
        nest.q[c] = q(c);
        for (int j = 0; j < 4; j++) {
            require(multiplier(c, j) >= 1 && multiplier(c, j) <= 32767, "multiplier must be 1 to 32767");
            nest.multiplier[4 * c + j] = multiplier(c, j);
        }
    }
    return nest;
}

// Tables of the entropy coder of a tensor: a copy, which nobody can change after the checks.
class CoderTables {
  public:
    CoderTables(int lattice, const Vector<int32_t>& half, const Vector<int32_t>& raw, const Vector<int32_t>& rice,
                const Vector<int64_t>& offset, const Vector<uint16_t>& cum, const Matrix<const uint16_t>& weight,
                const Vector<uint8_t>& modelled, const Vector<int32_t>& last)
        : lattice_(lattice),
          halves_last_(facts_of(lattice).halves_last),
          half_(copy_of(half)),
          raw_(copy_of(raw)),
          rice_(copy_of(rice)),
          last_(copy_of(last)),
          offset_(copy_of(offset)),
          cum_(copy_of(cum)),
          weight_(weight.data(), weight.data() + weight.size()),
          modelled_(copy_of(modelled)) {
        check_lattice(lattice);
        const size_t count = half_.size();
        require(raw_.size() == count, "raw must be int32 [T]");
        require(rice_.size() == count, "rice must be int32 [T]");
        require(offset_.size() == count, "offset must be int64 [T]");
        require(weight.shape(0) == count && weight.shape(1) == 16, "weight must be uint16 [T, 16]");
        require(modelled_.size() == count, "modelled must be uint8 [T]");
        require(last_.size() == (halves_last_ ? count : 0),
                "last must be int32, [T] where last steps have tables of their own, else [0]");
        for (int32_t t : last_) require(t >= 0 && t < (int64_t)count, "last names a table that does not exist");
        for (size_t t = 0; t < count; t++) check(t);
    }

    int lattice() const { return lattice_; }

  private:
    friend class ChunkTables;
    int lattice_;
    bool halves_last_;
    std::vector<int32_t> half_, raw_, rice_, last_;
    std::vector<int64_t> offset_;
    std::vector<uint16_t> cum_;
    std::vector<uint16_t> weight_;
    std::vector<uint8_t> modelled_;

    template <class T>
    static std::vector<T> copy_of(const Vector<T>& array) {
        return std::vector<T>(array.data(), array.data() + array.size());
    }

    void check(size_t t) const {
        require(half_[t] >= 1 && half_[t] <= 127, "half must be 1 to 127");
        require(raw_[t] >= 0 && raw_[t] <= 20, "raw must be 0 to 20");
        require(rice_[t] >= 0 && rice_[t] <= 20, "rice must be 0 to 20");
        const int width = 2 * half_[t] + 2;
        require(offset_[t] >= 0 && offset_[t] <= (int64_t)cum_.size() - 16 * width, "offset points outside cum");
        const uint16_t* c = cum_.data() + offset_[t];
        bool valid = true;
        for (int o = 0; o < 16; o++, c += width) {
            valid &= c[0] == 0 && c[width - 1] == 4096;
            for (int s = 0; s + 1 < width; s++) valid &= c[s] < c[s + 1];
        }
        require(valid, "cum is not a table of 12-bit frequencies");
        if (!modelled_[t]) return;
        const nqz::LatticeFacts facts = facts_of(lattice_);
        require(modelled_[t] <= (facts.trellis ? 2 : 1), "modelled must be 0, 1 or 2");
        if (!facts.modelled)
            throw nb::value_error((std::string("the code bits of ") + facts.name + " are not modelled").c_str());
    }
};

// Those of them that a chunk uses.
class ChunkTables {
  public:
    nqz::Tables tables;

    ChunkTables(const nqz::Place& place, const CoderTables& all, const Vector<int32_t>& table_of_column)
        : slot_(all.half_.size() + 1, -1) {
        require(place.lattice == all.lattice_, "the place and the tables are of different lattices");
        check_columns(place, size(table_of_column));
        const int64_t last_column = (place.start + place.count - 1) / place.m;
        for (int64_t column = place.start / place.m; column <= last_column; column++) {
            const int32_t t = table_of_column(column);
            require(t >= 0 && t < (int64_t)all.half_.size(), "table_of_column names a table that does not exist");
            use(t);
            if (all.halves_last_) use(all.last_[(size_t)t]);
        }
        tables = {table_of_column.data(), all.half_.data(), all.raw_.data(),    all.rice_.data(),
                  all.offset_.data(),     all.cum_.data(),  all.weight_.data(), all.modelled_.data(),
                  all.last_.data(),       used_.data(),     (int)used_.size(),  slot_.data()};
    }

  private:
    std::vector<int32_t> used_, slot_;

    void use(int32_t t) {
        if (slot_[(size_t)t] >= 0) return;
        slot_[(size_t)t] = (int32_t)used_.size();
        used_.push_back(t);
    }
};

inline void define_values(nb::module_& m) {
    using nqz::Key, nqz::Nest, nqz::Place;
    nb::class_<Key>(m, "Key", "Key of the generator of the dither.")
        .def(
            "__init__", [](Key* self, uint64_t key0, uint64_t key1) { new (self) Key{key0, key1}; }, nb::arg("key0"),
            nb::arg("key1"))
        .def_ro("key0", &Key::key0)
        .def_ro("key1", &Key::key1);
    nb::class_<Place>(m, "Place", "Where a chunk lies: in its panel, on its lanes, in the dither.")
        .def(
            "__init__",
            [](Place* self, int lattice, int64_t count, int64_t start, int64_t columns, int lanes, uint64_t counter) {
                new (self) Place(place_of(lattice, count, start, columns, lanes, counter));
            },
            nb::arg("lattice"), nb::arg("count"), nb::arg("start"), nb::arg("m"), nb::arg("lanes"), nb::arg("counter"))
        .def_ro("lattice", &Place::lattice)
        .def_ro("count", &Place::count)
        .def_ro("start", &Place::start)
        .def_ro("m", &Place::m)
        .def_ro("lanes", &Place::lanes)
        .def_ro("counter", &Place::counter)
        .def_ro("positions", &Place::positions)
        .def_prop_ro("groups", &groups_of);
    nb::class_<CoderTables>(m, "Tables", "Tables of the entropy coder of a tensor.")
        .def(nb::init<int, const Vector<int32_t>&, const Vector<int32_t>&, const Vector<int32_t>&,
                      const Vector<int64_t>&, const Vector<uint16_t>&, const Matrix<const uint16_t>&,
                      const Vector<uint8_t>&, const Vector<int32_t>&>(),
             nb::arg("lattice"), nb::arg("half").noconvert(), nb::arg("raw").noconvert(), nb::arg("rice").noconvert(),
             nb::arg("offset").noconvert(), nb::arg("cum").noconvert(), nb::arg("weight").noconvert(),
             nb::arg("modelled").noconvert(), nb::arg("last").noconvert())
        .def_prop_ro("lattice", &CoderTables::lattice);
    nb::class_<Nest>(m, "Nest", "Moduli and scales of a Voronoi code.")
        .def(
            "__init__",
            [](Nest* self, int lattice, const Vector<int32_t>& q, const Matrix<const int32_t>& multiplier) {
                new (self) Nest(nest_of(lattice, q, multiplier));
            },
            nb::arg("lattice"), nb::arg("q").noconvert(), nb::arg("multiplier").noconvert())
        .def_ro("lattice", &Nest::lattice);
}

}  // namespace
