// Linear layers on a tile, forward and backward, blocked for the vector registers.
//
// Sizes are Fixed<n>, known to the compiler, for the shapes of common architectures, and
// int, padded to kPad, for all others; both go through the same three functions.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace coolchic::train {
namespace {

constexpr int kTileVectors = kTile / kLanes;

template <int kValue>
struct Fixed {
  constexpr operator int() const { return kValue; }
};

constexpr int padded(int n) { return (n + kPad - 1) / kPad * kPad; }

enum class Epilogue { kNone, kRelu, kMask };

// out[o] = bias[o] + sum over i of weights[i][o] * in[i], in blocks of kOut rows x kVec vectors.
// in: [inputs][kTile]; weights: [inputs][padded(outputs)]; out, mask: [outputs][stride, kTile].
template <int kOut, int kVec, Epilogue kEpilogue, class Inputs, class Outputs>
COOLCHIC_INLINE void multiply(Inputs inputs, Outputs outputs, const float* __restrict weights,
                              const float* __restrict bias, const float* in, const float* mask,
                              float* out, ptrdiff_t out_stride) {
  static_assert(kTileVectors % kVec == 0);
  const int rows = outputs, depth = inputs, weight_stride = padded(outputs);
  for (int v0 = 0; v0 < kTileVectors; v0 += kVec) {
    for (int o0 = 0; o0 < rows; o0 += kOut) {
      Vec sums[kOut][kVec];
      COOLCHIC_UNROLL
      for (int o = 0; o < kOut; ++o) {
        COOLCHIC_UNROLL
        for (int v = 0; v < kVec; ++v) sums[o][v] = bias ? broadcast(bias[o0 + o]) : Vec{};
      }
      const float* w = weights + o0;
      const float* x = in + v0 * kLanes;
      // Unrolling all of it would spill the sums.
      COOLCHIC_UNROLL_BY_4
      for (int i = 0; i < depth; ++i, w += weight_stride, x += kTile) {
        Vec values[kVec];
        COOLCHIC_UNROLL
        for (int v = 0; v < kVec; ++v) values[v] = load(x + v * kLanes);
        COOLCHIC_UNROLL
        for (int o = 0; o < kOut; ++o) {
          const Vec weight = broadcast(w[o]);
          COOLCHIC_UNROLL
          for (int v = 0; v < kVec; ++v) sums[o][v] += weight * values[v];
        }
      }
      COOLCHIC_UNROLL
      for (int o = 0; o < kOut; ++o) {
        COOLCHIC_UNROLL
        for (int v = 0; v < kVec; ++v) {
          const int column = (v0 + v) * kLanes;
          Vec y = sums[o][v];
          if (kEpilogue == Epilogue::kRelu) y = max(y, Vec{});
          if (kEpilogue == Epilogue::kMask) {
            y = load(mask + (o0 + o) * kTile + column) > 0.f ? y : Vec{};
          }
          store(out + (o0 + o) * out_stride + column, y);
        }
      }
    }
  }
}

// sums[o][i] += gradient[o] * in[i] in each lane, in blocks of kOut x kIn.
template <int kOut, int kIn, class Inputs, class Outputs>
COOLCHIC_INLINE void outer_product(Inputs inputs, Outputs outputs, const float* __restrict in,
                                   const float* __restrict gradient, float* __restrict sums,
                                   float* __restrict bias_sums) {
  // Rows of padding make sums nobody reads.
  const int rows = outputs, columns = inputs, sum_stride = padded(inputs);
  for (int o0 = 0; o0 < rows; o0 += kOut) {
    for (int i0 = 0; i0 < columns; i0 += kIn) {
      float* block = sums + (o0 * sum_stride + i0) * kLanes;
      Vec s[kOut][kIn];
      COOLCHIC_UNROLL
      for (int o = 0; o < kOut; ++o) {
        COOLCHIC_UNROLL
        for (int i = 0; i < kIn; ++i) s[o][i] = load(block + (o * sum_stride + i) * kLanes);
      }
      COOLCHIC_UNROLL_BY_2
      for (int v = 0; v < kTileVectors; ++v) {
        Vec g[kOut];
        COOLCHIC_UNROLL
        for (int o = 0; o < kOut; ++o) g[o] = load(gradient + (o0 + o) * kTile + v * kLanes);
        COOLCHIC_UNROLL
        for (int i = 0; i < kIn; ++i) {
          const Vec x = load(in + (i0 + i) * kTile + v * kLanes);
          COOLCHIC_UNROLL
          for (int o = 0; o < kOut; ++o) s[o][i] += g[o] * x;
        }
      }
      COOLCHIC_UNROLL
      for (int o = 0; o < kOut; ++o) {
        COOLCHIC_UNROLL
        for (int i = 0; i < kIn; ++i) store(block + (o * sum_stride + i) * kLanes, s[o][i]);
      }
    }
  }
  for (int o = 0; o < rows; ++o) {
    Vec s = load(bias_sums + o * kLanes);
    COOLCHIC_UNROLL
    for (int v = 0; v < kTileVectors; ++v) s += load(gradient + o * kTile + v * kLanes);
    store(bias_sums + o * kLanes, s);
  }
}

// Register blocks: rows x vectors of a product, and outputs x inputs of an outer product, such as
// leave sums in registers and cover few rows that there are not. AVX-512 has 32 registers, the
// others are written for 16, where eight sums are as many as instructions are under way.
constexpr bool kManyRegisters = kLanes == 16;
constexpr int product_rows(int outputs) {
  if (outputs <= 4) return outputs;
  if (kManyRegisters && (outputs == 7 || outputs == 9)) return outputs;
  if (kManyRegisters && outputs % 12 == 0) return 12;
  return (outputs + 1) / 2 % 2 == 0 ? 4 : 2;
}
constexpr int product_vectors(int outputs) {
  return product_rows(outputs) <= (kManyRegisters ? 3 : 2) ? 4 : 2;
}
// Nine inputs, as a wavelet's synthesis has, would be padded to twelve.
constexpr bool nine_at_once(int inputs) { return kManyRegisters && inputs == 9; }
constexpr int outer_outputs(int inputs, int outputs) {
  if (outputs <= 3) return outputs;
  if (nine_at_once(inputs)) return outputs % 8 == 0 ? 8 : 2;
  return kManyRegisters && outputs % 3 == 0 ? 6 : 4;
}
constexpr int outer_inputs(int inputs, int outputs) {
  if (outputs == 2) return inputs % 6 == 0 ? 6 : 4;
  if (nine_at_once(inputs)) return outputs % 8 == 0 ? 3 : 9;
  return kManyRegisters ? 4 : 2;
}
// Rows that blocks cover: as many as there are, or more, which are padding.
template <int kRows, int kBlock>
constexpr int covered() {
  constexpr int rows = (kRows + kBlock - 1) / kBlock * kBlock;
  static_assert(rows <= padded(kRows));
  return rows;
}

// Kernels of one shape; 0 stands for any size, padded to kPad.
template <int kInputs, int kOutputs>
struct Dense {
  template <int kBlock>
  static auto inputs(const Layer& layer) {
    if constexpr (kInputs > 0) {
      return Fixed<covered<kInputs, kBlock>()>();
    } else {
      return layer.padded_inputs;
    }
  }
  template <int kBlock>
  static auto outputs(const Layer& layer) {
    if constexpr (kOutputs > 0) {
      return Fixed<covered<kOutputs, kBlock>()>();
    } else {
      return layer.padded_outputs;
    }
  }
  // Sums run over the true sizes: padding would only add zeros.
  static auto inner_inputs(const Layer& layer) {
    if constexpr (kInputs > 0) {
      return Fixed<kInputs>();
    } else {
      return layer.inputs;
    }
  }
  static auto inner_outputs(const Layer& layer) {
    if constexpr (kOutputs > 0) {
      return Fixed<kOutputs>();
    } else {
      return layer.outputs;
    }
  }

  static constexpr int kForwardOut = kOutputs > 0 ? product_rows(kOutputs) : 4;
  static constexpr int kForwardVec = kOutputs > 0 ? product_vectors(kOutputs) : 2;
  static constexpr int kBackwardOut = kInputs > 0 ? product_rows(kInputs) : 4;
  static constexpr int kBackwardVec = kInputs > 0 ? product_vectors(kInputs) : 2;
  static constexpr int kOuterOut = kOutputs > 0 ? outer_outputs(kInputs, kOutputs) : 4;
  static constexpr int kOuterIn = kInputs > 0 ? outer_inputs(kInputs, kOutputs) : 2;

  static void forward(const Layer& layer, const float* in, float* out) {
    if (layer.relu) {
      multiply<kForwardOut, kForwardVec, Epilogue::kRelu>(
          inner_inputs(layer), outputs<kForwardOut>(layer), layer.transposed, layer.bias, in,
          nullptr, out, kTile);
    } else {
      multiply<kForwardOut, kForwardVec, Epilogue::kNone>(
          inner_inputs(layer), outputs<kForwardOut>(layer), layer.transposed, layer.bias, in,
          nullptr, out, kTile);
    }
  }

  static void input_gradient(const Layer& layer, const float* gradient, const float* mask,
                             float* out, ptrdiff_t out_stride) {
    if (mask) {
      multiply<kBackwardOut, kBackwardVec, Epilogue::kMask>(
          inner_outputs(layer), inputs<kBackwardOut>(layer), layer.weights, nullptr, gradient, mask,
          out, out_stride);
    } else {
      multiply<kBackwardOut, kBackwardVec, Epilogue::kNone>(
          inner_outputs(layer), inputs<kBackwardOut>(layer), layer.weights, nullptr, gradient,
          nullptr, out, out_stride);
    }
  }

  static void weight_gradient(const Layer& layer, const float* in, const float* gradient,
                              float* weight_sums, float* bias_sums) {
    outer_product<kOuterOut, kOuterIn>(inputs<kOuterIn>(layer), outputs<kOuterOut>(layer), in,
                                       gradient, weight_sums, bias_sums);
  }

  static constexpr LayerKernels kernels = {forward, input_gradient, weight_gradient};
};

// The layers of the named architectures have kernels of their own, those of pyramids also for a
// coarse start, in which the synthesis lacks a grid.
const LayerKernels* dense_kernels(int inputs, int outputs) {
  static constexpr struct {
    int inputs, outputs;
    const LayerKernels* kernels;
  } kShapes[] = {
      {12, 12, &Dense<12, 12>::kernels}, {12, 2, &Dense<12, 2>::kernels},
      {12, 3, &Dense<12, 3>::kernels},   {7, 12, &Dense<7, 12>::kernels},
      {6, 12, &Dense<6, 12>::kernels},   {12, 10, &Dense<12, 10>::kernels},
      {10, 10, &Dense<10, 10>::kernels}, {10, 2, &Dense<10, 2>::kernels},
      {7, 22, &Dense<7, 22>::kernels},   {6, 22, &Dense<6, 22>::kernels},
      {22, 3, &Dense<22, 3>::kernels},   {20, 16, &Dense<20, 16>::kernels},
      {16, 16, &Dense<16, 16>::kernels}, {16, 2, &Dense<16, 2>::kernels},
      {7, 48, &Dense<7, 48>::kernels},   {6, 48, &Dense<6, 48>::kernels},
      {48, 3, &Dense<48, 3>::kernels},   {9, 7, &Dense<9, 7>::kernels},
      {7, 7, &Dense<7, 7>::kernels},     {7, 2, &Dense<7, 2>::kernels},
      {7, 14, &Dense<7, 14>::kernels},   {6, 14, &Dense<6, 14>::kernels},
      {14, 3, &Dense<14, 3>::kernels},   {16, 8, &Dense<16, 8>::kernels},
      {8, 8, &Dense<8, 8>::kernels},     {8, 2, &Dense<8, 2>::kernels},
      {9, 26, &Dense<9, 26>::kernels},   {26, 3, &Dense<26, 3>::kernels},
      {11, 7, &Dense<11, 7>::kernels},   {9, 12, &Dense<9, 12>::kernels},
      {30, 16, &Dense<30, 16>::kernels}, {9, 64, &Dense<9, 64>::kernels},
      {64, 3, &Dense<64, 3>::kernels},
  };
  for (const auto& shape : kShapes)
    if (shape.inputs == inputs && shape.outputs == outputs) return shape.kernels;
  return &Dense<0, 0>::kernels;
}

}  // namespace
}  // namespace coolchic::train
