// Integer layers: docs/bitstream.md section 9.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/architecture.h"
#include "decoder/kernels.h"
#include "decoder/status.h"

namespace coolchic {

// out = sat16((bias + weight · in) >> shift), then ReLU. The bias holds the rounding term,
// the weights of a residual layer its identity. A convolution is a layer whose inputs are, for
// each of the convolution's own, the nine values around a position, row by row.
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
  int convolution_exponent;    // of the weights of convolutions
  int parents;                 // inputs of the first layer which have kParentBits more;
  int constants;               // behind them the last ones, which do not vary and become part of
  int one;                     // the biases: of them the one that is 1, or kNone if all are 0
  const int32_t* differences;  // of the first layer's weights, without those of constants, from
  int difference_exponent;     // those in `values`; or null for none
  int input_bits;              // fractional bits of the inputs,
  int hidden_bits;             // of the hidden activations
  int output_bits;             // and of the outputs of the last layer
};

constexpr int kParentBits = 2;  // fractional bits of the parents of section 10.1
constexpr int kNone = -1;

// Fails if a weight or bias leaves its range.
std::vector<IntegerLayer> make_network(const QuantisedNetwork& q, const char* name, Status* status);

// A network in the layout that kernels take, without the layers it is made of.
class Network {
 public:
  explicit Network(const std::vector<IntegerLayer>& layers);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  int inputs() const { return views_.front().inputs; }
  int outputs() const { return views_.back().outputs; }
  NetworkView view() const {
    return {views_.data(), static_cast<int>(views_.size()), of_zeros_.data()};
  }

 private:
  std::vector<int16_t> weights_;  // of every layer, then pairs of every layer
  std::vector<int32_t> biases_;
  std::vector<LayerView> views_;
  std::vector<int16_t> of_zeros_;
};

inline int16_t sat16(int32_t v) {
  return static_cast<int16_t>(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
}

}  // namespace coolchic
