#include "decoder/synthesis.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <mutex>

#include "decoder/network.h"
#include "decoder/refinement.h"
#include "decoder/upsampling.h"

namespace coolchic {
namespace {

// Rows of a task: many enough that filling the rings of its upsamplers costs little.
constexpr int kTaskRows = 64;
// Columns that go through upsampling and networks together, in memory of the first cache level.
constexpr int kTileColumns = 512;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class RowsTask {
 public:
  RowsTask(const Header& header, const Weights& weights, const std::vector<Grid>& latents,
           int scale, const std::vector<std::vector<int16_t>>& taps, const Kernels& kernels,
           const Network& network, const std::deque<Network>& convolutions)
      : width_(header.columns_at(scale)),
        grids_(header.architecture.grids),
        channels_(header.channels),
        kernels_(kernels),
        network_(network),
        refinement_(kernels, convolutions, channels_, header.rows_at(scale), width_),
        pitch_(width_ + kRowSlack) {
    upsamplers_.reserve(grids_);
    const Architecture& a = header.architecture;
    for (int k = 0; k < grids_; ++k) {
      const int enlargement = std::max(a.level(k) - scale, 0);
      const int number = k - a.first_filtered();
      const Filter* filter = a.filtered && number >= 0 ? &weights.filters[number] : nullptr;
      const std::vector<int16_t>* vertical = &taps[enlargement];
      const std::vector<int16_t>* horizontal = &taps[enlargement];
      if (k < a.subbands()) {
        vertical = &weights.subbands[k].vertical;
        horizontal = &weights.subbands[k].horizontal;
      }
      upsamplers_.emplace_back(kernels, k < a.first_grid(scale) ? none_ : latents[k], filter,
                               enlargement, EnlargementTaps{*vertical, *horizontal}, width_,
                               weights.precision.upsampled);
    }
    tile_.resize(static_cast<size_t>(grids_) * kTilePitch);
    for (int k = 0; k < grids_; ++k) inputs_.push_back(tile_.data() + k * kTilePitch);
    row_.resize(channels_ * pitch_);
    for (int c = 0; c < channels_; ++c) outputs_.push_back(row_.data() + c * pitch_);
  }

  // Rows begin … end - 1 of the picture `out`. times may be null.
  void run(int begin, int end, uint8_t* out, size_t stride, SynthesisTimes* times) {
    const double start = times ? now() : 0;
    double upsampling = 0;
    const Refinement::Source source = [this, clocked = times != nullptr, &upsampling](
                                          int y, int16_t* const* rows) {
      linear_layers(y, rows, clocked ? &upsampling : nullptr);
    };
    for (int y = begin; y < end; ++y) {
      refinement_.row(y, source, outputs_.data());
      kernels_.pixels(outputs_.data(), channels_, width_, out + y * stride);
    }
    if (times) {
      times->upsampling += upsampling;
      times->synthesis += now() - start - upsampling;
    }
  }

 private:
  static constexpr int kTilePitch = kTileColumns + kRowSlack;

  // Row y behind the layers that see each pixel on its own. upsampling: seconds, or null.
  void linear_layers(int y, int16_t* const* rows, double* upsampling) {
    const double start = upsampling ? now() : 0;
    for (Upsampler& u : upsamplers_) u.seek(y);
    if (upsampling) *upsampling += now() - start;
    int16_t* to[kMaxChannels];
    for (int x = 0; x < width_; x += kTileColumns) {
      const int n = std::min(kTileColumns, width_ - x);
      const double begun = upsampling ? now() : 0;
      for (int k = 0; k < grids_; ++k) upsamplers_[k].columns(x, n, inputs_[k]);
      if (upsampling) *upsampling += now() - begun;
      for (int c = 0; c < channels_; ++c) to[c] = rows[c] + x;
      kernels_.network(network_.view(), inputs_.data(), n, to);
    }
  }

  const int width_;
  const int grids_;
  const int channels_;
  const Grid none_;
  const Kernels& kernels_;
  const Network& network_;
  Refinement refinement_;
  std::vector<Upsampler> upsamplers_;
  std::vector<int16_t> tile_;
  std::vector<int16_t*> inputs_;  // of the tile, a row for each grid
  const size_t pitch_;
  std::vector<int16_t> row_;
  std::vector<int16_t*> outputs_;  // a row of the picture, for each channel
};

}  // namespace

void synthesise(const Header& header, const Weights& weights, const std::vector<Grid>& latents,
                int scale, const Kernels& kernels, ThreadPool& pool, uint8_t* out, size_t stride,
                SynthesisTimes* times) {
  const Network network(weights.synthesis);
  std::deque<Network> convolutions;
  for (const IntegerLayer& layer : weights.convolutions)
    convolutions.emplace_back(std::vector<IntegerLayer>{layer});
  std::vector<std::vector<int16_t>> taps;
  for (int k = 0; k < header.architecture.levels(); ++k) taps.push_back(make_taps(k));
  const int height = header.rows_at(scale);
  const int tasks = (height + kTaskRows - 1) / kTaskRows;
  std::mutex mutex;
  pool.run(tasks, [&](int i) {
    RowsTask task(header, weights, latents, scale, taps, kernels, network, convolutions);
    SynthesisTimes own;
    task.run(i * kTaskRows, std::min((i + 1) * kTaskRows, height), out, stride,
             times ? &own : nullptr);
    if (times) {
      const std::lock_guard<std::mutex> lock(mutex);
      times->upsampling += own.upsampling;
      times->synthesis += own.synthesis;
    }
  });
}

}  // namespace coolchic
