#include "decoder/subbands.h"

#include <string>

#include "decoder/architecture.h"
#include "decoder/kernels.h"

namespace coolchic {
namespace {

// Section 11.2. Whether a subband's vertical and horizontal kernels are of the high pass, and what
// the kernels of either pass begin with.
constexpr bool kHighPass[kSubbands][2] = {{false, true}, {true, false}, {true, true}};
constexpr int32_t kFirst[2][kSubbandTaps] = {{14746, 2458, -328, 0}, {14746, -4096, 819, 0}};
constexpr int kTapBits = 14;

std::vector<int16_t> make_kernel(const int32_t* values, bool high, int subband, int exponent,
                                 Status* status) {
  std::vector<int16_t> taps(2 * kTaps);
  for (int i = 0; i < kSubbandTaps; ++i) {
    const int64_t tap = kFirst[high][i] + ((int64_t{values[i]} * (1 << kTapBits)) >> exponent);
    if (tap < -32767 || tap > 32767)
      status->fail(Code::kInvalid,
                   "tap out of range (kernel of subband " + std::to_string(subband) + ")");
    // Of the whole kernel, every second value is for the same phase.
    const auto set = [&taps](int place, int64_t value) {
      const int phase = place % 2, tap_of_phase = kTaps - 1 - place / 2;
      taps[tap_of_phase * 2 + phase] = static_cast<int16_t>(value);
    };
    set(kSubbandTaps - 1 - i, tap);
    set(kSubbandTaps + i, high ? -tap : tap);
  }
  return taps;
}

}  // namespace

SubbandKernels make_subband_kernels(const int32_t* values, int subband, int exponent,
                                    Status* status) {
  const auto kernel = [&](int direction) {
    return make_kernel(values + direction * kSubbandTaps, kHighPass[subband][direction], subband,
                       exponent, status);
  };
  return {kernel(0), kernel(1)};
}

}  // namespace coolchic
