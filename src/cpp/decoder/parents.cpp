#include "decoder/parents.h"

#include <algorithm>

#include "decoder/network.h"
#include "decoder/upsampling.h"

namespace coolchic {
namespace {

// Rounded towards minus infinity, b > 0.
int floor_divide(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

}  // namespace

Parents::Parents(const Kernels& kernels, const Context& context, const Grid& grid, int first_row,
                 int rows, const Grid* coarser)
    : kernels_(kernels), context_(context), rows_(rows), columns_(grid.columns()) {
  if (context.parents().empty()) return;
  if (!coarser || !coarser->has_values()) {
    zeros_.resize(rows + kRowSlack);
    return;
  }
  enlarge(grid, first_row, *coarser);
  int slots = kBlock;
  while (slots < kBlock + context.parent_lead() + context.parent_delay()) slots *= 2;
  mask_ = slots - 1;
  // Behind the rows: the zeros after the last row, and the surplus of a read.
  pitch_ = kBefore + round_up(rows + kMaxParentReach, kRowSlack) + 2 * kRowSlack;
  slots_.resize(slots * pitch_);
  filled_ = -round_up(context.parent_delay(), kBlock);
}

int Parents::last_row(int last, int coarser_rows) {
  return std::min((last + kMaxParentReach - 1) / 2 + 2, coarser_rows - 1);
}

void Parents::enlarge(const Grid& grid, int first_row, const Grid& coarser) {
  // A row may be written with a surplus: the next one comes later.
  enlarged_.resize(static_cast<size_t>(rows_ + 2 * kMaxParentReach) * columns_ + kRowSlack);
  const std::vector<int16_t> taps = make_taps(1);
  Upsampler upsampler(kernels_, coarser, nullptr, 1, taps, columns_, kParentBits);
  for (int r = -kMaxParentReach; r < rows_ + kMaxParentReach; ++r) {
    const int row = first_row + r;
    if (row >= 0 && row < grid.rows()) {
      upsampler.seek(row);
      upsampler.columns(0, columns_, enlarged(r));
    } else {
      std::fill_n(enlarged(r), columns_, int16_t{0});
    }
  }
}

// The values that parents may name outside the grid are zeros: two rows before and two behind
// those of the step. More zeros behind let a vector that the step fills in part be found to be
// all zero.
void Parents::surround(int t) {
  const int stagger = context_.stagger();
  const int past = floor_divide(t - columns_, stagger) + 1;  // first row that is not past its end
  const int first = std::clamp(past, -kMaxParentReach, rows_ + kMaxParentReach);
  const int behind = std::clamp(floor_divide(t, stagger) + 1, first, rows_ + kMaxParentReach);
  std::fill_n(slot(t) + first - kMaxParentReach, kMaxParentReach, int16_t{0});
  std::fill_n(slot(t) + behind, kRowSlack, int16_t{0});
}

// A block begins at a multiple of kBlock and so does not wrap around in the ring.
void Parents::fill_block() {
  const int begin = filled_, end = begin + kBlock;
  for (int t = begin; t < end; ++t) surround(t);
  const int stagger = context_.stagger();
  const int first_row = std::max(-kMaxParentReach, floor_divide(begin - columns_, stagger) + 1);
  const int end_row = std::min(rows_ + kMaxParentReach, floor_divide(end - 1, stagger) + 1);
  // Rows that have a value in every slot of the block, as most do.
  const int full = std::max(first_row, floor_divide(end - columns_ - 1, stagger) + 1);
  const int end_full = std::min(end_row, floor_divide(begin, stagger) + 1);
  int r = first_row;
  while (r < end_row) {
    int16_t* to = slot(begin) + r;
    if (r >= full && r + kTransposed <= end_full) {
      const int16_t* from = enlarged(r) + begin - stagger * r;
      for (int t = 0; t < kBlock; t += kTransposed)
        kernels_.transpose(from + t, columns_ - stagger, to + t * pitch_, pitch_);
      r += kTransposed;
    } else {
      const int first = std::max(begin, stagger * r), last = std::min(end, stagger * r + columns_);
      const int16_t* from = enlarged(r) + first - stagger * r;
      for (int t = first; t < last; ++t) to[(t - begin) * pitch_] = *from++;
      ++r;
    }
  }
  filled_ = end;
}

void Parents::inputs(const WavefrontStep& step, const int16_t** rows) {
  if (slots_.empty()) {
    std::fill_n(rows, context_.parents().size(), zeros_.data());
    return;
  }
  while (filled_ <= step.t + context_.parent_lead()) fill_block();
  for (const Context::Position& p : context_.parents())
    *rows++ = slot(step.t - p.delay) + step.first_row - p.dr;
}

}  // namespace coolchic
