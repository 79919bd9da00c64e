// From latent grids to pixels: docs/bitstream.md sections 11 and 12.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/header.h"
#include "decoder/latents.h"
#include "decoder/weights.h"

namespace coolchic {

// CPU seconds, summed over threads.
struct SynthesisTimes {
  double upsampling = 0;
  double synthesis = 0;
};

// Fills out[H][W][channels]. threads >= 1: bands of rows; the result does not depend on it.
void synthesise(const Header& header, const Weights& weights, const std::vector<Grid>& latents,
                int threads, uint8_t* out, SynthesisTimes* times);

}  // namespace coolchic
