#include "decoder/wavefront.h"

#include <algorithm>

#include "decoder/surroundings.h"

namespace coolchic {

Context::Context(const Architecture& a) : siblings_(a.siblings()), stagger_(a.stagger()) {
  for (const coolchic::Position& p : a.context) {
    positions_.push_back({stagger_ * p.dr - p.dc, p.dr});
    max_delay_ = std::max(max_delay_, positions_.back().delay);
    rows_above_ = std::max(rows_above_, p.dr);
  }
  for (const coolchic::Position& p : a.parents) parents_.push_back({stagger_ * p.dr - p.dc, p.dr});
}

Wavefront::Wavefront(const Kernels& kernels, const Context& context, const Grid& grid,
                     int first_row, int rows)
    : kernels_(kernels),
      context_(context),
      grid_(grid),
      first_row_(first_row),
      rows_(rows),
      columns_(grid.columns()) {
  int slots = kSaveStride;
  while (slots <= context.max_delay()) slots *= 2;
  mask_ = slots - 1;
  // Behind the rows: the surplus of a read or a write, and the zeros after the last row.
  pitch_ = kBefore + round_up(rows, kRowSlack) + 2 * kRowSlack;
  slots_.resize(slots * pitch_);
  if (first_row > 0)
    for (int t = -context.max_delay(); t < 0; ++t) copy_rows_above(t);
}

WavefrontStep Wavefront::step(int t) const {
  const int stagger = context_.stagger();
  const int past = t - (columns_ - 1);
  const int first = past > 0 ? (past + stagger - 1) / stagger : 0;
  const int last = std::min(rows_ - 1, t / stagger);
  return {t, first, last - first + 1};
}

void Wavefront::inputs(const WavefrontStep& step, const int16_t** rows) const {
  for (const Context::Position& p : context_.positions())
    *rows++ = slot(step.t - p.delay) + step.first_row - p.dr;
}

void Wavefront::copy_rows_above(int t) {
  static_assert(kBefore >= kMaxRowsAbove);
  int16_t* to = slot(t);
  for (int i = 1; i <= context_.rows_above(); ++i) {
    const int column = t + context_.stagger() * i;
    const bool inside = i <= first_row_ && column >= 0 && column < columns_;
    to[-i] = inside ? grid_.row(first_row_ - i)[column] : int16_t{0};
  }
}

// Later steps read at most kMaxRowsAbove rows before the step's first and, as a position's
// delay is at most 7 S + 8 steps of S columns, 16 rows behind its last. More zeros behind it
// let a vector that the step fills in part be found to be all zero.
void Wavefront::surround(const WavefrontStep& step) {
  int16_t* first = values(step);
  std::fill_n(first + step.rows, kRowSlack, int16_t{0});
  if (step.first_row > 0)
    std::fill_n(first - kMaxRowsAbove, kMaxRowsAbove, int16_t{0});
  else if (first_row_ > 0)
    copy_rows_above(step.t);
}

void Wavefront::save(const WavefrontStep& step, Grid* grid) {
  surround(step);
  const int end = step.t + 1;
  if (end % kSaveStride == 0 || end == steps())
    write((step.t / kSaveStride) * kSaveStride, end, grid);
}

// Several steps at once, so that a row of the grid gets a run of columns. No run of steps
// from a multiple of kSaveStride on wraps around in the slots.
void Wavefront::write(int begin, int end, Grid* grid) const {
  const int stagger = context_.stagger();
  const int end_row = std::min(rows_, (end - 1) / stagger + 1);
  // Rows that have a value in every one of these steps, as most do.
  const int full = step(end - 1).first_row;
  const int end_full = end - begin == kSaveStride ? std::min(rows_, begin / stagger + 1) : 0;
  int r = step(begin).first_row;
  while (r < end_row) {
    if (r >= full && r + kTransposed <= end_full) {
      int16_t* to = grid->row(first_row_ + r) + begin - stagger * r;
      for (int t = 0; t < kSaveStride; t += kTransposed)
        kernels_.transpose(slot(begin + t) + r, pitch_, to + t, columns_ - stagger);
      r += kTransposed;
    } else {
      const int first = std::max(begin, stagger * r), last = std::min(end, stagger * r + columns_);
      const int16_t* from = slot(first) + r;
      int16_t* to = grid->row(first_row_ + r) + first - stagger * r;
      for (int t = first; t < last; ++t, from += pitch_) *to++ = *from;
      ++r;
    }
  }
}

void Wavefront::load(const WavefrontStep& step) {
  const int stagger = context_.stagger();
  int16_t* to = values(step);
  for (int j = 0; j < step.rows; ++j) {
    const int row = step.first_row + j;
    to[j] = grid_.row(first_row_ + row)[step.t - stagger * row];
  }
  surround(step);
}

Predictor::Predictor(const Kernels& kernels, const Context& context, const Network& arm,
                     int precision, int rows)
    : kernels_(kernels),
      arm_(arm),
      precision_(precision),
      surroundings_at_(context.positions().size()),
      inputs_(context.inputs()),
      z0_(rows + kRowSlack),
      z1_(rows + kRowSlack),
      rows_(rows + kRowSlack),
      means_(rows + kRowSlack) {}

void Predictor::predict(const Wavefront& wavefront, Surroundings& surroundings,
                        const WavefrontStep& step) {
  wavefront.inputs(step, inputs_.data());
  surroundings.inputs(step, inputs_.data() + surroundings_at_);
  int16_t* const z[] = {z0_.data(), z1_.data()};
  kernels_.network(arm_.view(), inputs_.data(), step.rows, z);
  kernels_.predictions(z[0], z[1], step.rows, precision_, rows_.data(), means_.data());
}

}  // namespace coolchic
