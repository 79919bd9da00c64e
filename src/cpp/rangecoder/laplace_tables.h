// Probability tables of the entropy coder: docs/bitstream.md sections 8.2 and 8.3.
#pragma once

#include <cstdint>

namespace coolchic {

constexpr int kScales = 64;
constexpr int kFractions = 16;
constexpr int kSymbols = 15;    // 14 integers and the escape
constexpr int kZeroSymbol = 7;  // symbol of d = 0
constexpr int kEscapeSymbol = 14;
constexpr int kProbabilityBits = 15;
constexpr uint32_t kProbabilityOne = 1u << kProbabilityBits;
constexpr int kZeroMeanFraction = 8;

// Cumulative frequencies of the 15 symbols and 2^15: one aligned 32-byte row.
struct alignas(32) CdfRow {
  uint16_t c[kSymbols + 1];
  constexpr uint32_t frequency(int symbol) const { return uint32_t{c[symbol + 1]} - c[symbol]; }
};

// What an escape needs to know of a scale: the window [-below, above] of the integers that
// have symbols, and the Golomb-Rice parameter of the excess beyond it.
struct EscapeRule {
  int8_t below;
  int8_t above;
  int8_t golomb;
};

struct LaplaceTables {
  CdfRow cdf[kScales * kFractions];  // row of scale s and fraction f at [s * kFractions + f]
  EscapeRule escape[kScales];
};
extern const LaplaceTables kLaplace;

// Layout of an escape's excess (section 8.3).
constexpr int kUnaryLimit = 12;
constexpr int kGammaLimit = 16;

}  // namespace coolchic
