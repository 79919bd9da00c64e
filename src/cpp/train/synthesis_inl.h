// Upsampling, synthesis and squared error of a band of image rows, forward and backward.
//
// With convolutions behind the pixel-wise layers, synthesis_forward makes the picture before
// them for all bands first; then each band runs the convolutions on its rows and their
// neighbours, forward and backward, and the pixel-wise layers again.
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
  prefetch_tile(finest.value + row * finest.stride + x0);
  if (b.latents) prefetch_tile(finest.decode_gradient + row * finest.stride + x0);
  for (int c = 0; c < b.channels; ++c) {
    prefetch_tile(target_row(b, row, c) + x0);
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
    const float* target = target_row(b, row, c) + x0;
    for (int x = 0; x < kTile; x += kLanes) {
      error += differentiate(b, target + x, b.width - x0 - x, output + c * kTile + x);
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

void synthesis_forward(const SynthesisBand& b, const Workspace& work) {
  const Network& network = *b.network;
  const Refinement& r = *b.refinement;
  const float* output = work.activations[network.layers];
  for (int x0 = 0; x0 < b.width; x0 += kTile) {
    for (int row = b.first; row < b.last; ++row) {
      prefetch_rows(b, row + kPrefetchRows, x0);
      upsample_tile(b, row, x0, work.activations[0]);
      network_forward(network, network.layers, work);
      for (int c = 0; c < b.channels; ++c) {
        copy<kTile>(output + c * kTile, picture_row(b, row) + c * r.stride + x0);
      }
    }
  }
  for (int row = b.first; row < b.last; ++row) {
    for (int c = 0; c < b.channels; ++c) {
      float* p = picture_row(b, row) + c * r.stride;
      p[-1] = p[0];
      p[b.width] = p[b.width - 1];
    }
  }
}

// Gradient of the pixel-wise layers' output in a tile; returns the squared error by lane.
COOLCHIC_INLINE Vec output_gradient(const SynthesisBand& b, const Workspace& work, int row,
                                    int x0) {
  float* output = work.activations[b.network->layers];
  if (b.refinement->layers == 0) return squared_error(b, row, x0, output);
  const float* gradient = band_row(b, work.picture_gradient, row) + x0;
  for (int c = 0; c < b.channels; ++c) {
    copy<kTile>(gradient + c * b.refinement->stride, output + c * kTile);
  }
  return Vec{};
}

void synthesis_band(SynthesisBand& b, const Workspace& work) {
  const Network& network = *b.network;
  const bool refined = b.refinement->layers > 0;
  // The last layer's output is not needed for the gradients.
  const int layers = refined ? network.layers - 1 : network.layers;
  float* input = work.activations[0];
  float* gradient = b.latents ? work.input_gradient : nullptr;
  if (b.backward) clear_sums(network, work);
  double error = refined ? refine(b, work) : 0;
  const int columns = refined && !b.backward ? 0 : b.width;
  for (int x0 = 0; x0 < columns; x0 += kTile) {
    if (b.latents) clear_enlarged_gradient(b, x0);
    Vec tile_error{};
    for (int row = b.first; row < b.last; ++row) {
      prefetch_rows(b, row + kPrefetchRows, x0);
      upsample_tile(b, row, x0, input);
      network_forward(network, layers, work);
      tile_error += output_gradient(b, work, row, x0);
      if (b.backward) network_backward(network, work, gradient, kTile);
      if (b.latents) upsample_tile_adjoint(b, row, x0, gradient);
    }
    error += sum(tile_error);
  }
  b.squared_error = error;
  if (!b.backward) return;
  float* rest = reduce_sums(network, work, b.network_gradient);
  reduce_convolution_sums(*b.refinement, work, rest);
}

}  // namespace
}  // namespace coolchic::train
