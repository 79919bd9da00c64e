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
  std::vector<Layer> synthesis;  // convolutions last

  bool refined() const { return synthesis.back().convolution; }
  int filters() const { return filtered ? grids - 1 : 0; }

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
