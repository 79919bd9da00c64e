#include "decoder/network.h"

#include <algorithm>
#include <string>

namespace coolchic {

std::vector<IntegerLayer> make_network(const QuantisedNetwork& q, const char* name,
                                       Status* status) {
  std::vector<IntegerLayer> network;
  const int32_t* value = q.values;
  for (size_t l = 0; l < q.layers->size(); ++l) {
    const Layer& layer = (*q.layers)[l];
    const int in_bits = l == 0 ? q.input_bits : q.hidden_bits;
    const int out_bits = l + 1 == q.layers->size() ? q.output_bits : q.hidden_bits;
    const int gain = std::max(0, out_bits - in_bits - q.weight_exponent);
    const int sum_bits = q.weight_exponent + gain + in_bits;

    IntegerLayer integer{layer.inputs, layer.outputs, sum_bits - out_bits, layer.relu, {}, {}};
    const auto invalid = [&](const char* what) {
      status->fail(Code::kInvalid, std::string(what) + " out of range (" + name + " layer " +
                                       std::to_string(l) + ")");
    };
    for (int o = 0; o < layer.outputs; ++o) {
      for (int i = 0; i < layer.inputs; ++i) {
        int64_t w = int64_t{*value++} * (int64_t{1} << gain);
        if (layer.residual && i == o) w += int64_t{1} << (q.weight_exponent + gain);
        if (w < -32768 || w > 32767) invalid("weight");
        integer.weight.push_back(static_cast<int16_t>(w));
      }
    }
    const int64_t rounding = integer.shift > 0 ? int64_t{1} << (integer.shift - 1) : 0;
    for (int o = 0; o < layer.outputs; ++o) {
      int64_t b = *value++;
      const int up = sum_bits - q.bias_exponent;
      b = up >= 0 ? b * (int64_t{1} << up) : (b + (int64_t{1} << (-up - 1))) >> -up;
      if (b < -(1 << 30) || b > 1 << 30) invalid("bias");
      integer.bias.push_back(static_cast<int32_t>(b + rounding));
    }
    network.push_back(std::move(integer));
  }
  return network;
}

void accumulate(const IntegerLayer& layer, const Activations& in, int32_t (*sum)[kBlock]) {
  const int16_t* w = layer.weight.data();
  for (int o = 0; o < layer.outputs; ++o) {
    uint32_t acc[kBlock];
    for (uint32_t& a : acc) a = static_cast<uint32_t>(layer.bias[o]);
    for (int i = 0; i < layer.inputs; ++i, ++w)
      for (int n = 0; n < kBlock; ++n) acc[n] += static_cast<uint32_t>(*w * in[i][n]);
    for (int n = 0; n < kBlock; ++n) sum[o][n] = static_cast<int32_t>(acc[n]);
  }
}

void run_layers(const std::vector<IntegerLayer>& layers, size_t skip, Activations& x) {
  int32_t sum[kMaxWidth][kBlock];
  for (size_t l = 0; l + skip < layers.size(); ++l) {
    const IntegerLayer& layer = layers[l];
    accumulate(layer, x, sum);
    for (int o = 0; o < layer.outputs; ++o) {
      for (int n = 0; n < kBlock; ++n) {
        const int16_t y = sat16(sum[o][n] >> layer.shift);
        x[o][n] = layer.relu && y < 0 ? int16_t{0} : y;
      }
    }
  }
}

}  // namespace coolchic
