// Shape of a decoder: docs/bitstream.md section 4.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace coolchic {

struct ContextPosition {
  int dr;  // rows above, 0 … 7
  int dc;  // columns to the right, -8 … 7
};

constexpr int kMaxGrids = 16;
constexpr int kMaxContext = 32;
constexpr int kMaxLayers = 8;
constexpr int kMaxWidth = 64;
constexpr int kMaxRowsAbove = 7;  // of a context position

struct Layer {
  int inputs;
  int outputs;
  bool residual;
  bool relu;
};

struct Architecture {
  int grids = 0;
  std::vector<ContextPosition> context;
  std::vector<Layer> arm;
  std::vector<Layer> synthesis;

  // Columns by which a row trails the one above it in wavefront order.
  int stagger() const {
    int s = 1;
    for (const ContextPosition& p : context)
      while (p.dr > 0 && s * p.dr <= p.dc) ++s;
    return s;
  }
};

inline size_t weight_count(const std::vector<Layer>& layers) {
  size_t n = 0;
  for (const Layer& l : layers) n += static_cast<size_t>(l.inputs) * l.outputs;
  return n;
}

inline size_t bias_count(const std::vector<Layer>& layers) {
  size_t n = 0;
  for (const Layer& l : layers) n += l.outputs;
  return n;
}

}  // namespace coolchic
