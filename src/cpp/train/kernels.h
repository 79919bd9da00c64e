// What the instruction-set specific kernels and the portable rest of the trainer share:
// plain structures of pointers and sizes, and one table of functions.
//
// This header is compiled into every instruction set, so it holds no inline functions.
//
// The passes of an iteration, each over independent tasks:
//   1. proxy_rows: proxies; also the horizontal enlargement of grids that no filter precedes;
//   2. parent_rows, filter_rows: what needs the proxies of several rows, if the model has it;
//   3. synthesis_band, arm_band: the networks, forward and backward;
//   4. filter_gradient_rows, subband_gradient_rows: adjoint of the enlargement, and half of the
//      filters'; gradients of filters and of the subbands' kernels;
//   5. update_rows: the rest of the adjoints, and Adam.
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
constexpr int kParentReach = 2;  // rows and columns that parents are away
constexpr int kPad = 4;          // widths are padded to a multiple of it
constexpr int kTaps = 4;         // of the bicubic filter
constexpr int kFilterReach = 3;  // a learned filter has this many taps on each side
constexpr int kSubbands = 3;     // grids of a wavelet's details, the finest
constexpr int kSiblings = kSubbands - 1;
constexpr int kKernelTaps = 4;  // of each half of the kernel that enlarges a subband
constexpr int kMaxConvolutions = 4;
constexpr int kKernel = 3;  // rows and columns of a convolution

struct LayerKernels;

// A full linear layer as the kernels see it. "Padded" is rounded up to kPad; all padding
// is zero. A residual layer has the identity added to both copies of its weights; with fewer
// outputs than inputs, the identity's first rows.
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

struct ConvolutionKernels;

// Columns first ... last - 1 of rows of `width`.
struct Columns {
  int first, last, width;
};

// A 3x3 convolution of as many channels as it makes, edges repeated. A residual one has the
// identity added to the centre of its weights.
struct Convolution {
  int channels;
  bool relu;
  const float* weights;  // [kernel row][input][kernel column][output]
  const float* adjoint;  // [kernel row][output][flipped kernel column][input]
  const float* bias;     // [channels]
  const ConvolutionKernels* kernels;
};

// Kernels of a number of channels. A row is [channels][stride], with at least one column of
// margin on both sides: repeated edges for activations, zeros for gradients.
struct ConvolutionKernels {
  // rows: of the input; out: a row of the output, its margins as well
  void (*forward)(const Convolution&, const float* const rows[kKernel], ptrdiff_t stride,
                  const Columns&, float* out);
  // out: gradient of a row of the input, zero where mask <= 0 (mask may be null or out).
  // It collects rows[t], gradients of the output, through kernel row kernel_row[t].
  void (*input_gradient)(const Convolution&, const float* const rows[kKernel],
                         const int kernel_row[kKernel], ptrdiff_t stride, const Columns&,
                         const float* mask, float* out);
  // weight_sums: [kernel row][input][output][kernel column], bias_sums: [output], by lane
  void (*weight_gradient)(const Convolution&, const float* const rows[kKernel],
                          const float* gradient, ptrdiff_t stride, const Columns&,
                          float* weight_sums, float* bias_sums);
};

// The convolutions behind the pixel-wise synthesis. Rows of planes are [channels][stride].
struct Refinement {
  int layers;
  int halo;       // rows around a band on which its gradients depend
  int band_rows;  // of the highest band
  Convolution layer[kMaxConvolutions];
  ptrdiff_t stride;
};

// Scratch memory of one thread.
struct Workspace {
  float* activations[kMaxLayers + 1];  // [padded rows][kTile] each
  float* weight_sums[kMaxLayers];      // [padded outputs][padded inputs][lanes]
  float* bias_sums[kMaxLayers];        // [padded outputs][lanes]
  float* input_gradient;               // [max inputs + 1][kGradientStride]
  float* row[3];                       // rows of a grid with kRowMargin on both sides
  float* full_row;                     // a row as wide as the image
  // The picture before and behind each convolution, replaced by its gradient, of the rows of a band
  // with Refinement::halo on both sides.
  float* planes[kMaxConvolutions + 1];
  // Inputs of the pixel-wise layers for the tiles of a band's rows that wait for the convolutions'
  // gradient: [tiles][rows][padded inputs][kTile].
  float* waiting;
  int waiting_tiles;

  float* convolution_weight_sums[kMaxConvolutions];  // [channels * channels * 9][lanes]
  float* convolution_bias_sums[kMaxConvolutions];    // [channels][lanes]
};
constexpr int kRowMargin = 32;

// One latent grid. All arrays but `latent` have `stride` floats from row to row.
struct Grid {
  int height, width;
  ptrdiff_t stride;
  float* latent;        // the parameter, rows without gaps
  float* value;         // its proxy; zero outside, for kMaxRowsAbove rows above and margins
  float* slope;         // derivative of the proxy
  float* arm_gradient;  // of the rate, for `value`
  // Of the distortion, for `value`. With filters, grids above 0 lack the adjoint along the
  // columns here; without, only grid 0 has it.
  float* decode_gradient;
  float* mean;      // Adam's first moment
  float* variance;  // Adam's second moment
  // If the ARM has parents: the next coarser grid enlarged by two, zero outside, for
  // kParentReach rows above and below and margins; and its gradient.
  float* parents;
  float* parent_gradient;
  // Gradients by the subbands decoded before, of a subband that has any.
  float* sibling_gradient[kSiblings];
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

enum class Proxy { kGiven, kNoise, kSoftRound, kHard };

struct NoiseKey {
  uint32_t first, second;
};

// Rows first ... last - 1 of a grid: proxy, then horizontal enlargements.
struct ProxyRows {
  const Grid* grid;
  const Enlargement* enlargement;  // to the image; null for grid 0 and with filters
  const Enlargement* doubling;     // to the next finer grid; null for grid 0 and without parents
  int first, last;
  Proxy proxy;
  float temperature, sigma;
  NoiseKey key;
};

// Rows first ... last - 1 of a grid's parents: vertical enlargement.
struct ParentRows {
  const Grid* grid;
  const Enlargement* doubling;  // of the next coarser grid
  int coarser_height;
  int first, last;
};

// A symmetric filter for rows and columns: its centre, then outwards.
using FilterTaps = float[kFilterReach + 1];

// Rows first ... last - 1 of a grid: filter, then horizontal enlargement.
struct FilterRows {
  const Grid* grid;
  const Enlargement* enlargement;
  const float* taps;
  int first, last;
};

// The rows, `first` and every so many after it, from which the gradients by the networks' weights
// are taken; they stand for the others as well.
struct SampledRows {
  int every, first;

  bool include(int row) const { return row % every == first; }
};

// Rows first ... last - 1 of the image.
struct SynthesisBand {
  const Network* network;
  const Refinement* refinement;
  const Grid* grids;
  const Enlargement* enlargements;  // [grids]
  int first_enlarged;               // 0, or 1 if the finest grid is as large as the image
  int subbands;                     // so many grids have kernels of their own
  int grid_count, channels;
  int width, height, first, last;
  const float* target;  // [channels][height][target_stride]
  ptrdiff_t target_stride;
  float gradient_scale;    // derivative of the loss by the squared error, times 2
  float white;             // the highest sample; the lowest is 0
  bool backward, latents;  // whose gradients are wanted: the networks', the grids'
  SampledRows sampled;
  // Gradient of the horizontally enlarged grids, for the rows this band reads; row 0 is
  // input row `row_offset`, which may lie outside the grid (borders are repeated).
  float* enlarged_gradient[kMaxGrids];
  int row_offset[kMaxGrids], row_count[kMaxGrids];
  float* kernel_sums;       // by lane, of the vertical kernels: [subbands][2 phases][kTaps][lanes]
  double squared_error;     // result
  float* network_gradient;  // result, in the order of the parameters, convolutions last
};

// The bands' gradients of one horizontally enlarged grid.
struct EnlargedGradient {
  const Grid* grid;
  const Enlargement* enlargement;
  int index;                   // of the grid
  const SynthesisBand* bands;  // all of them
  int band_count, band_height;
};

// Of the latents of some rows: sum of the values, before Adam, times their gradients; sum of
// Adam's averages of the squares of their gradients.
struct UpdateSums {
  double product, square;
};

// Rows first ... last - 1 of a grid: adjoints of the horizontal enlargement and of the filter
// along the rows, gradient of the taps.
struct FilterGradientRows {
  EnlargedGradient enlarged;
  const float* taps;
  int first, last;
  FilterTaps tap_gradient;  // result
};

// Rows first ... last - 1 of a subband: adjoint of the horizontal enlargement, gradient of its
// kernel.
struct SubbandGradientRows {
  EnlargedGradient enlarged;
  int first, last;
  float tap_gradient[2][kTaps];  // result, by phase
};

struct LaplaceSettings {
  float offset, low, high;  // log-scale is clamp(output - offset, low, high)
  float min_probability;
};

struct Neighbourhood {
  int count;
  const int* rows_above;     // [count]
  const int* columns_right;  // [count]
};

// Rows first ... last - 1 of a grid.
struct ArmBand {
  const Network* network;
  const Grid* grid;
  Neighbourhood context, parents;
  int siblings;                    // inputs; 0 without subbands
  const Grid* sibling[kSiblings];  // null: that input is zero
  int first, last;
  LaplaceSettings laplace;
  float gradient_scale;  // derivative of the loss by one bit
  bool backward, latents;
  SampledRows sampled;
  // Gradient of the rows above `first` by this band: [kMaxRowsAbove][grid stride], the last
  // one is row first - 1. The band above adds it, so that no row has two writers.
  float* halo;
  // Likewise of the parents' kParentReach rows above `first`, then as many from `last` on.
  float* parent_halo;
  double bits;              // result
  float* network_gradient;  // result
};

// All bands of a grid.
struct ArmBands {
  const ArmBand* bands;
  int count, height;
};

// Rows first ... last - 1 of a grid: adjoints of the horizontal enlargement or of the filter
// along the columns, and of the parents' enlargement; sum of all gradients, chain rule of the
// proxy, then Adam on the latents.
struct UpdateRows {
  const Grid* grid;
  int index, first, last;
  EnlargedGradient enlarged;  // its enlargement is null for grid 0
  const float* taps;          // null without filter
  ArmBands arm;
  const Enlargement* doubling;  // null if no finer grid has this one for parents
  const Grid* finer;            // the grid that has
  ArmBands finer_arm;
  // Subbands that have it, of the same size, for parents; and gradients of those that have it
  // among the subbands decoded before.
  int child_count, later_count;
  const Grid* child[kSubbands];
  ArmBands child_arm[kSubbands];
  const float* later[kSiblings];
  bool use_slope;
  float* gradient;   // if not null, [height][width]: the gradient goes here, without Adam
  UpdateSums* sums;  // result; without Adam, `square` stays
  float beta1, beta2;
  // A latent's step is step_size * mean / (own_scale * sqrt(variance) + shared_root).
  float step_size, own_scale, shared_root;
};

struct Kernels {
  const char* name;
  int lanes;
  int convolution_block;  // columns by which a convolution trails the one before
  const LayerKernels* (*layer)(int inputs, int outputs);
  const ConvolutionKernels* (*convolution)(int channels);
  void (*proxy_rows)(const ProxyRows&, const Workspace&);
  void (*parent_rows)(const ParentRows&);
  void (*filter_rows)(const FilterRows&, const Workspace&);

  void (*synthesis_band)(SynthesisBand&, const Workspace&);
  void (*arm_band)(ArmBand&, const Workspace&);
  void (*filter_gradient_rows)(FilterGradientRows&, const Workspace&);
  void (*subband_gradient_rows)(SubbandGradientRows&, const Workspace&);
  void (*update_rows)(const UpdateRows&, const Workspace&);
};

// The named kernels, or the fastest this machine runs if name is null or empty; null if
// there are none of this name or the machine or the build lacks the instructions.
const Kernels* find_kernels(const char* name);

// All kernels of this build, fastest first, whether or not this machine runs them; null
// after the last.
const Kernels* kernels_at(int index);

}  // namespace coolchic::train
