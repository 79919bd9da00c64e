// A file's sections, found and checked but not yet decoded: docs/bitstream.md section 2.
#pragma once

#include <cstddef>
#include <cstdint>

#include "decoder/byte_reader.h"
#include "decoder/header.h"
#include "decoder/options.h"
#include "decoder/status.h"

namespace coolchic {

struct Sections {
  Header header;
  size_t header_bytes;  // with magic, version and extensions
  ByteReader weights;   // without their lengths; they share the status
  ByteReader latents;
  bool cut_short;  // the file ends within the latents section or the checksum
  size_t total_bytes;
};

// Reads everything but what is in the sections. On failure the status says why and the result
// must not be used.
Sections read_sections(const uint8_t* data, size_t size, const Options& options, Status* status);

}  // namespace coolchic
