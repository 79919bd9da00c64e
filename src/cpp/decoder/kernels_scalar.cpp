// The kernels in plain C++, written like the specification: what the others must agree with.
#include <algorithm>

#include "decoder/kernels.h"
#include "decoder/network.h"
#include "rangecoder/range_decoder.h"

namespace coolchic {
namespace {

// Positions that are carried through a network together.
constexpr int kBlock = 32;
using Activations = int16_t[kMaxWidth][kBlock];

void run_layer(const LayerView& layer, Activations& x) {
  int32_t sum[kMaxWidth][kBlock];
  const int16_t* w = layer.weight;
  for (int o = 0; o < layer.outputs; ++o) {
    uint32_t acc[kBlock];
    for (uint32_t& a : acc) a = static_cast<uint32_t>(layer.bias[o]);
    for (int i = 0; i < layer.inputs; ++i, ++w)
      for (int n = 0; n < kBlock; ++n) acc[n] += static_cast<uint32_t>(*w * x[i][n]);
    for (int n = 0; n < kBlock; ++n) sum[o][n] = static_cast<int32_t>(acc[n]);
  }
  for (int o = 0; o < layer.outputs; ++o) {
    for (int n = 0; n < kBlock; ++n) {
      const int16_t y = sat16(sum[o][n] >> layer.shift);
      x[o][n] = layer.relu && y < 0 ? int16_t{0} : y;
    }
  }
}

void network(const NetworkView& net, const int16_t* const* in, int n, int16_t* const* out) {
  const int inputs = net.layers[0].inputs, outputs = net.layers[net.count - 1].outputs;
  for (int at = 0; at < n; at += kBlock) {
    const int block = std::min(kBlock, n - at);
    Activations x;
    int any = 0;
    for (int i = 0; i < inputs; ++i) {
      for (int j = 0; j < block; ++j) any |= x[i][j] = in[i][at + j];
      std::fill(x[i] + block, x[i] + kBlock, int16_t{0});
    }
    if (!any) {
      for (int o = 0; o < outputs; ++o) std::fill_n(out[o] + at, block, net.of_zeros[o]);
      continue;
    }
    for (int l = 0; l < net.count; ++l) run_layer(net.layers[l], x);
    for (int o = 0; o < outputs; ++o) std::copy_n(x[o], block, out[o] + at);
  }
}

void convolve(const LayerView& layer, const int16_t* const* rows, int n, int16_t* const* out) {
  for (int at = 0; at < n; at += kBlock) {
    const int block = std::min(kBlock, n - at);
    Activations x;
    for (int i = 0; i < layer.inputs; ++i) {
      std::copy_n(rows[i / 3] + at + i % 3 - 1, block, x[i]);
      std::fill(x[i] + block, x[i] + kBlock, int16_t{0});
    }
    run_layer(layer, x);
    for (int o = 0; o < layer.outputs; ++o) std::copy_n(x[o], block, out[o] + at);
  }
}

void predictions(const int16_t* z0, const int16_t* z1, int n, int precision, uint16_t* rows,
                 int16_t* means) {
  const int fine = precision - 4, coarse = precision - 3;
  for (int j = 0; j < n; ++j) {
    const int m4 = fine > 0 ? (z0[j] + (1 << (fine - 1))) >> fine : z0[j];
    const int s = ((z1[j] + (1 << (coarse - 1))) >> coarse) - 6;
    const int f = (m4 + 8) & 15;
    rows[j] = static_cast<uint16_t>(std::clamp(s, 0, kScales - 1) * kFractions + f);
    means[j] = static_cast<int16_t>((m4 + 8) >> 4);
  }
}

int symbols(RangeLanes* lanes, const uint16_t* rows, const int16_t* means, int n, int16_t* values,
            uint16_t* escaped) {
  int count = 0;
  for (int j = 0; j < n; ++j) {
    const CdfRow& row = kLaplace.cdf[rows[j]];
    uint32_t& state = lanes->state[j & (lanes->count - 1)];
    const int k = decode_symbol(row, &state);
    if (state < kLowerBound) {
      state = state << 16 | lanes->next[0] | static_cast<uint32_t>(lanes->next[1]) << 8;
      lanes->next += 2;
    }
    values[j] = static_cast<int16_t>(means[j] + k - kZeroSymbol);
    if (k == kEscapeSymbol) escaped[count++] = static_cast<uint16_t>(j);
  }
  return count;
}

void enlarge(const int16_t* taps, int k, const int16_t* in, int columns, int shift, int width,
             int16_t* out) {
  const uint32_t half = 1u << (shift - 1);
  const int phases = 1 << k, lag = phases / 2;
  // Between samples i and i + 1 lie the outputs from lag + i * phases on.
  for (int i = -1; i < columns; ++i) {
    const int16_t* y = in + i - 1;
    const int x0 = lag + i * phases;
    const int last = std::min(phases, width - x0);
    for (int p = std::max(0, -x0); p < last; ++p) {
      const int16_t* tap = taps + p;
      uint32_t sum = half;
      for (int j = 0; j < kTaps; ++j) sum += static_cast<uint32_t>(tap[j * phases] * y[j]);
      out[x0 + p] = sat16(static_cast<int32_t>(sum) >> shift);
    }
  }
}

void mix(const int16_t* const* rows, const int16_t* weights, int count, int shift, int n,
         int16_t* out) {
  const uint32_t half = shift > 0 ? 1u << (shift - 1) : 0;
  for (int at = 0; at < n; at += kBlock) {
    const int block = std::min(kBlock, n - at);
    uint32_t sum[kBlock];
    std::fill_n(sum, block, half);
    for (int i = 0; i < count; ++i)
      for (int j = 0; j < block; ++j) sum[j] += static_cast<uint32_t>(weights[i] * rows[i][at + j]);
    for (int j = 0; j < block; ++j) out[at + j] = sat16(static_cast<int32_t>(sum[j]) >> shift);
  }
}

void transpose(const int16_t* from, ptrdiff_t from_pitch, int16_t* to, ptrdiff_t to_pitch) {
  for (int r = 0; r < kTransposed; ++r)
    for (int t = 0; t < kTransposed; ++t) to[t * to_pitch + r] = from[r * from_pitch + t];
}

void pixels(const int16_t* const* rows, int channels, int n, uint8_t* out) {
  for (int c = 0; c < channels; ++c)
    for (int x = 0; x < n; ++x)
      out[static_cast<ptrdiff_t>(x) * channels + c] =
          static_cast<uint8_t>(std::clamp<int>(rows[c][x], 0, 255));
}

}  // namespace

extern const Kernels kScalarKernels;
const Kernels kScalarKernels = {"scalar", network, convolve,  predictions, symbols,
                                enlarge,  mix,     transpose, pixels};

}  // namespace coolchic
