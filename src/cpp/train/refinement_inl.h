// The 3x3 convolutions of a band of image rows and the squared error behind them, forward and
// backward.
//
// A band computes its neighbours' rows again as far as its own gradients depend on them: with
// L convolutions, 2L rows on both sides of the picture before them. Weights' gradients are
// summed over the band's own rows of each layer's output.
#pragma once

#include "convolution_inl.h"
#include "upsampling_inl.h"

namespace coolchic::train {
namespace {

COOLCHIC_INLINE const float* target_row(const SynthesisBand& b, int row, int channel) {
  return b.target + (static_cast<ptrdiff_t>(channel) * b.height + row) * b.target_stride;
}

// output becomes the gradient of the loss, for `inside` values; returns the squared error.
COOLCHIC_INLINE Vec differentiate(const SynthesisBand& b, const float* target, int inside,
                                  float* output) {
  Vec difference = load(output) - load(target);
  if (inside < kLanes) difference = lane_numbers() < inside ? difference : Vec{};
  store(output, difference * b.gradient_scale);
  return difference * difference;
}

// A row of the picture before the convolutions.
COOLCHIC_INLINE float* picture_row(const SynthesisBand& b, int row) {
  return b.refinement->picture + row * b.channels * b.refinement->stride;
}

// A row of a plane in the workspace.
COOLCHIC_INLINE float* band_row(const SynthesisBand& b, float* plane, int row) {
  return plane + (row - b.first + b.refinement->halo) * b.channels * b.refinement->stride;
}

struct RowRange {
  int first, last;
};

RowRange rows_around(const SynthesisBand& b, int reach) {
  return {b.first < reach ? 0 : b.first - reach,
          b.height - b.last < reach ? b.height : b.last + reach};
}

// The rows that layer l reads for a row of its output.
COOLCHIC_INLINE void input_rows(const SynthesisBand& b, const Workspace& work, int l, int row,
                                const float* (&rows)[kKernel]) {
  for (int t = 0; t < kKernel; ++t) {
    const int read = clamp_index(row + t - kCentre, b.height);
    rows[t] = l == 0 ? picture_row(b, read) : band_row(b, work.refined[l - 1], read);
  }
}

void convolve_forward(const SynthesisBand& b, const Workspace& work, int l, int reach) {
  const Refinement& r = *b.refinement;
  const RowRange range = rows_around(b, reach);
  for (int row = range.first; row < range.last; ++row) {
    const float* rows[kKernel];
    input_rows(b, work, l, row, rows);
    r.layer[l].kernels->forward(r.layer[l], rows, r.stride, b.width,
                                band_row(b, work.refined[l], row));
  }
}

// Squared error of the band, and gradients of its rows and `reach` more.
double refined_error(const SynthesisBand& b, const Workspace& work, int reach) {
  const Refinement& r = *b.refinement;
  const RowRange range = rows_around(b, reach);
  double error = 0;
  for (int row = range.first; row < range.last; ++row) {
    Vec row_error{};
    for (int c = 0; c < b.channels; ++c) {
      float* output = band_row(b, work.refined[r.layers - 1], row) + c * r.stride;
      const float* target = target_row(b, row, c);
      for (int x = 0; x < b.width; x += kLanes) {
        row_error += differentiate(b, target + x, b.width - x, output + x);
      }
      output[-1] = 0;
      output[b.width] = 0;
    }
    if (row >= b.first && row < b.last) error += sum(row_error);
  }
  return error;
}

void convolve_weight_gradient(const SynthesisBand& b, const Workspace& work, int l) {
  const Refinement& r = *b.refinement;
  for (int row = b.first; row < b.last; ++row) {
    const float* rows[kKernel];
    input_rows(b, work, l, row, rows);
    r.layer[l].kernels->weight_gradient(r.layer[l], rows, band_row(b, work.refined[l], row),
                                        r.stride, b.width, work.convolution_weight_sums[l],
                                        work.convolution_bias_sums[l]);
  }
}

// Replaces the layer's input by its gradient; that of the first has memory of its own, since
// other bands read it.
void convolve_input_gradient(const SynthesisBand& b, const Workspace& work, int l, int reach) {
  const Refinement& r = *b.refinement;
  float* plane = l == 0 ? work.picture_gradient : work.refined[l - 1];
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
      rows[t] = band_row(b, work.refined[l], beyond ? row : from);
    }
    float* out = band_row(b, plane, row);
    r.layer[l].kernels->input_gradient(r.layer[l], rows, kernel_row, r.stride, b.width,
                                       relu ? out : nullptr, out);
  }
}

// Returns the squared error; leaves the gradient of the band's rows in picture_gradient.
double refine(const SynthesisBand& b, const Workspace& work) {
  const Refinement& r = *b.refinement;
  const int halo = b.backward ? r.layers : 0;
  for (int l = 0; l < r.layers; ++l) convolve_forward(b, work, l, halo + r.layers - 1 - l);
  const double error = refined_error(b, work, halo);
  if (!b.backward) return error;
  for (int l = r.layers - 1; l >= 0; --l) {
    const size_t outputs = static_cast<size_t>(b.channels);
    memset(work.convolution_weight_sums[l], 0, outputs * outputs * kKernel * kKernel * kBytes);
    memset(work.convolution_bias_sums[l], 0, outputs * kBytes);
    convolve_weight_gradient(b, work, l);
    convolve_input_gradient(b, work, l, l);
  }
  return error;
}

// Adds the lanes; out is in the order of the parameters.
void reduce_convolution_sums(const Refinement& r, const Workspace& work, float* out) {
  for (int l = 0; l < r.layers; ++l) {
    const int n = r.layer[l].channels;
    for (int o = 0; o < n; ++o) {
      for (int i = 0; i < n; ++i) {
        for (int row = 0; row < kKernel; ++row) {
          for (int column = 0; column < kKernel; ++column) {
            const int at = ((row * n + i) * n + o) * kKernel + column;
            *out++ = sum(load(work.convolution_weight_sums[l] + at * kLanes));
          }
        }
      }
    }
    for (int o = 0; o < n; ++o) *out++ = sum(load(work.convolution_bias_sums[l] + o * kLanes));
  }
}

}  // namespace
}  // namespace coolchic::train
