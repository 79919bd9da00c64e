#include "decoder/sections.h"

#include <algorithm>
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

Sections read_sections(const uint8_t* data, size_t size, const Options& options, Status* status) {
  constexpr size_t kChecksumBytes = 4;
  ByteReader in(data, size, status, "file");
  Header header = read_header(in, options.limits);
  const size_t header_bytes = in.offset();
  const ByteReader weights = in.sub(in.varint(), "weights section");
  size_t latents_bytes = in.varint();
  const bool cut_short = options.allow_partial && in.left() < latents_bytes + kChecksumBytes;
  if (cut_short) latents_bytes = std::min(latents_bytes, in.left());
  const ByteReader latents = in.sub(latents_bytes, "latents section");
  if (!cut_short) {
    const size_t covered = in.offset();
    const uint32_t crc = read_u32(in);
    if (in.left() > 0)
      in.fail(Code::kTrailing, std::to_string(in.left()) + " bytes after the end of the file");
    if (in.ok() && options.check_crc && crc != crc32(data, covered))
      in.fail(Code::kChecksum, "checksum differs");
  }
  if (in.ok() && (options.scale < 0 || options.scale >= header.architecture.levels()))
    in.fail(Code::kUnsupported, "no scale " + std::to_string(options.scale) + " of " +
                                    std::to_string(header.architecture.levels()));
  return {std::move(header), header_bytes, weights, latents, cut_short, in.offset()};
}

}  // namespace coolchic
