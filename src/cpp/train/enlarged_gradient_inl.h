// Gradient of a row of a horizontally enlarged grid: what the synthesis's bands have of it.
#pragma once

#include "upsampling_inl.h"

namespace coolchic::train {
namespace {

// Bands of synthesis rows that read row `row` of the enlarged grid: [first, last].
struct BandRange {
  int first, last;
};

BandRange bands_of(const EnlargedGradient& g, int row) {
  const int shift = g.enlargement->shift, bands = g.band_count;
  // A row of the image reads from 2 rows above its own to 2 below; borders are repeated.
  const auto band_of = [&](int64_t grid_row) {
    const int64_t band = grid_row * (int64_t{1} << shift) / g.band_height;
    return band < 0 ? 0 : band < bands ? static_cast<int>(band) : bands - 1;
  };
  const bool top = row == 0, bottom = row == g.grid->height - 1;
  return {top ? 0 : band_of(int64_t{row} - 2), bottom ? bands - 1 : band_of(int64_t{row} + 3)};
}

// Adds the bands' gradients of a row of the horizontally enlarged grid, in their order.
void collect_row(const EnlargedGradient& g, int row, float* out) {
  const Enlargement& e = *g.enlargement;
  memset(out, 0, sizeof(float) * static_cast<size_t>(e.columns));
  const BandRange bands = bands_of(g, row);
  for (int i = bands.first; i <= bands.last; ++i) {
    const SynthesisBand& band = g.bands[i];
    const float* in = band.enlarged_gradient[g.index];
    for (int r = 0; r < band.row_count[g.index]; ++r, in += e.stride) {
      if (clamp_index(band.row_offset[g.index] + r, g.grid->height) != row) continue;
      for (int x = 0; x < e.columns; x += kLanes) store(out + x, load(out + x) + load(in + x));
    }
  }
}

}  // namespace
}  // namespace coolchic::train
