// Auto-regressive model and Laplace rate of a band of rows of a grid, forward and backward.
#pragma once

#include "math_inl.h"
#include "network_inl.h"

namespace coolchic::train {
namespace {

// Positions of the context sorted by row, for the adjoint of the gathering. Row 0 of
// Workspace::input_gradient is the gradient by the coded value itself, row 1 + i the one by
// context i.
struct ContextRows {
  int left;                                        // columns that contexts reach to the left
  int count[kMaxRowsAbove + 1];                    // sources of each row above
  int source[kMaxRowsAbove + 1][kMaxContext + 1];  // offset in input_gradient
};

ContextRows sort_context(const ArmBand& b) {
  ContextRows c{};
  for (int i = 0; i < b.positions; ++i) {
    if (-b.columns_right[i] > c.left) c.left = -b.columns_right[i];
  }
  c.source[0][c.count[0]++] = kCarry - c.left;
  for (int i = 0; i < b.positions; ++i) {
    const int row = b.rows_above[i];
    c.source[row][c.count[row]++] =
        (1 + i) * kGradientStride + kCarry - c.left - b.columns_right[i];
  }
  return c;
}

// input: [positions][kTile], contexts of the values at columns x0 ... x0 + kTile - 1.
COOLCHIC_INLINE void gather_context(const ArmBand& b, const float* row, int x0, float* input) {
  for (int i = 0; i < b.positions; ++i) {
    const float* from = row - b.rows_above[i] * b.grid->stride + b.columns_right[i] + x0;
    COOLCHIC_UNROLL
    for (int x = 0; x < kTile; x += kLanes) {
      store(input + i * kTile + x, load_unaligned(from + x));
    }
  }
}

// Adjoint of gather_context for the `vectors` first vectors of the columns from x0 - left on:
// the context further right of them is complete only in the next tile, so the gradients of
// the kCarry columns before x0 are kept. The coded row is assigned here first, so it needs
// no clearing; rows above collect.
template <int kVectors>
COOLCHIC_INLINE void scatter_columns(const int* source, int count, bool assign,
                                     const float* gradient, float* out) {
  Vec s[kVectors];
  COOLCHIC_UNROLL
  for (int v = 0; v < kVectors; ++v) s[v] = assign ? Vec{} : load_unaligned(out + v * kLanes);
  for (int i = 0; i < count; ++i) {
    const float* from = gradient + source[i];
    COOLCHIC_UNROLL
    for (int v = 0; v < kVectors; ++v) s[v] += load_unaligned(from + v * kLanes);
  }
  COOLCHIC_UNROLL
  for (int v = 0; v < kVectors; ++v) store_unaligned(out + v * kLanes, s[v]);
}

COOLCHIC_INLINE float* gradient_row(const ArmBand& b, int row) {
  return row >= b.first ? b.grid->arm_gradient + row * b.grid->stride
                        : b.halo + (kMaxRowsAbove + row - b.first) * b.grid->stride;
}

COOLCHIC_INLINE void scatter_context(const ArmBand& b, const ContextRows& context, int row, int x0,
                                     int columns, const float* gradient) {
  constexpr int kBlock = 4;
  for (int above = 0; above <= kMaxRowsAbove; ++above) {
    if (context.count[above] == 0) continue;
    float* out = gradient_row(b, row - above) + x0 - context.left;
    int x = 0;
    for (; x + kBlock * kLanes <= columns; x += kBlock * kLanes) {
      scatter_columns<kBlock>(context.source[above], context.count[above], above == 0, gradient + x,
                              out + x);
    }
    for (; x < columns; x += kLanes) {
      scatter_columns<1>(context.source[above], context.count[above], above == 0, gradient + x,
                         out + x);
    }
  }
}

// The logarithm of a product is cheaper than the sum of logarithms. Four factors of at least
// 2^-31 are a normal number.
constexpr int kLogFactors = 4;
static_assert((kTile / kLanes) % kLogFactors == 0);

// values: the coded row from x0 on, `active` of them inside the grid; output: [2][kTile], mean
// and log-scale, replaced by their gradients; value_gradient: [kTile]. Returns bits by lane.
//
// Three loops, because the processor overlaps the iterations of short chains of operations
// much better than those of one long chain.
COOLCHIC_INLINE Vec laplace_bits(const LaplaceSettings& s, float scale, const float* values,
                                 int active, float* output, float* value_gradient) {
  float* mean = output;
  float* log_scale = output + kTile;
  alignas(64) float inverse_scale[kTile], twice_probability[kTile], fall[kTile];
  for (int x = 0; x < kTile; x += kLanes) {
    const Vec raw = load(log_scale + x) - s.offset;
    store(inverse_scale + x, exp(-clamp(raw, s.low, s.high)).value);
  }

  // Scaled distances from the mean to the nearer and the farther end of y +- 0.5; the nearer
  // is negative if the mean lies between them. Beyond 87 the exponential is 0 in float.
  alignas(64) float scale_derivative[kTile];
  for (int x = 0; x < kTile; x += kLanes) {
    const Vec inverse = load(inverse_scale + x);
    const Vec distance = abs(load(values + x) - load(mean + x));
    const Vec near = min((distance - 0.5f) * inverse, broadcast(87.f));
    const Vec far = min((distance + 0.5f) * inverse, broadcast(87.f));
    const Exp en = exp(-abs(near)), ef = exp(-far);
    store(fall + x, en.value - ef.value);
    store(twice_probability + x, near < 0.f ? -(en.minus_one + ef.minus_one) : en.value - ef.value);
    store(scale_derivative + x, near * en.value - far * ef.value);
  }

  const float slope = -scale * 1.44269504f;
  Vec product = broadcast(1.f), bits{};
  for (int x = 0; x < kTile; x += kLanes) {
    const IntVec inside = lane_numbers() < active - x;
    const Vec p = 0.5f * load(twice_probability + x);
    const Vec floored = max(p, broadcast(s.min_probability));
    product *= inside ? floored : broadcast(1.f);
    if ((x / kLanes) % kLogFactors == kLogFactors - 1) {
      bits -= log2(product);
      product = broadcast(1.f);
    }
    const Vec gp = (inside & (p >= s.min_probability)) ? 0.5f * slope / floored : Vec{};
    const Vec by_distance = gp * load(inverse_scale + x) * load(fall + x);
    const IntVec above = sign_bit(load(values + x) - load(mean + x));
    const Vec raw = load(log_scale + x) - s.offset;
    store(value_gradient + x, flip_sign(-by_distance, above));
    store(mean + x, flip_sign(by_distance, above));
    store(log_scale + x,
          raw == clamp(raw, s.low, s.high) ? gp * load(scale_derivative + x) : Vec{});
  }
  return bits;
}

// Bits of one row of the grid.
COOLCHIC_INLINE float arm_row(const ArmBand& b, const ContextRows& context, const Workspace& work,
                              int row) {
  const Network& network = *b.network;
  const Grid& grid = *b.grid;
  const float* values = grid.value + row * grid.stride;
  float* gradient = work.input_gradient;
  if (b.latents) {
    for (int i = 0; i <= b.positions; ++i) {
      clear<kCarry>(gradient + i * kGradientStride);
    }
  }
  Vec bits{};
  int x0 = 0;
  for (; x0 < grid.width; x0 += kTile) {
    gather_context(b, values, x0, work.activations[0]);
    network_forward(network, work);
    bits += laplace_bits(b.laplace, b.gradient_scale, values + x0, grid.width - x0,
                         work.activations[network.layers], gradient + kCarry);
    if (b.backward) {
      network_backward(network, work, b.latents ? gradient + kGradientStride + kCarry : nullptr,
                       kGradientStride);
    }
    if (b.latents) {
      scatter_context(b, context, row, x0, kTile, gradient);
      for (int i = 0; i <= b.positions; ++i) {
        float* g = gradient + i * kGradientStride;
        copy<kCarry>(g + kTile, g);
      }
    }
  }
  if (b.latents) {
    for (int i = 0; i <= b.positions; ++i) {
      clear<kTile>(gradient + i * kGradientStride + kCarry);
    }
    scatter_context(b, context, row, x0, context.left, gradient);
  }
  return sum(bits);
}

void arm_band(ArmBand& b, const Workspace& work) {
  const ContextRows context = sort_context(b);
  if (b.backward) clear_sums(*b.network, work);
  if (b.latents) {
    memset(b.halo - kMargin, 0,
           sizeof(float) * kMaxRowsAbove * static_cast<size_t>(b.grid->stride));
  }
  b.bits = 0;
  for (int row = b.first; row < b.last; ++row) b.bits += arm_row(b, context, work, row);
  if (b.backward) reduce_sums(*b.network, work, b.network_gradient);
}

}  // namespace
}  // namespace coolchic::train
