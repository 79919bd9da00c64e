#include "decoder/upsampling.h"

#include <algorithm>

#include "decoder/network.h"

namespace coolchic {
namespace {

constexpr int kTapBits = 14;
constexpr int kEdge = 2;  // samples that taps reach beyond the grid

}  // namespace

std::vector<Upsampler::Taps> Upsampler::make_taps(int k) {
  std::vector<Taps> taps;
  const int64_t d = int64_t{2} << k;
  const auto outer = [d](int64_t u) {
    const int64_t v = u + d;
    return -3 * v * v * v + 15 * d * v * v - 24 * d * d * v + 12 * d * d * d;
  };
  const auto inner = [d](int64_t u) { return 5 * u * u * u - 9 * d * u * u + 4 * d * d * d; };
  // The denominator 4 d^3 is a power of two: 2^(3k + 5).
  const int down = 3 * k + 5 - kTapBits;
  for (int64_t u = 1; u < d; u += 2) {
    const int64_t exact[kTaps] = {outer(u), inner(u), inner(d - u), outer(d - u)};
    Taps t;
    int sum = 0;
    for (int j = 0; j < kTaps; ++j) {
      t.tap[j] = static_cast<int16_t>(down > 0 ? (exact[j] + (int64_t{1} << (down - 1))) >> down
                                               : exact[j] * (int64_t{1} << -down));
      sum += t.tap[j];
    }
    t.tap[2 * u < d ? 1 : 2] += static_cast<int16_t>((1 << kTapBits) - sum);
    taps.push_back(t);
  }
  return taps;
}

Upsampler::Upsampler(const Grid& grid, int k, int width, int precision)
    : grid_(grid), k_(k), width_(width), precision_(precision) {
  if (k == 0) return;
  taps_ = make_taps(k);
  padded_.resize(grid.columns() + 2 * kEdge);
  for (std::vector<int16_t>& row : ring_) row.resize(width);
}

void Upsampler::horizontal(int grid_row) {
  const int16_t* in = grid_.row(grid_row);
  const int columns = grid_.columns();
  std::copy(in, in + columns, padded_.begin() + kEdge);
  std::fill_n(padded_.begin(), kEdge, in[0]);
  std::fill_n(padded_.end() - kEdge, kEdge, in[columns - 1]);

  int16_t* out = ring_[grid_row % kTaps].data();
  const int shift = kTapBits - precision_, half = 1 << (shift - 1);
  const int phases = 1 << k_, lag = phases / 2;
  // Between samples i and i + 1 lie the outputs from lag + i * phases on.
  for (int i = -1; i < columns; ++i) {
    const int16_t* y = &padded_[i + 1];
    const int x0 = lag + i * phases;
    const int last = std::min(phases, width_ - x0);
    for (int phase = std::max(0, -x0); phase < last; ++phase) {
      const int16_t* tap = taps_[phase].tap;
      const int32_t sum = tap[0] * y[0] + tap[1] * y[1] + tap[2] * y[2] + tap[3] * y[3];
      out[x0 + phase] = sat16((sum + half) >> shift);
    }
  }
}

void Upsampler::row(int y, int16_t* out) {
  if (k_ == 0) {
    const int16_t* in = grid_.row(y);
    for (int x = 0; x < width_; ++x) out[x] = sat16(in[x] * (1 << precision_));
    return;
  }
  const int position = y - (1 << (k_ - 1));
  const int i = position >> k_;
  const Taps& taps = taps_[position & ((1 << k_) - 1)];
  const int last_row = grid_.rows() - 1;
  // Rows before the first that is needed are never computed, so a reader may start anywhere.
  newest_ = std::max(newest_, std::max(i - 1, 0) - 1);
  while (newest_ < std::min(i + 2, last_row)) horizontal(++newest_);
  const int16_t* in[kTaps];
  for (int j = 0; j < kTaps; ++j) in[j] = ring_[std::clamp(i - 1 + j, 0, last_row) % kTaps].data();
  for (int x = 0; x < width_; ++x) {
    const int32_t sum = taps.tap[0] * in[0][x] + taps.tap[1] * in[1][x] + taps.tap[2] * in[2][x] +
                        taps.tap[3] * in[3][x];
    out[x] = sat16((sum + (1 << (kTapBits - 1))) >> kTapBits);
  }
}

}  // namespace coolchic
