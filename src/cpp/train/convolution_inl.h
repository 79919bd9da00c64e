// 3x3 convolutions of rows of a few channels, forward and backward.
//
// A row is [channels][stride], with a margin on both sides. The picture's edge is repeated,
// so a row's neighbour beyond it is the row itself, and the adjoint folds back what reached
// beyond. Columns are worked on in windows from left to right, whole blocks of kBlock but the
// last; the edge's margins are set with the window that meets it.

#pragma once

#include "kernels.h"
#include "simd.h"

namespace coolchic::train {
namespace {

constexpr int kCentre = kKernel / 2;
constexpr int kBlockVectors = 2;
constexpr int kBlock = kBlockVectors * kLanes;
static_assert(kTile % kBlock == 0);
// Most windows have room for blocks whose sums are as many as instructions are under way.
constexpr int kWideBlockVectors = kLanes == 16 ? 4 : kBlockVectors;
constexpr int kWideBlock = kWideBlockVectors * kLanes;

template <int kChannels>
struct Convolve {
  static constexpr int kKernelRow = kChannels * kKernel * kChannels;  // weights

  // sums[o][v] += over t, i and columns of weights[t][i][column][o] * rows[t][i][x + column - 1]
  template <int kVectors>
  COOLCHIC_INLINE void multiply(const float* const weights[kKernel],
                                const float* const rows[kKernel], ptrdiff_t stride, int x,
                                Vec (&sums)[kChannels][kVectors]) {
    for (int t = 0; t < kKernel; ++t) {
      const float* w = weights[t];
      COOLCHIC_UNROLL
      for (int i = 0; i < kChannels; ++i) {
        const float* in = rows[t] + i * stride + x - kCentre;
        COOLCHIC_UNROLL
        for (int column = 0; column < kKernel; ++column, w += kChannels) {
          Vec values[kVectors];
          COOLCHIC_UNROLL
          for (int v = 0; v < kVectors; ++v) values[v] = load_unaligned(in + column + v * kLanes);
          COOLCHIC_UNROLL
          for (int o = 0; o < kChannels; ++o) {
            const Vec weight = broadcast(w[o]);
            COOLCHIC_UNROLL
            for (int v = 0; v < kVectors; ++v) sums[o][v] += weight * values[v];
          }
        }
      }
    }
  }

  template <int kVectors>
  COOLCHIC_INLINE void forward_at(const Convolution& layer, const float* const weights[kKernel],
                                  const float* const rows[kKernel], ptrdiff_t stride, int x,
                                  float* out) {
    Vec sums[kChannels][kVectors];
    COOLCHIC_UNROLL
    for (int o = 0; o < kChannels; ++o) {
      COOLCHIC_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[o][v] = broadcast(layer.bias[o]);
    }
    multiply(weights, rows, stride, x, sums);
    COOLCHIC_UNROLL
    for (int o = 0; o < kChannels; ++o) {
      COOLCHIC_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        store(out + o * stride + x + v * kLanes, layer.relu ? max(sums[o][v], Vec{}) : sums[o][v]);
      }
    }
  }

  static void forward(const Convolution& layer, const float* const rows[kKernel], ptrdiff_t stride,
                      const Columns& columns, float* out) {
    const float* weights[kKernel];
    for (int t = 0; t < kKernel; ++t) weights[t] = layer.weights + t * kKernelRow;
    int x = columns.first;
    for (; x + kWideBlock <= columns.last; x += kWideBlock) {
      forward_at<kWideBlockVectors>(layer, weights, rows, stride, x, out);
    }
    for (; x < columns.last; x += kBlock) {
      forward_at<kBlockVectors>(layer, weights, rows, stride, x, out);
    }
    for (int o = 0; o < kChannels; ++o) {
      float* row = out + o * stride;

      if (columns.first == 0) row[-1] = row[0];
      if (columns.last == columns.width) row[columns.width] = row[columns.width - 1];
    }
  }

  // What the columns beyond both edges collect, by channel.
  COOLCHIC_INLINE void fold(const float* const weights[kKernel], const float* const rows[kKernel],
                            ptrdiff_t stride, int width, float (&left)[kChannels],
                            float (&right)[kChannels]) {
    for (int t = 0; t < kKernel; ++t) {
      for (int o = 0; o < kChannels; ++o) {
        const float* w = weights[t] + o * kKernel * kChannels;
        const float first = rows[t][o * stride], last = rows[t][o * stride + width - 1];
        for (int i = 0; i < kChannels; ++i) {
          left[i] += w[(kKernel - 1) * kChannels + i] * first;
          right[i] += w[i] * last;
        }
      }
    }
  }

  template <int kVectors>
  COOLCHIC_INLINE void input_gradient_at(const float* const weights[kKernel],
                                         const float* const rows[kKernel], ptrdiff_t stride, int x,
                                         const float* mask, float* out) {
    Vec sums[kChannels][kVectors]{};
    multiply(weights, rows, stride, x, sums);
    COOLCHIC_UNROLL
    for (int i = 0; i < kChannels; ++i) {
      COOLCHIC_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const ptrdiff_t at = i * stride + x + v * kLanes;
        store(out + at, !mask ? sums[i][v] : load(mask + at) > 0.f ? sums[i][v] : Vec{});
      }
    }
  }

  static void input_gradient(const Convolution& layer, const float* const rows[kKernel],
                             const int kernel_row[kKernel], ptrdiff_t stride,
                             const Columns& columns, const float* mask, float* out) {
    const int width = columns.width;
    const float* weights[kKernel];
    for (int t = 0; t < kKernel; ++t) weights[t] = layer.adjoint + kernel_row[t] * kKernelRow;
    const bool at_left = columns.first == 0, at_right = columns.last == width;
    float left[kChannels]{}, right[kChannels]{};
    if (at_left || at_right) fold(weights, rows, stride, width, left, right);
    for (int i = 0; i < kChannels; ++i) {
      if (at_left && mask && !(mask[i * stride] > 0)) left[i] = 0;
      if (at_right && mask && !(mask[i * stride + width - 1] > 0)) right[i] = 0;
    }
    int x = columns.first;
    for (; x + kWideBlock <= columns.last; x += kWideBlock) {
      input_gradient_at<kWideBlockVectors>(weights, rows, stride, x, mask, out);
    }
    for (; x < columns.last; x += kBlock) {
      input_gradient_at<kBlockVectors>(weights, rows, stride, x, mask, out);
    }
    for (int i = 0; i < kChannels; ++i) {
      float* row = out + i * stride;
      if (at_left) {
        row[0] += left[i];
        row[-1] = 0;
      }
      if (!at_right) continue;
      row[width - 1] += right[i];
      memset(row + width, 0, sizeof(float) * static_cast<size_t>(-width & (kTile - 1)));
      row[width] = 0;
    }
  }

  // gradient is zero up to the end of the last vector.
  static void weight_gradient(const Convolution&, const float* const rows[kKernel],
                              const float* gradient, ptrdiff_t stride, const Columns& columns,
                              float* weight_sums, float* bias_sums) {
    for (int t = 0; t < kKernel; ++t) {
      for (int i = 0; i < kChannels; ++i, weight_sums += kChannels * kKernel * kLanes) {
        const float* in = rows[t] + i * stride - kCentre;
        Vec s[kChannels][kKernel];
        COOLCHIC_UNROLL
        for (int j = 0; j < kChannels * kKernel; ++j) {
          s[j / kKernel][j % kKernel] = load(weight_sums + j * kLanes);
        }
        for (int x = columns.first; x < columns.last; x += kLanes) {
          Vec values[kKernel];
          COOLCHIC_UNROLL
          for (int column = 0; column < kKernel; ++column) {
            values[column] = load_unaligned(in + column + x);
          }
          COOLCHIC_UNROLL
          for (int o = 0; o < kChannels; ++o) {
            const Vec g = load(gradient + o * stride + x);
            COOLCHIC_UNROLL
            for (int column = 0; column < kKernel; ++column) s[o][column] += g * values[column];
          }
        }
        COOLCHIC_UNROLL
        for (int j = 0; j < kChannels * kKernel; ++j) {
          store(weight_sums + j * kLanes, s[j / kKernel][j % kKernel]);
        }
      }
    }
    for (int o = 0; o < kChannels; ++o) {
      Vec s = load(bias_sums + o * kLanes);
      for (int x = columns.first; x < columns.last; x += kLanes)
        s += load(gradient + o * stride + x);
      store(bias_sums + o * kLanes, s);
    }
  }

  static constexpr ConvolutionKernels kernels = {forward, input_gradient, weight_gradient};
};

const ConvolutionKernels* convolution_kernels(int channels) {
  switch (channels) {
    case 1:
      return &Convolve<1>::kernels;
    case 2:
      return &Convolve<2>::kernels;
    case 3:
      return &Convolve<3>::kernels;
    default:
      return &Convolve<4>::kernels;
  }
}

}  // namespace
}  // namespace coolchic::train
