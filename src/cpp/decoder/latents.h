// The latents section and its decoding: docs/bitstream.md sections 7 and 10.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decoder/byte_reader.h"
#include "decoder/grid.h"
#include "decoder/header.h"
#include "decoder/kernels.h"
#include "decoder/weights.h"

namespace coolchic {

constexpr int32_t kMinLatent = -32768;
constexpr int32_t kMaxLatent = 32767;

struct LatentsInfo {
  int lanes = 1;
  bool coded[kMaxGrids] = {};
  size_t grid_bytes[kMaxGrids] = {};  // of the substream, rounded to whole words
  size_t overhead_bytes = 0;          // layout, flags and initial states
};

// Reads the whole of `in`, the section without its length. Grids come finest first.
std::vector<Grid> read_latents(ByteReader& in, const Header& header, const Weights& weights,
                               const Kernels& kernels, LatentsInfo* info);

}  // namespace coolchic
