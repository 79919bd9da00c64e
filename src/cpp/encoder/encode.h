// The writing half of the format, on the decoder's own parser, networks and tables:
// docs/bitstream.md sections 6, 7 and 10.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/grid.h"
#include "decoder/header.h"
#include "decoder/weights.h"

namespace coolchic {

struct ScaleChoice {
  int scale;
  double bits;
};

// The scale index that codes the values (of one group of parameters) in the fewest bits.
ScaleChoice best_scale(const std::vector<int32_t>& values);

// The weights section without its length, as differences from whichever default decoder
// makes it smallest, or from none. exponents: one for each group. values: quantised parameters in
// the file's order, at most kMaxParameter in magnitude.
std::vector<uint8_t> encode_weights(const Header& header, const Precision& precision,
                                    const std::vector<int>& exponents,
                                    const std::vector<int32_t>& values);

// The decoder of a file whose latents are not yet written.
struct Model {
  Header header;
  Weights weights;
};

// Bits that the tables ask for to code each grid; 0 for a grid of zeros. The coded size
// differs by the final states only.
std::vector<double> latent_bits(const Model& model, const std::vector<Grid>& latents);

// The latents section without its length. lanes: 1, 2, 4 or 8. bands: of the finest grid, 1 to
// the picture's height; more than one only from version 2 of the header on.
std::vector<uint8_t> encode_latents(const Model& model, const std::vector<Grid>& latents, int lanes,
                                    int bands);

}  // namespace coolchic
