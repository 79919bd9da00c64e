// Latent grids and their decoding: docs/bitstream.md sections 7 and 10.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decoder/byte_reader.h"
#include "decoder/header.h"
#include "decoder/network.h"
#include "decoder/weights.h"
#include "rangecoder/laplace_tables.h"

namespace coolchic {

constexpr int32_t kMinLatent = -32768;
constexpr int32_t kMaxLatent = 32767;

// One grid with the zeros around it that contexts reach into. Rows share the margin to
// their sides: what is right of one row is left of the next.
class Grid {
 public:
  Grid(int rows, int columns)
      : rows_(rows),
        columns_(columns),
        stride_(columns + kMarginSide),
        values_(static_cast<size_t>(rows + kMarginAbove) * stride_ + kMarginSide) {}

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  ptrdiff_t stride() const { return stride_; }
  int16_t* row(int r) { return values_.data() + offset(r); }
  const int16_t* row(int r) const { return values_.data() + offset(r); }

 private:
  size_t offset(int r) const {
    return static_cast<size_t>(r + kMarginAbove) * stride_ + kMarginSide;
  }

  int rows_;
  int columns_;
  ptrdiff_t stride_;
  std::vector<int16_t> values_;
};

// The rows of one wavefront step: columns are t - stagger * row.
struct WavefrontStep {
  int t;
  int first_row;
  int rows;
};

// Rows that step t of a grid touches (section 7): none, at times, if the grid is narrower than
// the stagger.
WavefrontStep wavefront_step(int grid_rows, int grid_columns, int stagger, int t);
inline int wavefront_steps(int rows, int columns, int stagger) {
  return columns + stagger * (rows - 1);
}

// What the ARM says of one latent: row of kLaplace.cdf, and the integer mean.
struct Prediction {
  uint16_t row;
  int16_t mean;
  int scale() const { return row / kFractions; }
};

// The ARM on the latents of wavefront steps.
class Predictor {
 public:
  Predictor(const Architecture& a, const std::vector<IntegerLayer>& arm, int precision);

  int stagger() const { return stagger_; }

  // Predictions for all rows of a step, from latents of earlier steps.
  void predict(const Grid& grid, const WavefrontStep& step, Prediction* out) const;

 private:
  void evaluate(Activations& x, int n, Prediction* out) const;

  const std::vector<ContextPosition>& context_;
  const std::vector<IntegerLayer>& arm_;
  int precision_;
  int stagger_;
  Prediction of_zeros_;  // most contexts are all zero at low rate
};

struct LatentsInfo {
  int lanes = 1;
  bool coded[kMaxGrids] = {};
  size_t grid_bytes[kMaxGrids] = {};  // of the substream, rounded to whole words
  size_t overhead_bytes = 0;          // layout, flags and initial states
};

// Reads the whole of `in`, the section without its length. Grids come finest first.
std::vector<Grid> read_latents(ByteReader& in, const Header& header, const Weights& weights,
                               LatentsInfo* info);

}  // namespace coolchic
