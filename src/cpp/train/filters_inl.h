// Learned symmetric filters of the grids before their enlargement, edges repeated.
//
// The filter along the columns and the horizontal enlargement commute with the one along the
// rows, so a row goes through columns, rows, enlargement at once: f = H(V y), and no filtered
// grid is stored. Backward, H's adjoint gives h = H' df row by row, and the latents' gradient
// is V' h, for which the rows around must be there: a pass of its own.
#pragma once

#include "enlarged_gradient_inl.h"

namespace coolchic::train {
namespace {

// out = V y of a row; out: [width], and garbage up to a whole vector.
void filter_columns(const Grid& g, const float* taps, int row, float* out) {
  const float* in[2 * kFilterReach + 1];
  for (int i = -kFilterReach; i <= kFilterReach; ++i) {
    in[i + kFilterReach] = g.value + clamp_index(row + i, g.height) * g.stride;
  }
  for (int x = 0; x < g.width; x += kLanes) {
    Vec s = load(in[kFilterReach] + x) * taps[0];
    COOLCHIC_UNROLL
    for (int i = 1; i <= kFilterReach; ++i) {
      s += (load(in[kFilterReach - i] + x) + load(in[kFilterReach + i] + x)) * taps[i];
    }
    store(out + x, s);
  }
}

// V' h of a row: rows beyond the edge fold onto it. out: [width]
void filter_columns_adjoint(const Grid& g, const float* taps, int row, float* out) {
  memset(out, 0, sizeof(float) * static_cast<size_t>(g.width));
  for (int r = row - kFilterReach; r <= row + kFilterReach; ++r) {
    if (r < 0 || r >= g.height) continue;
    float weight = 0;
    for (int i = -kFilterReach; i <= kFilterReach; ++i) {
      if (clamp_index(r + i, g.height) == row) weight += taps[i < 0 ? -i : i];
    }
    const float* in = g.decode_gradient + r * g.stride;
    for (int x = 0; x < g.width; x += kLanes) {
      store(out + x, load(out + x) + load(in + x) * weight);
    }
  }
}

COOLCHIC_INLINE Vec filter_vector(const float* taps, const float* in) {
  Vec s = load_unaligned(in) * taps[0];
  COOLCHIC_UNROLL
  for (int i = 1; i <= kFilterReach; ++i) {
    s += (load_unaligned(in - i) + load_unaligned(in + i)) * taps[i];
  }
  return s;
}

void repeat_edges(float* row, int width) {
  for (int i = 1; i <= kFilterReach; ++i) row[-i] = row[0];
  for (int i = 0; i < kFilterReach; ++i) row[width + i] = row[width - 1];
}

// H of a row with kRowMargin on both sides, which is filled here.
void filter_row(const float* taps, float* in, int width, float* out) {
  repeat_edges(in, width);
  for (int x = 0; x < width; x += kLanes) store(out + x, filter_vector(taps, in + x));
}

// H' of a row. Both rows have kRowMargin on both sides; in is zero there.
void filter_row_adjoint(const float* taps, const float* in, int width, float* out) {
  static_assert(kRowMargin >= kLanes + 2 * kFilterReach);
  for (int x = -kLanes; x < width + kFilterReach; x += kLanes) {
    store(out + x, filter_vector(taps, in + x));
  }
  // The border was repeated, so what reached beyond it belongs to it.
  for (int i = 1; i <= kFilterReach; ++i) out[0] += out[-i];
  for (int i = 0; i < kFilterReach; ++i) out[width - 1] += out[width + i];
}

void filter_rows(const FilterRows& f, const Workspace& work) {
  float* columns = work.row[1] + kRowMargin;
  float* both = work.row[2] + kRowMargin;
  for (int row = f.first; row < f.last; ++row) {
    filter_columns(*f.grid, f.taps, row, columns);
    filter_row(f.taps, columns, f.grid->width, both);
    enlarge_columns(*f.enlargement, both, f.grid->width, work.row[0],
                    f.enlargement->rows + row * f.enlargement->stride);
  }
}

// Each tap but the centre has two values: sums[i] += gradient * (before + after).
COOLCHIC_INLINE void add_tap_gradient(Vec gradient, const float* const before[],
                                      const float* const after[], int x, Vec* sums) {
  sums[0] += gradient * load_unaligned(before[0] + x);
  COOLCHIC_UNROLL
  for (int i = 1; i <= kFilterReach; ++i) {
    sums[i] += gradient * (load_unaligned(before[i] + x) + load_unaligned(after[i] + x));
  }
}

void filter_gradient_row(const FilterGradientRows& f, int row, const Workspace& work, Vec* sums) {
  const Grid& g = *f.enlarged.grid;
  const size_t margin = sizeof(float) * kRowMargin;
  float* gradient = work.row[0] + kRowMargin;
  float* columns = work.row[1] + kRowMargin;
  float* by_columns = work.row[2] + kRowMargin;
  collect_row(f.enlarged, row, work.full_row);
  enlarge_columns_adjoint(*f.enlarged.enlargement, work.full_row, g.width, work.row[0]);
  memset(gradient - kRowMargin, 0, margin);
  memset(gradient + g.width, 0, margin);
  filter_columns(g, f.taps, row, columns);
  repeat_edges(columns, g.width);
  filter_row_adjoint(f.taps, gradient, g.width, by_columns);
  memset(by_columns + g.width, 0, sizeof(float) * kLanes);

  const float *left[kFilterReach + 1], *right[kFilterReach + 1];
  const float *above[kFilterReach + 1], *below[kFilterReach + 1];
  for (int i = 0; i <= kFilterReach; ++i) {
    left[i] = columns - i;
    right[i] = columns + i;
    above[i] = g.value + clamp_index(row - i, g.height) * g.stride;
    below[i] = g.value + clamp_index(row + i, g.height) * g.stride;
  }
  float* out = g.decode_gradient + row * g.stride;
  for (int x = 0; x < g.width; x += kLanes) {
    add_tap_gradient(load(gradient + x), left, right, x, sums);
    add_tap_gradient(load(by_columns + x), above, below, x, sums);
    store(out + x, load(by_columns + x));
  }
}

void filter_gradient_rows(FilterGradientRows& f, const Workspace& work) {
  Vec sums[kFilterReach + 1]{};
  for (int row = f.first; row < f.last; ++row) filter_gradient_row(f, row, work, sums);
  for (int i = 0; i <= kFilterReach; ++i) f.tap_gradient[i] = sum(sums[i]);
}

}  // namespace
}  // namespace coolchic::train
