// Auto-regressive model and Laplace rate of a band of rows of a grid, forward and backward.
#pragma once

#include "math_inl.h"
#include "network_inl.h"

namespace coolchic::train {
namespace {

// Positions of a neighbourhood sorted by row, for the adjoint of the gathering: source[i] are
// the offsets in Workspace::input_gradient that row lowest + i above collects.
constexpr int kNeighbourRows = kMaxRowsAbove + 1;
static_assert(2 * kParentReach < kNeighbourRows);

struct NeighbourRows {
  int left;    // columns that positions reach to the left
  int lowest;  // row above of source[0]
  int count[kNeighbourRows];
  int source[kNeighbourRows][kMaxContext + 1];
};

// Row 0 of Workspace::input_gradient is the gradient by the coded value itself; those by the
// neighbours begin with row `first`.
NeighbourRows sort_neighbours(const Neighbourhood& n, int lowest, int first) {
  NeighbourRows r{};
  r.lowest = lowest;
  for (int i = 0; i < n.count; ++i) {
    if (-n.columns_right[i] > r.left) r.left = -n.columns_right[i];
  }
  for (int i = 0; i < n.count; ++i) {
    const int row = n.rows_above[i] - lowest;
    r.source[row][r.count[row]++] =
        (first + i) * kGradientStride + kCarry - r.left - n.columns_right[i];
  }
  return r;
}

struct ArmNeighbours {
  NeighbourRows context, parents;
};

// The coded value counts as a position of its context here.
ArmNeighbours sort_positions(const ArmBand& b) {
  ArmNeighbours n{sort_neighbours(b.context, 0, 1),
                  sort_neighbours(b.parents, -kParentReach, 1 + b.context.count)};
  n.context.source[0][n.context.count[0]++] = kCarry - n.context.left;
  return n;
}

// input: [count][kTile], neighbours of the values at columns x0 ... x0 + kTile - 1.
COOLCHIC_INLINE void gather_neighbours(const Neighbourhood& n, const float* row, ptrdiff_t stride,
                                       int x0, float* input) {
  for (int i = 0; i < n.count; ++i) {
    const float* from = row - n.rows_above[i] * stride + n.columns_right[i] + x0;
    COOLCHIC_UNROLL
    for (int x = 0; x < kTile; x += kLanes) {
      store(input + i * kTile + x, load_unaligned(from + x));
    }
  }
}

// Adjoint of gather_neighbours for vectors of the columns from x0 - left on: what lies further
// right of them is complete only in the next tile, so the gradients of the kCarry columns
// before x0 are kept.
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

COOLCHIC_INLINE float* parent_gradient_row(const ArmBand& b, int row) {
  const ptrdiff_t stride = b.grid->stride;
  if (row < b.first) return b.parent_halo + (row - b.first + kParentReach) * stride;
  if (row >= b.last) return b.parent_halo + (row - b.last + kParentReach) * stride;
  return b.grid->parent_gradient + row * stride;
}

// out: first of the columns that collect; `assign` if they are to be set instead.
COOLCHIC_INLINE void scatter_row(const NeighbourRows& n, int i, bool assign, int columns,
                                 const float* gradient, float* out) {
  constexpr int kBlock = 4;
  int x = 0;
  for (; x + kBlock * kLanes <= columns; x += kBlock * kLanes) {
    scatter_columns<kBlock>(n.source[i], n.count[i], assign, gradient + x, out + x);
  }
  for (; x < columns; x += kLanes) {
    scatter_columns<1>(n.source[i], n.count[i], assign, gradient + x, out + x);
  }
}

// The coded row is assigned here first, so it needs no clearing; rows above collect.
COOLCHIC_INLINE void scatter_context(const ArmBand& b, const NeighbourRows& n, int row, int x0,
                                     int columns, const float* gradient) {
  for (int above = 0; above <= kMaxRowsAbove; ++above) {
    if (n.count[above] == 0) continue;
    scatter_row(n, above, above == 0, columns, gradient,
                gradient_row(b, row - above) + x0 - n.left);
  }
}

COOLCHIC_INLINE void scatter_parents(const ArmBand& b, const NeighbourRows& n, int row, int x0,
                                     int columns, const float* gradient) {
  for (int i = 0; i <= 2 * kParentReach; ++i) {
    if (n.count[i] == 0) continue;
    scatter_row(n, i, false, columns, gradient,
                parent_gradient_row(b, row - (n.lowest + i)) + x0 - n.left);
  }
}

// input: [siblings][kTile], at the values' own positions.
COOLCHIC_INLINE void gather_siblings(const ArmBand& b, int row, int x0, float* input) {
  for (int i = 0; i < b.siblings; ++i) {
    if (const Grid* g = b.sibling[i]) {
      copy<kTile>(g->value + row * g->stride + x0, input + i * kTile);
    } else {
      clear<kTile>(input + i * kTile);
    }
  }
}

COOLCHIC_INLINE void scatter_siblings(const ArmBand& b, int row, int x0, const float* gradient) {
  for (int i = 0; i < b.siblings; ++i) {
    if (!b.sibling[i]) continue;
    copy<kTile>(gradient + i * kGradientStride,
                b.grid->sibling_gradient[i] + row * b.grid->stride + x0);
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
COOLCHIC_INLINE float arm_row(const ArmBand& b, const ArmNeighbours& neighbours,
                              const Workspace& work, int row) {
  const Network& network = *b.network;
  const Grid& grid = *b.grid;
  const float* values = grid.value + row * grid.stride;
  const int neighbours_count = b.context.count + b.parents.count;
  const int inputs = neighbours_count + b.siblings;
  float* gradient = work.input_gradient;
  if (b.latents) {
    for (int i = 0; i <= inputs; ++i) {
      clear<kCarry>(gradient + i * kGradientStride);
    }
  }
  Vec bits{};
  int x0 = 0;
  for (; x0 < grid.width; x0 += kTile) {
    gather_neighbours(b.context, values, grid.stride, x0, work.activations[0]);
    if (b.parents.count > 0) {
      gather_neighbours(b.parents, grid.parents + row * grid.stride, grid.stride, x0,
                        work.activations[0] + b.context.count * kTile);
    }
    gather_siblings(b, row, x0, work.activations[0] + neighbours_count * kTile);
    network_forward(network, network.layers, work);
    bits += laplace_bits(b.laplace, b.gradient_scale, values + x0, grid.width - x0,
                         work.activations[network.layers], gradient + kCarry);
    if (b.backward) {
      network_backward(network, work, b.sampled.include(row),
                       b.latents ? gradient + kGradientStride + kCarry : nullptr, kGradientStride);
    }
    if (b.latents) {
      scatter_context(b, neighbours.context, row, x0, kTile, gradient);
      scatter_parents(b, neighbours.parents, row, x0, kTile, gradient);
      scatter_siblings(b, row, x0, gradient + (1 + neighbours_count) * kGradientStride + kCarry);
      for (int i = 0; i <= inputs; ++i) {
        float* g = gradient + i * kGradientStride;
        copy<kCarry>(g + kTile, g);
      }
    }
  }
  if (b.latents) {
    for (int i = 0; i <= inputs; ++i) {
      clear<kTile>(gradient + i * kGradientStride + kCarry);
    }
    scatter_context(b, neighbours.context, row, x0, neighbours.context.left, gradient);
    scatter_parents(b, neighbours.parents, row, x0, neighbours.parents.left, gradient);
  }
  return sum(bits);
}

COOLCHIC_INLINE void clear_rows(float* first, int rows, ptrdiff_t stride) {
  memset(first - kMargin, 0, sizeof(float) * static_cast<size_t>(rows * stride));
}

void arm_band(ArmBand& b, const Workspace& work) {
  const ArmNeighbours neighbours = sort_positions(b);
  const ptrdiff_t stride = b.grid->stride;
  if (b.backward) clear_sums(*b.network, work);
  if (b.latents) clear_rows(b.halo, kMaxRowsAbove, stride);
  if (b.latents && b.parents.count > 0) {
    clear_rows(b.parent_halo, 2 * kParentReach, stride);
    clear_rows(b.grid->parent_gradient + b.first * stride, b.last - b.first, stride);
  }
  b.bits = 0;
  for (int row = b.first; row < b.last; ++row) b.bits += arm_row(b, neighbours, work, row);
  if (b.backward) {
    reduce_sums(*b.network, work, static_cast<float>(b.sampled.every), b.network_gradient);
  }
}

}  // namespace
}  // namespace coolchic::train
