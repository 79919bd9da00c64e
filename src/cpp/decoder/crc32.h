// CRC-32 of ISO 3309 and zlib: docs/bitstream.md section 2.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coolchic {

uint32_t crc32(const uint8_t* data, size_t size);

}  // namespace coolchic
