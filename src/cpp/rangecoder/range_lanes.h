// State of the interleaved decoder: docs/bitstream.md section 8.1. Plain data, so that the
// decoder's kernels may work on it in code for one instruction set.
#pragma once

#include <cstdint>

namespace coolchic {

constexpr int kMaxLanes = 8;
constexpr uint32_t kLowerBound = 1u << 16;  // of a state

struct RangeLanes {
  uint32_t state[kMaxLanes];
  int count;            // 1, 2, 4 or 8
  const uint8_t* next;  // the unread words, little-endian
  const uint8_t* end;   // a whole number of words behind next
};

}  // namespace coolchic
