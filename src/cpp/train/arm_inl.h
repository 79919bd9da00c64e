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
  int left;                                     // columns that contexts reach to the left
  int count[kMaxRowsAbove + 1];                 // sources of each row above
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

COOLCHIC_INLINE void scatter_context(const ArmBand& b, const ContextRows& context, int row,
                                     int x0, int columns, const float* gradient) {
  constexpr int kBlock = 4;
  for (int above = 0; above <= kMaxRowsAbove; ++above) {
    if (context.count[above] == 0) continue;
    float* out = gradient_row(b, row - above) + x0 - context.left;
    int x = 0;
    for (; x + kBlock * kLanes <= columns; x += kBlock * kLanes) {
      scatter_columns<kBlock>(context.source[above], context.count[above], above == 0,
                              gradient + x, out + x);
    }
    for (; x < columns; x += kLanes) {
      scatter_columns<1>(context.source[above], context.count[above], above == 0, gradient + x,
                         out + x);
    }
  }
}

// values: the coded row from x0 on, `active` of them inside the grid; output: [2][kTile], mean
// and log-scale, replaced by their gradients; value_gradient: [kTile]. Returns bits by lane.
COOLCHIC_INLINE Vec laplace_bits(const LaplaceSettings& s, float scale, const float* values,
                                 int active, float* output, float* value_gradient) {
  Vec bits{};
  const float slope = -scale * 1.44269504f;
  for (int x = 0; x < kTile; x += kLanes) {
    const Vec y = load(values + x);
    const Vec mean = load(output + x);
    const Vec raw = load(output + kTile + x) - s.offset;
    const Vec log_scale = clamp(raw, s.low, s.high);
    const Vec inverse = exp(-log_scale).value;
    // Beyond 87 the exponential is 0 in single precision.
    const Vec upper = clamp((y - mean + 0.5f) * inverse, -87.f, 87.f);
    const Vec lower = clamp((y - mean - 0.5f) * inverse, -87.f, 87.f);
    // The distribution function is 0.5 - 0.5 sign(t) expm1(-|t|).
    const Vec eu = exp(-abs(upper)).minus_one;
    const Vec el = exp(-abs(lower)).minus_one;
    const Vec p = 0.5f * (flip_sign(el, sign_bit(lower)) - flip_sign(eu, sign_bit(upper)));
    const Vec floored = max(p, broadcast(s.min_probability));
    const IntVec inside = lane_numbers() < active - x;
    bits -= inside ? log2(floored) : Vec{};

    const Vec gp = (inside & (p >= s.min_probability)) ? 0.5f * slope / floored : Vec{};
    const Vec gy = gp * inverse * (eu - el);
    const Vec gs = gp * ((1.f + el) * lower - (1.f + eu) * upper);
    store(output + x, -gy);
    store(output + kTile + x, raw == log_scale ? gs : Vec{});
    store(value_gradient + x, gy);
  }
  return bits;
}

// Bits of one row of the grid.
COOLCHIC_INLINE float arm_row(const ArmBand& b, const ContextRows& context,
                              const Workspace& work, int row) {
  const Network& network = *b.network;
  const Grid& grid = *b.grid;
  const float* values = grid.value + row * grid.stride;
  float* gradient = work.input_gradient;
  if (b.latents) {
    for (int i = 0; i <= b.positions; ++i) {
      memset(gradient + i * kGradientStride, 0, sizeof(float) * kCarry);
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
        memcpy(g, g + kTile, sizeof(float) * kCarry);
      }
    }
  }
  if (b.latents) {
    for (int i = 0; i <= b.positions; ++i) {
      memset(gradient + i * kGradientStride + kCarry, 0, sizeof(float) * kTile);
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
