// The kernels that enlarge subbands: docs/bitstream.md section 11.2.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/status.h"

namespace coolchic {

constexpr int kSubbandTaps = 4;                       // of half a kernel, from the centre outwards
constexpr int kSubbandParameters = 2 * kSubbandTaps;  // the vertical kernel's, the horizontal's

// Weights as make_taps has them for enlargement by two.
struct SubbandKernels {
  std::vector<int16_t> vertical, horizontal;
};

// values: kSubbandParameters. subband: 0, 1 or 2. Fails if a tap leaves its range.
SubbandKernels make_subband_kernels(const int32_t* values, int subband, int exponent,
                                    Status* status);

}  // namespace coolchic
