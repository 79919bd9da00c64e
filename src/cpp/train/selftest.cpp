// Prints the losses and all gradients of three fixed random problems, one number a line, so that
// instruction sets can be compared where there is no Python: under an emulator, for example.
//
//   selftest [NAME]    the kernels of this name, or else the fastest
//
// tests/test_native.py builds it for arm64 if it finds a cross compiler and qemu-aarch64.
#include <cstdint>
#include <cstdio>
#include <deque>

#include "trainer.h"

using namespace coolchic::train;

namespace {

class Random {
 public:
  float uniform() {  // in -1 ... 1
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<float>(state_ >> 8) * 0x1p-23f - 1.f;
  }
  std::vector<float> values(size_t count, float scale) {
    std::vector<float> v(count);
    for (float& x : v) x = uniform() * scale;
    return v;
  }

 private:
  uint32_t state_ = 1;
};

ModelShape paper_shape() {
  ModelShape s{};
  s.height = 61, s.width = 83, s.channels = 3, s.grids = 7;
  s.laplace = {4.f, -3.25f, 4.625f, 0x1p-16f};
  for (int above = 2; above > 0; --above) {
    for (int right = -2; right <= 2; ++right) s.context.push_back({above, right});
  }
  s.context.push_back({0, -2});
  s.context.push_back({0, -1});
  s.arm = {{12, 12, true, true}, {12, 12, true, true}, {2, 12, false, false}};
  s.synthesis = {{12, 7, false, true}, {12, 12, true, true}, {3, 12, false, false}};
  return s;
}

ModelShape other_shape() {
  ModelShape s{};
  s.height = 19, s.width = 130, s.channels = 1, s.grids = 3;
  s.context = {{1, 3}, {0, -1}, {4, 0}};
  s.arm = {{5, 3, false, true}, {2, 5, false, false}};
  s.synthesis = {{3, 3, true, false}, {16, 3, false, true}, {1, 16, false, false}};
  s.laplace = {4.f, -3.25f, 4.625f, 0x1p-16f};
  return s;
}

ModelShape refined_shape() {
  ModelShape s = paper_shape();
  s.height = 37, s.width = 53;
  s.parents = {{0, 0}, {0, 1}, {-1, 0}, {-1, 1}};
  s.arm[0] = {12, 16, true, true};
  s.refinement = {{true, true}, {true, false}};
  s.filtered = true;
  return s;
}

ModelShape wavelet_shape() {
  ModelShape s = refined_shape();
  s.grids = 9;
  s.wavelet = true;
  s.arm[0].inputs += kSiblings + kSubbands;
  s.synthesis[0].inputs = s.grids;
  return s;
}

ModelShape subbands_shape() {
  ModelShape s = wavelet_shape();
  s.subband_weights = true;
  return s;
}

void print_gradients(const ModelShape& shape, const Kernels& kernels) {
  Random random;
  const size_t pixels = static_cast<size_t>(shape.height) * shape.width;
  const std::vector<float> target = random.values(pixels * shape.channels, 1.f);
  Trainer trainer(shape, target.data(), {1e-4, 1e-5, 0.9f}, 2, kernels);

  std::deque<std::vector<float>> memory;  // never moves what it holds
  std::vector<float*> latent_gradients, network_gradients;
  std::deque<std::vector<float>> gradients;
  Parameters parameters;
  const auto add = [&](size_t count, float scale, auto& values, auto& results) {
    memory.push_back(random.values(count, scale));
    gradients.emplace_back(count);
    values.push_back(memory.back().data());
    results.push_back(gradients.back().data());
  };
  for (int k = 0; k < shape.grids; ++k) {
    const int level = shape.level(k);
    const size_t rows = ((shape.height - 1) >> level) + 1;
    const size_t columns = ((shape.width - 1) >> level) + 1;
    add(rows * columns, 4.f, parameters.latents, latent_gradients);
  }
  for (const auto* layers : {&shape.arm, &shape.synthesis}) {
    for (const LayerShape& layer : *layers) {
      const size_t outputs = layer.outputs, inputs = layer.inputs;
      add(outputs * inputs, 0.5f, parameters.networks, network_gradients);
      add(outputs, 0.5f, parameters.networks, network_gradients);
    }
  }
  const size_t channels = shape.channels;
  for (size_t l = 0; l < shape.refinement.size(); ++l) {
    add(channels * channels * 9, 0.2f, parameters.networks, network_gradients);
    add(channels, 0.5f, parameters.networks, network_gradients);
  }
  if (shape.filtered) {
    const int kernels = shape.wavelet ? shape.grids + kSubbands : shape.grids - 1;
    add(4 * static_cast<size_t>(kernels), 0.2f, parameters.networks, network_gradients);
  }
  const LayerShape& first = shape.arm.front();
  for (int k = 0; shape.subband_weights && k < kSubbands; ++k) {
    const size_t outputs = first.outputs, inputs = first.inputs - kSubbands;
    add(outputs * inputs, 0.2f, parameters.networks, network_gradients);
  }
  const Losses losses = trainer.gradients(parameters, {Proxy::kSoftRound, 0.3f, 0.2f, 1, 1}, 1,
                                          latent_gradients, network_gradients);
  std::printf("%.9g\n%.9g\n", losses.squared_error, losses.bits);
  for (const std::vector<float>& tensor : gradients) {
    for (const float g : tensor) std::printf("%.9g\n", g);
  }
}

}  // namespace

int main(int count, char** arguments) {
  const Kernels* kernels = find_kernels(count > 1 ? arguments[1] : nullptr);
  if (!kernels) {
    std::fprintf(stderr, "no such kernels here\n");
    return 1;
  }
  std::fprintf(stderr, "%s, %d lanes\n", kernels->name, kernels->lanes);
  print_gradients(paper_shape(), *kernels);
  print_gradients(other_shape(), *kernels);
  print_gradients(refined_shape(), *kernels);
  print_gradients(wavelet_shape(), *kernels);
  print_gradients(subbands_shape(), *kernels);
}
