// Bicubic upsampling of latent grids, row by row: docs/bitstream.md section 11.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/latents.h"

namespace coolchic {

// Rows of one grid enlarged by 2^k, asked for in ascending order.
class Upsampler {
 public:
  // k: 0 … 15. width: of the picture. precision: F_up, fractional bits of the output.
  Upsampler(const Grid& grid, int k, int width, int precision);

  // Row y of the picture: `width` values.
  void row(int y, int16_t* out);

 private:
  static constexpr int kTaps = 4;
  struct Taps {
    int16_t tap[kTaps];
  };
  static std::vector<Taps> make_taps(int k);

  void horizontal(int grid_row);

  const Grid& grid_;
  int k_;
  int width_;
  int precision_;
  std::vector<Taps> taps_;            // per phase
  std::vector<int16_t> padded_;       // one row of the grid, edges replicated
  std::vector<int16_t> ring_[kTaps];  // the last rows enlarged horizontally, by row mod 4
  int newest_ = -1;                   // last row in the ring
};

}  // namespace coolchic
