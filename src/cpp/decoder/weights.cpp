#include "decoder/weights.h"

#include <string>

#include "decoder/default_parameters.h"
#include "rangecoder/range_decoder.h"

namespace coolchic {
namespace {

// Bit fields, most significant bit first.
class BitFields {
 public:
  explicit BitFields(ByteReader& in) : in_(in) {}
  int read(int n) {
    int value = 0;
    for (; n > 0; --n) {
      if (left_ == 0) {
        byte_ = in_.u8();
        left_ = 8;
      }
      value = value << 1 | (byte_ >> --left_ & 1);
    }
    return value;
  }

 private:
  ByteReader& in_;
  int byte_ = 0;
  int left_ = 0;
};

}  // namespace

std::vector<uint8_t> parameter_groups(const Architecture& a) {
  std::vector<uint8_t> groups;
  const auto add = [&groups](const std::vector<Layer>& layers, Group weights, Group biases) {
    for (const Layer& l : layers) {
      groups.insert(groups.end(), static_cast<size_t>(l.inputs) * l.outputs, weights);
      groups.insert(groups.end(), l.outputs, biases);
    }
  };
  add(a.arm, kArmWeights, kArmBiases);
  add(a.synthesis, kSynthesisWeights, kSynthesisBiases);
  return groups;
}

Weights read_weights(ByteReader& in, const Header& header, Status* status) {
  const Architecture& a = header.architecture;
  Weights w{};
  BitFields fields(in);
  w.precision.arm = fields.read(4);
  w.precision.upsampled = fields.read(4);
  w.precision.synthesis = fields.read(4);
  for (int g = 0; g < kGroups; ++g) {
    w.exponent[g] = fields.read(4);
    w.scale[g] = fields.read(6);
  }
  w.default_table = fields.read(4);
  if (w.default_table > kDefaultTables)
    in.fail(Code::kUnsupported, "unsupported default decoder " + std::to_string(w.default_table));
  if (w.default_table > 0 && !has_defaults(header))
    in.fail(Code::kInvalid, "default decoder of another architecture");
  if (in.ok() && (w.precision.arm < 4 || w.precision.arm > 12 || w.precision.upsampled > 12 ||
                  w.precision.synthesis < 4 || w.precision.synthesis > 14))
    in.fail(Code::kInvalid, "activation precision out of range");
  if (in.left() % 2) in.fail(Code::kInvalid, "odd substream size");
  if (!in.ok()) return w;

  RangeDecoder decoder(in.data(), in.left() / 2, 1);
  const std::vector<uint8_t> groups = parameter_groups(a);
  const size_t arm_count = weight_count(a.arm) + bias_count(a.arm);
  w.values.reserve(groups.size());
  for (uint8_t g : groups) {
    const EscapeRule& rule = kLaplace.escape[w.scale[g]];
    const int k = decoder.symbol(0, kLaplace.cdf[w.scale[g] * kFractions + kZeroMeanFraction]);
    int32_t q = k == kEscapeSymbol ? decoder.escape(rule) : k - kZeroSymbol;
    if (w.default_table > 0)
      q += default_value(kDefaultDecoder[w.default_table - 1][w.values.size()], w.exponent[g]);
    if (q < -kMaxParameter || q > kMaxParameter) in.fail(Code::kCorrupt, "parameter too large");
    if (decoder.exhausted()) in.fail(Code::kCorrupt, "substream ends early");
    if (!in.ok()) return w;
    w.values.push_back(q);
    if (w.values.size() == arm_count) w.arm_bytes = 2 * decoder.words_read();
  }
  if (!decoder.finished()) in.fail(Code::kCorrupt, "substream fails its end checks");
  if (!in.ok()) return w;

  w.arm = make_network({&a.arm, w.values.data(), w.exponent[kArmWeights], w.exponent[kArmBiases], 0,
                        w.precision.arm, w.precision.arm},
                       "ARM", status);
  w.synthesis = make_network(
      {&a.synthesis, w.values.data() + arm_count, w.exponent[kSynthesisWeights],
       w.exponent[kSynthesisBiases], w.precision.upsampled, w.precision.synthesis, header.depth},
      "synthesis", status);
  return w;
}

}  // namespace coolchic
