// The trained default decoders, of which a file may code differences:
// docs/bitstream.md section 6.1.
#pragma once

#include <cstdint>

#include "decoder/header.h"

namespace coolchic {

struct DefaultDecoder {
  int architecture;       // section 4.1
  const int16_t* values;  // 12 fractional bits, in the file's order
  int parameters;
};

// By architecture, and of each in the order of their numbers.
extern const DefaultDecoder kDefaultDecoders[];
extern const int kDefaultDecoderCount;

// Number 1, 2, … of an architecture; null if it has no such one.
inline const DefaultDecoder* find_default(int architecture, int number) {
  for (int i = 0; i < kDefaultDecoderCount; ++i)
    if (kDefaultDecoders[i].architecture == architecture && --number == 0)
      return &kDefaultDecoders[i];
  return nullptr;
}

// The same for a picture: those of 3 channels only have default decoders.
inline const DefaultDecoder* find_default(const Header& h, int number) {
  return h.channels == 3 ? find_default(h.architecture_id, number) : nullptr;
}

// Entry t of a table in units of 2^-exponent.
inline int32_t default_value(int16_t t, int exponent) {
  constexpr int kBits = 12;
  return exponent >= kBits ? t * (1 << (exponent - kBits))
                           : (t + (1 << (kBits - 1 - exponent))) >> (kBits - exponent);
}

}  // namespace coolchic
