// CRC-32 for processors that multiply without carries.

#include "crc.h"

#include "simd/pclmul.h"

namespace nqz::pclmul {

uint32_t crc32(const uint8_t* data, int64_t count, uint32_t crc) {
    crc = ~crc;
    const int64_t whole = count / Crc32::STEP * Crc32::STEP;
    if (whole >= Crc32::LEAST) {
        crc = Crc32::of(data, whole, crc);
        data += whole;
        count -= whole;
    }
    for (; count > 0; data++, count--) {
        crc ^= *data;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

}  // namespace nqz::pclmul
