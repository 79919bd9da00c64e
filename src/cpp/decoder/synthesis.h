// From latent grids to pixels: docs/bitstream.md sections 11 and 12.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decoder/grid.h"
#include "decoder/header.h"
#include "decoder/kernels.h"
#include "decoder/thread_pool.h"
#include "decoder/weights.h"

namespace coolchic {

// CPU seconds, summed over threads.
struct SynthesisTimes {
  double upsampling = 0;
  double synthesis = 0;
};

// Fills out[H][W][channels], whose rows are `stride` bytes apart, or with scale > 0 the preview of
// rows_at(scale) rows and columns_at(scale) columns, for which finer grids count as
// zero. The result does not depend on the threads. times may be null.
void synthesise(const Header& header, const Weights& weights, const std::vector<Grid>& latents,
                int scale, const Kernels& kernels, ThreadPool& pool, uint8_t* out, size_t stride,
                SynthesisTimes* times);

}  // namespace coolchic
