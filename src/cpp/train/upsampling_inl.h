// Bicubic enlargement of the grids and its adjoint, columns first, then rows.
//
// Columns are enlarged once per grid row into Enlargement::rows; rows only inside the
// synthesis tile, so the full-size planes never exist.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace coolchic::train {
namespace {

COOLCHIC_INLINE int clamp_index(int i, int size) { return i < 0 ? 0 : i < size ? i : size - 1; }

// Returns where the row begins, with its edges repeated kRowMargin times.
float* copy_with_edges(const float* values, int width, float* row) {
  row += kRowMargin;
  memcpy(row, values, sizeof(float) * static_cast<size_t>(width));
  for (int i = 1; i <= kRowMargin; ++i) row[-i] = values[0];
  for (int i = 0; i < kRowMargin; ++i) row[width + i] = values[width - 1];
  return row;
}

// values: a row of the grid; out: [columns]; row: scratch with kRowMargin on both sides.
void enlarge_columns(const Enlargement& e, const float* values, int width, float* row, float* out) {
  row = copy_with_edges(values, width, row);
  int block = 0;
  for (int x = 0; x < e.columns; x += kLanes) {
    const float* in = row + ((x - block * kLanes) >> e.shift) + e.first[block];
    const float* weights = e.forward + static_cast<ptrdiff_t>(block) * e.window * kLanes;
    Vec s{};
    for (int j = 0; j < e.window; ++j) s += load(weights + j * kLanes) * in[j];
    store(out + x, s);
    if (++block == e.blocks) block = 0;
  }
}

// Adjoint: gradient is [columns], the result is row[kRowMargin ... + width].
template <int kWindowVectors>
void enlarge_columns_adjoint_of(const Enlargement& e, const float* gradient, int width,
                                float* row) {
  memset(row, 0, sizeof(float) * static_cast<size_t>(width + 2 * kRowMargin));
  row += kRowMargin;
  int block = 0;
  for (int x = 0; x < e.columns; x += kLanes) {
    float* out = row + ((x - block * kLanes) >> e.shift) + e.first[block];
    const float* weights =
        e.adjoint + static_cast<ptrdiff_t>(block) * kLanes * kWindowVectors * kLanes;
    Vec even[kWindowVectors]{}, odd[kWindowVectors]{};
    COOLCHIC_UNROLL
    for (int l = 0; l < kLanes; l += 2) {
      COOLCHIC_UNROLL
      for (int w = 0; w < kWindowVectors; ++w) {
        even[w] += load(weights + (l * kWindowVectors + w) * kLanes) * gradient[x + l];
        odd[w] += load(weights + ((l + 1) * kWindowVectors + w) * kLanes) * gradient[x + l + 1];
      }
    }
    COOLCHIC_UNROLL
    for (int w = 0; w < kWindowVectors; ++w) {
      float* p = out + w * kLanes;
      store_unaligned(p, load_unaligned(p) + (even[w] + odd[w]));
    }
    if (++block == e.blocks) block = 0;
  }
  // The border was repeated, so what reached beyond it belongs to it.
  for (int i = 1; i < kTaps; ++i) row[0] += row[-i];
  for (int i = 0; i < kRowMargin; ++i) row[width - 1] += row[width + i];
}

void enlarge_columns_adjoint(const Enlargement& e, const float* gradient, int width, float* row) {
  if (e.window <= kLanes) {
    enlarge_columns_adjoint_of<1>(e, gradient, width, row);
  } else {
    enlarge_columns_adjoint_of<2>(e, gradient, width, row);
  }
}

// Taps of one enlarged row. They are copied, since stores might change memory.
struct VerticalTaps {
  Vec weight[kTaps];
  int first_row;  // may lie outside the grid
};

COOLCHIC_INLINE VerticalTaps vertical_taps(const Enlargement& e, int row) {
  const int phase = row & ((1 << e.shift) - 1);
  VerticalTaps t;
  COOLCHIC_UNROLL
  for (int j = 0; j < kTaps; ++j) t.weight[j] = broadcast(e.taps[phase * kTaps + j]);
  t.first_row = (row >> e.shift) + e.first_row[phase];
  return t;
}

// Row `row` of the enlarged grid, columns x0 ... x0 + kTile - 1.
COOLCHIC_INLINE void enlarge_row(const Enlargement& e, int height, int row, int x0, float* out) {
  const VerticalTaps t = vertical_taps(e, row);
  const float* in[kTaps];
  COOLCHIC_UNROLL
  for (int j = 0; j < kTaps; ++j) {
    in[j] = e.rows + clamp_index(t.first_row + j, height) * e.stride + x0;
  }
  COOLCHIC_UNROLL
  for (int x = 0; x < kTile; x += kLanes) {
    store(out + x, (load(in[0] + x) * t.weight[0] + load(in[1] + x) * t.weight[1]) +
                       (load(in[2] + x) * t.weight[2] + load(in[3] + x) * t.weight[3]));
  }
}

// rows: gradient of the rows from `offset` on, which may lie outside the grid.
COOLCHIC_INLINE void enlarge_row_adjoint(const Enlargement& e, int offset, int row, int x0,
                                         const float* gradient, float* rows) {
  const VerticalTaps t = vertical_taps(e, row);
  const ptrdiff_t stride = e.stride;
  float* out = rows + (t.first_row - offset) * stride + x0;
  COOLCHIC_UNROLL
  for (int x = 0; x < kTile; x += kLanes) {
    const Vec g = load(gradient + x);
    COOLCHIC_UNROLL
    for (int j = 0; j < kTaps; ++j) {
      float* p = out + j * stride + x;
      store(p, load(p) + g * t.weight[j]);
    }
  }
}

// sums: [2][kTaps] by lane; those of the row's phase grow by the derivatives by its taps.
COOLCHIC_INLINE void add_kernel_gradient(const Enlargement& e, int height, int row, int x0,
                                         const float* gradient, float* sums) {
  const int phase = row & 1;
  const int first_row = (row >> 1) + e.first_row[phase];
  const float* in[kTaps];
  Vec s[kTaps];
  COOLCHIC_UNROLL
  for (int j = 0; j < kTaps; ++j) {
    in[j] = e.rows + clamp_index(first_row + j, height) * e.stride + x0;
    s[j] = load(sums + (phase * kTaps + j) * kLanes);
  }
  COOLCHIC_UNROLL
  for (int x = 0; x < kTile; x += kLanes) {
    const Vec g = load(gradient + x);
    COOLCHIC_UNROLL
    for (int j = 0; j < kTaps; ++j) s[j] += g * load(in[j] + x);
  }
  COOLCHIC_UNROLL
  for (int j = 0; j < kTaps; ++j) store(sums + (phase * kTaps + j) * kLanes, s[j]);
}

}  // namespace
}  // namespace coolchic::train
