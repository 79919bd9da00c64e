// A stack of layers on one tile. Activations stay in the first-level cache between the
// forward and the backward pass, which overwrites them with gradients.
#pragma once

#include "dense_inl.h"

namespace coolchic::train {
namespace {

// activations[0]: input, [inputs][kTile]; fills activations[1 ... layers].
COOLCHIC_INLINE void network_forward(const Network& network, int layers, const Workspace& work) {
  for (int l = 0; l < layers; ++l) {
    const Layer& layer = network.layer[l];
    layer.kernels->forward(layer, work.activations[l], work.activations[l + 1]);
  }
}

// activations[layers]: gradient of the output, by the caller; the sums of the weights'
// gradients grow if `weights`, and the gradient of the input goes to input_gradient if that is
// wanted ([padded inputs][stride], not in the activations).
COOLCHIC_INLINE void network_backward(const Network& network, const Workspace& work, bool weights,
                                      float* input_gradient, ptrdiff_t stride) {
  for (int l = network.layers - 1; l > 0; --l) {
    const Layer& layer = network.layer[l];
    const float* gradient = work.activations[l + 1];
    float* in = work.activations[l];
    if (weights) {
      layer.kernels->weight_gradient(layer, in, gradient, work.weight_sums[l], work.bias_sums[l]);
    }
    layer.kernels->input_gradient(layer, gradient, network.layer[l - 1].relu ? in : nullptr, in,
                                  kTile);
  }
  // The weights last: what the caller reads across vectors has left the store queue then.
  const Layer& first = network.layer[0];
  const float* gradient = work.activations[1];
  if (input_gradient) {
    first.kernels->input_gradient(first, gradient, nullptr, input_gradient, stride);
  }
  if (weights) {
    first.kernels->weight_gradient(first, work.activations[0], gradient, work.weight_sums[0],
                                   work.bias_sums[0]);
  }
}

void clear_sums(const Network& network, const Workspace& work) {
  for (int l = 0; l < network.layers; ++l) {
    const Layer& layer = network.layer[l];
    const size_t outputs = static_cast<size_t>(layer.padded_outputs);
    const size_t inputs = static_cast<size_t>(layer.padded_inputs);
    memset(work.weight_sums[l], 0, outputs * inputs * kBytes);
    memset(work.bias_sums[l], 0, outputs * kBytes);
  }
}

// Adds the lanes, times `factor`; out is in the order of the parameters: weights, then bias of each
// layer. Returns the end of out.
float* reduce_sums(const Network& network, const Workspace& work, float factor, float* out) {
  for (int l = 0; l < network.layers; ++l) {
    const Layer& layer = network.layer[l];
    for (int o = 0; o < layer.outputs; ++o) {
      const float* sums = work.weight_sums[l] + o * layer.padded_inputs * kLanes;
      for (int i = 0; i < layer.inputs; ++i) *out++ = factor * sum(load(sums + i * kLanes));
    }
    for (int o = 0; o < layer.outputs; ++o) {
      *out++ = factor * sum(load(work.bias_sums[l] + o * kLanes));
    }
  }
  return out;
}

}  // namespace
}  // namespace coolchic::train
