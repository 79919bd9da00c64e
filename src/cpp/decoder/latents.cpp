#include "decoder/latents.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "rangecoder/range_decoder.h"

namespace coolchic {
namespace {

// Section 13: even the likeliest symbol takes more than 2^-14 bits, so that a few bytes
// cannot make a decoder set out on a large grid.
constexpr uint64_t kMaxSymbolsPerByte = uint64_t{8} << 14;

}  // namespace

WavefrontStep wavefront_step(int grid_rows, int grid_columns, int stagger, int t) {
  const int past = t - (grid_columns - 1);
  const int first = past > 0 ? (past + stagger - 1) / stagger : 0;
  const int last = std::min(grid_rows - 1, t / stagger);
  return {t, first, last - first + 1};
}

Predictor::Predictor(const Architecture& a, const std::vector<IntegerLayer>& arm, int precision)
    : context_(a.context), arm_(arm), precision_(precision), stagger_(a.stagger()) {
  Activations zeros = {};
  evaluate(zeros, 1, &of_zeros_);
}

// Section 10.
void Predictor::evaluate(Activations& x, int n, Prediction* out) const {
  run_layers(arm_, 0, x);
  const int fine = precision_ - 4, coarse = precision_ - 3;
  for (int j = 0; j < n; ++j) {
    const int m4 = fine > 0 ? (x[0][j] + (1 << (fine - 1))) >> fine : x[0][j];
    const int s = ((x[1][j] + (1 << (coarse - 1))) >> coarse) - 6;
    const int f = (m4 + 8) & 15;
    out[j].row = static_cast<uint16_t>(std::clamp(s, 0, kScales - 1) * kFractions + f);
    out[j].mean = static_cast<int16_t>((m4 + 8) >> 4);
  }
}

void Predictor::predict(const Grid& grid, const WavefrontStep& step, Prediction* out) const {
  const ptrdiff_t down = grid.stride() - stagger_;  // from one row of the step to the next
  const int16_t* latent = grid.row(step.first_row) + step.t - stagger_ * step.first_row;
  for (int start = 0; start < step.rows; start += kBlock, latent += kBlock * down) {
    const int n = std::min(kBlock, step.rows - start);
    Activations x;
    int any = 0;
    for (size_t i = 0; i < context_.size(); ++i) {
      const int16_t* p = latent - context_[i].dr * grid.stride() + context_[i].dc;
      for (int j = 0; j < n; ++j) any |= x[i][j] = p[j * down];
      std::fill(x[i] + n, x[i] + kBlock, int16_t{0});
    }
    if (any)
      evaluate(x, n, out + start);
    else
      std::fill(out + start, out + start + n, of_zeros_);
  }
}

namespace {

// False if the substream is damaged; the grid is then of no use.
bool decode_grid(const Predictor& arm, int lanes, RangeDecoder& decoder, Grid& grid) {
  const int stagger = arm.stagger();
  const int steps = wavefront_steps(grid.rows(), grid.columns(), stagger);
  std::vector<Prediction> predictions(grid.rows());
  std::vector<int> escaped;
  const ptrdiff_t down = grid.stride() - stagger;
  for (int t = 0; t < steps; ++t) {
    const WavefrontStep step = wavefront_step(grid.rows(), grid.columns(), stagger, t);
    if (step.rows == 0) continue;
    arm.predict(grid, step, predictions.data());
    int16_t* latent = grid.row(step.first_row) + t - stagger * step.first_row;
    escaped.clear();
    for (int j = 0; j < step.rows; ++j) {
      const int k = decoder.symbol(j & (lanes - 1), kLaplace.cdf[predictions[j].row]);
      latent[j * down] = static_cast<int16_t>(predictions[j].mean + k - kZeroSymbol);
      if (k == kEscapeSymbol) escaped.push_back(j);
    }
    for (int j : escaped) {
      const Prediction& p = predictions[j];
      const int32_t y = p.mean + decoder.escape(kLaplace.escape[p.scale()]);
      if (y < kMinLatent || y > kMaxLatent) return false;
      latent[j * down] = static_cast<int16_t>(y);
    }
    if (decoder.exhausted() || decoder.bad()) return false;
  }
  return true;
}

}  // namespace

std::vector<Grid> read_latents(ByteReader& in, const Header& header, const Weights& weights,
                               LatentsInfo* info) {
  const int grids = header.architecture.grids;
  const size_t start = in.offset();
  const int layout = in.u8();
  if (layout >> 2) in.fail(Code::kUnsupported, "unsupported latent layout");
  info->lanes = 1 << (layout & 3);
  bool any = false;
  for (int k = 0; k < (grids + 7) / 8 * 8; k += 8) {
    const int byte = in.u8();
    for (int bit = 0; bit < 8; ++bit) {
      if (k + bit < grids)
        any |= info->coded[k + bit] = byte >> bit & 1;
      else if (byte >> bit & 1)
        in.fail(Code::kInvalid, "reserved grid flag set");
    }
  }
  if (in.left() % 2) in.fail(Code::kInvalid, "odd substream size");
  if (!any && in.left() > 0) in.fail(Code::kInvalid, "substream without grids");
  uint64_t symbols = 0;
  for (int k = 0; k < grids; ++k)
    if (info->coded[k])
      symbols += static_cast<uint64_t>(header.grid_rows(k)) * header.grid_columns(k);
  if (symbols > kMaxSymbolsPerByte * in.left())
    in.fail(Code::kCorrupt, "substream too short for its grids");
  std::vector<Grid> latents;
  if (!in.ok()) return latents;
  for (int k = 0; k < grids; ++k) latents.emplace_back(header.grid_rows(k), header.grid_columns(k));
  info->overhead_bytes = in.offset() - start;
  if (!any) return latents;

  RangeDecoder decoder(in.data(), in.left() / 2, info->lanes);
  info->overhead_bytes += 2 * decoder.words_read();
  const Predictor arm(header.architecture, weights.arm, weights.precision.arm);
  size_t words = decoder.words_read();
  for (int k = grids; k-- > 0;) {
    if (!info->coded[k]) continue;
    if (!decode_grid(arm, info->lanes, decoder, latents[k])) {
      in.fail(Code::kCorrupt, "substream damaged or cut short in latent grid " + std::to_string(k));
      return latents;
    }
    info->grid_bytes[k] = 2 * (decoder.words_read() - words);
    words = decoder.words_read();
  }
  if (!decoder.finished()) in.fail(Code::kCorrupt, "substream fails its end checks");
  return latents;
}

}  // namespace coolchic
