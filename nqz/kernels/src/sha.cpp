// SHA-256 of consecutive pieces of a buffer, two at a time, for processors that have instructions for it.

#include "simd/sha.h"
#include "base.h"

namespace nqz::NQZ_ISA {
namespace {

// Takes what follows the whole blocks of messages of `bytes` bytes, and their padding.
template <int N>
void finish(Sha<N>& sha, const uint8_t* const* messages, int64_t bytes) {
    uint8_t last[N][2 * SHA_BLOCK] = {};
    const uint8_t* from[N];
    const int64_t rest = bytes % SHA_BLOCK, end = rest < SHA_BLOCK - 8 ? SHA_BLOCK : 2 * SHA_BLOCK;
    const uint64_t bits = __builtin_bswap64((uint64_t)bytes * 8);
    for (int s = 0; s < N; s++) {
        memcpy(last[s], messages[s] + bytes - rest, (size_t)rest);
        last[s][rest] = 0x80;
        memcpy(last[s] + end - 8, &bits, 8);
        from[s] = last[s];
    }
    sha.take(from, end / SHA_BLOCK);
}

template <int N>
void hash(const uint8_t* const* messages, int64_t bytes, uint8_t* out) {
    Sha<N> sha;
    sha.take(messages, bytes / SHA_BLOCK);
    finish(sha, messages, bytes);
    for (int s = 0; s < N; s++) sha.store(s, out + SHA_DIGEST * s);
}

}  // namespace

void hash_pieces(const uint8_t* data, int64_t bytes, int64_t piece, uint8_t* out) {
    while (bytes > 0) {
        const uint8_t* pieces[2] = {data, data + piece};
        if (bytes >= 2 * piece) {
            hash<2>(pieces, piece, out);
            data += 2 * piece, bytes -= 2 * piece, out += 2 * SHA_DIGEST;
        } else {
            const int64_t size = least(piece, bytes);
            hash<1>(pieces, size, out);
            data += size, bytes -= size, out += SHA_DIGEST;
        }
    }
}

}  // namespace nqz::NQZ_ISA
