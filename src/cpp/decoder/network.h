// Integer layers: docs/bitstream.md section 9.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/architecture.h"
#include "decoder/status.h"

namespace coolchic {

// Columns (latents or pixels) that the scalar code carries through a network together.
constexpr int kBlock = 32;
using Activations = int16_t[kMaxWidth][kBlock];

// out = sat16((bias + weight · in) >> shift), then ReLU. The bias holds the rounding term,
// the weights of a residual layer its identity.
struct IntegerLayer {
  int inputs;
  int outputs;
  int shift;  // 0 … 30
  bool relu;
  std::vector<int16_t> weight;  // [output][input]
  std::vector<int32_t> bias;
};

// Quantised parameters of one network in the file's order, and their exponents.
struct QuantisedNetwork {
  const std::vector<Layer>* layers;
  const int32_t* values;  // of each layer the weights, then the biases
  int weight_exponent;
  int bias_exponent;
  int input_bits;   // fractional bits of the inputs,
  int hidden_bits;  // of the hidden activations
  int output_bits;  // and of the outputs of the last layer
};

// Fails if a weight or bias leaves its range.
std::vector<IntegerLayer> make_network(const QuantisedNetwork& q, const char* name, Status* status);

// One layer on a block: sums modulo 2^32, before the shift. sum: [outputs][kBlock].
void accumulate(const IntegerLayer& layer, const Activations& in, int32_t (*sum)[kBlock]);

// All but the last `skip` layers, in place.
void run_layers(const std::vector<IntegerLayer>& layers, size_t skip, Activations& x);

inline int16_t sat16(int32_t v) {
  return static_cast<int16_t>(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
}

}  // namespace coolchic
