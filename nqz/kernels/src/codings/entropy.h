// The entropy code of lattice points: of a group row the code bits, then 16 k + o with the context o known from the
// dither and the code bits.
#pragma once

#include "../base.h"
#include "../dispatch.h"
#include "../dither.h"
#include "../simd/simd.h"
#include "bits.h"
#include "coder.h"
#include "codewords.h"
#include "conv_bits.h"
#include "rans.h"
#include "rice.h"
#include "tables.h"

namespace nqz::NQZ_ISA {
namespace {

NQZ_INLINE const CodeBits& code_bits_of(int number) {
    return *with_lattice(number, [](auto lattice) -> const CodeBits* {
        typedef decltype(lattice) L;
        if constexpr (L::TRELLIS)
            return &TRELLIS;
        else
            return &CODEWORDS<L>;
    });
}

// ---------------------------------------------------------------------------------------------------- encoding

// The interval of a point's symbol in `table`; `k2` is the symbol's value, and `escaped` whether it is outside.
NQZ_INLINE uint32_t interval_of(int32_t y, const uint16_t* cum, int32_t half, int raw, int32_t& k2, bool& escaped) {
    k2 = y >> 4 >> raw;
    uint32_t s = (uint32_t)k2 + (uint32_t)half, escape = 2 * (uint32_t)half;
    escaped = s >= escape;
    s = escaped ? escape : s;
    uint32_t interval;
    memcpy(&interval, cum + (uint32_t)(y & 15) * (escape + 2) + s, 4);
    return interval;
}

// Codes the points of whole steps, all of one table. Bit l of escaped[i]: whether the point of lane l in step i is an
// escape.
NQZ_INLINE void encode_steps(Encoder& e, int steps, const int32_t* y, const uint16_t* cum, int32_t half, int raw,
                             uint32_t* escaped) {
    if (Simd::GATHERS && e.n == 32) {
        enum { VECTORS = 32 / VECTOR };
        const uint32_t escape = 2 * (uint32_t)half, width = escape + 2;
        Words x[VECTORS];
        for (int v = 0; v < VECTORS; v++) x[v] = load_words(e.state + v * VECTOR);
        uint16_t* to = e.words;
        for (int i = steps - 1; i >= 0; i--) {
            // What does not depend on the states goes first, so that one step overlaps with the next.
            Interval interval[VECTORS];
            uint32_t found = 0;
            for (int v = 0; v < VECTORS; v++) {
                Words point = load_words(y + 32 * i + v * VECTOR);
                Words s = Simd::lesser((Words)((Ints)point >> (4 + raw)) + (uint32_t)half, all_words(escape));
                Words ends = Simd::gather_pairs(cum, (point & 15) * width + s), start = ends & 65535;
                found |= Simd::equal(s, all_words(escape)) << (v * VECTOR);
                interval[v] = interval_of(start, (ends >> 16) - start);
            }
            escaped[i] = found;
            for (int v = VECTORS - 1; v >= 0; v--) x[v] = encode_lanes(x[v], interval[v], to);
        }
        e.words = to;
        for (int v = 0; v < VECTORS; v++) store_words(e.state + v * VECTOR, x[v]);
        return;
    }
    for (int i = steps - 1; i >= 0; i--) {
        uint32_t interval[32], found = 0;
        bool outside[32], any = false;
        for (int l = 0; l < e.n; l++) {
            int32_t k2;
            interval[l] = interval_of(y[i * e.n + l], cum, half, raw, k2, outside[l]);
            any |= outside[l];
        }
        if (any)
            for (int l = 0; l < e.n; l++) found |= (uint32_t)outside[l] << l;
        escaped[i] = found;
        encode_row(e.state, interval, e.n, e.words);
    }
}

// Puts the lowest `raw` bits of k of `count` points at a position of their stream; those behind are there already.
NQZ_INLINE void put_low(const int32_t* y, int count, int raw, uint8_t* low, int64_t position) {
    uint8_t* to = low + position / 8;
    const uint32_t mask = (1u << raw) - 1;
    uint64_t window = *to;
    int held = (int)(position & 7);
    for (int p = 0; p < count; p++) {
        window |= (uint64_t)((uint32_t)(y[p] >> 4) & mask) << held;
        held += raw;
        if (held >= 32) {
            uint32_t whole = (uint32_t)window;
            memcpy(to, &whole, 4);
            to += 4;
            window >>= 32;
            held -= 32;
        }
    }
    put_bits(to, 0, window);
}

// Codes the points of whole steps, with all that belongs to them; one table.
NQZ_INLINE void encode_points(Encoder& e, int steps, const int32_t* y, int32_t t) {
    const Tables& tables = e.tables;
    const int n = e.n, raw = tables.raw[t];
    const int32_t half = tables.half[t];
    uint32_t escaped[MOST_STEPS], any = 0;
    encode_steps(e, steps, y, tables.cum + tables.offset[t], half, raw, escaped);
    for (int i = 0; i < steps; i++) any |= escaped[i];
    if (any)
        for (int i = steps - 1; i >= 0; i--)
            for (uint32_t left = escaped[i]; left;) {
                int l = 31 - __builtin_clz(left);
                left ^= 1u << l;
                *--e.codes = rice_code(y[i * n + l] >> 4 >> raw, half, tables.rice[t]);
            }
    if (raw) {
        e.low_position -= (int64_t)steps * n * raw;
        put_low(y, steps * n, raw, e.out.low, e.low_position);
    }
}

// The same for points of several tables.
void encode_mixed(Encoder& e, int steps, const int32_t* y, const int32_t* table) {
    const Tables& tables = e.tables;
    for (int i = steps - 1; i >= 0; i--) {
        uint32_t interval[32];
        for (int l = e.n - 1; l >= 0; l--) {
            int p = i * e.n + l;
            int32_t t = table[p], half = tables.half[t], k2;
            int raw = tables.raw[t];
            bool escaped;
            interval[l] = interval_of(y[p], tables.cum + tables.offset[t], half, raw, k2, escaped);
            if (escaped) *--e.codes = rice_code(k2, half, tables.rice[t]);
            e.low_position -= raw;
            put_bits(e.out.low, e.low_position, (uint32_t)(y[p] >> 4) & ((1u << raw) - 1));
        }
        encode_row(e.state, interval, e.n, e.words);
    }
}

// `level` has room for the positions.
void entropy_encode(const Place& place, const Key& key, const Tables& tables, const int32_t* points, uint8_t* level,
                    Encoded& out) {
    const Dither dither = dither_of(key, place.counter);
    const CodeBits& code = code_bits_of(place.lattice);
    const bool own_levels = place.lanes == 32;  // made row by row
    if (!own_levels) write_levels(dither, place.positions, level);
    const int n = place.lanes, row_size = code.group * n, known = code.halves_last ? code.group - 1 : code.group;
    uint64_t* last_code = out.codes + place.positions;
    Encoder e = {place,
                 tables,
                 dither,
                 own_levels ? nullptr : level,
                 points,
                 out,
                 n,
                 {},
                 out.words + out.word_space,
                 last_code,
                 low_bits(place, tables),
                 code_bits(place, tables),
                 Taps(),
                 LookAhead()};
    for (int l = 0; l < n; l++) e.state[l] = LOW;
    if (code.begin_encoding) code.begin_encoding(e);

    Run run(place, tables, true);
    for (int64_t first = place.positions - row_size; first >= 0; first -= row_size) {
        while (run.begin > first) run.backward();
        int32_t table[MOST_POSITIONS], halved[32];
        uint8_t own[MOST_POSITIONS];
        const int32_t* y = points + first;
        const bool modelled = tables.modelled[run.table] != 0;
        GroupRow row = {first, y, nullptr, run.table, run.end >= first + row_size, table, modelled};
        if (!row.same) row_tables(code.group, code.halves_last, place, tables, first, table);
        if (modelled ? code.modelled_levels : code.plain_levels)
            row.level = row_levels(dither, e.level, first, row_size, own);
        if (code.halves_last) {
            // Of the last step Y >> 1 is coded.
            for (int l = 0; l < n; l++) halved[l] = y[known * n + l] >> 1;
            if (row.same)
                encode_points(e, 1, halved, tables.last[row.t]);
            else
                encode_mixed(e, 1, halved, table + known * n);
        }
        if (row.same)
            encode_points(e, known, y, row.t);
        else
            encode_mixed(e, known, y, table);
        code.encode(e, row);
    }
    for (int l = 0; l < n; l++) out.states[l] = e.state[l];
    out.first_word = e.words - out.words;
    out.escapes = (const uint8_t*)e.codes;
    out.escape_bytes = pack_codes(e.codes, last_code - e.codes);
}

// ---------------------------------------------------------------------------------------------------- decoding

enum { SLOTS = 65536 };  // of all contexts of a table

#if NQZ_FEW_SYMBOLS
typedef Simd::FewSymbols FewSymbols;
#else
struct FewSymbols {
    enum { MOST = 0 };
    FewSymbols(const uint16_t*, int) {}
    void decode(int, const uint8_t*, uint32_t*, const uint16_t*&, int32_t*, uint32_t*) const {}
};
#endif

// Whether symbols are compared instead of looked up.
NQZ_INLINE bool has_few(const Tables& tables, int32_t t, int lanes) {
    return lanes == 32 && tables.raw[t] == 0 && 2 * tables.half[t] <= FewSymbols::MOST;
}

// Decoding tables: for every context and slot the symbol, the distance from its start and its size. Of few symbols,
// where each begins.
void fill_decoding(const Tables& tables, int lanes, uint32_t* decoding) {
    for (int u = 0; u < tables.used_count; u++) {
        int32_t t = tables.used[u];
        int symbols = 2 * tables.half[t] + 1;
        const uint16_t* cum = tables.cum + tables.offset[t];
        uint32_t* to = decoding + SLOTS * (int64_t)tables.slot[t];
        if (has_few(tables, t, lanes)) {
            const FewSymbols few(cum, symbols);
            memcpy(to, &few, sizeof few);
            continue;
        }
        for (int o = 0; o < 16; o++, cum += symbols + 1)
            for (int s = 0; s < symbols; s++) {
                uint32_t size = (uint32_t)(cum[s + 1] - cum[s]), entry = size << 20 | (uint32_t)s;
                for (uint32_t d = 0; d < size; d++) *to++ = entry | d << 8;
            }
    }
}

// The entry of a decoding table.
NQZ_INLINE uint32_t decoding_entry(const Decoder& d, int32_t t, uint32_t o, uint32_t slot) {
    if (!has_few(d.tables, t, d.n)) return d.decoding[SLOTS * (int64_t)d.tables.slot[t] + (int64_t)(o << 12 | slot)];
    const uint32_t symbols = 2 * (uint32_t)d.tables.half[t] + 1;
    const uint16_t* cum = d.tables.cum + d.tables.offset[t] + o * (symbols + 1);
    uint32_t s = 0;
    for (uint32_t i = 1; i < symbols; i++) s += cum[i] <= slot;
    return (uint32_t)(cum[s + 1] - cum[s]) << 20 | (slot - cum[s]) << 8 | s;
}

// Decodes the symbols of whole steps, all of table t, to points whose low bits are zero. Bit l of escaped[i]: whether
// that of lane l in step i is an escape. Returns false if the words run out.
NQZ_INLINE bool decode_steps(Decoder& d, int steps, const uint8_t* context, int32_t t, int32_t* y, uint32_t* escaped) {
    const int32_t half = d.tables.half[t];
    const uint32_t escape = 2 * (uint32_t)half;
    const int shift = 4 + d.tables.raw[t], n = d.n;
    const uint32_t* decoding = d.decoding + SLOTS * (int64_t)d.tables.slot[t];
    if (has_few(d.tables, t, n) && d.end - d.words >= 32 * steps) {
        ((const FewSymbols*)decoding)->decode(steps, context, d.state, d.words, y, escaped);
        return true;
    }
    if (Simd::GATHERS && n == 32 && d.end - d.words >= 32 * steps) {
        enum { VECTORS = 32 / VECTOR };
        const uint16_t* from = d.words;
        Words x[VECTORS];
        for (int v = 0; v < VECTORS; v++) x[v] = load_words(d.state + v * VECTOR);
        for (int i = 0; i < steps; i++) {
            uint32_t found = 0;
            for (int v = 0; v < VECTORS; v++) {
                int p = 32 * i + v * VECTOR;
                Words o = Simd::widen(context + p), entry = Simd::gather(decoding, o << 12 | (x[v] & 4095));
                Words s = entry & 255;
                x[v] = Simd::refilled((entry >> 20) * (x[v] >> 12) + (entry >> 8 & 4095), from);
                found |= Simd::equal(s, all_words(escape)) << (v * VECTOR);
                store_words(y + p, ((s - (uint32_t)half) << shift) + o);
            }
            escaped[i] = found;
        }
        d.words = from;
        for (int v = 0; v < VECTORS; v++) store_words(d.state + v * VECTOR, x[v]);
        return true;
    }
    for (int i = 0; i < steps; i++) {
        const uint8_t* o = context + i * n;
        uint32_t entry[32], any = 0, found = 0;
        for (int l = 0; l < n; l++) entry[l] = decoding_entry(d, t, o[l], d.state[l] & 4095);
        for (int l = 0; l < n; l++) {
            uint32_t s = entry[l] & 255;
            any |= s == escape;
            d.state[l] = (entry[l] >> 20) * (d.state[l] >> 12) + (entry[l] >> 8 & 4095);
            y[i * n + l] = (int32_t)(((s - (uint32_t)half) << shift) + o[l]);
        }
        if (any)
            for (int l = 0; l < n; l++) found |= (uint32_t)((entry[l] & 255) == escape) << l;
        escaped[i] = found;
        if (!refill(d.state, n, d.words, d.end)) return false;
    }
    return true;
}

// Adds the lowest `raw` bits of k to `count` points.
NQZ_INLINE void add_low(const Decoder& d, int count, int raw, int32_t* y) {
    const uint32_t mask = (1u << raw) - 1;
    int64_t position = d.low_position;
    // The last four bytes read begin where the last point's bits do.
    if (Simd::GATHERS && d.n == 32 && (position + (int64_t)(count - 1) * raw) / 8 + 4 <= d.in.low_bytes) {
        Words bit = all_words((uint32_t)(position & 7));
        for (uint32_t l = 0; l < VECTOR; l++) bit[l] += l * (uint32_t)raw;
        for (int p = 0; p < count; p += VECTOR, bit += VECTOR * (uint32_t)raw) {
            Words low = Simd::gather_bytes(d.in.low + position / 8, bit >> 3) >> (bit & 7) & mask;
            store_words(y + p, load_words(y + p) + (low << 4));
        }
        return;
    }
    for (int p = 0; p < count; p++, position += raw)
        y[p] += (int32_t)((uint32_t)get_bits(d.in.low, d.in.low_bytes, position) & mask) << 4;
}

const char* const OUT_OF_RANGE = "an escape is out of range";

// k from its higher and its lower bits; whether it lies within `limit`.
NQZ_INLINE bool join(int64_t k2, int raw, uint32_t low, int32_t limit, int64_t& k) {
    k = k2 * ((int64_t)1 << raw) + low;
    return -limit <= k && k < limit;
}

// Decodes the points of whole steps, all of one table. k must lie within `limit`.
NQZ_INLINE const char* decode_points(Decoder& d, int steps, const uint8_t* context, int32_t t, int32_t limit,
                                     int32_t* y) {
    const Tables& tables = d.tables;
    const int n = d.n, raw = tables.raw[t];
    const int32_t half = tables.half[t];
    uint32_t escaped[MOST_STEPS], any = 0;
    if (!decode_steps(d, steps, context, t, y, escaped)) return WORDS_SHORT;
    if (raw) {
        add_low(d, steps * n, raw, y);
        d.low_position += (int64_t)steps * n * raw;
    }
    for (int i = 0; i < steps; i++) any |= escaped[i];
    if (any)
        for (int i = 0; i < steps; i++)
            for (uint32_t left = escaped[i]; left; left &= left - 1) {
                int32_t& point = y[i * n + __builtin_ctz(left)];
                int64_t k2, k;
                if (const char* reason = read_escape(d.in, d.escape_position, half, tables.rice[t], k2)) return reason;
                if (!join(k2, raw, (uint32_t)point >> 4 & ((1u << raw) - 1), limit, k)) return OUT_OF_RANGE;
                point = (int32_t)(16 * k) + (point & 15);
            }
    if (((int64_t)half << raw) > limit)
        for (int p = 0; p < steps * n; p++)
            if (y[p] >> 4 < -limit || y[p] >> 4 >= limit) return OUT_OF_RANGE;
    return nullptr;
}

// The same for points of several tables.
const char* decode_mixed(Decoder& d, int steps, const uint8_t* context, const int32_t* table, int32_t limit,
                         int32_t* y) {
    const Tables& tables = d.tables;
    for (int i = 0; i < steps; i++) {
        for (int l = 0; l < d.n; l++) {
            const int p = i * d.n + l;
            const int32_t t = table[p], half = tables.half[t];
            const int raw = tables.raw[t];
            const uint32_t o = context[p];
            const uint32_t entry = decoding_entry(d, t, o, d.state[l] & 4095);
            d.state[l] = (entry >> 20) * (d.state[l] >> 12) + (entry >> 8 & 4095);
            int64_t k2 = (int64_t)(entry & 255) - half, k;
            if (k2 == half)
                if (const char* reason = read_escape(d.in, d.escape_position, half, tables.rice[t], k2)) return reason;
            uint32_t low = (uint32_t)get_bits(d.in.low, d.in.low_bytes, d.low_position) & ((1u << raw) - 1);
            d.low_position += raw;
            if (!join(k2, raw, low, limit, k)) return OUT_OF_RANGE;
            y[p] = (int32_t)(16 * k) + (int32_t)o;
        }
        if (!refill(d.state, d.n, d.words, d.end)) return WORDS_SHORT;
    }
    return nullptr;
}

// `level` has room for the positions, `decoding` for 65536 entries and `chances` for 256 for each used table.
const char* entropy_decode(const Place& place, const Key& key, const Tables& tables, uint8_t* level, uint32_t* decoding,
                           uint32_t* chances, const Streams& in, int32_t* out) {
    const Dither dither = dither_of(key, place.counter);
    const CodeBits& code = code_bits_of(place.lattice);
    const bool own_levels = place.lanes == 32;  // made row by row
    if (!own_levels) write_levels(dither, place.positions, level);
    fill_decoding(tables, place.lanes, decoding);
    const int n = place.lanes, row_size = code.group * n, known = code.halves_last ? code.group - 1 : code.group;
    Decoder d = {place,
                 tables,
                 dither,
                 own_levels ? nullptr : level,
                 decoding,
                 chances,
                 in,
                 n,
                 {},
                 in.words,
                 in.words + in.word_count,
                 0,
                 0,
                 0,
                 Taps(),
                 {},
                 0,
                 LookAhead()};
    if (const char* reason = begin_states(in.states, n, d.state)) return reason;
    if (const char* reason =
            check_bits(in.low, in.low_bytes, low_bits(place, tables), "the stream of low bits has the wrong length",
                       "the padding of the stream of low bits is not zero"))
        return reason;
    if (const char* reason =
            check_bits(in.code, in.code_bytes, code_bits(place, tables), "the stream of code bits has the wrong length",
                       "the padding of the stream of code bits is not zero"))
        return reason;
    if (code.begin_decoding) code.begin_decoding(d);

    Run run(place, tables, false);
    for (int64_t first = 0; first < place.positions; first += row_size) {
        while (run.end <= first) run.forward();
        int32_t table[MOST_POSITIONS];
        uint8_t own[MOST_POSITIONS], context[MOST_POSITIONS];
        const bool modelled = tables.modelled[run.table] != 0;
        GroupRow row = {
            first, nullptr, row_levels(dither, d.level, first, row_size, own), run.table, run.end >= first + row_size,
            table, modelled};
        if (!row.same) row_tables(code.group, code.halves_last, place, tables, first, table);

        uint32_t index[2][32];
        if (!code.decode(d, row, index, context)) return WORDS_SHORT;
        int32_t* y = out + first;
        if (const char* reason = row.same ? decode_points(d, known, context, row.t, 1 << 27, y)
                                          : decode_mixed(d, known, context, table, 1 << 27, y))
            return reason;
        if (code.halves_last) {
            // Of the last step Y >> 1 is coded.
            uint32_t last[32];
            uint8_t* o = context + known * n;
            int32_t* halved = y + known * n;
            code.last(index, row, y, n, o, last);
            for (int l = 0; l < n; l++) o[l] = (uint8_t)(last[l] >> 1);
            if (const char* reason = row.same ? decode_points(d, 1, o, tables.last[row.t], 1 << 26, halved)
                                              : decode_mixed(d, 1, o, table + known * n, 1 << 26, halved))
                return reason;
            for (int l = 0; l < n; l++) halved[l] = 2 * halved[l] + (int32_t)(last[l] & 1);
        }
    }
    if (const char* reason = check_bits(in.escapes, in.escape_bytes, d.escape_position, "escapes are left over",
                                        "the padding of the stream of escapes is not zero"))
        return reason;
    return check_end(d.state, n, d.words, d.end);
}

}  // namespace
}  // namespace nqz::NQZ_ISA
