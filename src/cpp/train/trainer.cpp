#include "trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace coolchic::train {

namespace {

// Values in a task: enough to hide its overhead, few enough to share out among threads.
constexpr int kTaskValues = 8192;
constexpr int kMinSynthesisRows = 32;  // halo rows of its enlarged gradients cost memory
constexpr int kMinArmRows = 16;        // above kMaxRowsAbove, so that halos meet one band only
constexpr int kMaxBandRows = 256;
constexpr int kLine = 16;  // floats in a cache line

int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }
int divide_up(int n, int unit) { return (n + unit - 1) / unit; }

// Odd numbers of cache lines, so that the rows of a column do not share cache sets.
ptrdiff_t row_stride(int floats) { return (divide_up(floats, kLine) | 1) * kLine; }

int band_rows(int row_values, int minimum) {
  return std::clamp(divide_up(kTaskValues, row_values), minimum, kMaxBandRows);
}

void check(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

void check_layers(const std::vector<LayerShape>& layers, int inputs, int outputs) {
  check(!layers.empty() && layers.size() <= kMaxLayers, "a network has 1 to 8 layers");
  for (const LayerShape& layer : layers) {
    check(layer.inputs == inputs, "a layer has as many inputs as the one before has outputs");
    check(layer.outputs >= 1 && layer.outputs <= 64, "layer width must be 1 to 64");
    check(!layer.residual || layer.outputs <= layer.inputs, "a residual layer does not widen");
    inputs = layer.outputs;
  }
  check(inputs == outputs && !layers.back().relu, "the last layer is not what the loss needs");
}

void check_shape(const ModelShape& shape) {
  check(shape.height >= 1 && shape.width >= 1, "an image has at least one pixel");
  check(int64_t{shape.height} * shape.width <= INT32_MAX / 2, "the image is too large");
  check(shape.channels >= 1 && shape.channels <= 4, "channels must be 1 to 4");
  check(shape.grids >= 1 && shape.grids <= kMaxGrids, "grids must be 1 to 16");
  check(!shape.context.empty() && shape.context.size() <= kMaxContext,
        "an ARM has 1 to 32 context positions");
  for (const Position& p : shape.context) {
    check(p.rows_above >= 0 && p.rows_above <= kMaxRowsAbove && p.columns_right >= -8 &&
              p.columns_right <= 7 && (p.rows_above > 0 || p.columns_right < 0),
          "a context position is not causal or too far away");
  }
  for (const Position& p : shape.parents) {
    check(std::abs(p.rows_above) <= kParentReach && std::abs(p.columns_right) <= kParentReach,
          "a parent is too far away");
  }
  size_t arm_inputs = shape.context.size() + shape.parents.size();
  if (shape.wavelet) {
    check(shape.filtered && shape.grids > kSubbands, "a wavelet needs filters, and a grid besides");
    arm_inputs += kSiblings;
  }
  check(arm_inputs <= kMaxContext, "an ARM has at most 32 inputs");
  if (shape.wavelet) arm_inputs += kSubbands;
  check(shape.refinement.size() <= kMaxConvolutions, "there are at most 4 convolutions");
  check(shape.refinement.empty() || !shape.refinement.back().relu,
        "the last layer is not what the loss needs");
  check(shape.laplace.min_probability >= 0x1p-31f, "the probability floor is too low");
  check_layers(shape.arm, static_cast<int>(arm_inputs), 2);
  check_layers(shape.synthesis, shape.grids, shape.channels);
}

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

NoiseKey noise_key(const ProxySettings& proxy, int grid) {
  const uint64_t key = mix(mix(mix(proxy.seed) ^ proxy.iteration) ^ static_cast<uint64_t>(grid));
  return {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
}

// Adam with both corrections of its moments' start: step = size * mean / (sqrt(variance) *
// scale + epsilon).
struct AdamFactors {
  float size, scale;
};

AdamFactors adam_factors(const AdamSettings& adam, int64_t steps) {
  const double n = static_cast<double>(steps);
  return {static_cast<float>(adam.learning_rate / (1 - std::pow(adam.beta1, n))),
          static_cast<float>(1 / std::sqrt(1 - std::pow(adam.beta2, n)))};
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void Trainer::NetworkCopy::build(const std::vector<LayerShape>& layer_shapes,
                                 const Kernels& kernels, int constant_inputs) {
  shapes = layer_shapes;
  constants = constant_inputs;
  shapes[0].inputs -= constants;
  network.layers = static_cast<int>(shapes.size());
  for (size_t l = 0; l < shapes.size(); ++l) {
    const LayerShape& s = shapes[l];
    const int inputs = round_up(s.inputs, kPad), outputs = round_up(s.outputs, kPad);
    weights.emplace_back(static_cast<size_t>(outputs) * inputs);
    transposed.emplace_back(static_cast<size_t>(outputs) * inputs);
    bias.emplace_back(static_cast<size_t>(outputs));
    network.layer[l] = {s.inputs,
                        s.outputs,
                        inputs,
                        outputs,
                        s.relu,
                        weights[l].data(),
                        transposed[l].data(),
                        bias[l].data(),
                        kernels.layer(s.inputs, s.outputs)};
    parameters += s.outputs * (s.inputs + 1);
  }
}

void Trainer::NetworkCopy::set(const float* const* values, int one, const float* differences) {
  for (int l = 0; l < network.layers; ++l) {
    const Layer& layer = network.layer[l];
    const float* from = *values++;
    const int skipped = l == 0 ? constants : 0;
    for (int o = 0; o < layer.outputs; ++o) {
      for (int i = 0; i < layer.inputs; ++i) {
        float weight = *from++ + (shapes[l].residual && o == i ? 1.f : 0.f);
        if (l == 0 && differences) weight += *differences++;
        weights[l].data()[o * layer.padded_inputs + i] = weight;
        transposed[l].data()[i * layer.padded_outputs + o] = weight;
      }
      bias[l].data()[o] = (*values)[o] + (l == 0 && one >= 0 ? from[one] : 0.f);
      from += skipped;
    }
    ++values;
  }
}

void Trainer::RefinementCopy::build(int channels, const std::vector<ConvolutionShape>& shapes,
                                    const Kernels& kernels) {
  const int count = channels * channels * kKernel * kKernel;
  refinement.layers = static_cast<int>(shapes.size());
  refinement.halo = 2 * refinement.layers;
  for (size_t l = 0; l < shapes.size(); ++l) {
    weights.emplace_back(static_cast<size_t>(count));
    adjoint.emplace_back(static_cast<size_t>(count));
    bias.emplace_back(static_cast<size_t>(channels));
    refinement.layer[l] = {channels,          shapes[l].relu, weights[l].data(),
                           adjoint[l].data(), bias[l].data(), kernels.convolution(channels)};
    parameters += count + channels;
  }
}

void Trainer::RefinementCopy::set(const std::vector<ConvolutionShape>& shapes,
                                  const float* const* values) {
  for (size_t l = 0; l < shapes.size(); ++l) {
    const int n = refinement.layer[l].channels;
    const float* from = *values++;  // [output][input][row][column]
    for (int o = 0; o < n; ++o) {
      for (int i = 0; i < n; ++i) {
        for (int row = 0; row < kKernel; ++row) {
          for (int column = 0; column < kKernel; ++column) {
            const bool centre = row == kKernel / 2 && column == kKernel / 2;
            const float weight = *from++ + (shapes[l].residual && centre && o == i ? 1.f : 0.f);
            const int flipped = kKernel - 1 - column;
            weights[l].data()[((row * n + i) * kKernel + column) * n + o] = weight;
            adjoint[l].data()[((row * n + o) * kKernel + flipped) * n + i] = weight;
          }
        }
      }
    }
    std::copy_n(*values++, n, bias[l].data());
  }
}

Trainer::PositionLists::PositionLists(const std::vector<Position>& positions) {
  for (const Position& p : positions) {
    rows_above.push_back(p.rows_above);
    columns_right.push_back(p.columns_right);
  }
}

Neighbourhood Trainer::PositionLists::view() const {
  return {static_cast<int>(rows_above.size()), rows_above.data(), columns_right.data()};
}

Trainer::Trainer(const ModelShape& shape, const float* target, const Loss& loss, int threads,
                 const Kernels& kernels)
    : shape_((check_shape(shape), shape)),
      loss_(loss),
      kernels_(kernels),
      pool_(std::max(1, threads)),
      context_(shape_.context),
      parents_(shape_.parents) {
  arms_.resize(static_cast<size_t>(shape_.subbands()) + 1);
  for (NetworkCopy& arm : arms_) arm.build(shape_.arm, kernels_, shape_.subbands());
  synthesis_.build(shape_.synthesis, kernels_);
  refinement_.build(shape_.channels, shape_.refinement, kernels_);
  taps_.resize(static_cast<size_t>(shape_.grids));
  image_stride_ = row_stride(round_up(shape_.width, kTile));
  build_grids();
  build_enlargements();
  build_proxy_tasks();
  build_neighbour_tasks();
  build_synthesis_bands(target);
  build_arm_bands();
  build_filter_gradient_tasks();
  build_subband_gradient_tasks();
  build_update_tasks();
  build_workspaces();
  task_seconds_.resize(std::max({proxy_tasks_.size(), parent_tasks_.size() + filter_tasks_.size(),
                                 synthesis_bands_.size() + arm_bands_.size(),
                                 filter_gradient_tasks_.size() + subband_gradient_tasks_.size(),
                                 update_tasks_.size()}));
  size_t parameters = 0;
  for (const int size : tensor_sizes()) parameters += static_cast<size_t>(size);
  network_mean_.resize(parameters);
  network_variance_.resize(parameters);
}

float* Trainer::allocate(size_t count) {
  buffers_.emplace_back(count);
  return buffers_.back().data();
}

void Trainer::build_grids() {
  // A grid may be another's parents as it is.
  const int around = shape_.wavelet ? kParentReach : 0;
  const int above =
      std::max(around, *std::max_element(context_.rows_above.begin(), context_.rows_above.end()));
  for (int k = 0; k < shape_.grids; ++k) {
    Grid g{};
    g.height = ((shape_.height - 1) >> shape_.level(k)) + 1;
    g.width = ((shape_.width - 1) >> shape_.level(k)) + 1;
    g.stride = row_stride(round_up(g.width, kTile) + 2 * kMargin);
    const size_t count = static_cast<size_t>(g.height) * static_cast<size_t>(g.stride);
    const auto rows = [&](int extra) { return count + static_cast<size_t>(extra * g.stride); };
    g.value = allocate(rows(above + around)) + above * g.stride + kMargin;
    g.slope = allocate(count) + kMargin;
    g.arm_gradient = allocate(count) + kMargin;
    if (k == 0 || shape_.filtered) g.decode_gradient = allocate(count) + kMargin;
    g.mean = allocate(count) + kMargin;
    g.variance = allocate(count) + kMargin;
    if (!shape_.parents.empty()) {
      if (k >= shape_.subbands()) {
        g.parents = allocate(rows(2 * kParentReach)) + kParentReach * g.stride + kMargin;
      }
      g.parent_gradient = allocate(count) + kMargin;
    }
    for (int i = 0; k + 1 + i < shape_.subbands(); ++i) {
      g.sibling_gradient[i] = allocate(count) + kMargin;
    }
    grids_.push_back(g);
  }
  for (int k = 0; k < shape_.subbands(); ++k) grids_[k].parents = grids_[kSubbands].value;
}

void Trainer::build_enlargements() {
  enlargements_.resize(static_cast<size_t>(shape_.grids));
  doublings_.resize(enlargements_.size());
  for (int k = shape_.first_enlarged(); k < shape_.grids; ++k) {
    tables_.emplace_back(shape_.level(k), grids_[k].height, shape_.height, shape_.width,
                         image_stride_, kernels_.lanes);
    enlargements_[k] = tables_.back().view();
  }
  for (int k = shape_.subbands() + 1; !shape_.parents.empty() && k < shape_.grids; ++k) {
    const Grid& finer = grids_[k - 1];
    tables_.emplace_back(1, grids_[k].height, finer.height, finer.width,
                         row_stride(round_up(finer.width, kTile)), kernels_.lanes);
    doublings_[k] = tables_.back().view();
  }
}

void Trainer::build_proxy_tasks() {
  for (int k = 0; k < shape_.grids; ++k) {
    const Grid& g = grids_[k];
    const bool enlarged = k >= shape_.first_enlarged();
    const bool doubled = k > shape_.subbands() && !shape_.parents.empty();
    const int rows = divide_up(2 * kTaskValues, g.width + (enlarged ? shape_.width : 0));
    for (int first = 0; first < g.height; first += rows) {
      ProxyRows task{};
      task.grid = &g;
      task.enlargement = enlarged && k < shape_.first_filtered() ? &enlargements_[k] : nullptr;
      task.doubling = doubled ? &doublings_[k] : nullptr;
      task.first = first;
      task.last = std::min(first + rows, g.height);
      proxy_tasks_.push_back(task);
    }
  }
}

void Trainer::build_neighbour_tasks() {
  for (int k = shape_.subbands(); !shape_.parents.empty() && k + 1 < shape_.grids; ++k) {
    const Grid& g = grids_[k];
    const int rows = divide_up(2 * kTaskValues, g.width);
    for (int first = 0; first < g.height; first += rows) {
      parent_tasks_.push_back(
          {&g, &doublings_[k + 1], grids_[k + 1].height, first, std::min(first + rows, g.height)});
    }
  }
  for (int k = shape_.first_filtered(); k < shape_.grids; ++k) {
    const Grid& g = grids_[k];
    const int rows = divide_up(2 * kTaskValues, 2 * g.width + shape_.width);
    for (int first = 0; first < g.height; first += rows) {
      filter_tasks_.push_back(
          {&g, &enlargements_[k], taps_[k].data(), first, std::min(first + rows, g.height)});
    }
  }
}

void Trainer::build_synthesis_bands(const float* target) {
  const int channels = shape_.channels, height = shape_.height, width = shape_.width;
  float* padded_target =
      allocate(static_cast<size_t>(channels) * height * static_cast<size_t>(image_stride_));
  for (ptrdiff_t row = 0; row < ptrdiff_t{channels} * height; ++row) {
    std::copy_n(target + row * width, width, padded_target + row * image_stride_);
  }
  synthesis_band_height_ = band_rows(round_up(width, kTile), kMinSynthesisRows);
  refinement_.refinement.band_rows = synthesis_band_height_;
  refinement_.refinement.stride = row_stride(round_up(width, kTile) + 2 * kMargin);
  for (int first = 0; first < height; first += synthesis_band_height_) {
    SynthesisBand band{};
    band.network = &synthesis_.network;
    band.refinement = &refinement_.refinement;
    band.grids = grids_.data();
    band.enlargements = enlargements_.data();
    band.first_enlarged = shape_.first_enlarged();
    band.subbands = shape_.subbands();
    if (band.subbands > 0) {
      band.kernel_sums = allocate(static_cast<size_t>(band.subbands * 2 * kTaps * kernels_.lanes));
    }
    band.grid_count = shape_.grids;
    band.channels = channels;
    band.width = width;
    band.height = height;
    band.first = first;
    band.last = std::min(first + synthesis_band_height_, height);
    band.target = padded_target;
    band.target_stride = image_stride_;
    band.gradient_scale = static_cast<float>(2 * loss_.distortion);
    band.white = loss_.white;
    for (int k = shape_.first_enlarged(); k < shape_.grids; ++k) {
      const Enlargement& e = enlargements_[k];
      const auto first_read = [&](int row) {
        return (row >> e.shift) + e.first_row[row & ((1 << e.shift) - 1)];
      };
      band.row_offset[k] = first_read(band.first);
      band.row_count[k] = first_read(band.last - 1) + kTaps - band.row_offset[k];
      band.enlarged_gradient[k] =
          allocate(static_cast<size_t>(band.row_count[k]) * static_cast<size_t>(image_stride_));
    }
    band.network_gradient =
        allocate(static_cast<size_t>(synthesis_.parameters + refinement_.parameters));
    synthesis_bands_.push_back(band);
  }
}

void Trainer::build_arm_bands() {
  for (int k = 0; k < shape_.grids; ++k) {
    const Grid& g = grids_[k];
    const int rows = band_rows(round_up(g.width, kTile), kMinArmRows);
    for (int first = 0; first < g.height; first += rows) {
      ArmBand band{};
      band.network = &arms_[std::min(k, shape_.subbands())].network;
      band.grid = &g;
      band.context = context_.view();
      band.parents = parents_.view();
      band.siblings = shape_.wavelet ? kSiblings : 0;
      for (int i = 0; k + 1 + i < shape_.subbands(); ++i) band.sibling[i] = &grids_[k + 1 + i];
      band.first = first;
      band.last = std::min(first + rows, g.height);
      band.laplace = shape_.laplace;
      band.gradient_scale = static_cast<float>(loss_.rate);
      band.halo = allocate(kMaxRowsAbove * static_cast<size_t>(g.stride)) + kMargin;
      if (band.parents.count > 0) {
        band.parent_halo = allocate(2 * kParentReach * static_cast<size_t>(g.stride)) + kMargin;
      }
      band.network_gradient = allocate(static_cast<size_t>(arms_[0].parameters));
      arm_bands_.push_back(band);
    }
    grid_arm_bands_.push_back({nullptr, divide_up(g.height, rows), rows});
  }
  const ArmBand* next = arm_bands_.data();
  for (ArmBands& bands : grid_arm_bands_) {
    bands.bands = next;
    next += bands.count;
  }
}

EnlargedGradient Trainer::enlarged_gradient(int grid) const {
  return {&grids_[grid],
          grid >= shape_.first_enlarged() ? &enlargements_[grid] : nullptr,
          grid,
          synthesis_bands_.data(),
          static_cast<int>(synthesis_bands_.size()),
          synthesis_band_height_};
}

void Trainer::build_filter_gradient_tasks() {
  for (int k = shape_.first_filtered(); k < shape_.grids; ++k) {
    const int height = grids_[k].height;
    const int rows = divide_up(kTaskValues, 2 * grids_[k].width + shape_.width);
    for (int first = 0; first < height; first += rows) {
      filter_gradient_tasks_.push_back(
          {enlarged_gradient(k), taps_[k].data(), first, std::min(first + rows, height), {}});
    }
  }
}

void Trainer::build_subband_gradient_tasks() {
  for (int k = 0; k < shape_.subbands(); ++k) {
    const int height = grids_[k].height;
    const int rows = divide_up(kTaskValues, 2 * grids_[k].width + shape_.width);
    for (int first = 0; first < height; first += rows) {
      subband_gradient_tasks_.push_back(
          {enlarged_gradient(k), first, std::min(first + rows, height), {}});
    }
  }
}

void Trainer::set_rate_weight(double rate) {
  loss_.rate = rate;
  for (ArmBand& band : arm_bands_) band.gradient_scale = static_cast<float>(rate);
}

void Trainer::build_update_tasks() {
  for (int k = 0; k < shape_.grids; ++k) {
    const Grid& g = grids_[k];
    UpdateRows task{};
    task.grid = &g;
    task.index = k;
    task.enlarged = enlarged_gradient(k);
    if (k < shape_.subbands()) task.enlarged.enlargement = nullptr;  // has had its pass
    task.taps = k >= shape_.first_filtered() ? taps_[k].data() : nullptr;
    task.arm = grid_arm_bands_[k];
    if (k > shape_.subbands() && !shape_.parents.empty()) {
      task.doubling = &doublings_[k];
      task.finer = &grids_[k - 1];
      task.finer_arm = grid_arm_bands_[k - 1];
    }
    for (int child = 0; k == shape_.subbands() && !shape_.parents.empty() && child < k; ++child) {
      task.child[task.child_count] = &grids_[child];
      task.child_arm[task.child_count++] = grid_arm_bands_[child];
    }
    for (int later = 0; k < shape_.subbands() && later < k; ++later) {
      task.later[task.later_count++] = grids_[later].sibling_gradient[k - later - 1];
    }
    const int rows = divide_up(kTaskValues, g.width + (k > 0 ? shape_.width : 0));
    for (int first = 0; first < g.height; first += rows) {
      task.first = first;
      task.last = std::min(first + rows, g.height);
      update_tasks_.push_back(task);
    }
  }
  update_sums_.resize(update_tasks_.size());
  for (size_t i = 0; i < update_tasks_.size(); ++i) update_tasks_[i].sums = &update_sums_[i];
}

void Trainer::build_workspaces() {
  const size_t lanes = static_cast<size_t>(kernels_.lanes);
  const auto width = [&](size_t l) {  // widest input of layer l of either network
    int w = 0;
    for (const NetworkCopy* n : {&arms_[0], &synthesis_}) {
      if (l < n->shapes.size()) w = std::max(w, n->network.layer[l].padded_inputs);
      if (l > 0 && l - 1 < n->shapes.size()) {
        w = std::max(w, n->network.layer[l - 1].padded_outputs);
      }
    }
    return static_cast<size_t>(w);
  };
  for (int t = 0; t < pool_.threads(); ++t) {
    ThreadMemory memory;
    const auto allocate = [&](size_t count) {
      memory.buffers.emplace_back(count);
      return memory.buffers.back().data();
    };
    Workspace& work = memory.work;
    for (size_t l = 0; l <= kMaxLayers; ++l) work.activations[l] = allocate(width(l) * kTile);
    for (size_t l = 0; l < kMaxLayers; ++l) {
      work.weight_sums[l] = allocate(width(l) * width(l + 1) * lanes);
      work.bias_sums[l] = allocate(width(l + 1) * lanes);
    }
    work.input_gradient = allocate((width(0) + 1) * kGradientStride);
    for (float*& row : work.row) {
      row = allocate(static_cast<size_t>(shape_.width + 2 * kRowMargin + kTile));
    }
    work.full_row = allocate(static_cast<size_t>(image_stride_));
    const Refinement& r = refinement_.refinement;
    const size_t channels = static_cast<size_t>(shape_.channels);
    for (int l = 0; r.layers > 0 && l <= r.layers; ++l) {
      const size_t rows = static_cast<size_t>(r.band_rows + 2 * r.halo);
      work.planes[l] = allocate(rows * channels * static_cast<size_t>(r.stride)) + kMargin;
    }
    for (int l = 0; l < r.layers; ++l) {
      work.convolution_weight_sums[l] = allocate(channels * channels * kKernel * kKernel * lanes);
      work.convolution_bias_sums[l] = allocate(channels * lanes);
    }
    if (r.layers > 0) {
      // A convolution trails the step before, forward or backward, by a block.
      work.waiting_tiles = 1 + divide_up(2 * r.layers * kernels_.convolution_block, kTile);
      const int inputs = synthesis_.network.layer[0].padded_inputs;
      work.waiting = allocate(static_cast<size_t>(work.waiting_tiles * r.band_rows) *
                              static_cast<size_t>(inputs * kTile));
    }
    thread_memory_.push_back(std::move(memory));
  }
}

int Trainer::own_weights() const { return shape_.subband_weights ? shape_.subbands() : 0; }

int Trainer::weights_of_subband() const {
  const Layer& first = arms_[0].network.layer[0];
  return first.outputs * first.inputs;
}

std::vector<int> Trainer::tensor_sizes() const {
  std::vector<int> sizes;
  for (const std::vector<LayerShape>* shapes : {&shape_.arm, &shape_.synthesis}) {
    for (const LayerShape& s : *shapes) {
      sizes.push_back(s.outputs * s.inputs);
      sizes.push_back(s.outputs);
    }
  }
  for (size_t l = 0; l < shape_.refinement.size(); ++l) {
    sizes.push_back(shape_.channels * shape_.channels * kKernel * kKernel);
    sizes.push_back(shape_.channels);
  }
  if (shape_.filtered) {
    const int filters = shape_.grids - shape_.first_filtered();
    sizes.push_back(2 * shape_.subbands() * kKernelTaps + filters * (kFilterReach + 1));
  }
  sizes.insert(sizes.end(), own_weights(), weights_of_subband());
  return sizes;
}

void Trainer::set_parameters(const Parameters& parameters) {
  check(parameters.latents.size() == grids_.size(), "one buffer for each grid is needed");
  check(parameters.networks.size() == tensor_sizes().size(),
        "a buffer for each of the networks' tensors is needed");
  for (size_t k = 0; k < grids_.size(); ++k) grids_[k].latent = parameters.latents[k];
  float* const* tensors = parameters.networks.data();
  float* const* own = tensors + parameters.networks.size() - own_weights();
  for (int i = 0; i <= shape_.subbands(); ++i) {
    arms_[i].set(tensors, i < shape_.subbands() ? i : -1, i < own_weights() ? own[i] : nullptr);
  }
  tensors += 2 * shape_.arm.size();
  synthesis_.set(tensors);
  tensors += 2 * shape_.synthesis.size();
  refinement_.set(shape_.refinement, tensors);
  tensors += 2 * shape_.refinement.size();
  if (!shape_.filtered) return;
  const float* taps = *tensors;
  if (shape_.wavelet) set_subband_kernels(taps);
  taps += 2 * shape_.subbands() * kKernelTaps;
  for (size_t k = static_cast<size_t>(shape_.first_filtered()); k < taps_.size();
       ++k, taps += taps_[k].size()) {
    std::copy_n(taps, taps_[k].size(), taps_[k].data());
    taps_[k][0] += 1;  // the parameter is the centre less 1
  }
}

namespace {

// What subbands' kernels begin with, and whether those of rows and columns are of the high pass.
// In units of 2^-14: bitstream section 11.2.
constexpr float kTapUnit = 0x1p-14f;
constexpr int kFirstTaps[2][kKernelTaps] = {{14746, 2458, -328, 0}, {14746, -4096, 819, 0}};
constexpr int kHighPass[kSubbands][2] = {{0, 1}, {1, 0}, {1, 1}};

// Where taps of either half of a kernel, from its centre outwards, are among those by phase; those
// of the right half have the other sign in a high pass.
struct PhasePlace {
  int phase, tap;
};
constexpr PhasePlace kRight[kKernelTaps] = {{1, 1}, {0, 1}, {1, 0}, {0, 0}};
constexpr PhasePlace kLeft[kKernelTaps] = {{0, 2}, {1, 2}, {0, 3}, {1, 3}};

}  // namespace

void Trainer::set_subband_kernels(const float* taps) {
  for (int k = 0; k < kSubbands; ++k) {
    EnlargementTables::PhaseTaps kernels[2];
    for (int direction = 0; direction < 2; ++direction) {
      const int high = kHighPass[k][direction];
      for (int i = 0; i < kKernelTaps; ++i) {
        const float tap = *taps++ + kTapUnit * kFirstTaps[high][i];
        kernels[direction][kLeft[i].phase][kLeft[i].tap] = tap;
        kernels[direction][kRight[i].phase][kRight[i].tap] = high ? -tap : tap;
      }
    }
    tables_[k].set_kernels(kernels[0], kernels[1]);
  }
}

template <class Task>
double Trainer::run_tasks(size_t count, Task task) {
  if (count == 0) return 0;
  pool_.run(static_cast<int>(count), [&](int i, int thread) {
    const double start = now();
    task(i, thread_memory_[thread].work);
    task_seconds_[i] = now() - start;
  });
  return std::accumulate(task_seconds_.begin(), task_seconds_.begin() + static_cast<int>(count),
                         0.0);
}

void Trainer::run_proxy(const ProxySettings& proxy) {
  check(proxy.proxy != Proxy::kSoftRound || proxy.temperature > 0,
        "soft rounding needs a temperature above 0");
  seconds_ = {};
  seconds_.proxy += run_tasks(proxy_tasks_.size(), [&](int i, const Workspace& work) {
    ProxyRows& task = proxy_tasks_[i];
    task.proxy = proxy.proxy;
    task.temperature = proxy.temperature;
    task.sigma = proxy.sigma;
    task.key = noise_key(proxy, static_cast<int>(task.grid - grids_.data()));
    kernels_.proxy_rows(task, work);
  });
  const int parents = static_cast<int>(parent_tasks_.size());
  const size_t tasks = parent_tasks_.size() + filter_tasks_.size();
  seconds_.proxy += run_tasks(tasks, [&](int i, const Workspace& work) {
    if (i < parents) {
      kernels_.parent_rows(parent_tasks_[i]);
    } else {
      kernels_.filter_rows(filter_tasks_[i - parents], work);
    }
  });
}

namespace {

// With fewer, gradients would be too noisy, and all rows cost little.
constexpr int kFewestSampledRows = 64;

SampledRows sampled_rows(const RowSampling& sampling, int height) {
  const int every = std::max(1, std::min(sampling.every, height / kFewestSampledRows));
  return {every, static_cast<int>(sampling.iteration % static_cast<uint64_t>(every))};
}

}  // namespace

Losses Trainer::run_networks(bool backward, bool latents, const RowSampling& sampling) {
  const int bands = static_cast<int>(synthesis_bands_.size());
  const size_t tasks = synthesis_bands_.size() + arm_bands_.size();
  const double seconds = run_tasks(tasks, [&](int i, const Workspace& work) {
    if (i < bands) {
      SynthesisBand& band = synthesis_bands_[i];
      band.backward = backward;
      band.latents = latents || (backward && shape_.filtered);  // taps need them, too
      band.sampled = sampled_rows(sampling, shape_.height);
      kernels_.synthesis_band(band, work);
    } else {
      ArmBand& band = arm_bands_[i - bands];
      band.backward = backward;
      band.latents = latents;
      band.sampled = sampled_rows(sampling, band.grid->height);
      kernels_.arm_band(band, work);
    }
  });
  const double synthesis =
      std::accumulate(task_seconds_.begin(), task_seconds_.begin() + bands, 0.0);
  seconds_.synthesis += synthesis;
  seconds_.arm += seconds - synthesis;
  if (backward) run_filter_gradient();
  Losses losses{};
  for (const SynthesisBand& band : synthesis_bands_) losses.squared_error += band.squared_error;
  for (const ArmBand& band : arm_bands_) losses.bits += band.bits;
  return losses;
}

void Trainer::run_filter_gradient() {
  const int filters = static_cast<int>(filter_gradient_tasks_.size());
  const size_t tasks = filter_gradient_tasks_.size() + subband_gradient_tasks_.size();
  seconds_.update += run_tasks(tasks, [&](int i, const Workspace& work) {
    if (i < filters) {
      kernels_.filter_gradient_rows(filter_gradient_tasks_[i], work);
    } else {
      kernels_.subband_gradient_rows(subband_gradient_tasks_[i - filters], work);
    }
  });
}

std::vector<double> Trainer::sums_by_grid(double UpdateSums::* member) const {
  std::vector<double> sums(grids_.size());
  for (const UpdateRows& task : update_tasks_)
    sums[static_cast<size_t>(task.index)] += task.sums->*member;
  return sums;
}

void Trainer::run_update(bool use_slope, const LatentAdamSettings* adam,
                         const std::vector<float*>* latent_gradients) {
  const std::vector<double> squares = sums_by_grid(&UpdateSums::square);
  seconds_.update += run_tasks(update_tasks_.size(), [&](int i, const Workspace& work) {
    UpdateRows& task = update_tasks_[i];
    task.use_slope = use_slope;
    task.gradient = latent_gradients ? (*latent_gradients)[task.index] : nullptr;
    if (adam) {
      const AdamFactors factors = adam_factors(*adam, latent_steps_);
      // The first step knows nothing of the grid yet.
      const double share = latent_steps_ > 1 ? adam->share : 0;
      const double pixels = static_cast<double>(task.grid->width) * task.grid->height;
      const double root = std::sqrt(squares[static_cast<size_t>(task.index)] / pixels);
      const double scale = latent_steps_ > 1 ? adam_factors(*adam, latent_steps_ - 1).scale : 0;
      task.step_size = factors.size;
      task.own_scale = static_cast<float>((1 - share) * factors.scale);
      task.shared_root = static_cast<float>(share * root * scale + adam->epsilon);
      task.beta1 = static_cast<float>(adam->beta1);
      task.beta2 = static_cast<float>(adam->beta2);
    }
    kernels_.update_rows(task, work);
  });
}

void Trainer::collect_network_gradients(const std::vector<float*>& gradients) const {
  const std::vector<int> sizes = tensor_sizes();
  const auto end_of = [&](size_t tensors) {
    return std::accumulate(sizes.begin(), sizes.begin() + static_cast<ptrdiff_t>(tensors), 0);
  };
  std::vector<double> sums(static_cast<size_t>(end_of(sizes.size())));
  collect_arm_gradients(sums.data());
  double* synthesis = sums.data() + end_of(2 * shape_.arm.size());
  for (const SynthesisBand& band : synthesis_bands_) {
    for (int i = 0; i < synthesis_.parameters + refinement_.parameters; ++i) {
      synthesis[i] += band.network_gradient[i];
    }
  }
  const size_t own_weights_at = sizes.size() - own_weights();
  if (shape_.filtered) collect_tap_gradients(sums.data() + end_of(own_weights_at - 1));
  double* own = sums.data() + end_of(own_weights_at);
  for (const ArmBand& band : arm_bands_) {
    const int subband = static_cast<int>(band.grid - grids_.data());
    if (subband >= own_weights()) continue;
    double* to = own + subband * weights_of_subband();
    for (int i = 0; i < weights_of_subband(); ++i) to[i] += band.network_gradient[i];
  }
  const double* from = sums.data();
  size_t next = 0;
  for (const int size : sizes) {
    std::copy_n(from, size, gradients[next++]);
    from += size;
  }
}

// The kernels' networks lack the constant inputs of the first layer, whose gradients are those of
// its biases.
void Trainer::collect_arm_gradients(double* sums) const {
  const NetworkCopy& arm = arms_[0];
  const Layer& first = arm.network.layer[0];
  const int row = first.inputs + arm.constants;
  for (const ArmBand& band : arm_bands_) {
    const float* gradient = band.network_gradient;
    const int subband = static_cast<int>(band.grid - grids_.data());
    for (int o = 0; o < first.outputs; ++o) {
      for (int i = 0; i < first.inputs; ++i) sums[o * row + i] += *gradient++;
    }
    for (int o = 0; subband < arm.constants && o < first.outputs; ++o) {
      sums[o * row + first.inputs + subband] += gradient[o];
    }
    double* rest = sums + first.outputs * row;
    for (int i = first.outputs * first.inputs; i < arm.parameters; ++i) *rest++ += *gradient++;
  }
}

void Trainer::collect_tap_gradients(double* sums) const {
  // By subband, direction, phase and tap.
  std::vector<std::array<std::array<std::array<double, kTaps>, 2>, 2>> by_phase(
      static_cast<size_t>(shape_.subbands()));
  for (const SubbandGradientRows& task : subband_gradient_tasks_) {
    for (int phase = 0; phase < 2; ++phase) {
      for (int j = 0; j < kTaps; ++j) {
        by_phase[task.enlarged.index][1][phase][j] += task.tap_gradient[phase][j];
      }
    }
  }
  for (const SynthesisBand& band : synthesis_bands_) {
    const float* sum = band.kernel_sums;
    for (auto& subband : by_phase) {
      for (int i = 0; i < 2 * kTaps; ++i, sum += kernels_.lanes) {
        subband[0][i / kTaps][i % kTaps] += std::accumulate(sum, sum + kernels_.lanes, 0.0);
      }
    }
  }
  for (size_t k = 0; k < by_phase.size(); ++k) {
    for (int direction = 0; direction < 2; ++direction) {
      const auto& g = by_phase[k][direction];
      const double sign = kHighPass[k][direction] ? -1 : 1;
      for (int i = 0; i < kKernelTaps; ++i) {
        *sums++ += g[kLeft[i].phase][kLeft[i].tap] + sign * g[kRight[i].phase][kRight[i].tap];
      }
    }
  }
  constexpr int kFilterTaps = kFilterReach + 1;
  for (const FilterGradientRows& task : filter_gradient_tasks_) {
    double* out = sums + (task.enlarged.index - shape_.first_filtered()) * kFilterTaps;
    for (int i = 0; i < kFilterTaps; ++i) out[i] += task.tap_gradient[i];
  }
}

void Trainer::update_networks(const Parameters& parameters, const AdamSettings& adam,
                              const std::vector<float*>& gradients) {
  const AdamFactors factors = adam_factors(adam, ++network_steps_);
  const float keep1 = static_cast<float>(adam.beta1), keep2 = static_cast<float>(adam.beta2);
  const float epsilon = static_cast<float>(adam.epsilon);
  float* mean = network_mean_.data();
  float* variance = network_variance_.data();
  size_t tensor = 0;
  for (const int size : tensor_sizes()) {
    const float* gradient = gradients[tensor];
    float* value = parameters.networks[tensor++];
    for (int i = 0; i < size; ++i, ++mean, ++variance) {
      *mean += (gradient[i] - *mean) * (1 - keep1);
      *variance = *variance * keep2 + gradient[i] * gradient[i] * (1 - keep2);
      value[i] -= factors.size * *mean / (std::sqrt(*variance) * factors.scale + epsilon);
    }
  }
}

std::vector<double> Trainer::latent_products() const { return sums_by_grid(&UpdateSums::product); }

Losses Trainer::step(const Parameters& parameters, const ProxySettings& proxy, int network_rows,
                     const LatentAdamSettings& latents, const AdamSettings& networks,
                     const std::vector<float*>& gradients) {
  check(gradients.size() == parameters.networks.size(), "a network's gradient is missing");
  set_parameters(parameters);
  run_proxy(proxy);
  const bool train_latents = proxy.proxy != Proxy::kHard;
  const Losses losses = run_networks(true, train_latents, {network_rows, proxy.iteration});
  collect_network_gradients(gradients);
  update_networks(parameters, networks, gradients);
  if (train_latents) {
    ++latent_steps_;
    run_update(proxy.proxy == Proxy::kSoftRound, &latents, nullptr);
  }
  return losses;
}

Losses Trainer::evaluate(const Parameters& parameters) {
  set_parameters(parameters);
  run_proxy({Proxy::kHard, 0, 0, 0, 0});
  return run_networks(false, false, {1, 0});
}

Losses Trainer::gradients(const Parameters& parameters, const ProxySettings& proxy,
                          int network_rows, const std::vector<float*>& latent_gradients,
                          const std::vector<float*>& network_gradients) {
  check(latent_gradients.size() == parameters.latents.size(), "a latent's gradient is missing");
  check(network_gradients.size() == parameters.networks.size(), "a network's gradient is missing");
  set_parameters(parameters);
  run_proxy(proxy);
  const Losses losses = run_networks(true, true, {network_rows, proxy.iteration});
  collect_network_gradients(network_gradients);
  run_update(proxy.proxy == Proxy::kSoftRound, nullptr, &latent_gradients);
  return losses;
}

void Trainer::proxy(const Parameters& parameters, const ProxySettings& proxy,
                    const std::vector<float*>& values, const std::vector<float*>& slopes) {
  check(values.size() == grids_.size() && slopes.size() == grids_.size(),
        "one buffer for each grid is needed");
  set_parameters(parameters);
  run_proxy(proxy);
  for (size_t k = 0; k < grids_.size(); ++k) {
    const Grid& g = grids_[k];
    for (ptrdiff_t row = 0; row < g.height; ++row) {
      std::copy_n(g.value + row * g.stride, g.width, values[k] + row * g.width);
      if (proxy.proxy == Proxy::kSoftRound) {
        std::copy_n(g.slope + row * g.stride, g.width, slopes[k] + row * g.width);
      } else {
        std::fill_n(slopes[k] + row * g.width, g.width, 1.f);
      }
    }
  }
}

}  // namespace coolchic::train
