#include "decoder/weights.h"

#include <algorithm>
#include <iterator>
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

  // What is left of the last byte.
  int rest() { return read(left_); }

 private:
  ByteReader& in_;
  int byte_ = 0;
  int left_ = 0;
};

}  // namespace

std::vector<uint8_t> parameter_groups(const Architecture& a) {
  std::vector<uint8_t> groups;
  const auto add = [&groups](size_t count, int group) {
    groups.insert(groups.end(), count, static_cast<uint8_t>(group));
  };
  for (const Layer& l : a.arm) {
    add(weight_count({l}), kArmWeights);
    add(l.outputs, kArmBiases);
  }
  for (const Layer& l : a.synthesis) {
    add(weight_count({l}), l.convolution ? convolution_group(a) : int{kSynthesisWeights});
    add(l.outputs, kSynthesisBiases);
  }
  add(static_cast<size_t>(a.subbands()) * kSubbandParameters, tap_group(a));
  add(static_cast<size_t>(a.filters()) * kFilterParameters, tap_group(a));
  add(static_cast<size_t>(a.subbands()) * a.weights_of_subband(), subband_group(a));
  return groups;
}

Weights read_weights(ByteReader& in, const Header& header, Status* status) {
  const Architecture& a = header.architecture;
  Weights w{};
  const size_t size = in.left();
  BitFields fields(in);
  w.precision.arm = fields.read(4);
  w.precision.upsampled = fields.read(4);
  w.precision.synthesis = fields.read(4);
  for (int g = 0; g < group_count(a); ++g) {
    w.exponent[g] = fields.read(4);
    w.scale[g] = fields.read(6);
  }
  w.default_table = fields.read(4);
  if (fields.rest() != 0) in.fail(Code::kInvalid, "reserved bits of the weights section set");
  const DefaultDecoder* base = nullptr;
  if (w.default_table > 0) {
    base = find_default(header, w.default_table);
    if (!find_default(header, 1))
      in.fail(Code::kInvalid, "default decoder of an architecture that has none");
    else if (!base)
      in.fail(Code::kUnsupported, "unsupported default decoder " + std::to_string(w.default_table));
  }
  if (in.ok() && (w.precision.arm < 4 || w.precision.arm > 12 || w.precision.upsampled > 12 ||
                  w.precision.synthesis < 4 || w.precision.synthesis > 14))
    in.fail(Code::kInvalid, "activation precision out of range");
  if (in.left() % 2) in.fail(Code::kInvalid, "odd substream size");
  if (!in.ok()) return w;

  w.prefix_bytes = size - in.left();
  RangeDecoder decoder(in.data(), in.left() / 2, 1);
  const std::vector<uint8_t> groups = parameter_groups(a);
  const size_t arm_count = weight_count(a.arm) + bias_count(a.arm);
  const auto first_convolution = std::find_if(a.synthesis.begin(), a.synthesis.end(),
                                              [](const Layer& l) { return l.convolution; });
  const std::vector<Layer> linear(a.synthesis.begin(), first_convolution);
  const size_t linear_end = arm_count + weight_count(linear) + bias_count(linear);
  const size_t synthesis_end = arm_count + weight_count(a.synthesis) + bias_count(a.synthesis);
  const size_t subband_count = a.weights_of_subband();
  const size_t filters_end = groups.size() - a.subbands() * subband_count;
  w.values.reserve(groups.size());
  for (uint8_t g : groups) {
    const EscapeRule& rule = kLaplace.escape[w.scale[g]];
    const int k = decoder.symbol(0, kLaplace.cdf[w.scale[g] * kFractions + kZeroMeanFraction]);
    int32_t q = k == kEscapeSymbol ? decoder.escape(rule) : k - kZeroSymbol;
    if (base) q += default_value(base->values[w.values.size()], w.exponent[g]);
    if (q < -kMaxParameter || q > kMaxParameter) in.fail(Code::kCorrupt, "parameter too large");
    if (decoder.exhausted()) in.fail(Code::kCorrupt, "substream ends early");
    if (!in.ok()) return w;
    w.values.push_back(q);
    const size_t bytes = 2 * decoder.words_read();
    if (w.values.size() == arm_count) w.arm_end = bytes;
    if (w.values.size() == linear_end) w.synthesis_end = bytes;
    if (w.values.size() == synthesis_end) w.convolutions_end = bytes;
    if (w.values.size() == filters_end) w.filters_end = bytes;
    if (w.values.size() == groups.size()) w.subbands_end = bytes;
  }
  if (!decoder.finished()) in.fail(Code::kCorrupt, "substream fails its end checks");
  if (!in.ok()) return w;

  QuantisedNetwork arm{};
  arm.layers = &a.arm;
  arm.values = w.values.data();
  arm.weight_exponent = w.exponent[kArmWeights];
  arm.bias_exponent = w.exponent[kArmBiases];
  arm.parents = static_cast<int>(a.parents.size()) + a.siblings();
  arm.constants = a.indicators();
  arm.hidden_bits = arm.output_bits = w.precision.arm;
  for (int i = 0; i <= a.subbands(); ++i) {
    arm.one = i < a.subbands() ? i : kNone;
    if (a.subband_weights && i < a.subbands()) {
      arm.differences = w.values.data() + filters_end + i * subband_count;
      arm.difference_exponent = w.exponent[subband_group(a)];
    } else {
      arm.differences = nullptr;
    }
    w.arms.push_back(make_network(arm, "ARM", status));
  }

  QuantisedNetwork synthesis{};
  synthesis.layers = &a.synthesis;
  synthesis.values = w.values.data() + arm_count;
  synthesis.weight_exponent = w.exponent[kSynthesisWeights];
  synthesis.bias_exponent = w.exponent[kSynthesisBiases];
  if (a.refined()) synthesis.convolution_exponent = w.exponent[convolution_group(a)];
  synthesis.input_bits = w.precision.upsampled;
  synthesis.hidden_bits = w.precision.synthesis;
  synthesis.output_bits = header.depth;
  w.synthesis = make_network(synthesis, "synthesis", status);
  const auto at = w.synthesis.begin() + static_cast<ptrdiff_t>(linear.size());
  w.convolutions.assign(std::make_move_iterator(at), std::make_move_iterator(w.synthesis.end()));
  w.synthesis.erase(at, w.synthesis.end());

  const int32_t* taps = w.values.data() + synthesis_end;
  for (int k = 0; k < a.subbands(); ++k, taps += kSubbandParameters)
    w.subbands.push_back(make_subband_kernels(taps, k, w.exponent[tap_group(a)], status));
  if (a.filtered)
    w.filters = make_filters(taps, a.first_filtered(), a.filters(), w.exponent[tap_group(a)],
                             w.precision.upsampled, status);
  return w;
}

}  // namespace coolchic
