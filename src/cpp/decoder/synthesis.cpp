#include "decoder/synthesis.h"

#include <algorithm>
#include <chrono>
#include <mutex>

#include "decoder/network.h"
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
           const Network& network)
      : header_(header), width_(header.grid_columns(scale)), kernels_(kernels), network_(network) {
    const int grids = header.architecture.grids;
    upsamplers_.reserve(grids);
    for (int k = 0; k < grids; ++k) {
      const int enlargement = std::max(k - scale, 0);
      upsamplers_.emplace_back(kernels, k < scale ? none_ : latents[k], enlargement,
                               taps[enlargement], width_, weights.precision.upsampled);
    }
    tile_.resize(static_cast<size_t>(grids + header.channels) * kPitch);
    for (int i = 0; i < grids + header.channels; ++i) rows_.push_back(tile_.data() + i * kPitch);
  }

  // Rows begin … end - 1 of the picture `out`. times may be null.
  void run(int begin, int end, uint8_t* out, size_t stride, SynthesisTimes* times) {
    const int grids = header_.architecture.grids, channels = header_.channels;
    for (int y = begin; y < end; ++y) {
      uint8_t* row = out + y * stride;
      const double start = times ? now() : 0;
      for (Upsampler& u : upsamplers_) u.seek(y);
      if (times) times->upsampling += now() - start;
      for (int x = 0; x < width_; x += kTileColumns) {
        const int n = std::min(kTileColumns, width_ - x);
        const double begun = times ? now() : 0;
        for (int k = 0; k < grids; ++k) upsamplers_[k].columns(x, n, rows_[k]);
        const double upsampled = times ? now() : 0;
        kernels_.network(network_.view(), rows_.data(), n, rows_.data() + grids);
        kernels_.pixels(rows_.data() + grids, channels, n, row + static_cast<size_t>(x) * channels);
        if (times) {
          times->upsampling += upsampled - begun;
          times->synthesis += now() - upsampled;
        }
      }
    }
  }

 private:
  static constexpr int kPitch = kTileColumns + kRowSlack;

  const Header& header_;
  const int width_;
  const Grid none_;
  const Kernels& kernels_;
  const Network& network_;
  std::vector<Upsampler> upsamplers_;
  std::vector<int16_t> tile_;
  std::vector<int16_t*> rows_;  // of the tile: the network's inputs, then its outputs
};

}  // namespace

void synthesise(const Header& header, const Weights& weights, const std::vector<Grid>& latents,
                int scale, const Kernels& kernels, ThreadPool& pool, uint8_t* out, size_t stride,
                SynthesisTimes* times) {
  const Network network(weights.synthesis);
  std::vector<std::vector<int16_t>> taps;
  for (size_t k = 0; k < latents.size(); ++k) taps.push_back(make_taps(static_cast<int>(k)));
  const int height = header.grid_rows(scale);
  const int tasks = (height + kTaskRows - 1) / kTaskRows;
  std::mutex mutex;
  pool.run(tasks, [&](int i) {
    RowsTask task(header, weights, latents, scale, taps, kernels, network);
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
