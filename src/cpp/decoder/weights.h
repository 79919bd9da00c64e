// The weights section: docs/bitstream.md section 6.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/byte_reader.h"
#include "decoder/header.h"
#include "decoder/network.h"

namespace coolchic {

enum Group { kArmWeights, kArmBiases, kSynthesisWeights, kSynthesisBiases, kGroups };

// Fractional bits of activations.
struct Precision {
  int arm;
  int upsampled;
  int synthesis;
};

constexpr int kWeightsPrefixBytes = 7;
constexpr int32_t kMaxParameter = 32767;

struct Weights {
  Precision precision;
  int exponent[kGroups];
  int scale[kGroups];
  int default_table = 0;        // that the parameters were coded as differences from, or 0
  std::vector<int32_t> values;  // quantised parameters in the file's order
  std::vector<IntegerLayer> arm;
  std::vector<IntegerLayer> synthesis;
  size_t arm_bytes = 0;  // of the substream, up to the last ARM parameter
};

// Group of each parameter in the file's order.
std::vector<uint8_t> parameter_groups(const Architecture& a);

// Reads the whole of `in`, the section without its length.
Weights read_weights(ByteReader& in, const Header& header, Status* status);

}  // namespace coolchic
