#include "decoder/upsampling.h"

#include <algorithm>

namespace coolchic {
namespace {

constexpr int kTapBits = 14;

}  // namespace

std::vector<int16_t> make_taps(int k) {
  if (k == 0) return {};
  const int phases = 1 << k;
  std::vector<int16_t> taps(static_cast<size_t>(kTaps) * phases);
  const int64_t d = int64_t{2} << k;
  const auto outer = [d](int64_t u) {
    const int64_t v = u + d;
    return -3 * v * v * v + 15 * d * v * v - 24 * d * d * v + 12 * d * d * d;
  };
  const auto inner = [d](int64_t u) { return 5 * u * u * u - 9 * d * u * u + 4 * d * d * d; };
  // The denominator 4 d^3 is a power of two: 2^(3k + 5).
  const int down = 3 * k + 5 - kTapBits;
  for (int phase = 0; phase < phases; ++phase) {
    const int64_t u = 2 * phase + 1;
    const int64_t exact[kTaps] = {outer(u), inner(u), inner(d - u), outer(d - u)};
    int rounded[kTaps];
    int sum = 0;
    for (int j = 0; j < kTaps; ++j) {
      rounded[j] = static_cast<int>(down > 0 ? (exact[j] + (int64_t{1} << (down - 1))) >> down
                                             : exact[j] * (int64_t{1} << -down));
      sum += rounded[j];
    }
    rounded[2 * u < d ? 1 : 2] += (1 << kTapBits) - sum;
    for (int j = 0; j < kTaps; ++j) taps[j * phases + phase] = static_cast<int16_t>(rounded[j]);
  }
  return taps;
}

Upsampler::Upsampler(const Kernels& kernels, const Grid& grid, const Filter* filter, int k,
                     EnlargementTaps taps, int width, int precision)
    : kernels_(kernels),
      grid_(grid),
      taps_(taps),
      k_(k),
      width_(width),
      precision_(filter ? 0 : precision) {
  if (!grid.has_values()) return;
  if (filter) filtered_.emplace(kernels, grid, *filter);
  if (k == 0 && !filter) return;
  padded_.resize(grid.columns() + 2 * kEdge + kRowSlack);
  if (k == 0) return;
  for (std::vector<int16_t>& row : ring_) row.resize(kEnlargeBefore + width + kEnlargeBehind);
}

// Kernels read up to kRowSlack values behind the columns that they were asked for.
static_assert(kEnlargeBehind >= kRowSlack);

void Upsampler::enlarge(int grid_row) {
  const int columns = grid_.columns();
  int16_t* in = padded_.data() + kEdge;
  if (filtered_)
    filtered_->row(grid_row, in);
  else
    std::copy_n(grid_.row(grid_row), columns, in);
  std::fill_n(in - kEdge, kEdge, in[0]);
  std::fill_n(in + columns, kEdge, in[columns - 1]);
  kernels_.enlarge(taps_.horizontal.data(), k_, in, columns, kTapBits - precision_, width_,
                   enlarged(grid_row));
}

void Upsampler::seek(int y) {
  if (!grid_.has_values()) return;
  if (k_ == 0) {
    mixed_[0] = filtered_ ? padded_.data() : grid_.row(y);
    if (filtered_) filtered_->row(y, padded_.data());
    return;
  }
  const int phases = 1 << k_;
  const int position = y - phases / 2;
  const int i = position >> k_, phase = position & (phases - 1);
  const int last_row = grid_.rows() - 1;
  // Rows before the first that is needed are never computed, so a reader may start anywhere.
  newest_ = std::max(newest_, std::max(i - 1, 0) - 1);
  while (newest_ < std::min(i + 2, last_row)) enlarge(++newest_);
  for (int j = 0; j < kTaps; ++j) {
    mixed_[j] = enlarged(std::clamp(i - 1 + j, 0, last_row));
    weights_[j] = taps_.vertical[j * phases + phase];
  }
}

void Upsampler::columns(int x, int n, int16_t* out) const {
  if (!grid_.has_values()) {
    std::fill_n(out, n, int16_t{0});
    return;
  }
  if (k_ == 0) {
    const int16_t* const row[] = {mixed_[0] + x};
    const int16_t one = static_cast<int16_t>(1 << precision_);
    kernels_.mix(row, &one, 1, 0, n, out);
    return;
  }
  const int16_t* rows[kTaps];
  for (int j = 0; j < kTaps; ++j) rows[j] = mixed_[j] + x;
  kernels_.mix(rows, weights_, kTaps, kTapBits, n, out);
}

}  // namespace coolchic
