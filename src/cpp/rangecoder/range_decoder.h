// Interleaved range-ANS decoder of one substream: docs/bitstream.md section 8.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rangecoder/laplace_tables.h"

namespace coolchic {

// Reads past the end yield zeros and set exhausted(); a caller checks that now and then
// (at the latest after the last symbol) and must bound its own number of reads.
class RangeDecoder {
 public:
  static constexpr int kMaxLanes = 8;
  static constexpr uint32_t kLowerBound = 1u << 16;

  // data: `words` little-endian 16-bit words, not owned. lanes: 1, 2, 4 or 8.
  RangeDecoder(const uint8_t* data, size_t words, int lanes) : data_(data), words_(words) {
    lanes_ = lanes;
    for (int lane = 0; lane < lanes; ++lane) {
      state_[lane] = next_word() << 16;
      state_[lane] |= next_word();
      bad_ |= state_[lane] < kLowerBound;
    }
  }

  // The symbol (0 … kEscapeSymbol) decoded from a lane.
  int symbol(int lane, const CdfRow& row) {
    uint32_t x = state_[lane];
    const uint32_t slot = x & (kProbabilityOne - 1);
    int k = kZeroSymbol;
    if (slot >= row.c[k]) {
      while (slot >= row.c[k + 1]) ++k;
    } else {
      do --k;
      while (slot < row.c[k]);
    }
    x = row.frequency(k) * (x >> kProbabilityBits) + slot - row.c[k];
    if (x < kLowerBound) x = x << 16 | next_word();
    state_[lane] = x;
    return k;
  }

  // Integers from -32769 - 2^23 to 32768 + 2^23, roughly: d of section 8.3 for an escape.
  int32_t escape(const EscapeRule& rule) {
    const bool below = bit();
    const int32_t excess = static_cast<int32_t>(golomb(rule.golomb));
    return below ? -rule.below - 1 - excess : rule.above + 1 + excess;
  }

  bool exhausted() const { return exhausted_; }
  // Code errors seen so far: an initial state or an escape that no encoder writes.
  bool bad() const { return bad_; }
  size_t words_read() const { return position_; }

  // The end checks of section 8.1.
  bool finished() const {
    for (int lane = 0; lane < lanes_; ++lane)
      if (state_[lane] != kLowerBound) return false;
    return !exhausted_ && !bad_ && position_ == words_ && reservoir_ == 0;
  }

 private:
  uint32_t next_word() {
    if (position_ == words_) {
      exhausted_ = true;
      return 0;
    }
    const uint8_t* p = data_ + 2 * position_++;
    return p[0] | static_cast<uint32_t>(p[1]) << 8;
  }

  bool bit() {
    if (bits_left_ == 0) {
      reservoir_ = next_word();
      bits_left_ = 16;
    }
    --bits_left_;
    const bool one = reservoir_ >> bits_left_ & 1;
    reservoir_ &= ~(1u << bits_left_);
    return one;
  }

  uint32_t bits(int n) {
    uint32_t value = 0;
    while (n-- > 0) value = value << 1 | bit();
    return value;
  }

  uint32_t golomb(int g) {
    uint32_t quotient = 0;
    while (bit())
      if (++quotient == kUnaryLimit) return (quotient << g) + gamma(g);
    return (quotient << g) + bits(g);
  }

  uint32_t gamma(int g) {
    int z = 0;
    while (bit()) {
      if (++z > kGammaLimit) {
        bad_ = true;
        return 0;
      }
    }
    return (((1u << z) - 1) << g) + bits(z + g);
  }

  const uint8_t* data_;
  size_t words_;
  size_t position_ = 0;
  uint32_t state_[kMaxLanes] = {};
  int lanes_ = 1;
  uint32_t reservoir_ = 0;  // its bits_left_ low bits are those not read yet
  int bits_left_ = 0;
  bool exhausted_ = false;
  bool bad_ = false;
};

}  // namespace coolchic
