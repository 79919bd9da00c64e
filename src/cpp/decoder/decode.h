// The decoder as the core offers it: bytes of a .cool file in, pixels out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decoder/grid.h"
#include "decoder/header.h"
#include "decoder/latents.h"
#include "decoder/options.h"
#include "decoder/status.h"
#include "decoder/synthesis.h"
#include "decoder/weights.h"

namespace coolchic {

struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;
  std::vector<uint8_t> samples;  // [height][width][channels]
};

// Seconds of each stage; those of the synthesis are summed over threads.
struct StageTimes {
  double weights = 0;
  double latents = 0;
  SynthesisTimes synthesis;
};

// A file taken apart, down to the latents.
struct File {
  Header header;
  Weights weights;
  LatentsInfo latents_info;
  std::vector<Grid> latents;  // finest first
  size_t header_bytes = 0;    // with magic, version and extensions
  size_t weights_bytes = 0;   // section without its length
  size_t latents_bytes = 0;
  size_t total_bytes = 0;
};

// Parses, checks and entropy-decodes.
Status read_file(const uint8_t* data, size_t size, const Options& options, File* file);

// The whole decoder, into memory of the caller's for the picture, whose size is known from
// read_sections: samples[rows][columns][channels], rows_at and columns_at options.scale,
// with rows `stride` bytes apart. On failure nothing is written.
Status decode_into(const uint8_t* data, size_t size, const Options& options, uint8_t* samples,
                   size_t stride);

// The same with memory of its own. On failure the image is empty. times may be null.
Status decode(const uint8_t* data, size_t size, const Options& options, Image* image,
              StageTimes* times = nullptr);

}  // namespace coolchic
