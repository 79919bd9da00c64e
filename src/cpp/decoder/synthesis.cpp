#include "decoder/synthesis.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>

#include "decoder/network.h"
#include "decoder/upsampling.h"

namespace coolchic {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// One row of pixels. in: [grids][width] upsampled latents.
void synthesise_row(const Header& header, const std::vector<IntegerLayer>& network,
                    const int16_t* in, uint8_t* out) {
  const int grids = header.architecture.grids, channels = header.channels;
  const IntegerLayer& last = network.back();
  const int32_t white = (1 << header.depth) - 1;
  for (int x0 = 0; x0 < header.width; x0 += kBlock) {
    const int n = std::min(kBlock, header.width - x0);
    Activations a;
    for (int k = 0; k < grids; ++k) {
      std::copy_n(in + static_cast<size_t>(k) * header.width + x0, n, a[k]);
      std::fill(a[k] + n, a[k] + kBlock, int16_t{0});
    }
    run_layers(network, 1, a);
    int32_t sum[kMaxWidth][kBlock];
    accumulate(last, a, sum);
    for (int c = 0; c < channels; ++c)
      for (int j = 0; j < n; ++j)
        out[(x0 + j) * channels + c] =
            static_cast<uint8_t>(std::clamp(sum[c][j] >> last.shift, 0, white));
  }
}

// A run of rows, with all the memory that its work takes.
class Band {
 public:
  Band(const Header& header, const Weights& weights, const std::vector<Grid>& latents, int begin,
       int end)
      : header_(header), network_(weights.synthesis), begin_(begin), end_(end) {
    for (int k = 0; k < header.architecture.grids; ++k)
      upsamplers_.emplace_back(latents[k], k, header.width, weights.precision.upsampled);
    row_.resize(static_cast<size_t>(header.architecture.grids) * header.width);
  }

  // Allocates and throws nothing. out: the whole picture.
  void run(uint8_t* out) {
    for (int y = begin_; y < end_; ++y) {
      const Clock::time_point t0 = Clock::now();
      for (size_t k = 0; k < upsamplers_.size(); ++k)
        upsamplers_[k].row(y, row_.data() + k * header_.width);
      const Clock::time_point t1 = Clock::now();
      synthesise_row(header_, network_, row_.data(),
                     out + static_cast<size_t>(y) * header_.width * header_.channels);
      times_.upsampling += seconds(t1 - t0);
      times_.synthesis += seconds(Clock::now() - t1);
    }
  }

  const SynthesisTimes& times() const { return times_; }

 private:
  const Header& header_;
  const std::vector<IntegerLayer>& network_;
  int begin_;
  int end_;
  std::vector<Upsampler> upsamplers_;
  std::vector<int16_t> row_;  // [grids][width]
  SynthesisTimes times_;
};

}  // namespace

void synthesise(const Header& header, const Weights& weights, const std::vector<Grid>& latents,
                int threads, uint8_t* out, SynthesisTimes* times) {
  constexpr int kRowsWorthAThread = 64;
  const int count = std::clamp(header.height / kRowsWorthAThread, 1, threads);
  const auto start = [&](int band) {
    return static_cast<int>(int64_t{header.height} * band / count);
  };
  std::vector<Band> bands;
  for (int b = 0; b < count; ++b)
    bands.emplace_back(header, weights, latents, start(b), start(b + 1));
  std::vector<std::thread> pool;
  pool.reserve(count);
  for (int b = 1; b < count; ++b) {
    try {
      pool.emplace_back(&Band::run, &bands[b], out);
    } catch (const std::system_error&) {  // no more threads to be had
      bands[b].run(out);
    }
  }
  bands[0].run(out);
  for (std::thread& thread : pool) thread.join();
  for (const Band& band : bands) {
    times->upsampling += band.times().upsampling;
    times->synthesis += band.times().synthesis;
  }
}

}  // namespace coolchic
