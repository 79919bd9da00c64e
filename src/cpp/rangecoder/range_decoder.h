// Interleaved range-ANS decoder of one substream: docs/bitstream.md section 8.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rangecoder/laplace_tables.h"
#include "rangecoder/range_lanes.h"

namespace coolchic {

// The symbol (0 … kEscapeSymbol) in a lane's state, which is left to be renormalised.
inline int decode_symbol(const CdfRow& row, uint32_t* state) {
  const uint32_t slot = *state & (kProbabilityOne - 1);
  int k = kZeroSymbol;
  if (slot >= row.c[k]) {
    while (slot >= row.c[k + 1]) ++k;
  } else {
    do --k;
    while (slot < row.c[k]);
  }
  *state = row.frequency(k) * (*state >> kProbabilityBits) + slot - row.c[k];
  return k;
}

// Reads past the end yield zeros and set exhausted(); a caller checks that now and then
// (at the latest after the last symbol) and must bound its own number of reads.
class RangeDecoder {
 public:
  // data: `words` little-endian 16-bit words, not owned. lanes: 1, 2, 4 or 8.
  RangeDecoder(const uint8_t* data, size_t words, int lanes)
      : data_(data), lanes_{{}, lanes, data, data + 2 * words} {
    for (int lane = 0; lane < lanes; ++lane) {
      uint32_t& x = lanes_.state[lane];
      x = next_word() << 16;
      x |= next_word();
      bad_ |= x < kLowerBound;
    }
  }

  // The symbol (0 … kEscapeSymbol) decoded from a lane.
  int symbol(int lane, const CdfRow& row) {
    uint32_t& x = lanes_.state[lane];
    const int k = decode_symbol(row, &x);
    if (x < kLowerBound) x = x << 16 | next_word();
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
  size_t words_read() const { return static_cast<size_t>(lanes_.next - data_) / 2; }
  size_t words_left() const { return static_cast<size_t>(lanes_.end - lanes_.next) / 2; }

  // For code that decodes symbols itself, no more of them than words_left().
  RangeLanes& lanes() { return lanes_; }

  // The end checks of section 8.1.
  bool finished() const {
    for (int lane = 0; lane < lanes_.count; ++lane)
      if (lanes_.state[lane] != kLowerBound) return false;
    return !exhausted_ && !bad_ && words_left() == 0 && reservoir_ == 0;
  }

 private:
  uint32_t next_word() {
    if (lanes_.next == lanes_.end) {
      exhausted_ = true;
      return 0;
    }
    const uint8_t* p = lanes_.next;
    lanes_.next += 2;
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
  RangeLanes lanes_;
  uint32_t reservoir_ = 0;  // its bits_left_ low bits are those not read yet
  int bits_left_ = 0;
  bool exhausted_ = false;
  bool bad_ = false;
};

}  // namespace coolchic
