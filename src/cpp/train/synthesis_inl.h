// Upsampling, synthesis and squared error of a band of image rows, forward and backward.
#pragma once

#include "network_inl.h"
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
  prefetch_tile(finest.value + row * finest.stride + x0);
  if (b.latents) prefetch_tile(finest.decode_gradient + row * finest.stride + x0);
  for (int c = 0; c < b.channels; ++c) {
    prefetch_tile(b.target + (static_cast<ptrdiff_t>(c) * b.height + row) * b.target_stride + x0);
  }
}

// input: [grids][kTile], the finest grid as it is and the others enlarged.
COOLCHIC_INLINE void upsample_tile(const SynthesisBand& b, int row, int x0, float* input) {
  copy<kTile>(b.grids[0].value + row * b.grids[0].stride + x0, input);
  for (int k = 1; k < b.grid_count; ++k) {
    enlarge_row(b.enlargements[k], b.grids[k].height, row, x0, input + k * kTile);
  }
}

COOLCHIC_INLINE void upsample_tile_adjoint(const SynthesisBand& b, int row, int x0,
                                           const float* gradient) {
  copy<kTile>(gradient, b.grids[0].decode_gradient + row * b.grids[0].stride + x0);
  for (int k = 1; k < b.grid_count; ++k) {
    enlarge_row_adjoint(b.enlargements[k], b.row_offset[k], row, x0, gradient + k * kTile,
                        b.enlarged_gradient[k]);
  }
}

// output: [channels][kTile], replaced by the gradient; returns the squared error by lane.
COOLCHIC_INLINE Vec squared_error(const SynthesisBand& b, int row, int x0, float* output) {
  Vec error{};
  for (int c = 0; c < b.channels; ++c) {
    const float* target =
        b.target + (static_cast<ptrdiff_t>(c) * b.height + row) * b.target_stride + x0;
    for (int x = 0; x < kTile; x += kLanes) {
      float* p = output + c * kTile + x;
      Vec difference = load(p) - load(target + x);
      if (x0 + kTile > b.width) {
        difference = lane_numbers() < b.width - x0 - x ? difference : Vec{};
      }
      error += difference * difference;
      store(p, difference * b.gradient_scale);
    }
  }
  return error;
}

COOLCHIC_INLINE void clear_enlarged_gradient(const SynthesisBand& b, int x0) {
  for (int k = 1; k < b.grid_count; ++k) {
    for (int r = 0; r < b.row_count[k]; ++r) {
      clear<kTile>(b.enlarged_gradient[k] + r * b.enlargements[k].stride + x0);
    }
  }
}

void synthesis_band(SynthesisBand& b, const Workspace& work) {
  const Network& network = *b.network;
  float* input = work.activations[0];
  float* gradient = b.latents ? work.input_gradient : nullptr;
  if (b.backward) clear_sums(network, work);
  double error = 0;
  for (int x0 = 0; x0 < b.width; x0 += kTile) {
    if (b.latents) clear_enlarged_gradient(b, x0);
    Vec tile_error{};
    for (int row = b.first; row < b.last; ++row) {
      prefetch_rows(b, row + kPrefetchRows, x0);
      upsample_tile(b, row, x0, input);
      network_forward(network, work);
      tile_error += squared_error(b, row, x0, work.activations[network.layers]);
      if (b.backward) network_backward(network, work, gradient, kTile);
      if (b.latents) upsample_tile_adjoint(b, row, x0, gradient);
    }
    error += sum(tile_error);
  }
  b.squared_error = error;
  if (b.backward) reduce_sums(network, work, b.network_gradient);
}

}  // namespace
}  // namespace coolchic::train
