// One training iteration over raw parameter buffers: quantisation proxy, forward and backward
// pass, Adam.
//
// Results are the same bits for any number of threads: tasks are cut by the image's size
// only, each writes memory of its own, and sums over tasks are made in the tasks' order.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "buffer.h"
#include "enlargement.h"
#include "kernels.h"
#include "thread_pool.h"

namespace coolchic::train {

struct LayerShape {
  int outputs, inputs;
  bool residual, relu;
};

// A 3x3 convolution of as many channels as the picture has.
struct ConvolutionShape {
  bool residual, relu;
};

struct Position {
  int rows_above, columns_right;
};

struct ModelShape {
  int height, width, channels, grids;
  std::vector<Position> context, parents;
  std::vector<LayerShape> arm, synthesis;
  std::vector<ConvolutionShape> refinement;
  bool filtered;
  // The first grids are a wavelet's subbands (kSubbands), of half the image's size as the next;
  // the ARM's first layer then has inputs for subbands decoded before, and one for each subband
  // that is 1 there and 0 elsewhere. Needs filters.
  bool wavelet;
  // With a wavelet: the ARM's first layer has weights of its own for each subband, differences from
  // its others, without those of the inputs that are constant in a grid.
  bool subband_weights;
  LaplaceSettings laplace;

  int level(int grid) const {
    return !wavelet ? grid : grid < kSubbands ? 1 : grid - kSubbands + 1;
  }
  int subbands() const { return wavelet ? kSubbands : 0; }
  // Grids before this one are not filtered.
  int first_filtered() const { return !filtered ? grids : wavelet ? kSubbands : 1; }
  int first_enlarged() const { return wavelet ? 0 : 1; }
};

// loss = distortion * squared error + rate * bits. Samples are 0 ... white; the decoder clips what
// is beyond, so that no output above a white sample, or below a black one, is an error.
struct Loss {
  double distortion, rate;
  float white;
};

struct ProxySettings {
  Proxy proxy;
  float temperature, sigma;
  uint64_t seed, iteration;
};

// The gradients by the networks' weights come from one row of so many, another one in each
// iteration; from more of grids, or of a picture, of few rows. Those by filters' taps and subbands'
// kernels come from all.
struct RowSampling {
  int every;
  uint64_t iteration;
};

struct AdamSettings {
  double learning_rate, beta1, beta2, epsilon;
};

// The root that divides a latent's step is by 1 - share its own, by share its grid's, the root of
// the mean of the squares, as the step before left them.
struct LatentAdamSettings : AdamSettings {
  double share;
};

// Weights, then bias of each layer, of the ARM, then of the synthesis with its convolutions;
// then the taps of all subbands' kernels and of filters, if there are any; then each subband's own
// weights, if there are any; row-major, as PyTorch.
struct Parameters {
  std::vector<float*> latents;
  std::vector<float*> networks;
};

struct Losses {
  double squared_error, bits;
};

// Seconds that all threads together spent on the parts of the last pass.
struct PartSeconds {
  double proxy, synthesis, arm, update;
};

class Trainer {
 public:
  // target: [channels][height][width], copied. Throws std::invalid_argument if the kernels
  // cannot do this shape.
  Trainer(const ModelShape& shape, const float* target, const Loss& loss, int threads,
          const Kernels& kernels);

  // One iteration. The networks' gradients are left in `gradients`. With Proxy::kHard the
  // latents have no gradient and stay as they are. network_rows: RowSampling::every.
  Losses step(const Parameters& parameters, const ProxySettings& proxy, int network_rows,
              const LatentAdamSettings& latents, const AdamSettings& networks,
              const std::vector<float*>& gradients);

  // The weight of the rate in the loss of the next passes.
  void set_rate_weight(double rate);

  // Forward pass with rounded latents.
  Losses evaluate(const Parameters& parameters);

  // Gradients of everything, by the proxy's input; nothing is changed.
  Losses gradients(const Parameters& parameters, const ProxySettings& proxy, int network_rows,
                   const std::vector<float*>& latent_gradients,
                   const std::vector<float*>& network_gradients);

  // Proxy of every latent, and its derivative (1 but for soft rounding).
  void proxy(const Parameters& parameters, const ProxySettings& proxy,
             const std::vector<float*>& values, const std::vector<float*>& slopes);

  // Of each grid, the sum of the latents times their gradients, of the last step() that gave them
  // any or gradients(); the latents as they were before.
  std::vector<double> latent_products() const;

  PartSeconds part_seconds() const { return seconds_; }
  int threads() const { return pool_.threads(); }
  const char* kernels() const { return kernels_.name; }

 private:
  // The kernels' copy of a network's weights.
  struct NetworkCopy {
    Network network{};
    std::vector<LayerShape> shapes;
    std::vector<Buffer> weights, transposed, bias;
    int parameters = 0;
    int constants = 0;  // inputs of the first layer, behind the network's, that do not vary

    void build(const std::vector<LayerShape>& shapes, const Kernels& kernels, int constants = 0);
    // one: the constant input that is 1, or -1. differences: of the first layer's weights, or null.
    void set(const float* const* values, int one = -1, const float* differences = nullptr);
  };
  struct RefinementCopy {
    Refinement refinement{};
    std::vector<Buffer> weights, adjoint, bias;
    int parameters = 0;

    void build(int channels, const std::vector<ConvolutionShape>& shapes, const Kernels& kernels);
    void set(const std::vector<ConvolutionShape>& shapes, const float* const* values);
  };
  // The positions of a neighbourhood as the kernels read them.
  struct PositionLists {
    std::vector<int> rows_above, columns_right;

    explicit PositionLists(const std::vector<Position>& positions);
    Neighbourhood view() const;
  };
  struct ThreadMemory {
    std::vector<Buffer> buffers;
    Workspace work{};
  };

  void build_grids();
  void build_enlargements();
  void build_proxy_tasks();
  void build_neighbour_tasks();
  void build_synthesis_bands(const float* target);
  void build_arm_bands();
  void build_filter_gradient_tasks();
  void build_subband_gradient_tasks();
  void build_update_tasks();
  void build_workspaces();
  EnlargedGradient enlarged_gradient(int grid) const;
  float* allocate(size_t count);

  void set_parameters(const Parameters& parameters);
  // Runs tasks and returns the seconds all threads spent on them: task(number, workspace).
  template <class Task>
  double run_tasks(size_t count, Task task);
  void run_proxy(const ProxySettings& proxy);
  Losses run_networks(bool backward, bool latents, const RowSampling& sampling);
  void run_filter_gradient();
  std::vector<double> sums_by_grid(double UpdateSums::* member) const;
  void run_update(bool use_slope, const LatentAdamSettings* adam,
                  const std::vector<float*>* latent_gradients);
  // Tensors of subbands' own weights, and the size of each.
  int own_weights() const;
  int weights_of_subband() const;
  // Sizes of the networks' parameter tensors, in their order.
  std::vector<int> tensor_sizes() const;
  void collect_network_gradients(const std::vector<float*>& gradients) const;
  void collect_arm_gradients(double* sums) const;
  void collect_tap_gradients(double* sums) const;
  void set_subband_kernels(const float* taps);
  void update_networks(const Parameters& parameters, const AdamSettings& adam,
                       const std::vector<float*>& gradients);

  const ModelShape shape_;
  Loss loss_;
  const Kernels& kernels_;
  ThreadPool pool_;
  std::vector<NetworkCopy> arms_;  // of each subband, and of all other grids
  NetworkCopy synthesis_;
  RefinementCopy refinement_;
  std::vector<Buffer> buffers_;
  const PositionLists context_, parents_;
  std::vector<Grid> grids_;
  std::vector<EnlargementTables> tables_;
  std::vector<Enlargement> enlargements_;  // of each grid to the image
  std::vector<Enlargement> doublings_;     // of each grid to the next finer, for its parents
  std::vector<std::array<float, kFilterReach + 1>> taps_;  // of each grid
  ptrdiff_t image_stride_ = 0;
  int synthesis_band_height_ = 0;
  std::vector<ProxyRows> proxy_tasks_;
  std::vector<ParentRows> parent_tasks_;
  std::vector<FilterRows> filter_tasks_;
  std::vector<SynthesisBand> synthesis_bands_;
  std::vector<ArmBand> arm_bands_;
  std::vector<ArmBands> grid_arm_bands_;  // of each grid
  std::vector<FilterGradientRows> filter_gradient_tasks_;
  std::vector<SubbandGradientRows> subband_gradient_tasks_;
  std::vector<UpdateRows> update_tasks_;
  std::vector<UpdateSums> update_sums_;  // of each task
  std::vector<double> task_seconds_;
  std::vector<ThreadMemory> thread_memory_;
  PartSeconds seconds_{};
  int64_t latent_steps_ = 0, network_steps_ = 0;
  std::vector<float> network_mean_, network_variance_;
};

}  // namespace coolchic::train
