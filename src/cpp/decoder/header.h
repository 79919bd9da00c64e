// Everything before the weights section: docs/bitstream.md sections 3 to 5 and 13.
#pragma once

#include <cstdint>

#include "decoder/architecture.h"
#include "decoder/byte_reader.h"

namespace coolchic {

struct Limits {
  uint64_t max_pixels = uint64_t{1} << 27;
};

struct Header {
  int version = 0;
  int width = 0;
  int height = 0;
  int channels = 0;
  int depth = 8;
  int architecture_id = 0;  // section 4.1; kDescribed if it is spelled out in the file
  Architecture architecture;

  uint64_t pixels() const { return uint64_t{static_cast<uint32_t>(width)} * height; }
  // Of the picture at 1 / 2^level of its size, and of a grid.
  int rows_at(int level) const { return (height + (1 << level) - 1) >> level; }
  int columns_at(int level) const { return (width + (1 << level) - 1) >> level; }
  int grid_rows(int k) const { return rows_at(architecture.level(k)); }
  int grid_columns(int k) const { return columns_at(architecture.level(k)); }
};

// On failure the reader's status says why and the result must not be used.
Header read_header(ByteReader& in, const Limits& limits);

}  // namespace coolchic
