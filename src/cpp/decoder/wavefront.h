// The order in which latents are decoded, and the storage that makes it fast:
// docs/bitstream.md section 7.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/architecture.h"
#include "decoder/grid.h"
#include "decoder/kernels.h"
#include "decoder/network.h"

namespace coolchic {

// The positions of context and parents, seen from a step of the wavefront.
class Context {
 public:
  explicit Context(const Architecture& a);

  struct Position {
    int delay;  // steps since the latent was decoded, or would have been; negative: until then
    int dr;     // rows above
  };
  const std::vector<Position>& positions() const { return positions_; }
  const std::vector<Position>& parents() const { return parents_; }
  // Inputs from subbands decoded before, each at the latent's own position.
  int siblings() const { return siblings_; }
  int inputs() const { return static_cast<int>(positions_.size() + parents_.size()) + siblings_; }
  int stagger() const { return stagger_; }
  int max_delay() const { return max_delay_; }
  int rows_above() const { return rows_above_; }

 private:
  std::vector<Position> positions_;
  std::vector<Position> parents_;
  int siblings_;
  int stagger_;
  int max_delay_ = 0;
  int rows_above_ = 0;
};

// The rows of one step of a band: row r of the band at column t - stagger * r.
struct WavefrontStep {
  int t;
  int first_row;
  int rows;  // none, at times, if the grid is narrower than the stagger
};

// A band of rows of a grid on their way through the wavefront.
//
// The last steps are stored skewed: slot t holds, by row, the latents of step t. So what a
// context position names is, for all latents of a step, one run of a slot, and a network
// takes vectors of latents as it does vectors of pixels. Rows and columns outside the grid
// are zeros in the slots; rows above the band are copied from the grid.
class Wavefront {
 public:
  // The rows above the band must be in the grid as far as wait_for() says.
  Wavefront(const Kernels& kernels, const Context& context, const Grid& grid, int first_row,
            int rows);

  int steps() const { return columns_ + context_.stagger() * (rows_ - 1); }
  WavefrontStep step(int t) const;

  // Rows of latents, one for each context position, for Kernels::network.
  void inputs(const WavefrontStep& step, const int16_t** rows) const;

  // Where the step's latents go, with room for kernels to write a surplus.
  int16_t* values(const WavefrontStep& step) { return slot(step.t) + step.first_row; }

  // One of these ends each step. save(): the values go to the grid, at the latest after the
  // last step and after each whose t + 1 is a multiple of kSaveStride. load(): they come from it.
  static constexpr int kSaveStride = 2 * kTransposed;
  void save(const WavefrontStep& step, Grid* grid);
  void load(const WavefrontStep& step);

 private:
  static constexpr int kBefore = 16;  // of row 0 in a slot: rows above, zeros

  int16_t* slot(int t) { return slots_.data() + (t & mask_) * pitch_ + kBefore; }
  const int16_t* slot(int t) const { return slots_.data() + (t & mask_) * pitch_ + kBefore; }
  void copy_rows_above(int t);
  void surround(const WavefrontStep& step);
  void write(int begin, int end, Grid* grid) const;

  const Kernels& kernels_;
  const Context& context_;
  const Grid& grid_;
  int first_row_;
  int rows_;
  int columns_;
  int mask_;
  ptrdiff_t pitch_;
  std::vector<int16_t> slots_;
};

class Surroundings;

// The distributions of a step's latents: rows of kLaplace.cdf and integer means.
class Predictor {
 public:
  // For steps of at most `rows` rows. precision: F_arm.
  Predictor(const Kernels& kernels, const Context& context, const Network& arm, int precision,
            int rows);

  void predict(const Wavefront& wavefront, Surroundings& surroundings, const WavefrontStep& step);

  const uint16_t* rows() const { return rows_.data(); }
  const int16_t* means() const { return means_.data(); }
  int scale(int j) const { return rows_[j] / kFractions; }

 private:
  const Kernels& kernels_;
  const Network& arm_;
  int precision_;
  size_t surroundings_at_;  // of the inputs
  std::vector<const int16_t*> inputs_;
  std::vector<int16_t> z0_, z1_;
  std::vector<uint16_t> rows_;
  std::vector<int16_t> means_;
};

}  // namespace coolchic
