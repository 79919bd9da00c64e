#include "decoder/network.h"

#include <algorithm>
#include <string>
#include <utility>

namespace coolchic {

std::vector<IntegerLayer> make_network(const QuantisedNetwork& q, const char* name,
                                       Status* status) {
  std::vector<IntegerLayer> network;
  const int32_t* value = q.values;
  for (size_t l = 0; l < q.layers->size(); ++l) {
    const Layer& layer = (*q.layers)[l];
    const int in_bits = l == 0 ? q.input_bits : q.hidden_bits;
    const int out_bits = l + 1 == q.layers->size() ? q.output_bits : q.hidden_bits;
    const int own_exponent = layer.convolution ? q.convolution_exponent : q.weight_exponent;
    const int32_t* difference = l == 0 ? q.differences : nullptr;
    // Of weights that are a sum, both terms are whole numbers in the finer of their units.
    const int exponent = difference ? std::max(own_exponent, q.difference_exponent) : own_exponent;
    const int parents = l == 0 ? q.parents : 0, constants = l == 0 ? q.constants : 0;
    const int gain = std::max(parents > 0 ? kParentBits : 0, out_bits - in_bits - exponent);
    const int sum_bits = exponent + gain + in_bits;

    const int inputs = layer.weights_per_output() - constants;
    IntegerLayer integer{inputs, layer.outputs, sum_bits - out_bits, layer.relu, {}, {}};
    const auto invalid = [&](const char* what) {
      status->fail(Code::kInvalid, std::string(what) + " out of range (" + name + " layer " +
                                       std::to_string(l) + ")");
    };
    std::vector<int64_t> constant(layer.outputs);
    for (int o = 0; o < layer.outputs; ++o) {
      const int diagonal = layer.convolution ? o * kKernelSize + kKernelSize / 2 : o;
      for (int i = 0; i < inputs; ++i) {
        int64_t w = *value++ * (int64_t{1} << (exponent - own_exponent));
        if (difference) w += *difference++ * (int64_t{1} << (exponent - q.difference_exponent));
        if (layer.residual && i == diagonal) w += int64_t{1} << exponent;
        w *= int64_t{1} << (i < inputs - parents ? gain : gain - kParentBits);
        if (w < -32768 || w > 32767) invalid("weight");
        integer.weight.push_back(static_cast<int16_t>(w));
      }
      if (constants > 0 && q.one != kNone)
        constant[o] = value[q.one] * (int64_t{1} << (sum_bits - own_exponent));
      value += constants;
    }
    const int64_t rounding = integer.shift > 0 ? int64_t{1} << (integer.shift - 1) : 0;
    for (int o = 0; o < layer.outputs; ++o) {
      int64_t b = *value++;
      const int up = sum_bits - q.bias_exponent;
      b = up >= 0 ? b * (int64_t{1} << up) : (b + (int64_t{1} << (-up - 1))) >> -up;
      b += constant[o];
      if (b < -(1 << 30) || b > 1 << 30) invalid("bias");
      integer.bias.push_back(static_cast<int32_t>(b + rounding));
    }
    network.push_back(std::move(integer));
  }
  return network;
}

namespace {

// The layout of LayerView::pairs.
void append_pairs(const IntegerLayer& layer, std::vector<int16_t>* out) {
  for (int first = 0, block = 0; first < layer.outputs; first += block) {
    block = first + kOutputBlock <= layer.outputs ? kOutputBlock : 1;
    for (int i = 0; i < layer.inputs; i += 2) {
      for (int o = first; o < first + block; ++o) {
        const int16_t* w = &layer.weight[static_cast<size_t>(o) * layer.inputs];
        out->push_back(w[i]);
        out->push_back(i + 1 < layer.inputs ? w[i + 1] : int16_t{0});
      }
    }
  }
}

}  // namespace

Network::Network(const std::vector<IntegerLayer>& layers) {
  std::vector<size_t> weight_at, pairs_at, bias_at;
  for (const IntegerLayer& l : layers) {
    weight_at.push_back(weights_.size());
    weights_.insert(weights_.end(), l.weight.begin(), l.weight.end());
    bias_at.push_back(biases_.size());
    biases_.insert(biases_.end(), l.bias.begin(), l.bias.end());
  }
  for (const IntegerLayer& l : layers) {
    pairs_at.push_back(weights_.size());
    append_pairs(l, &weights_);
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    const IntegerLayer& l = layers[i];
    views_.push_back({l.inputs, l.outputs, l.shift, l.relu, &weights_[weight_at[i]],
                      &weights_[pairs_at[i]], &biases_[bias_at[i]]});
  }

  std::vector<int16_t> x(inputs());
  for (const IntegerLayer& l : layers) {
    std::vector<int16_t> y;
    const int16_t* w = l.weight.data();
    for (int o = 0; o < l.outputs; ++o) {
      uint32_t sum = static_cast<uint32_t>(l.bias[o]);
      for (int i = 0; i < l.inputs; ++i) sum += static_cast<uint32_t>(*w++ * x[i]);
      const int16_t v = sat16(static_cast<int32_t>(sum) >> l.shift);
      y.push_back(l.relu && v < 0 ? int16_t{0} : v);
    }
    x = std::move(y);
  }
  of_zeros_ = std::move(x);
}

}  // namespace coolchic
