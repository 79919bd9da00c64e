// The 3x3 convolutions at the end of the synthesis, row by row: docs/bitstream.md section 9.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "decoder/architecture.h"
#include "decoder/kernels.h"
#include "decoder/network.h"

namespace coolchic {

// Convolutions one behind the other on a picture whose rows are asked for in ascending order.
// Each keeps three rows of its inputs.
class Refinement {
 public:
  // Makes row y of the first convolution's inputs, in ascending order: a row for each channel,
  // with room for kernels to write a surplus.
  using Source = std::function<void(int y, int16_t* const* rows)>;

  // convolutions: each a network of one layer, `channels` in and out; maybe none.
  Refinement(const Kernels& kernels, const std::deque<Network>& convolutions, int channels,
             int height, int width);

  // Row y of the last convolution's outputs.
  void row(int y, const Source& source, int16_t* const* out) {
    row(stages_.size(), y, source, out);
  }

 private:
  static constexpr int kRows = 3;
  static constexpr int kSide = kRows / 2;  // rows and columns on either side

  struct Stage {
    std::vector<int16_t> values;  // the last rows, [y mod 3][channel], edges replicated
    int newest = -1;              // last row in there
  };

  int16_t* input(Stage& stage, int y, int channel) const {
    return stage.values.data() + (static_cast<size_t>(y % kRows) * channels_ + channel) * pitch_ +
           kSide;
  }
  // Row y of the first so many convolutions.
  void row(size_t count, int y, const Source& source, int16_t* const* out);

  const Kernels& kernels_;
  const std::deque<Network>& convolutions_;
  const int channels_;
  const int height_;
  const int width_;
  const size_t pitch_;
  std::vector<Stage> stages_;
};

}  // namespace coolchic
