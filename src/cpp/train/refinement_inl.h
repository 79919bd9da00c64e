// The 3x3 convolutions of a band of image rows and the squared error behind them, forward and
// backward.
//
// A band computes its neighbours' rows again as far as its own gradients depend on them: with
// L convolutions, 2L rows on both sides of the picture before them. Weights' gradients are
// summed over the band's own rows of each layer's output.
//
// Columns come tile by tile. Each step reads one column to the right of its own, so it trails
// the step before by a block; with the last tile all come to the picture's edge.
#pragma once

#include "convolution_inl.h"
#include "upsampling_inl.h"

namespace coolchic::train {
namespace {

COOLCHIC_INLINE const float* target_row(const SynthesisBand& b, int row, int channel) {
  return b.target + (static_cast<ptrdiff_t>(channel) * b.height + row) * b.target_stride;
}

// output becomes the gradient of the loss, for `inside` values; returns the squared error. What is
// beyond a black or a white sample will be clipped.
COOLCHIC_INLINE Vec differentiate(const SynthesisBand& b, const float* target, int inside,
                                  float* output) {
  const Vec wanted = load(target);
  Vec difference = load(output) - wanted;
  difference = wanted >= b.white ? min(difference, Vec{}) : difference;
  difference = wanted <= 0.f ? max(difference, Vec{}) : difference;
  if (inside < kLanes) difference = lane_numbers() < inside ? difference : Vec{};
  store(output, difference * b.gradient_scale);
  return difference * difference;
}

// A row of a plane in the workspace.
COOLCHIC_INLINE float* plane_row(const SynthesisBand& b, float* plane, int row) {
  return plane + (row - b.first + b.refinement->halo) * b.channels * b.refinement->stride;
}

struct RowRange {
  int first, last;
};

RowRange rows_around(const SynthesisBand& b, int reach) {
  return {b.first < reach ? 0 : b.first - reach,
          b.height - b.last < reach ? b.height : b.last + reach};
}

// Columns that are done by step `step` when the columns before x are there.
COOLCHIC_INLINE int columns_done(const SynthesisBand& b, int x, int step) {
  if (x >= b.width) return b.width;
  return x > step * kBlock ? x - step * kBlock : 0;
}

// Columns of a step for the tile at x0; none if the step is still behind the left edge.
COOLCHIC_INLINE Columns window(const SynthesisBand& b, int x0, int step) {
  return {columns_done(b, x0, step), columns_done(b, x0 + kTile, step), b.width};
}

// The rows that layer l reads for a row of its output.
COOLCHIC_INLINE void input_rows(const SynthesisBand& b, const Workspace& work, int l, int row,
                                const float* (&rows)[kKernel]) {
  for (int t = 0; t < kKernel; ++t) {
    rows[t] = plane_row(b, work.planes[l], clamp_index(row + t - kCentre, b.height));
  }
}

void convolve_forward(const SynthesisBand& b, const Workspace& work, int l, int reach,
                      const Columns& columns) {
  if (columns.last == 0) return;
  const Refinement& r = *b.refinement;
  const RowRange range = rows_around(b, reach);
  for (int row = range.first; row < range.last; ++row) {
    const float* rows[kKernel];
    input_rows(b, work, l, row, rows);
    r.layer[l].kernels->forward(r.layer[l], rows, r.stride, columns,
                                plane_row(b, work.planes[l + 1], row));
  }
}

// Squared error of the band, and gradients of its rows and `reach` more.
double refined_error(const SynthesisBand& b, const Workspace& work, int reach,
                     const Columns& columns) {
  if (columns.last == 0) return 0;
  const Refinement& r = *b.refinement;
  const RowRange range = rows_around(b, reach);
  Vec error{};
  for (int row = range.first; row < range.last; ++row) {
    Vec row_error{};
    for (int c = 0; c < b.channels; ++c) {
      float* output = plane_row(b, work.planes[r.layers], row) + c * r.stride;
      const float* target = target_row(b, row, c);
      for (int x = columns.first; x < columns.last; x += kLanes) {
        row_error += differentiate(b, target + x, b.width - x, output + x);
      }
      if (columns.first == 0) output[-1] = 0;
      if (columns.last == b.width) output[b.width] = 0;
    }
    if (row >= b.first && row < b.last) error += row_error;
  }
  return sum(error);
}

void convolve_weight_gradient(const SynthesisBand& b, const Workspace& work, int l,
                              const Columns& columns) {
  if (columns.last == 0) return;
  const Refinement& r = *b.refinement;
  for (int row = b.first; row < b.last; ++row) {
    if (!b.sampled.include(row)) continue;
    const float* rows[kKernel];
    input_rows(b, work, l, row, rows);
    r.layer[l].kernels->weight_gradient(r.layer[l], rows, plane_row(b, work.planes[l + 1], row),
                                        r.stride, columns, work.convolution_weight_sums[l],
                                        work.convolution_bias_sums[l]);
  }
}

// Replaces the layer's input by its gradient: nobody reads columns of it that are a block
// behind those of the weights' gradient.
void convolve_input_gradient(const SynthesisBand& b, const Workspace& work, int l, int reach,
                             const Columns& columns) {
  const Refinement& r = *b.refinement;
  if (columns.last == 0) return;
  const bool relu = l > 0 && r.layer[l - 1].relu;
  const RowRange range = rows_around(b, reach);
  for (int row = range.first; row < range.last; ++row) {
    const float* rows[kKernel];
    int kernel_row[kKernel];
    for (int t = 0; t < kKernel; ++t) {
      // Kernel row t leads from the row below for t = 0. Beyond the edge is the row itself,
      // which its own output has read through the opposite kernel row.
      const int from = row + kCentre - t;
      const bool beyond = from < 0 || from >= b.height;
      kernel_row[t] = beyond ? kKernel - 1 - t : t;
      rows[t] = plane_row(b, work.planes[l + 1], beyond ? row : from);
    }
    float* out = plane_row(b, work.planes[l], row);
    r.layer[l].kernels->input_gradient(r.layer[l], rows, kernel_row, r.stride, columns,
                                       relu ? out : nullptr, out);
  }
}

// All steps for the tile at x0, whose picture is in planes[0] for rows_around(picture_reach).
// Returns the squared error. The columns before columns_done(b, x0 + kTile, 2 L) of planes[0]
// are then a gradient, for the band's rows.
double refine_tile(const SynthesisBand& b, const Workspace& work, int x0) {
  const int layers = b.refinement->layers;
  const int halo = b.backward ? layers : 0;
  for (int l = 0; l < layers; ++l) {
    convolve_forward(b, work, l, halo + layers - 1 - l, window(b, x0, l + 1));
  }
  const double error = refined_error(b, work, halo, window(b, x0, layers));
  if (!b.backward) return error;
  for (int l = layers - 1; l >= 0; --l) {
    const int step = 2 * layers - l;
    convolve_weight_gradient(b, work, l, window(b, x0, step - 1));
    convolve_input_gradient(b, work, l, l, window(b, x0, step));
  }
  return error;
}

int picture_reach(const SynthesisBand& b) {
  return b.backward ? b.refinement->halo : b.refinement->layers;
}

void clear_convolution_sums(const Refinement& r, const Workspace& work) {
  for (int l = 0; l < r.layers; ++l) {
    const size_t channels = static_cast<size_t>(r.layer[l].channels);
    memset(work.convolution_weight_sums[l], 0, channels * channels * kKernel * kKernel * kBytes);
    memset(work.convolution_bias_sums[l], 0, channels * kBytes);
  }
}

// Adds the lanes, times `factor`; out is in the order of the parameters.
void reduce_convolution_sums(const Refinement& r, const Workspace& work, float factor, float* out) {
  for (int l = 0; l < r.layers; ++l) {
    const int n = r.layer[l].channels;
    for (int o = 0; o < n; ++o) {
      for (int i = 0; i < n; ++i) {
        for (int row = 0; row < kKernel; ++row) {
          for (int column = 0; column < kKernel; ++column) {
            const int at = ((row * n + i) * n + o) * kKernel + column;
            *out++ = factor * sum(load(work.convolution_weight_sums[l] + at * kLanes));
          }
        }
      }
    }
    for (int o = 0; o < n; ++o) {
      *out++ = factor * sum(load(work.convolution_bias_sums[l] + o * kLanes));
    }
  }
}

}  // namespace
}  // namespace coolchic::train
