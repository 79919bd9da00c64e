#include "decoder/crc32.h"

namespace coolchic {
namespace {

struct CrcTable {
  uint32_t entry[256];
};

constexpr CrcTable make_table() {
  CrcTable t{};
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t c = n;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    t.entry[n] = c;
  }
  return t;
}

constexpr CrcTable kTable = make_table();

}  // namespace

uint32_t crc32(const uint8_t* data, size_t size) {
  uint32_t c = 0xffffffffu;
  for (size_t i = 0; i < size; ++i) c = kTable.entry[(c ^ data[i]) & 0xff] ^ c >> 8;
  return ~c;
}

}  // namespace coolchic
