#include "decoder/crc32.h"

namespace coolchic {
namespace {

constexpr int kSlices = 8;  // bytes taken at once

// entry[i][n]: what byte n does to the checksum when i more bytes follow it.
struct CrcTables {
  uint32_t entry[kSlices][256];
};

constexpr CrcTables make_tables() {
  CrcTables t{};
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t c = n;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    t.entry[0][n] = c;
  }
  for (int i = 1; i < kSlices; ++i)
    for (uint32_t n = 0; n < 256; ++n)
      t.entry[i][n] = t.entry[0][t.entry[i - 1][n] & 0xff] ^ t.entry[i - 1][n] >> 8;
  return t;
}

constexpr CrcTables kTables = make_tables();

}  // namespace

uint32_t crc32(const uint8_t* data, size_t size) {
  uint32_t c = 0xffffffffu;
  for (; size >= kSlices; data += kSlices, size -= kSlices) {
    uint32_t next = 0;
    for (int i = 0; i < kSlices; ++i) {
      const uint32_t carried = i < 4 ? c >> 8 * i & 0xff : 0;
      next ^= kTables.entry[kSlices - 1 - i][data[i] ^ carried];
    }
    c = next;
  }
  for (; size > 0; ++data, --size) c = kTables.entry[0][(c ^ *data) & 0xff] ^ c >> 8;
  return ~c;
}

}  // namespace coolchic
