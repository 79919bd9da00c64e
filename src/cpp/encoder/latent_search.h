// Latents changed by one where that makes the file better, by the decoder's own integers.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/grid.h"
#include "encoder/encode.h"

namespace coolchic {

struct SearchSettings {
  int grids;         // the finest so many
  int rounds;        // through all of them
  bool pairs;        // change two neighbours at once, too, but not in subbands
  double bit_price;  // of a bit, in squared errors of 8-bit samples
  int threads;
};

// Goes through the grids, from the finest on, and changes latents by one wherever that lowers
// squared error plus bits, those of neighbours that have the latent in their context or among their
// parents included. Grids of zeros stay so. The result does not depend on the threads.
//
// image: [height][width][channels]. unrounded: empty, or of each grid [rows][columns]: latents then
// only change to the side where they were before they were rounded. In pairs each latent has one
// side in any case, the one that was better when it was tried alone.
void search_latents(const Model& model, const uint8_t* image,
                    const std::vector<std::vector<float>>& unrounded,
                    const SearchSettings& settings, std::vector<Grid>* latents);

}  // namespace coolchic
