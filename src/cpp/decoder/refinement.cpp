#include "decoder/refinement.h"

#include <algorithm>

namespace coolchic {

Refinement::Refinement(const Kernels& kernels, const std::deque<Network>& convolutions,
                       int channels, int height, int width)
    : kernels_(kernels),
      convolutions_(convolutions),
      channels_(channels),
      height_(height),
      width_(width),
      pitch_(width + 2 * kSide + kRowSlack),
      stages_(convolutions.size()) {
  for (Stage& stage : stages_) stage.values.resize(kRows * channels * pitch_);
}

void Refinement::row(size_t count, int y, const Source& source, int16_t* const* out) {
  if (count == 0) {
    source(y, out);
    return;
  }
  Stage& stage = stages_[count - 1];
  // Rows before the first that is needed are never computed, so a reader may start anywhere.
  stage.newest = std::max(stage.newest, std::max(y - kSide, 0) - 1);
  while (stage.newest < std::min(y + kSide, height_ - 1)) {
    int16_t* rows[kMaxChannels];
    ++stage.newest;
    for (int c = 0; c < channels_; ++c) rows[c] = input(stage, stage.newest, c);
    row(count - 1, stage.newest, source, rows);
    for (int c = 0; c < channels_; ++c) {
      rows[c][-1] = rows[c][0];
      rows[c][width_] = rows[c][width_ - 1];
    }
  }
  const int16_t* rows[kMaxChannels * kRows];
  const int16_t** next = rows;
  for (int c = 0; c < channels_; ++c)
    for (int v = y - kSide; v <= y + kSide; ++v)
      *next++ = input(stage, std::clamp(v, 0, height_ - 1), c);
  kernels_.convolve(convolutions_[count - 1].view().layers[0], rows, width_, out);
}

}  // namespace coolchic
