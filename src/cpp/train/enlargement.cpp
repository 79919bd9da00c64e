#include "enlargement.h"

#include <algorithm>
#include <cmath>

namespace coolchic::train {

namespace {

constexpr double kCubic = -0.75;  // PyTorch's coefficient

struct Taps {
  int first;  // relative to the input the output lies in
  double weight[kTaps];
};

// Output number `phase` of the 2^shift that replace one input (half-pixel centres).
Taps cubic_taps(int phase, int shift) {
  const double position = (phase + 0.5) / (int64_t{1} << shift) - 0.5;
  const double whole = std::floor(position);
  const auto near = [](double x) { return ((kCubic + 2) * x - (kCubic + 3)) * x * x + 1; };
  const auto far = [](double x) {
    return ((kCubic * x - 5 * kCubic) * x + 8 * kCubic) * x - 4 * kCubic;
  };
  const double t = position - whole;
  return {static_cast<int>(whole) - 1, {far(t + 1), near(t), near(1 - t), far(2 - t)}};
}

int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

EnlargementTables::EnlargementTables(int shift, int rows, int height, int width, ptrdiff_t stride,
                                     int lanes)
    : lanes_(lanes), enlarged_(static_cast<size_t>(rows) * static_cast<size_t>(stride)) {
  view_.shift = shift;
  view_.columns = round_up(width, lanes);
  view_.stride = stride;
  view_.rows = enlarged_.data();
  shape_columns();
  shape_rows(height);
}

void EnlargementTables::shape_columns() {
  const int scale = 1 << view_.shift;
  // A block of outputs starts where an input does, or two inputs' supports meet inside it.
  const int crossed = scale >= 2 * lanes_ ? 0 : std::max(1, lanes_ / scale);
  view_.window = kTaps + crossed;
  view_.blocks = std::min(std::max(1, scale / lanes_), view_.columns / lanes_);
  forward_ = Buffer(static_cast<size_t>(view_.blocks) * view_.window * lanes_);
  adjoint_ = Buffer(static_cast<size_t>(view_.blocks) * lanes_ * round_up(view_.window, lanes_));
  for (int block = 0; block < view_.blocks; ++block) {
    const int start = block * lanes_;
    first_.push_back(cubic_taps(start % scale, view_.shift).first + start / scale);
  }
  for (int phase = 0; phase < scale; ++phase) {
    set_column_taps(phase, cubic_taps(phase, view_.shift).weight);
  }
  view_.first = first_.data();
  view_.forward = forward_.data();
  view_.adjoint = adjoint_.data();
}

void EnlargementTables::set_column_taps(int phase, const double* weights) {
  const int scale = 1 << view_.shift, window = view_.window;
  const int padded_window = round_up(window, lanes_);
  const int first = cubic_taps(phase, view_.shift).first;
  for (int output = phase; output < view_.blocks * lanes_; output += scale) {
    const int block = output / lanes_, lane = output % lanes_;
    for (int j = 0; j < kTaps; ++j) {
      const int input = output / scale + first + j - first_[static_cast<size_t>(block)];
      const float weight = static_cast<float>(weights[j]);
      forward_.data()[(block * window + input) * lanes_ + lane] = weight;
      adjoint_.data()[(block * lanes_ + lane) * padded_window + input] = weight;
    }
  }
}

void EnlargementTables::shape_rows(int height) {
  const int phases = std::min(1 << view_.shift, height);
  taps_ = Buffer(static_cast<size_t>(phases) * kTaps);
  for (int phase = 0; phase < phases; ++phase) {
    const Taps taps = cubic_taps(phase, view_.shift);
    first_row_.push_back(taps.first);
    set_row_taps(phase, taps.weight);
  }
  view_.first_row = first_row_.data();
  view_.taps = taps_.data();
}

void EnlargementTables::set_row_taps(int phase, const double* weights) {
  for (int j = 0; j < kTaps; ++j) {
    taps_.data()[phase * kTaps + j] = static_cast<float>(weights[j]);
  }
}

void EnlargementTables::set_kernels(const PhaseTaps& vertical, const PhaseTaps& horizontal) {
  for (int phase = 0; phase < 2; ++phase) {
    double weights[kTaps];
    std::copy_n(horizontal[phase], kTaps, weights);
    set_column_taps(phase, weights);
    if (static_cast<size_t>(phase) >= first_row_.size()) continue;  // an image of one row
    std::copy_n(vertical[phase], kTaps, weights);
    set_row_taps(phase, weights);
  }
}

}  // namespace coolchic::train
