#include "decoder/surroundings.h"

#include <algorithm>
#include <utility>

#include "decoder/network.h"
#include "decoder/upsampling.h"

namespace coolchic {
namespace {

// Rounded towards minus infinity, b > 0.
int floor_divide(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

}  // namespace

SkewedPlane::SkewedPlane(const Kernels& kernels, int stagger,
                         std::vector<Context::Position> positions, const Grid& grid, int first_row,
                         int rows, const Grid* source, bool enlarged)
    : kernels_(kernels),
      stagger_(stagger),
      positions_(std::move(positions)),
      rows_(rows),
      columns_(grid.columns()) {
  if (!source || !source->has_values()) {
    zeros_.resize(rows + kRowSlack);
    return;
  }
  for (const Context::Position& p : positions_) {
    delay_ = std::max(delay_, p.delay);
    lead_ = std::max(lead_, -p.delay);
  }
  copy(grid, first_row, *source, enlarged);
  int slots = kBlock;
  while (slots < kBlock + lead_ + delay_) slots *= 2;
  mask_ = slots - 1;
  // Behind the rows: the zeros after the last row, and the surplus of a read.
  pitch_ = kBefore + round_up(rows + kMaxParentReach, kRowSlack) + 2 * kRowSlack;
  slots_.resize(slots * pitch_);
  filled_ = -round_up(delay_, kBlock);
}

void SkewedPlane::copy(const Grid& grid, int first_row, const Grid& source, bool enlarged) {
  // A row may be written with a surplus: the next one comes later.
  plane_.resize(static_cast<size_t>(rows_ + 2 * kMaxParentReach) * columns_ + kRowSlack);
  const std::vector<int16_t> taps = make_taps(1);
  Upsampler upsampler(kernels_, source, nullptr, enlarged ? 1 : 0, {taps, taps}, columns_,
                      kParentBits);
  for (int r = -kMaxParentReach; r < rows_ + kMaxParentReach; ++r) {
    const int row = first_row + r;
    if (row >= 0 && row < grid.rows()) {
      upsampler.seek(row);
      upsampler.columns(0, columns_, plane(r));
    } else {
      std::fill_n(plane(r), columns_, int16_t{0});
    }
  }
}

// The values that positions may name outside the grid are zeros: two rows before and two behind
// those of the step. More zeros behind let a vector that the step fills in part be found to be
// all zero.
void SkewedPlane::surround(int t) {
  const int past = floor_divide(t - columns_, stagger_) + 1;  // first row that is not past its end
  const int first = std::clamp(past, -kMaxParentReach, rows_ + kMaxParentReach);
  const int behind = std::clamp(floor_divide(t, stagger_) + 1, first, rows_ + kMaxParentReach);
  std::fill_n(slot(t) + first - kMaxParentReach, kMaxParentReach, int16_t{0});
  std::fill_n(slot(t) + behind, kRowSlack, int16_t{0});
}

// A block begins at a multiple of kBlock and so does not wrap around in the ring.
void SkewedPlane::fill_block() {
  const int begin = filled_, end = begin + kBlock;
  for (int t = begin; t < end; ++t) surround(t);
  const int first_row = std::max(-kMaxParentReach, floor_divide(begin - columns_, stagger_) + 1);
  const int end_row = std::min(rows_ + kMaxParentReach, floor_divide(end - 1, stagger_) + 1);
  // Rows that have a value in every slot of the block, as most do.
  const int full = std::max(first_row, floor_divide(end - columns_ - 1, stagger_) + 1);
  const int end_full = std::min(end_row, floor_divide(begin, stagger_) + 1);
  int r = first_row;
  while (r < end_row) {
    int16_t* to = slot(begin) + r;
    if (r >= full && r + kTransposed <= end_full) {
      const int16_t* from = plane(r) + begin - stagger_ * r;
      for (int t = 0; t < kBlock; t += kTransposed)
        kernels_.transpose(from + t, columns_ - stagger_, to + t * pitch_, pitch_);
      r += kTransposed;
    } else {
      const int first = std::max(begin, stagger_ * r),
                last = std::min(end, stagger_ * r + columns_);
      const int16_t* from = plane(r) + first - stagger_ * r;
      for (int t = first; t < last; ++t) to[(t - begin) * pitch_] = *from++;
      ++r;
    }
  }
  filled_ = end;
}

void SkewedPlane::inputs(const WavefrontStep& step, const int16_t** rows) {
  if (slots_.empty()) {
    std::fill_n(rows, positions_.size(), zeros_.data());
    return;
  }
  while (filled_ <= step.t + lead_) fill_block();
  for (const Context::Position& p : positions_)
    *rows++ = slot(step.t - p.delay) + step.first_row - p.dr;
}

Surroundings::Surroundings(const Kernels& kernels, const Architecture& architecture,
                           const Context& context, const std::vector<Grid>& grids, int k,
                           int first_row, int rows) {
  const auto add = [&](std::vector<Context::Position> positions, int other) {
    const bool exists = other < architecture.grids;
    planes_.emplace_back(kernels, context.stagger(), std::move(positions), grids[k], first_row,
                         rows, exists ? &grids[other] : nullptr,
                         exists && architecture.level(other) > architecture.level(k));
  };
  if (!context.parents().empty()) add(context.parents(), architecture.parent(k));
  for (int i = 1; i <= context.siblings(); ++i)
    add({{0, 0}}, k + i < kSubbands ? k + i : architecture.grids);
}

int Surroundings::last_row(const Architecture& architecture, int k, int last, int other,
                           int other_rows) {
  const bool enlarged = architecture.level(other) > architecture.level(k);
  const int reached = last + kMaxParentReach;
  return std::min(enlarged ? (reached - 1) / 2 + 2 : reached, other_rows - 1);
}

void Surroundings::inputs(const WavefrontStep& step, const int16_t** rows) {
  for (SkewedPlane& plane : planes_) {
    plane.inputs(step, rows);
    rows += plane.inputs();
  }
}

}  // namespace coolchic
