// The value `RingCode` of the bindings: the forms of the ring code, and what the kernels need to know of each.
#pragma once

#include "arguments.h"
#include "kernels.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <stdint.h>

#include <map>
#include <memory>
#include <vector>

namespace {

constexpr int LABEL_BITS[9] = {0, 0, 5, 6, 6, 7, 7, 8, 8};  // of 3 bits with a window of 14 eight

constexpr int RING_VECTOR = 127 * 128 + 63;  // the largest entry of a vector that rings are multiplied with

// A form, with the arrays that it points to.
class OwnedForm {
  public:
    nqz::RingForm form = {};

    explicit OwnedForm(const nb::handle& given) {
        form.bits2 = nb::cast<int>(given.attr("bits2"));
        form.window = nb::cast<int>(given.attr("window"));
        form.label_bits = nb::cast<int>(given.attr("labels"));
        form.memory = nb::cast<int>(given.attr("memory"));
        form.ahead = nb::cast<int>(given.attr("ahead"));
        form.scale = nb::cast<float>(given.attr("scale"));
        const bool half = form.bits2 % 2 != 0;
        require(form.bits2 >= 2 && form.bits2 <= 8, "bits2 must be 2 to 8");
        require(form.window >= 12 && form.window <= 16, "window must be 12, 14 or 16");
        require(form.label_bits == LABEL_BITS[form.bits2] || (form.bits2 == 6 && form.label_bits == 8),
                "a label has four bits more than a symbol, or five");
        require(form.memory == form.window - (form.bits2 + 1) / 2, "a state has the bits of the window but a symbol");
        require(form.ahead >= 1 && form.ahead <= 4096, "ahead must be 1 to 4096");
        const size_t labels = (size_t)1 << form.label_bits;
        for (int value : nb::cast<std::vector<int>>(given.attr("values").attr("tolist")()))
            values_.push_back((int8_t)value);
        centers_ = nb::cast<std::vector<float>>(given.attr("centers").attr("tolist")());
        const auto generators = nb::cast<std::vector<std::vector<int>>>(given.attr("generators"));
        require(values_.size() == labels && centers_.size() == labels, "the table has as many values as labels");
        const int limit = form.label_bits < 7 ? 63 : 127;
        for (size_t h = 0; h < labels; h++)
            require(values_[h] == -values_[labels - 1 - h] && values_[h] <= limit && values_[h] >= -limit,
                    "the table is odd, with integers of up to 63, from 7 bits of labels on 127");
        require(generators.size() == (half ? 2u : 1u), "a half has two generators, a whole number one");
        for (size_t k = 0; k < generators.size(); k++) {
            thresholds_[k] = nb::cast<std::vector<int32_t>>(given.attr("thresholds")((int)k).attr("tolist")());
            set(form.kind[k], (int)k, generators[k]);
        }
        form.centers = centers_.data();
        form.values = values_.data();
    }
    OwnedForm(const OwnedForm&) = delete;
    OwnedForm& operator=(const OwnedForm&) = delete;

  private:
    std::vector<int8_t> values_;
    std::vector<float> centers_;
    std::vector<uint16_t> low_[2];
    std::vector<uint8_t> turn_[2], piece_[2], labels_[2];
    std::vector<int32_t> thresholds_[2];

    void set(nqz::RingKind& kind, int k, const std::vector<int>& generator) {
        kind.bits = form.bits2 / 2 + k;
        kind.low_bits = form.label_bits - kind.bits;
        kind.choices = kind.bits == 1 ? 2 : 3;
        require(kind.low_bits == 4 || kind.low_bits == 5, "a label has four or five low bits");
        require((int)generator.size() == form.memory + kind.bits, "a generator has a label for every bit");
        require((int)thresholds_[k].size() == (1 << kind.bits) - kind.choices, "a threshold for every change of class");
        // Label of every window: linear.
        std::vector<uint8_t>& labels = labels_[k];
        labels.assign((size_t)1 << form.window, 0);
        for (size_t i = 0; i < generator.size(); i++)
            for (size_t w = (size_t)1 << i; w < (size_t)2 << i; w++)
                labels[w] = (uint8_t)(labels[w - ((size_t)1 << i)] ^ generator[i]);
        for (size_t w = (size_t)1 << generator.size(); w < labels.size(); w++)
            labels[w] = labels[w & (((size_t)1 << generator.size()) - 1)];
        const size_t states = (size_t)1 << form.memory, symbols = (size_t)1 << kind.bits, group = states / symbols;
        const int mask = (1 << kind.low_bits) - 1;
        low_[k].resize(states);
        for (size_t s = 0; s < symbols; s++) {
            for (size_t q = 0; q < group; q++)
                low_[k][s * group + q] = (uint16_t)((labels[q * symbols + s] & 15) | 0x8000);
            kind.newest_piece[s] = (uint8_t)((labels[s] & mask) >> 4);
        }
        for (size_t q = 0; q < group; q += 16) {
            turn_[k].push_back((uint8_t)(labels[q * symbols] >> kind.low_bits));
            piece_[k].push_back((uint8_t)((labels[q * symbols] & mask) >> 4));
        }
        kind.low = low_[k].data();
        kind.turn = turn_[k].data();
        kind.piece = piece_[k].data();
        kind.labels = labels.data();
        kind.thresholds = thresholds_[k].data();
    }
};

// What all rings of a matrix have in common: a copy, which nobody can change after the checks.
class RingCode {
  public:
    RingCode(int window, const Vector<uint8_t>& dither, const nb::object& forms) {
        require(size(dither) == 65536, "dither must be uint8 [65536]");
        dither_.assign(dither.data(), dither.data() + 65536);
        const nb::object form_of =
            forms.is_none() ? nb::module_::import_("nqz.reference.codings.ring_codes").attr("form_of") : nb::object();
        for (int bits2 = 2; bits2 <= 8; bits2++) {
            const nb::object form = forms.is_none() ? form_of(bits2, window) : nb::object(forms[bits2 - 2]);
            forms_.push_back(std::make_unique<OwnedForm>(form));
            require(forms_.back()->form.bits2 == bits2, "forms must be of 2 K = 2 to 8");
        }
    }

    RingCode(const RingCode&) = delete;
    RingCode& operator=(const RingCode&) = delete;

    // The ring of a number in the matrix.
    nqz::Ring ring(int bits2, int64_t entries, int64_t number) const {
        return {&forms_[(size_t)bits2 - 2]->form, entries, dither_.data(), 32 * (1265 * (number % 2048) % 2048)};
    }

    // What reading all of them takes, made when it is first asked for: the caller has the interpreter to itself.
    const uint8_t* const* tables(const nqz::RingReading& reading, const Vector<int32_t>& bits2) const {
        Prepared& found = prepared_[&reading];
        for (int64_t r = 0; r < size(bits2); r++) {
            const size_t k = (size_t)bits2(r);
            if (found.at[k]) continue;
            found.bytes[k].resize((size_t)reading.table_bytes + 64);
            uint8_t* room = (uint8_t*)(((uintptr_t)found.bytes[k].data() + 63) / 64 * 64);
            reading.prepare(forms_[k - 2]->form, dither_.data(), room);
            found.at[k] = room;
        }
        return found.at;
    }

    std::vector<nqz::Ring> rings(const Vector<int64_t>& lengths, const Vector<int32_t>& bits2, int64_t first) const {
        std::vector<nqz::Ring> found;
        found.reserve(lengths.shape(0) + 1);
        for (int64_t r = 0; r < size(lengths); r++) found.push_back(ring(bits2(r), lengths(r), first + r));
        return found;
    }

  private:
    struct Prepared {
        std::vector<uint8_t> bytes[9];
        const uint8_t* at[9] = {};
    };
    std::vector<uint8_t> dither_;
    std::vector<std::unique_ptr<OwnedForm>> forms_;
    mutable std::map<const nqz::RingReading*, Prepared> prepared_;
};

inline int64_t ring_size(int64_t entries, int bits2) {
    require(entries >= 1, "a ring has at least one entry");
    require(bits2 >= 2 && bits2 <= 8, "bits2 must be 2 to 8");
    return 4 * ((entries + 31) / 32 * bits2 / 2);
}

// Bytes of all rings; ValueError where the arguments do not fit.
inline int64_t ring_sizes(const Vector<int64_t>& lengths, const Vector<int32_t>& bits2, int64_t first,
                          int64_t& entries) {
    require(size(bits2) == size(lengths), "bits2 must be int32 [r]");
    require(first >= 0, "first must not be negative");
    require(first <= (int64_t)1 << 62, "first must be at most 2^62");
    int64_t bytes = 0;
    entries = 0;
    for (int64_t r = 0; r < size(lengths); r++) {
        require(lengths(r) >= 1 && lengths(r) <= (int64_t)1 << 40, "a ring has 1 to 2^40 entries");
        bytes += ring_size(lengths(r), bits2(r));
        entries += lengths(r);
        require(entries <= (int64_t)1 << 60, "rings have up to 2^60 entries");
    }
    return bytes;
}

inline void define_ring_code(nb::module_& m) {
    nb::class_<RingCode>(m, "RingCode", "What all rings of a matrix have in common.")
        .def(nb::init<int, const Vector<uint8_t>&, const nb::object&>(), nb::arg("window"),
             nb::arg("dither").noconvert(), nb::arg("forms") = nb::none());
}

}  // namespace
