// The trained default decoders, of which a file may code differences:
// docs/bitstream.md section 6.1.
#pragma once

#include <cstdint>

#include "decoder/header.h"

namespace coolchic {

constexpr int kTablesPerArchitecture = 4;
constexpr int kDefaultTables = 2 * kTablesPerArchitecture;

struct DefaultDecoder {
  const int16_t* values;  // 12 fractional bits, in the file's order
  int parameters;
};

// Table 1 … kDefaultTables at [table - 1].
extern const DefaultDecoder kDefaultDecoder[kDefaultTables];

// Four tables each belong to architectures 0 and 1 with 3 channels.
inline bool has_default(const Header& h, int table) {
  return h.channels == 3 && (table - 1) / kTablesPerArchitecture == h.architecture_id;
}

// Entry t of a table in units of 2^-exponent.
inline int32_t default_value(int16_t t, int exponent) {
  constexpr int kBits = 12;
  return exponent >= kBits ? t * (1 << (exponent - kBits))
                           : (t + (1 << (kBits - 1 - exponent))) >> (kBits - exponent);
}

}  // namespace coolchic
