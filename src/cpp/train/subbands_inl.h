// The kernels that enlarge subbands: their gradients along the columns, with the adjoint of that
// enlargement. Those along the rows come with the synthesis's tiles (add_kernel_gradient).
#pragma once

#include "enlarged_gradient_inl.h"

namespace coolchic::train {
namespace {

// Enlargement by two has one block of outputs, which reads this many inputs.
constexpr int kSubbandWindow = kTaps + kLanes / 2;

void subband_gradient_rows(SubbandGradientRows& s, const Workspace& work) {
  const Grid& g = *s.enlarged.grid;
  const Enlargement& e = *s.enlarged.enlargement;
  Vec sums[kSubbandWindow]{};  // by input of the block, and by lane
  for (int row = s.first; row < s.last; ++row) {
    collect_row(s.enlarged, row, work.full_row);
    enlarge_columns_adjoint(e, work.full_row, g.width, work.row[0]);
    memcpy(g.decode_gradient + row * g.stride, work.row[0] + kRowMargin,
           sizeof(float) * static_cast<size_t>(g.width));
    const float* values = copy_with_edges(g.value + row * g.stride, g.width, work.row[1]);
    for (int x = 0; x < e.columns; x += kLanes) {
      const float* in = values + (x >> 1) + e.first[0];
      const Vec gradient = load(work.full_row + x);
      COOLCHIC_UNROLL
      for (int j = 0; j < kSubbandWindow; ++j) sums[j] += gradient * in[j];
    }
  }
  for (int phase = 0; phase < 2; ++phase) {
    for (int tap = 0; tap < kTaps; ++tap) {
      float sum = 0;
      // The second of the two outputs for an input reads from one input further on.
      for (int lane = phase; lane < kLanes; lane += 2) {
        sum += sums[lane / 2 + phase + tap][lane];
      }
      s.tap_gradient[phase][tap] = sum;
    }
  }
}

}  // namespace
}  // namespace coolchic::train
