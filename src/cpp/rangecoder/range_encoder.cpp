#include "rangecoder/range_encoder.h"

#include "rangecoder/range_lanes.h"

namespace coolchic {
namespace {

uint32_t excess_of(const EscapeRule& rule, int32_t d) {
  return static_cast<uint32_t>(d < 0 ? -rule.below - 1 - d : d - rule.above - 1);
}

// Golomb code of section 8.3 in the three parts it has: `prefix_bits` ones and a zero (at
// most 12 + 16 + 1 bits), then `tail_bits` bits of `tail`.
struct Golomb {
  int ones;
  uint32_t tail;
  int tail_bits;
};

Golomb golomb(uint32_t n, int g) {
  if (n >> g < static_cast<uint32_t>(kUnaryLimit))
    return {static_cast<int>(n >> g), n & ((1u << g) - 1), g};
  n -= static_cast<uint32_t>(kUnaryLimit) << g;
  int z = 0;
  while (n >= ((2u << z) - 1) << g) ++z;
  return {kUnaryLimit + z, n - (((1u << z) - 1) << g), z + g};
}

}  // namespace

int escape_bits(const EscapeRule& rule, int32_t d) {
  const Golomb code = golomb(excess_of(rule, d), rule.golomb);
  return 1 + code.ones + 1 + code.tail_bits;
}

void RangeEncoder::symbol(int lane, const CdfRow& row, int symbol) {
  symbols_.push_back(
      {row.c[symbol], static_cast<uint16_t>(row.frequency(symbol)), static_cast<uint8_t>(lane)});
}

void RangeEncoder::escape(const EscapeRule& rule, int32_t d) {
  const Golomb code = golomb(excess_of(rule, d), rule.golomb);
  bits(d < 0, 1);
  bits((2u << code.ones) - 2, code.ones + 1);
  bits(code.tail, code.tail_bits);
}

std::vector<uint8_t> RangeEncoder::finish() {
  // Coding runs backwards: word[i] is what the decoder reads after symbol i, if anything.
  constexpr uint32_t kNone = 1u << 16;
  std::vector<uint32_t> word(symbols_.size(), kNone);
  uint32_t state[kMaxLanes];
  for (uint32_t& x : state) x = kLowerBound;
  for (size_t i = symbols_.size(); i-- > 0;) {
    const Symbol& s = symbols_[i];
    uint32_t& x = state[s.lane];
    if (x >= uint64_t{s.frequency} << (32 - kProbabilityBits)) {
      word[i] = x & 0xffff;
      x >>= 16;
    }
    x = (x / s.frequency << kProbabilityBits) + x % s.frequency + s.start;
  }

  std::vector<uint8_t> out;
  const auto put = [&out](uint32_t w) {
    out.push_back(static_cast<uint8_t>(w));
    out.push_back(static_cast<uint8_t>(w >> 8));
  };
  for (int lane = 0; lane < lanes_; ++lane) {
    put(state[lane] >> 16);
    put(state[lane] & 0xffff);
  }
  // The decoder fetches a word of raw bits when it needs a bit and has none left.
  size_t reservoir = 0;
  int free_bits = 0;
  size_t next_raw = 0;
  const auto put_raw_before = [&](size_t i) {
    for (; next_raw < raw_.size() && raw_[next_raw].before == i; ++next_raw) {
      for (int b = raw_[next_raw].count; b-- > 0;) {
        if (free_bits == 0) {
          reservoir = out.size();
          put(0);
          free_bits = 16;
        }
        --free_bits;
        if (raw_[next_raw].value >> b & 1)
          out[reservoir + (free_bits >> 3)] |= static_cast<uint8_t>(1 << (free_bits & 7));
      }
    }
  };
  for (size_t i = 0; i < symbols_.size(); ++i) {
    put_raw_before(i);
    if (word[i] != kNone) put(word[i]);
  }
  put_raw_before(symbols_.size());
  symbols_.clear();
  raw_.clear();
  return out;
}

}  // namespace coolchic
