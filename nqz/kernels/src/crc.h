// CRC-32, where the processor multiplies without carries; elsewhere that of zlib is used (nqz/kernels/__init__.py).
#pragma once

#include <stdint.h>

namespace nqz::pclmul {

// What zlib's crc32 gives: of so many bytes, any number of them, that follow others with this CRC.
uint32_t crc32(const uint8_t* data, int64_t count, uint32_t crc);

}  // namespace nqz::pclmul
