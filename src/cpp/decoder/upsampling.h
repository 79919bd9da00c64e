// Upsampling of latent grids, row by row: docs/bitstream.md section 11.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "decoder/filters.h"
#include "decoder/grid.h"
#include "decoder/kernels.h"

namespace coolchic {

// Weights of interpolation for enlargement by 2^k, [kTaps][2^k] by phase; none for k = 0.
std::vector<int16_t> make_taps(int k);

// Weights of enlargement by 2^k, as make_taps gives them, of either direction.
struct EnlargementTaps {
  const std::vector<int16_t>& vertical;
  const std::vector<int16_t>& horizontal;
};

// Rows of one grid, filtered if it has a filter, enlarged by 2^k, asked for in ascending order.
class Upsampler {
 public:
  // filter: null for none. k: 0 … 15. taps: of enlargement by 2^k, which must outlive this. width:
  // of the picture. precision: F_up, fractional bits of the output.
  Upsampler(const Kernels& kernels, const Grid& grid, const Filter* filter, int k,
            EnlargementTaps taps, int width, int precision);

  // Makes row y of the picture available.
  void seek(int y);
  // Columns x … x + n - 1 of that row.
  void columns(int x, int n, int16_t* out) const;

 private:
  int16_t* enlarged(int grid_row) { return ring_[grid_row % kTaps].data() + kEnlargeBefore; }
  void enlarge(int grid_row);

  const Kernels& kernels_;
  const Grid& grid_;
  const EnlargementTaps taps_;
  int k_;
  int width_;
  int precision_;  // that the output has more than the rows enlarged
  std::optional<FilteredRows> filtered_;
  std::vector<int16_t> padded_;       // one row, filtered or not, edges replicated
  std::vector<int16_t> ring_[kTaps];  // the last rows enlarged horizontally, by row mod 4
  int newest_ = -1;                   // last row in the ring
  const int16_t* mixed_[kTaps] = {};  // rows that the row sought is a mixture of,
  int16_t weights_[kTaps] = {};       // and their weights
};

}  // namespace coolchic
