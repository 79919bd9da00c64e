// Shape of a decoder: docs/bitstream.md section 4.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace coolchic {

// Of the context or, in the next coarser grid enlarged by two, of the parents.
struct Position {
  int dr;  // rows above, 0 … 7; of a parent -2 … 2
  int dc;  // columns to the right, -8 … 7; of a parent -2 … 2
};

constexpr int kMaxChannels = 4;
constexpr int kMaxGrids = 16;
constexpr int kMaxContext = 32;  // with the parents
constexpr int kMaxParents = 8;
constexpr int kMaxParentReach = 2;  // rows and columns
constexpr int kMaxLayers = 8;
constexpr int kMaxWidth = 64;
constexpr int kMaxRowsAbove = 7;  // of a context position
constexpr int kMaxConvolutions = 4;
constexpr int kKernelSize = 9;  // of a convolution, 3x3
constexpr int kSubbands = 3;    // grids of a wavelet's details, the finest: section 11.2
constexpr int kSiblings = kSubbands - 1;

struct Layer {
  int inputs;
  int outputs;
  bool residual;
  bool relu;
  bool convolution = false;  // 3x3, else linear

  int weights_per_output() const { return convolution ? inputs * kKernelSize : inputs; }
};

struct Architecture {
  int grids = 0;
  std::vector<Position> context;
  std::vector<Position> parents;
  std::vector<Layer> arm;
  bool filtered = false;         // grids pass a filter before they are enlarged
  bool wavelet = false;          // the first grids are subbands; grids are filtered, too
  bool subband_weights = false;  // for which the ARM's first layer has weights of their own
  std::vector<Layer> synthesis;  // convolutions last

  bool refined() const { return synthesis.back().convolution; }
  int subbands() const { return wavelet ? kSubbands : 0; }
  // Inputs of the ARM: from subbands decoded before; that are 1 in one subband, or else 0.
  int siblings() const { return wavelet ? kSiblings : 0; }
  int indicators() const { return subbands(); }
  // Weights of the ARM's first layer that are a subband's own: none, or all but the indicators'.
  int weights_of_subband() const {
    return subband_weights ? arm[0].outputs * (arm[0].inputs - indicators()) : 0;
  }
  // The first grid that a filter is for, and how many there are.
  int first_filtered() const { return wavelet ? kSubbands : 1; }
  int filters() const { return filtered ? grids - first_filtered() : 0; }
  // How often a grid's sides are half the picture's.
  int level(int grid) const {
    return !wavelet ? grid : grid < kSubbands ? 1 : grid - kSubbands + 1;
  }
  int levels() const { return level(grids - 1) + 1; }
  // The first grid of those that a preview at this scale needs: section 12.1.
  int first_grid(int scale) const { return wavelet && scale > 0 ? scale + kSubbands - 1 : scale; }
  // The grid with the parents of a grid's latents; `grids` for none.
  int parent(int grid) const { return wavelet && grid < kSubbands ? kSubbands : grid + 1; }

  // Columns by which a row trails the one above it in wavefront order.
  int stagger() const {
    int s = 1;
    for (const Position& p : context)
      while (p.dr > 0 && s * p.dr <= p.dc) ++s;
    return s;
  }
};

inline size_t weight_count(const std::vector<Layer>& layers) {
  size_t n = 0;
  for (const Layer& l : layers) n += static_cast<size_t>(l.weights_per_output()) * l.outputs;
  return n;
}

inline size_t bias_count(const std::vector<Layer>& layers) {
  size_t n = 0;
  for (const Layer& l : layers) n += l.outputs;
  return n;
}

}  // namespace coolchic
