// The ARM's parents: the next coarser grid enlarged by two, and the adjoint of that.
//
// Columns are enlarged with the proxy, into Enlargement::rows; rows into planes of the finer
// grid's size, since the ARM reads them at any offset.
#pragma once

#include "upsampling_inl.h"

namespace coolchic::train {
namespace {

void parent_rows(const ParentRows& p) {
  const Grid& g = *p.grid;
  for (int row = p.first; row < p.last; ++row) {
    float* out = g.parents + row * g.stride;
    for (int x0 = 0; x0 < g.width; x0 += kTile) {
      enlarge_row(*p.doubling, p.coarser_height, row, x0, out + x0);
    }
    // The last vector of the enlarged columns may reach beyond the grid, where parents are zero.
    memset(out + g.width, 0, sizeof(float) * kLanes);
  }
}

COOLCHIC_INLINE void add_scaled(const float* in, float weight, int width, float* out) {
  for (int x = 0; x < width; x += kLanes) store(out + x, load(out + x) + load(in + x) * weight);
}

// Adds a row of the parents' gradient, from all bands of the ARM that reach it.
void add_parent_row(const Grid& g, const ArmBands& arm, int row, float weight, float* out) {
  const int own = row / arm.height;
  for (int i = own > 0 ? own - 1 : 0; i <= own + 1 && i < arm.count; ++i) {
    const ArmBand& band = arm.bands[i];
    const float* in = g.parent_gradient + row * g.stride;
    if (i != own) {
      const int line = row - (i < own ? band.last : band.first) + kParentReach;
      if (line < 0 || line >= 2 * kParentReach) continue;
      in = band.parent_halo + line * g.stride;
    }
    add_scaled(in, weight, g.width, out);
  }
}

// Adjoint of the vertical enlargement: gradient of a row of the coarser grid, its columns
// enlarged, by all rows of parents that depend on it.
void collect_parent_gradient(const UpdateRows& u, int row, float* out) {
  const Enlargement& e = *u.doubling;
  const Grid& finer = *u.finer;
  memset(out, 0, sizeof(float) * static_cast<size_t>(e.columns));
  // An enlarged row reads from 2 rows above its own to 2 below; borders are repeated.
  const int first = clamp_index(2 * (row - 2), finer.height);
  const int last = clamp_index(2 * (row + 2) + 1, finer.height);
  for (int r = first; r <= last; ++r) {
    const int phase = r & 1;
    float weight = 0;
    for (int j = 0; j < kTaps; ++j) {
      const int read = clamp_index((r >> 1) + e.first_row[phase] + j, u.grid->height);
      if (read == row) weight += e.taps[phase * kTaps + j];
    }
    if (weight != 0) add_parent_row(finer, u.finer_arm, r, weight, out);
  }
  // Parents outside the grid are zero, whatever the coarser grid.
  memset(out + finer.width, 0, sizeof(float) * static_cast<size_t>(e.columns - finer.width));
}

// Gradient of a row by the subbands that have it, as it is, for parents or among those decoded
// before.
void collect_subbands_gradient(const UpdateRows& u, int row, float* out) {
  const Grid& g = *u.grid;
  memset(out, 0, sizeof(float) * static_cast<size_t>(g.width + kLanes));
  for (int i = 0; i < u.child_count; ++i) {
    add_parent_row(*u.child[i], u.child_arm[i], row, 1, out);
  }
  for (int i = 0; i < u.later_count; ++i) {
    add_scaled(u.later[i] + row * g.stride, 1, g.width, out);
  }
}

}  // namespace
}  // namespace coolchic::train
