#include "decoder/latents.h"

#include <string>

#include "decoder/wavefront.h"
#include "rangecoder/range_decoder.h"

namespace coolchic {
namespace {

// Section 13: even the likeliest symbol takes more than 2^-14 bits, so that a few bytes
// cannot make a decoder set out on a large grid.
constexpr uint64_t kMaxSymbolsPerByte = uint64_t{8} << 14;

// False if the substream is damaged; the grid is then of no use.
bool decode_grid(const Kernels& kernels, const Context& context, const Network& arm, int precision,
                 RangeDecoder& decoder, Grid* grid) {
  Wavefront wavefront(context, *grid, 0, grid->rows());
  Predictor predictor(kernels, context, arm, precision, grid->rows());
  std::vector<uint16_t> escaped(grid->rows() + kRowSlack);
  const int steps = wavefront.steps();
  for (int t = 0; t < steps; ++t) {
    const WavefrontStep step = wavefront.step(t);
    predictor.predict(wavefront, step);
    const uint16_t* rows = predictor.rows();
    const int16_t* means = predictor.means();
    int16_t* values = wavefront.values(step);
    int escapes = 0;
    if (decoder.words_left() >= static_cast<size_t>(step.rows)) {
      escapes = kernels.symbols(&decoder.lanes(), rows, means, step.rows, values, escaped.data());
    } else {
      const int last_lane = decoder.lanes().count - 1;
      for (int j = 0; j < step.rows; ++j) {
        const int k = decoder.symbol(j & last_lane, kLaplace.cdf[rows[j]]);
        values[j] = static_cast<int16_t>(means[j] + k - kZeroSymbol);
        if (k == kEscapeSymbol) escaped[escapes++] = static_cast<uint16_t>(j);
      }
    }
    for (int e = 0; e < escapes; ++e) {
      const int j = escaped[e];
      const int32_t y = means[j] + decoder.escape(kLaplace.escape[predictor.scale(j)]);
      if (y < kMinLatent || y > kMaxLatent) return false;
      values[j] = static_cast<int16_t>(y);
    }
    if (decoder.exhausted() || decoder.bad()) return false;
    wavefront.save(step, grid);
  }
  return true;
}

}  // namespace

std::vector<Grid> read_latents(ByteReader& in, const Header& header, const Weights& weights,
                               const Kernels& kernels, LatentsInfo* info) {
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
  std::vector<Grid> latents(grids);
  if (!in.ok()) return latents;
  info->overhead_bytes = in.offset() - start;
  if (!any) return latents;

  RangeDecoder decoder(in.data(), in.left() / 2, info->lanes);
  info->overhead_bytes += 2 * decoder.words_read();
  const Context context(header.architecture);
  const Network arm(weights.arm);
  size_t words = decoder.words_read();
  for (int k = grids; k-- > 0;) {
    if (!info->coded[k]) continue;
    latents[k] = Grid(header.grid_rows(k), header.grid_columns(k));
    if (!decode_grid(kernels, context, arm, weights.precision.arm, decoder, &latents[k])) {
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
