#include "encoder/encode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "decoder/default_parameters.h"
#include "decoder/latents_layout.h"
#include "encoder/walk.h"
#include "rangecoder/range_encoder.h"

namespace coolchic {
namespace {

// Bits of the symbols of each row of kLaplace.cdf.
struct SymbolBits {
  SymbolBits() : rows(kScales * kFractions) {
    for (size_t row = 0; row < rows.size(); ++row)
      for (int k = 0; k < kSymbols; ++k)
        rows[row][k] = static_cast<float>(
            kProbabilityBits - std::log2(static_cast<double>(kLaplace.cdf[row].frequency(k))));
  }
  std::vector<std::array<float, kSymbols>> rows;
};

class BitWriter {
 public:
  void write(int value, int n) {
    while (n-- > 0) {
      if (used_ % 8 == 0) bytes.push_back(0);
      if (value >> n & 1) bytes.back() |= static_cast<uint8_t>(0x80 >> used_ % 8);
      ++used_;
    }
  }
  std::vector<uint8_t> bytes;

 private:
  int used_ = 0;
};

// Parameters as differences from a default decoder (number 0: from nothing).
struct ParameterCode {
  int number = 0;
  std::vector<int32_t> differences;
  std::vector<int> scales;  // of each group
  double bits = INFINITY;
};

ParameterCode code_parameters(const std::vector<uint8_t>& groups, const std::vector<int>& exponents,
                              const std::vector<int32_t>& values, int number,
                              const DefaultDecoder* base) {
  ParameterCode code;
  code.number = number;
  code.differences = values;
  if (base)
    for (size_t i = 0; i < values.size(); ++i)
      code.differences[i] -= default_value(base->values[i], exponents[groups[i]]);
  std::vector<std::vector<int32_t>> by_group(exponents.size());
  for (size_t i = 0; i < groups.size(); ++i) by_group[groups[i]].push_back(code.differences[i]);
  code.bits = 0;
  for (const std::vector<int32_t>& differences : by_group) {
    const ScaleChoice choice = best_scale(differences);
    code.scales.push_back(choice.scale);
    code.bits += choice.bits;
  }
  return code;
}

std::vector<uint8_t> encode_substream(const Model& model, const std::vector<Grid>& latents,
                                      const Substream& substream, int lanes) {
  RangeEncoder encoder(lanes);
  for (const Band& band : substream.bands) {
    walk(model, latents, band,
         [&](const WavefrontStep& step, const Predictor& p, const int32_t* d) {
           for (int j = 0; j < step.rows; ++j)
             encoder.symbol(j & (lanes - 1), kLaplace.cdf[p.rows()[j]],
                            symbol_of(kLaplace.escape[p.scale(j)], d[j]));
           for (int j = 0; j < step.rows; ++j) {
             const EscapeRule& rule = kLaplace.escape[p.scale(j)];
             if (symbol_of(rule, d[j]) == kEscapeSymbol) encoder.escape(rule, d[j]);
           }
         });
  }
  return encoder.finish();
}

void append_varint(uint32_t value, std::vector<uint8_t>* out) {
  for (; value > 0x7f; value >>= 7) out->push_back(static_cast<uint8_t>(value | 0x80));
  out->push_back(static_cast<uint8_t>(value));
}

}  // namespace

bool is_zero(const Grid& grid) {
  for (int r = 0; r < grid.rows(); ++r)
    if (std::any_of(grid.row(r), grid.row(r) + grid.columns(), [](int16_t y) { return y != 0; }))
      return false;
  return true;
}

double symbol_bits(int row, int32_t d) {
  static const SymbolBits symbols;
  const EscapeRule& rule = kLaplace.escape[row / kFractions];
  const int k = symbol_of(rule, d);
  const double bits = symbols.rows[row][k];
  return k == kEscapeSymbol ? bits + escape_bits(rule, d) : bits;
}

ScaleChoice best_scale(const std::vector<int32_t>& values) {
  std::map<int32_t, int> counts;  // few values make up most parameters
  for (int32_t v : values) ++counts[v];
  ScaleChoice best{0, INFINITY};
  for (int s = 0; s < kScales; ++s) {
    double bits = 0;
    for (const auto& [v, count] : counts)
      bits += count * symbol_bits(s * kFractions + kZeroMeanFraction, v);
    if (bits < best.bits) best = {s, bits};
  }
  return best;
}

std::vector<uint8_t> encode_weights(const Header& header, const Precision& precision,
                                    const std::vector<int>& exponents,
                                    const std::vector<int32_t>& values) {
  const std::vector<uint8_t> groups = parameter_groups(header.architecture);
  ParameterCode best = code_parameters(groups, exponents, values, 0, nullptr);
  for (int number = 1; const DefaultDecoder* base = find_default(header, number); ++number) {
    ParameterCode p = code_parameters(groups, exponents, values, number, base);
    if (p.bits < best.bits) best = std::move(p);
  }

  BitWriter out;
  out.write(precision.arm, 4);
  out.write(precision.upsampled, 4);
  out.write(precision.synthesis, 4);
  for (size_t g = 0; g < exponents.size(); ++g) {
    out.write(exponents[g], 4);
    out.write(best.scales[g], 6);
  }
  out.write(best.number, 4);

  RangeEncoder encoder(1);
  for (size_t i = 0; i < groups.size(); ++i) {
    const int s = best.scales[groups[i]];
    const EscapeRule& rule = kLaplace.escape[s];
    const int32_t d = best.differences[i];
    const int k = symbol_of(rule, d);
    encoder.symbol(0, kLaplace.cdf[s * kFractions + kZeroMeanFraction], k);
    if (k == kEscapeSymbol) encoder.escape(rule, d);
  }
  const std::vector<uint8_t> stream = encoder.finish();
  out.bytes.insert(out.bytes.end(), stream.begin(), stream.end());
  return std::move(out.bytes);
}

std::vector<double> latent_bits(const Model& model, const std::vector<Grid>& latents) {
  std::vector<double> bits;
  for (size_t k = 0; k < latents.size(); ++k) {
    double sum = 0;
    if (!is_zero(latents[k])) {
      const Band whole{static_cast<int>(k), 0, latents[k].rows()};
      walk(model, latents, whole,
           [&](const WavefrontStep& step, const Predictor& p, const int32_t* d) {
             for (int j = 0; j < step.rows; ++j) sum += symbol_bits(p.rows()[j], d[j]);
           });
    }
    bits.push_back(sum);
  }
  return bits;
}

std::vector<uint8_t> encode_latents(const Model& model, const std::vector<Grid>& latents, int lanes,
                                    int bands) {
  LatentsLayout layout;
  layout.lanes = lanes;
  layout.bands = bands;
  std::vector<uint8_t> out(1 + (latents.size() + 7) / 8);
  bool any = false;
  for (size_t k = 0; k < latents.size(); ++k) {
    any |= layout.coded[k] = !is_zero(latents[k]);
    out[1 + k / 8] |= static_cast<uint8_t>(layout.coded[k] << k % 8);
  }
  if (!any) return out;
  for (int log2 = 0; log2 < 4; ++log2)
    if (lanes == 1 << log2) out[0] = static_cast<uint8_t>(log2);
  if (bands > 1) {
    out[0] |= kBandsFlag;
    append_varint(bands, &out);
  }
  std::vector<std::vector<uint8_t>> streams;
  for (const Substream& s : make_substreams(model.header, layout))
    streams.push_back(encode_substream(model, latents, s, lanes));
  for (size_t i = 0; i + 1 < streams.size(); ++i)
    append_varint(static_cast<uint32_t>(streams[i].size() / 2), &out);
  for (const std::vector<uint8_t>& s : streams) out.insert(out.end(), s.begin(), s.end());
  return out;
}

}  // namespace coolchic
