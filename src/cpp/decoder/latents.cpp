#include "decoder/latents.h"

#include <algorithm>
#include <atomic>
#include <climits>
#include <deque>
#include <string>
#include <thread>

#include "decoder/surroundings.h"
#include "decoder/wavefront.h"
#include "rangecoder/range_decoder.h"

namespace coolchic {
namespace {

// Section 13: even the likeliest symbol takes more than 2^-14 bits, so that a few bytes
// cannot make a decoder set out on a large grid.
constexpr uint64_t kMaxSymbolsPerByte = uint64_t{8} << 14;

// How far a band is, for the band below, which trails it.
class Progress {
 public:
  static constexpr int kFailed = -1;
  static constexpr int kDone = INT_MAX;

  void publish(int steps) { steps_.store(steps, std::memory_order_release); }

  // Waits for so many steps of a band that is being decoded by an earlier task. False if
  // they will never come.
  bool wait(int steps) const {
    for (;;) {
      const int done = steps_.load(std::memory_order_acquire);
      if (done == kFailed) return false;
      if (done >= steps) return true;
      std::this_thread::yield();
    }
  }

 private:
  std::atomic<int> steps_{0};
};

enum class Outcome { kDone, kExhausted, kDamaged, kAborted };

class LatentsDecoder {
 public:
  LatentsDecoder(const Header& header, const Weights& weights, const Kernels& kernels,
                 std::vector<Substream> substreams, const LatentsLayout& layout,
                 const LatentsRequest& request)
      : header_(header),
        kernels_(kernels),
        context_(header.architecture),
        precision_(weights.precision.arm),
        substreams_(std::move(substreams)),
        layout_(layout),
        request_(request),
        grids_(header.architecture.grids),
        results_(substreams_.size()),
        progress_(substreams_.size()) {
    for (const std::vector<IntegerLayer>& layers : weights.arms) arms_.emplace_back(layers);
    std::fill_n(first_substream_, kMaxGrids, kNone);
    for (size_t i = substreams_.size(); i-- > 0;)
      for (const Band& band : substreams_[i].bands)
        first_substream_[band.grid] = static_cast<int>(i);
    // Bands share their grid, so it must be there before the first of them, unless one of
    // them lacks so many bytes that the grid is not worth its memory.
    bool plausible[kMaxGrids];
    std::fill_n(plausible, kMaxGrids, true);
    for (const Substream& s : substreams_)
      if (!is_whole_grid(s.bands[0]))
        plausible[s.bands[0].grid] &= plausible_size(s.bands[0], s.words);
    for (const Substream& s : substreams_) {
      const Band& band = s.bands[0];
      if (!is_whole_grid(band) && !s.continues && wanted(band) && plausible[band.grid])
        allocate(band.grid);
    }
  }

  void run(ThreadPool& pool) {
    pool.run(static_cast<int>(substreams_.size()), [this](int i) {
      results_[i].outcome = Outcome::kAborted;
      try {
        decode_substream(i);
      } catch (...) {
        progress_[i].publish(Progress::kFailed);
        throw;
      }
      progress_[i].publish(results_[i].outcome == Outcome::kDone ? Progress::kDone
                                                                 : Progress::kFailed);
    });
  }

  // After run(): the grids, unless there was a failure, the first of which is told.
  std::vector<Grid> finish(ByteReader& in, LatentsInfo* info) {
    for (const Result& r : results_) {
      if (r.outcome == Outcome::kDone) continue;
      if (request_.cut_short && r.outcome != Outcome::kDamaged) {
        // Grids come coarsest first, and so do those that are whole.
        for (int k = 0; k <= r.grid; ++k) grids_[k] = Grid();
        if (std::none_of(grids_.begin(), grids_.end(),
                         [](const Grid& grid) { return grid.has_values(); }))
          in.fail(Code::kTruncated, "truncated file, no latent grid is whole");
        break;
      }
      in.fail(Code::kCorrupt,
              r.grid == kEndChecks
                  ? "substream fails its end checks"
                  : "substream damaged or cut short in latent grid " + std::to_string(r.grid));
      break;
    }
    for (const Result& r : results_) {
      info->overhead_bytes += r.state_bytes;
      for (size_t k = 0; k < grids_.size(); ++k) info->grid_bytes[k] += r.grid_bytes[k];
    }
    return std::move(grids_);
  }

 private:
  static constexpr int kEndChecks = -1;
  static constexpr int kNone = -1;

  struct Result {
    Outcome outcome;
    int grid = 0;  // that failed, or kEndChecks
    size_t state_bytes = 0;
    size_t grid_bytes[kMaxGrids] = {};
  };

  bool is_whole_grid(const Band& band) const { return band.rows == header_.grid_rows(band.grid); }

  bool plausible_size(const Band& band, size_t words) const {
    return static_cast<uint64_t>(band.rows) * header_.grid_columns(band.grid) <=
           kMaxSymbolsPerByte * 2 * (words + 1);
  }

  bool wanted(const Band& band) const { return band.grid >= request_.first_grid; }

  void allocate(int k) { grids_[k] = Grid(header_.grid_rows(k), header_.grid_columns(k)); }

  void decode_substream(int i) {
    const Substream& s = substreams_[i];
    Result& result = results_[i];
    result.grid = s.bands.front().grid;
    if (!wanted(s.bands.front())) {
      result.outcome = Outcome::kDone;
      return;
    }
    RangeDecoder decoder(s.data, s.words, layout_.lanes);
    result.state_bytes = 2 * decoder.words_read();
    size_t words = decoder.words_read();
    for (const Band& band : s.bands) {
      if (!wanted(band)) {
        result.outcome = Outcome::kDone;
        return;
      }
      result.grid = band.grid;
      result.outcome = decode_band(i, band, decoder);
      if (result.outcome != Outcome::kDone) return;
      result.grid_bytes[band.grid] = 2 * (decoder.words_read() - words);
      words = decoder.words_read();
    }
    if (!decoder.finished()) {
      result.outcome = Outcome::kDamaged;
      result.grid = kEndChecks;
    }
  }

  // A band needs rows of other grids, its parents' and those of subbands decoded before, of which
  // another task may decode a part. False if they will never be there.
  bool wait_for_surroundings(int i, const Band& band) const {
    const Architecture& a = header_.architecture;
    if (!context_.parents().empty() && !wait_for(i, band, a.parent(band.grid))) return false;
    for (int other = band.grid + 1; other < a.subbands(); ++other)
      if (!wait_for(i, band, other)) return false;
    return true;
  }

  // Bands trail the ones above them, so that the last that is needed is done last.
  bool wait_for(int i, const Band& band, int other) const {
    const Architecture& a = header_.architecture;
    if (other == a.grids) return true;
    const int first = first_substream_[other];
    if (first == kNone || first == i) return true;
    const int64_t rows = header_.grid_rows(other), bands = bands_of_grid(layout_.bands, a, other);
    const int row = Surroundings::last_row(a, band.grid, band.first_row + band.rows - 1, other,
                                           static_cast<int>(rows));
    const int64_t last = ((row + 1) * bands - 1) / rows;  // the band that has this row
    return progress_[first + last].wait(Progress::kDone);
  }

  Outcome decode_band(int i, const Band& band, RangeDecoder& decoder) {
    if (is_whole_grid(band) && plausible_size(band, decoder.words_left())) allocate(band.grid);
    if (!grids_[band.grid].has_values()) return Outcome::kExhausted;
    Grid& grid = grids_[band.grid];
    const Progress* above = substreams_[i].continues ? &progress_[i - 1] : nullptr;
    // Rows above the band are complete as far as step t looks when the band above, of n rows,
    // has done t + S n steps. Asking in strides keeps the cost of asking low.
    const int lag = above ? context_.stagger() * substreams_[i - 1].bands.front().rows : 0;
    const int last_above = above ? grid.columns() + lag - context_.stagger() : 0;
    if (!wait_for_surroundings(i, band)) return Outcome::kAborted;
    constexpr int kStride = 64;
    static_assert(kStride % Wavefront::kSaveStride == 0);
    int ready = above ? 0 : INT_MAX;  // steps that need no more waiting
    if (above && !above->wait(std::min(lag, last_above))) return Outcome::kAborted;

    Wavefront wavefront(kernels_, context_, grid, band.first_row, band.rows);
    Surroundings surroundings(kernels_, header_.architecture, context_, grids_, band.grid,
                              band.first_row, band.rows);
    const Network& arm = arms_[std::min<size_t>(band.grid, arms_.size() - 1)];
    Predictor predictor(kernels_, context_, arm, precision_, band.rows);
    std::vector<uint16_t> escaped(band.rows + kRowSlack);
    const int steps = wavefront.steps();
    for (int t = 0; t < steps; ++t) {
      if (t >= ready) {
        ready += kStride;
        if (!above->wait(std::min(ready + lag, last_above))) return Outcome::kAborted;
      }
      const WavefrontStep step = wavefront.step(t);
      predictor.predict(wavefront, surroundings, step);
      if (!decode_values(predictor, step.rows, decoder, escaped.data(), wavefront.values(step)))
        return Outcome::kDamaged;
      if (decoder.exhausted()) return Outcome::kExhausted;
      if (decoder.bad()) return Outcome::kDamaged;
      wavefront.save(step, &grid);
      if (t % kStride == kStride - 1) progress_[i].publish(t + 1);
    }
    progress_[i].publish(steps);
    return Outcome::kDone;
  }

  // The n latents of a step. False if one is out of range.
  bool decode_values(const Predictor& predictor, int n, RangeDecoder& decoder, uint16_t* escaped,
                     int16_t* values) const {
    const uint16_t* rows = predictor.rows();
    const int16_t* means = predictor.means();
    int escapes = 0;
    if (decoder.words_left() >= static_cast<size_t>(n)) {
      escapes = kernels_.symbols(&decoder.lanes(), rows, means, n, values, escaped);
    } else {
      for (int j = 0; j < n; ++j) {
        const int k = decoder.symbol(j & (layout_.lanes - 1), kLaplace.cdf[rows[j]]);
        values[j] = static_cast<int16_t>(means[j] + k - kZeroSymbol);
        if (k == kEscapeSymbol) escaped[escapes++] = static_cast<uint16_t>(j);
      }
    }
    for (int e = 0; e < escapes; ++e) {
      const int j = escaped[e];
      const int32_t y = means[j] + decoder.escape(kLaplace.escape[predictor.scale(j)]);
      if (y < kMinLatent || y > kMaxLatent) return decoder.exhausted();
      values[j] = static_cast<int16_t>(y);
    }
    return true;
  }

  const Header& header_;
  const Kernels& kernels_;
  const Context context_;
  std::deque<Network> arms_;  // as Weights::arms
  const int precision_;
  const std::vector<Substream> substreams_;
  const LatentsLayout layout_;
  const LatentsRequest request_;
  std::vector<Grid> grids_;
  std::vector<Result> results_;
  std::vector<Progress> progress_;
  int first_substream_[kMaxGrids];  // that holds some of a grid, or kNone
};

}  // namespace

std::vector<Grid> read_latents(ByteReader& in, const Header& header, const Weights& weights,
                               const Kernels& kernels, ThreadPool& pool,
                               const LatentsRequest& request, LatentsInfo* info) {
  const size_t size = in.left();
  std::vector<Substream> substreams = read_layout(in, header, request.cut_short, &info->layout);
  info->overhead_bytes = size;
  for (const Substream& s : substreams) {
    info->overhead_bytes -= 2 * s.words;
    if (!request.cut_short && symbol_count(header, s) > kMaxSymbolsPerByte * 2 * s.words)
      in.fail(Code::kCorrupt, "substream too short for its grids");
  }
  std::vector<Grid> none(header.architecture.grids);
  if (!in.ok() || substreams.empty()) return none;
  LatentsDecoder decoder(header, weights, kernels, std::move(substreams), info->layout, request);
  decoder.run(pool);
  return decoder.finish(in, info);
}

}  // namespace coolchic
