#include "decoder/sections.h"

#include <string>
#include <utility>

#include "decoder/crc32.h"

namespace coolchic {
namespace {

uint32_t read_u32(ByteReader& in) {
  uint32_t v = 0;
  for (int shift = 0; shift < 32; shift += 8) v |= uint32_t{in.u8()} << shift;
  return v;
}

}  // namespace

Sections read_sections(const uint8_t* data, size_t size, const Limits& limits, bool check_crc,
                       Status* status) {
  ByteReader in(data, size, status, "file");
  Header header = read_header(in, limits);
  const size_t header_bytes = in.offset();
  const ByteReader weights = in.sub(in.varint(), "weights section");
  const ByteReader latents = in.sub(in.varint(), "latents section");
  const size_t covered = in.offset();
  const uint32_t crc = read_u32(in);
  if (in.left() > 0)
    in.fail(Code::kTrailing, std::to_string(in.left()) + " bytes after the end of the file");
  if (status->ok() && check_crc && crc != crc32(data, covered))
    in.fail(Code::kChecksum, "checksum differs");
  return {std::move(header), header_bytes, weights, latents, in.offset()};
}

}  // namespace coolchic
