// The latents section and its decoding: docs/bitstream.md sections 7 and 10.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decoder/byte_reader.h"
#include "decoder/grid.h"
#include "decoder/header.h"
#include "decoder/kernels.h"
#include "decoder/latents_layout.h"
#include "decoder/thread_pool.h"
#include "decoder/weights.h"

namespace coolchic {

constexpr int32_t kMinLatent = -32768;
constexpr int32_t kMaxLatent = 32767;

struct LatentsInfo {
  LatentsLayout layout;
  size_t grid_bytes[kMaxGrids] = {};  // of the substreams, rounded to whole words
  size_t overhead_bytes = 0;          // layout, flags, lengths and initial states
};

struct LatentsRequest {
  int first_grid = 0;      // finer ones are not decoded
  bool cut_short = false;  // the section lacks bytes: decode the grids that are whole
};

// Reads `in`, the section without its length. Grids come finest first; those that are not
// coded, not asked for or not whole have no values.
std::vector<Grid> read_latents(ByteReader& in, const Header& header, const Weights& weights,
                               const Kernels& kernels, ThreadPool& pool,
                               const LatentsRequest& request, LatentsInfo* info);

}  // namespace coolchic
