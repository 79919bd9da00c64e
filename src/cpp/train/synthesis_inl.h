// Upsampling, synthesis and squared error of a band of image rows, forward and backward.
//
// With convolutions behind the pixel-wise layers, a tile's gradient comes some tiles later:
// until then the inputs of its rows wait in the workspace. Rows around the band, which
// the convolutions need, pass forward only.
#pragma once

#include "network_inl.h"
#include "refinement_inl.h"
#include "upsampling_inl.h"

namespace coolchic::train {
namespace {

// The tile goes down the rows, which the hardware does not foresee.
constexpr int kPrefetchRows = 3;

COOLCHIC_INLINE void prefetch_tile(const float* p) {
  COOLCHIC_UNROLL
  for (int i = 0; i < kTile; i += 16) __builtin_prefetch(p + i);
}

COOLCHIC_INLINE void prefetch_rows(const SynthesisBand& b, int row, int x0) {
  if (row >= b.last) return;
  const Grid& finest = b.grids[0];
  if (b.first_enlarged > 0) {
    prefetch_tile(finest.value + row * finest.stride + x0);
    if (b.latents) prefetch_tile(finest.decode_gradient + row * finest.stride + x0);
  }
  for (int c = 0; c < b.channels; ++c) {
    prefetch_tile(target_row(b, row, c) + x0);
  }
}

// input: [grids][kTile], a grid of the image's size as it is and the others enlarged.
COOLCHIC_INLINE void upsample_tile(const SynthesisBand& b, int row, int x0, float* input) {
  if (b.first_enlarged > 0) copy<kTile>(b.grids[0].value + row * b.grids[0].stride + x0, input);
  for (int k = b.first_enlarged; k < b.grid_count; ++k) {
    enlarge_row(b.enlargements[k], b.grids[k].height, row, x0, input + k * kTile);
  }
}

COOLCHIC_INLINE void upsample_tile_adjoint(const SynthesisBand& b, int row, int x0,
                                           const float* gradient) {
  if (b.first_enlarged > 0) {
    copy<kTile>(gradient, b.grids[0].decode_gradient + row * b.grids[0].stride + x0);
  }
  for (int k = 0; k < b.subbands; ++k) {
    add_kernel_gradient(b.enlargements[k], b.grids[k].height, row, x0, gradient + k * kTile,
                        b.kernel_sums + k * 2 * kTaps * kLanes);
  }
  for (int k = b.first_enlarged; k < b.grid_count; ++k) {
    enlarge_row_adjoint(b.enlargements[k], b.row_offset[k], row, x0, gradient + k * kTile,
                        b.enlarged_gradient[k]);
  }
}

// output: [channels][kTile], replaced by the gradient; returns the squared error by lane.
COOLCHIC_INLINE Vec squared_error(const SynthesisBand& b, int row, int x0, float* output) {
  Vec error{};
  for (int c = 0; c < b.channels; ++c) {
    const float* target = target_row(b, row, c) + x0;
    for (int x = 0; x < kTile; x += kLanes) {
      error += differentiate(b, target + x, b.width - x0 - x, output + c * kTile + x);
    }
  }
  return error;
}

COOLCHIC_INLINE void clear_enlarged_gradient(const SynthesisBand& b, int x0) {
  for (int k = b.first_enlarged; k < b.grid_count; ++k) {
    for (int r = 0; r < b.row_count[k]; ++r) {
      clear<kTile>(b.enlarged_gradient[k] + r * b.enlargements[k].stride + x0);
    }
  }
}

// Squared error.
double plain_synthesis(const SynthesisBand& b, const Workspace& work) {
  const Network& network = *b.network;
  float* gradient = b.latents ? work.input_gradient : nullptr;
  double error = 0;
  for (int x0 = 0; x0 < b.width; x0 += kTile) {
    if (b.latents) clear_enlarged_gradient(b, x0);
    Vec tile_error{};
    for (int row = b.first; row < b.last; ++row) {
      prefetch_rows(b, row + kPrefetchRows, x0);
      upsample_tile(b, row, x0, work.activations[0]);
      network_forward(network, network.layers, work);
      tile_error += squared_error(b, row, x0, work.activations[network.layers]);
      if (b.backward) network_backward(network, work, b.sampled.include(row), gradient, kTile);
      if (b.latents) upsample_tile_adjoint(b, row, x0, gradient);
    }
    error += sum(tile_error);
  }
  return error;
}

// The workspace with the inputs that wait for the gradient of a row's tile. What layers make of
// them is computed again then: it takes less time than memory that holds it, above the second-level
// cache for wide layers.
Workspace waiting_workspace(const SynthesisBand& b, const Workspace& work, int row, int x0) {
  Workspace w = work;
  const int tile = x0 / kTile % work.waiting_tiles, rows = b.refinement->band_rows;
  w.activations[0] =
      work.waiting + (tile * rows + row - b.first) * b.network->layer[0].padded_inputs * kTile;
  return w;
}

void pixelwise_forward(const SynthesisBand& b, const Workspace& work, int x0) {
  const Network& network = *b.network;
  const Refinement& r = *b.refinement;
  const RowRange range = rows_around(b, picture_reach(b));
  for (int row = range.first; row < range.last; ++row) {
    const bool waits = b.backward && row >= b.first && row < b.last;
    const Workspace w = waits ? waiting_workspace(b, work, row, x0) : work;
    prefetch_rows(b, row + kPrefetchRows, x0);
    upsample_tile(b, row, x0, w.activations[0]);
    network_forward(network, network.layers, w);
    float* picture = plane_row(b, work.planes[0], row);
    for (int c = 0; c < b.channels; ++c, picture += r.stride) {
      copy<kTile>(w.activations[network.layers] + c * kTile, picture + x0);
      if (x0 == 0) picture[-1] = picture[0];
      if (x0 + kTile >= b.width) picture[b.width] = picture[b.width - 1];
    }
  }
}

void pixelwise_backward(const SynthesisBand& b, const Workspace& work, int x0) {
  const Network& network = *b.network;
  float* gradient = b.latents ? work.input_gradient : nullptr;
  if (b.latents) clear_enlarged_gradient(b, x0);
  for (int row = b.first; row < b.last; ++row) {
    const Workspace w = waiting_workspace(b, work, row, x0);
    network_forward(network, network.layers - 1, w);
    const float* picture = plane_row(b, work.planes[0], row) + x0;
    for (int c = 0; c < b.channels; ++c) {
      copy<kTile>(picture + c * b.refinement->stride, w.activations[network.layers] + c * kTile);
    }
    network_backward(network, w, b.sampled.include(row), gradient, kTile);
    if (b.latents) upsample_tile_adjoint(b, row, x0, gradient);
  }
}

// Squared error.
double refined_synthesis(const SynthesisBand& b, const Workspace& work) {
  clear_convolution_sums(*b.refinement, work);
  double error = 0;
  int next = 0;  // tile whose gradient is awaited
  for (int x0 = 0; x0 < b.width; x0 += kTile) {
    pixelwise_forward(b, work, x0);
    error += refine_tile(b, work, x0);
    const int done = columns_done(b, x0 + kTile, b.refinement->halo);
    for (; b.backward && next < b.width && (done == b.width || next + kTile <= done);
         next += kTile) {
      pixelwise_backward(b, work, next);
    }
  }
  return error;
}

void synthesis_band(SynthesisBand& b, const Workspace& work) {
  if (b.backward) clear_sums(*b.network, work);
  if (b.subbands > 0) memset(b.kernel_sums, 0, sizeof(float) * b.subbands * 2 * kTaps * kLanes);
  b.squared_error =
      b.refinement->layers > 0 ? refined_synthesis(b, work) : plain_synthesis(b, work);
  if (!b.backward) return;
  const float factor = static_cast<float>(b.sampled.every);
  float* rest = reduce_sums(*b.network, work, factor, b.network_gradient);
  reduce_convolution_sums(*b.refinement, work, factor, rest);
}

}  // namespace
}  // namespace coolchic::train
