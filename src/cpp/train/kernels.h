// What the instruction-set specific kernels and the portable rest of the trainer share:
// plain structures of pointers and sizes, and one table of functions.
//
// This header is compiled into every instruction set, so it holds no inline functions.
//
// Where new parts of the decoder go:
//   - another kind of layer: a LayerKernels entry in dense_inl.h if it works on each
//     position alone; a 3x3 layer needs its neighbours' outputs, so it becomes a pass over
//     row bands of its own after synthesis_band, with the halo rows kept as in ArmBand;
//   - learned separable upsampling: the taps in Enlargement are data already; its gradient
//     is gathered where upsampling_inl.h runs the adjoints;
//   - further inputs of the ARM (a linear layer over coarser grids, for example): more rows
//     of the tile that gather_context in arm_inl.h fills.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coolchic::train {

constexpr int kTile = 64;    // positions that pass through a network together
constexpr int kMargin = 16;  // floats on each side of a grid's rows; contexts reach 8
constexpr int kCarry = 16;   // columns kept from the tile before; contexts span 15
constexpr int kGradientStride = kCarry + kTile;
constexpr int kMaxLayers = 8;
constexpr int kMaxContext = 32;
constexpr int kMaxGrids = 16;
constexpr int kMaxRowsAbove = 7;
constexpr int kPad = 4;   // widths are padded to a multiple of it
constexpr int kTaps = 4;  // of the bicubic filter

struct LayerKernels;

// A full linear layer as the kernels see it. "Padded" is rounded up to kPad; all padding
// is zero. A residual layer has the identity added to both copies of its weights.
struct Layer {
  int inputs, outputs;
  int padded_inputs, padded_outputs;
  bool relu;
  const float* weights;     // [outputs][padded_inputs]
  const float* transposed;  // [inputs][padded_outputs]
  const float* bias;        // [padded_outputs]
  const LayerKernels* kernels;
};

struct Network {
  int layers;
  Layer layer[kMaxLayers];
};

// Kernels of a layer's shape. Activations are [rows][kTile]; gradients replace them.
struct LayerKernels {
  // out = relu?(weights * in + bias)
  void (*forward)(const Layer&, const float* in, float* out);
  // out = transposed weights * gradient, zero where mask <= 0 (mask may be null or out)
  void (*input_gradient)(const Layer&, const float* gradient, const float* mask, float* out,
                         ptrdiff_t out_stride);
  // weight_sums[o][i] += gradient[o] * in[i], bias_sums[o] += gradient[o], lane by lane
  void (*weight_gradient)(const Layer&, const float* in, const float* gradient, float* weight_sums,
                          float* bias_sums);
};

// Scratch memory of one thread.
struct Workspace {
  float* activations[kMaxLayers + 1];  // [padded rows][kTile] each
  float* weight_sums[kMaxLayers];      // [padded outputs][padded inputs][lanes]
  float* bias_sums[kMaxLayers];        // [padded outputs][lanes]
  float* input_gradient;               // [max inputs + 1][kGradientStride]
  float* row;                          // a row of a grid with kRowMargin on both sides
  float* full_row;                     // a row as wide as the image
};
constexpr int kRowMargin = 32;

// One latent grid. All arrays but `latent` have `stride` floats from row to row.
struct Grid {
  int height, width;
  ptrdiff_t stride;
  float* latent;           // the parameter, rows without gaps
  float* value;            // its proxy; zero outside, for kMaxRowsAbove rows above and margins
  float* slope;            // derivative of the proxy
  float* arm_gradient;     // of the rate, for `value`
  float* decode_gradient;  // of the distortion, for `value`; grid 0 only
  float* mean;             // Adam's first moment
  float* variance;         // Adam's second moment
};

// Enlargement of grid k by scale = 2^k in both directions, columns first.
struct Enlargement {
  int shift;         // k
  int columns;       // of the enlarged rows that are computed: image width, rounded up
  ptrdiff_t stride;  // floats from row to row of `rows` and of the bands' gradients
  float* rows;       // [grid height][stride], enlarged horizontally only
  // Horizontally, blocks of `lanes` outputs; the weights repeat every `blocks` blocks.
  int blocks, window;    // window: inputs that a block reads
  const int* first;      // [blocks] first of them, relative to the input of the period
  const float* forward;  // [blocks][window][lanes]
  const float* adjoint;  // [blocks][lanes][window, padded to lanes]
  // Vertically, for each of the min(scale, image height) phases.
  const int* first_row;  // relative to row >> shift
  const float* taps;     // [phases][kTaps]
};

// kGaussian is kSoftRound without the rounding: its noise alone, for tests and research.
enum class Proxy { kGiven, kNoise, kGaussian, kSoftRound, kHard };

struct NoiseKey {
  uint32_t first, second;
};

// Rows first ... last - 1 of a grid: proxy, then horizontal enlargement if grid > 0.
struct ProxyRows {
  const Grid* grid;
  const Enlargement* enlargement;  // null for grid 0
  int first, last;
  Proxy proxy;
  float temperature, sigma;
  NoiseKey key;
};

// Rows first ... last - 1 of the image.
struct SynthesisBand {
  const Network* network;
  const Grid* grids;
  const Enlargement* enlargements;  // [grids], the first unused
  int grid_count, channels;
  int width, height, first, last;
  const float* target;  // [channels][height][target_stride]
  ptrdiff_t target_stride;
  float gradient_scale;  // derivative of the loss by the squared error, times 2
  bool backward, latents;
  // Gradient of the horizontally enlarged grids, for the rows this band reads; row 0 is
  // input row `row_offset`, which may lie outside the grid (borders are repeated).
  float* enlarged_gradient[kMaxGrids];
  int row_offset[kMaxGrids], row_count[kMaxGrids];
  double squared_error;     // result
  float* network_gradient;  // result, in the order of the parameters
};

struct LaplaceSettings {
  float offset, low, high;  // log-scale is clamp(output - offset, low, high)
  float min_probability;
};

// Rows first ... last - 1 of a grid.
struct ArmBand {
  const Network* network;
  const Grid* grid;
  int positions;
  const int* rows_above;     // [positions], descending
  const int* columns_right;  // [positions]
  int first, last;
  LaplaceSettings laplace;
  float gradient_scale;  // derivative of the loss by one bit
  bool backward, latents;
  // Gradient of the rows above `first` by this band: [kMaxRowsAbove][grid stride], the last
  // one is row first - 1. The band above adds it, so that no row has two writers.
  float* halo;
  double bits;              // result
  float* network_gradient;  // result
};

// Rows first ... last - 1 of a grid: adjoint of the horizontal enlargement, sum of all
// gradients, chain rule of the proxy, then Adam on the latents.
struct UpdateRows {
  const Grid* grid;
  const Enlargement* enlargement;  // null for grid 0
  int index, first, last;
  const SynthesisBand* synthesis;  // all bands, for their enlarged_gradient
  int synthesis_bands, synthesis_band_height;
  const ArmBand* arm;  // all bands of this grid
  int arm_bands, arm_band_height;
  bool use_slope;
  float* gradient;  // if not null, [height][width]: the gradient goes here, without Adam
  float step_size, variance_scale;  // lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
  float beta1, beta2, epsilon;
};

struct Kernels {
  const char* name;
  int lanes;
  const LayerKernels* (*layer)(int inputs, int outputs);
  void (*proxy_rows)(const ProxyRows&, const Workspace&);
  void (*synthesis_band)(SynthesisBand&, const Workspace&);
  void (*arm_band)(ArmBand&, const Workspace&);
  void (*update_rows)(const UpdateRows&, const Workspace&);
};

// The named kernels, or the fastest this machine runs if name is null or empty; null if
// there are none of this name or the machine or the build lacks the instructions.
const Kernels* find_kernels(const char* name);

// All kernels of this build, fastest first, whether or not this machine runs them; null
// after the last.
const Kernels* kernels_at(int index);

}  // namespace coolchic::train
