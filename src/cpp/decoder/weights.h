// The weights section: docs/bitstream.md section 6.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "decoder/byte_reader.h"
#include "decoder/filters.h"
#include "decoder/header.h"
#include "decoder/network.h"
#include "decoder/subbands.h"

namespace coolchic {

// Groups of parameters. Behind the first four come, if there are any, the weights of
// convolutions, then the taps of filters, then subbands' own weights.
enum Group { kArmWeights, kArmBiases, kSynthesisWeights, kSynthesisBiases, kFirstOptionalGroup };
constexpr int kMaxGroups = kFirstOptionalGroup + 3;

inline int convolution_group(const Architecture&) { return kFirstOptionalGroup; }
inline int tap_group(const Architecture& a) { return kFirstOptionalGroup + a.refined(); }
inline int subband_group(const Architecture& a) { return tap_group(a) + a.filtered; }
inline int group_count(const Architecture& a) { return subband_group(a) + a.subband_weights; }

// Fractional bits of activations.
struct Precision {
  int arm;
  int upsampled;
  int synthesis;
};

constexpr int32_t kMaxParameter = 32767;

struct Weights {
  Precision precision;
  int exponent[kMaxGroups];
  int scale[kMaxGroups];
  int default_table = 0;        // that the parameters were coded as differences from, or 0
  std::vector<int32_t> values;  // quantised parameters in the file's order
  std::vector<std::vector<IntegerLayer>> arms;  // of each subband, then of all other grids
  std::vector<IntegerLayer> synthesis;          // without its
  std::vector<IntegerLayer> convolutions;       // one output per channel
  std::vector<Filter> filters;                  // of the grids that have one, or none
  std::vector<SubbandKernels> subbands;         // of each subband
  size_t prefix_bytes = 0;                      // before the substream

  const std::vector<IntegerLayer>& arm(int grid) const {
    return arms[std::min<size_t>(grid, arms.size() - 1)];
  }
  // Of the substream, with the last parameter of each part: bytes read so far.
  size_t arm_end = 0;
  size_t synthesis_end = 0;
  size_t convolutions_end = 0;
  size_t filters_end = 0;
  size_t subbands_end = 0;
};

// Group of each parameter in the file's order.
std::vector<uint8_t> parameter_groups(const Architecture& a);

// Reads the whole of `in`, the section without its length.
Weights read_weights(ByteReader& in, const Header& header, Status* status);

}  // namespace coolchic
