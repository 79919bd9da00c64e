// Writer of the substreams that RangeDecoder reads: docs/bitstream.md section 8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "rangecoder/laplace_tables.h"

namespace coolchic {

// Collects symbols and raw bits in the order of decoding; finish() codes them.
class RangeEncoder {
 public:
  // lanes: 1, 2, 4 or 8.
  explicit RangeEncoder(int lanes) : lanes_(lanes) {}

  void symbol(int lane, const CdfRow& row, int symbol);

  // Raw bits of the escape of d, an integer outside the rule's window.
  void escape(const EscapeRule& rule, int32_t d);

  // The substream's bytes. Leaves the encoder empty.
  std::vector<uint8_t> finish();

 private:
  struct Symbol {
    uint16_t start;
    uint16_t frequency;
    uint8_t lane;
  };
  struct RawBits {
    size_t before;  // index of the symbol that the decoder reads next
    uint32_t value;
    int count;
  };

  void bits(uint32_t value, int count) { raw_.push_back({symbols_.size(), value, count}); }

  int lanes_;
  std::vector<Symbol> symbols_;
  std::vector<RawBits> raw_;
};

// Symbol of the integer d: its own, or the escape.
inline int symbol_of(const EscapeRule& rule, int32_t d) {
  return d >= -rule.below && d <= rule.above ? d + kZeroSymbol : kEscapeSymbol;
}

// Number of raw bits of the escape of d.
int escape_bits(const EscapeRule& rule, int32_t d);

}  // namespace coolchic
