// The trained default decoders, of which a file may code differences:
// docs/bitstream.md section 6.1.
#pragma once

#include <cstdint>

#include "decoder/header.h"

namespace coolchic {

constexpr int kDefaultTables = 4;
constexpr int kDefaultParameters = 629;

// 12 fractional bits, in the file's order; table 1 … kDefaultTables at [table - 1].
extern const int16_t kDefaultDecoder[kDefaultTables][kDefaultParameters];

// The tables belong to architecture 0 with 3 channels.
inline bool has_defaults(const Header& h) { return !h.described && h.channels == 3; }

// Entry t of a table in units of 2^-exponent.
inline int32_t default_value(int16_t t, int exponent) {
  constexpr int kBits = 12;
  return exponent >= kBits ? t * (1 << (exponent - kBits))
                           : (t + (1 << (kBits - 1 - exponent))) >> (kBits - exponent);
}

}  // namespace coolchic
