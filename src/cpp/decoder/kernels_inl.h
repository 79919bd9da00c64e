// The kernels on vectors. Every kernels_<name>.cpp compiles this file again, with its own
// flags and its own vectors_<name>.h.
//
// All of it has internal linkage, and nothing here uses a function or template of the
// standard library or of another header: otherwise the linker could keep a copy made of
// instructions the machine lacks for code that must run everywhere.
#pragma once

#include "decoder/kernels.h"

#ifdef __clang__
#define COOLCHIC_UNROLL _Pragma("clang loop unroll(full)")
#define COOLCHIC_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define COOLCHIC_UNROLL _Pragma("GCC unroll 16")
#define COOLCHIC_NO_UNROLL _Pragma("GCC unroll 1")
#endif

namespace coolchic {
namespace {

// floor: 0 for ReLU, the least value otherwise.
COOLCHIC_INLINE Vec finish(const Sum& s, Shift shift, Vec floor) {
  return max(narrow(s, shift), floor);
}

// A loop over so many pairs or more is left a loop: of code without one, compilers keep too little
// in registers.
constexpr int kManyPairs = 14;

constexpr bool unrolled(int pairs) { return pairs > 0 && pairs < kManyPairs; }

// B outputs of a layer on kLanes positions: a block of LayerView::pairs, or B single ones of those
// at its end.
template <int B, int kPairs>
COOLCHIC_INLINE void sum_outputs(const Pair* x, int pairs, const int16_t* weights,
                                 const int32_t* bias, Shift shift, Vec floor, Vec* y) {
  const int step = B == kOutputBlock ? 2 * B : 2;
  const int output_step = B == kOutputBlock ? 2 : 2 * pairs;
  Sum s[B];
  COOLCHIC_UNROLL
  for (int b = 0; b < B; ++b) s[b] = sum_of(bias[b]);
  if (unrolled(kPairs)) {
    COOLCHIC_UNROLL
    for (int p = 0; p < kPairs; ++p) COOLCHIC_UNROLL
    for (int b = 0; b < B; ++b)
      multiply_add(s[b], x[p], factor(weights + step * p + output_step * b));
  } else {
    COOLCHIC_NO_UNROLL
    for (int p = 0; p < pairs; ++p, weights += step) {
      const Pair in = in_registers(x[p]);
      COOLCHIC_UNROLL
      for (int b = 0; b < B; ++b) multiply_add(s[b], in, factor(weights + output_step * b));
    }
  }
  COOLCHIC_UNROLL
  for (int b = 0; b < B; ++b) y[b] = finish(s[b], shift, floor);
}

// One layer in place on kLanes positions. y: kMaxWidth rows. kPairs: of inputs, 0 if not known
// to the compiler.
template <int kPairs>
COOLCHIC_INLINE void run_layer(const LayerView& layer, Vec* y) {
  const int pairs = kPairs > 0 ? kPairs : (layer.inputs + 1) / 2;
  if (layer.inputs % 2) y[layer.inputs] = zero();
  Pair x[kPairs > 0 ? kPairs : kMaxWidth / 2];
  COOLCHIC_UNROLL
  for (int p = 0; p < pairs; ++p) x[p] = pair(y[2 * p], y[2 * p + 1]);
  const Shift shift = shift_by(layer.shift);
  const int16_t* w = layer.pairs;
  const Vec floor = broadcast(layer.relu ? 0 : -32768);
  int o = 0;
  for (; o + kOutputBlock <= layer.outputs; o += kOutputBlock, w += 2 * kOutputBlock * pairs)
    sum_outputs<kOutputBlock, kPairs>(x, pairs, w, layer.bias + o, shift, floor, y + o);
  if (!unrolled(kPairs)) {
    if (layer.outputs - o == 3)
      return sum_outputs<3, kPairs>(x, pairs, w, layer.bias + o, shift, floor, y + o);
    if (layer.outputs - o == 2)
      return sum_outputs<2, kPairs>(x, pairs, w, layer.bias + o, shift, floor, y + o);
  }
  for (; o < layer.outputs; ++o, w += 2 * pairs)
    sum_outputs<1, kPairs>(x, pairs, w, layer.bias + o, shift, floor, y + o);
}

COOLCHIC_INLINE void run_layer_of_any_width(const LayerView& layer, Vec* y) {
  switch ((layer.inputs + 1) / 2) {
    case 4:
      return run_layer<4>(layer, y);
    case 5:
      return run_layer<5>(layer, y);
    case 6:
      return run_layer<6>(layer, y);
    case 8:
      return run_layer<8>(layer, y);
    case 11:
      return run_layer<11>(layer, y);
    case 12:
      return run_layer<12>(layer, y);
    case 13:
      return run_layer<13>(layer, y);
    case 24:
      return run_layer<24>(layer, y);
    case 32:
      return run_layer<32>(layer, y);
    default:
      return run_layer<0>(layer, y);
  }
}

void network_of_any_shape(const NetworkView& net, const int16_t* const* in, int n,
                          int16_t* const* out) {
  const int inputs = net.layers[0].inputs;
  const int outputs = net.layers[net.count - 1].outputs;
  Vec y[kMaxWidth];
  for (int at = 0; at < n; at += kLanes) {
    Vec any = zero();
    for (int i = 0; i < inputs; ++i) {
      y[i] = load(in[i] + at);
      any = bit_or(any, y[i]);
    }
    if (all_zero(any)) {
      for (int o = 0; o < outputs; ++o) store(out[o] + at, broadcast(net.of_zeros[o]));
      continue;
    }
    for (int l = 0; l < net.count; ++l) run_layer_of_any_width(net.layers[l], y);
    for (int o = 0; o < outputs; ++o) store(out[o] + at, y[o]);
  }
}

// One layer whose shape the compiler knows, so that vectors stay in registers between layers and
// no instruction is spent on loops: the multiplications are then close to all there is to do.
template <int kInputs, int kOutputs>
COOLCHIC_INLINE void run_layer_of(const LayerView& layer, const Vec* in, Vec* out) {
  constexpr int kPairs = (kInputs + 1) / 2, kBlocks = kOutputs / kOutputBlock;
  Pair x[kPairs];
  COOLCHIC_UNROLL
  for (int p = 0; p < kPairs; ++p)
    x[p] = pair(in[2 * p], 2 * p + 1 < kInputs ? in[2 * p + 1] : zero());
  const Shift shift = shift_by(layer.shift);
  const Vec floor = broadcast(layer.relu ? 0 : -32768);
  COOLCHIC_UNROLL
  for (int b = 0; b < kBlocks; ++b)
    sum_outputs<kOutputBlock, kPairs>(x, kPairs, layer.pairs + 2 * kOutputBlock * kPairs * b,
                                      layer.bias + kOutputBlock * b, shift, floor,
                                      out + kOutputBlock * b);
  COOLCHIC_UNROLL
  for (int o = kBlocks * kOutputBlock; o < kOutputs; ++o)
    sum_outputs<1, kPairs>(x, kPairs, layer.pairs + 2 * kPairs * o, layer.bias + o, shift, floor,
                           out + o);
}

template <int kInputs, int kOutputs, int... kMore>
COOLCHIC_INLINE void run_layers_of(const LayerView* layer, const Vec* in, Vec* out) {
  if constexpr (sizeof...(kMore) == 0) {
    run_layer_of<kInputs, kOutputs>(*layer, in, out);
  } else {
    Vec y[kOutputs];
    run_layer_of<kInputs, kOutputs>(*layer, in, y);
    run_layers_of<kOutputs, kMore...>(layer + 1, y, out);
  }
}

// A network of that shape: its inputs and each layer's outputs. False if `net` has another.
template <int kInputs, int... kOutputs>
bool network_of(const NetworkView& net, const int16_t* const* in, int n, int16_t* const* out) {
  constexpr int kCount = sizeof...(kOutputs), kWidths[kCount] = {kOutputs...};
  constexpr int kLast = kWidths[kCount - 1];
  if (net.count != kCount || net.layers[0].inputs != kInputs) return false;
  for (int l = 0; l < kCount; ++l)
    if (net.layers[l].outputs != kWidths[l]) return false;
  LayerView layers[kCount];
  for (int l = 0; l < kCount; ++l) layers[l] = net.layers[l];
  for (int at = 0; at < n; at += kLanes) {
    Vec x[kInputs], y[kLast];
    Vec any = zero();
    COOLCHIC_UNROLL
    for (int i = 0; i < kInputs; ++i) {
      x[i] = load(in[i] + at);
      any = bit_or(any, x[i]);
    }
    if (all_zero(any)) {
      for (int o = 0; o < kLast; ++o) store(out[o] + at, broadcast(net.of_zeros[o]));
      continue;
    }
    run_layers_of<kInputs, kOutputs...>(layers, x, y);
    COOLCHIC_UNROLL
    for (int o = 0; o < kLast; ++o) store(out[o] + at, y[o]);
  }
  return true;
}

void network(const NetworkView& net, const int16_t* const* in, int n, int16_t* const* out) {
  const bool done =
      // Those of architectures 7 to 12; the synthesis of 8 and 11 is faster in loops.
      network_of<16, 8, 8, 2>(net, in, n, out) || network_of<9, 26, 3>(net, in, n, out) ||
      network_of<11, 7, 7, 2>(net, in, n, out) || network_of<9, 12, 3>(net, in, n, out) ||
      network_of<30, 16, 16, 2>(net, in, n, out) ||
      // Those of architecture 0; the same ARM with four parents, and that of architecture 5.
      network_of<12, 12, 12, 2>(net, in, n, out) || network_of<7, 12, 12, 3>(net, in, n, out) ||
      network_of<16, 12, 12, 2>(net, in, n, out) || network_of<12, 10, 10, 2>(net, in, n, out) ||
      // Those of architecture 2.
      network_of<20, 16, 16, 2>(net, in, n, out) || network_of<7, 16, 16, 3>(net, in, n, out);
  if (!done) network_of_any_shape(net, in, n, out);
}

// All outputs are summed at once, so that inputs are met once.
template <int kPlanes>
void convolve_planes(const LayerView& view, const int16_t* const* rows, int n,
                     int16_t* const* out) {
  constexpr int kInputs = kPlanes * kKernelSize, kPairs = (kInputs + 1) / 2;
  // Where LayerView::pairs has a pair of an output.
  constexpr int kPairStep = kPlanes == kOutputBlock ? 2 * kOutputBlock : 2;
  constexpr int kOutputStep = kPlanes == kOutputBlock ? 2 : 2 * kPairs;
  const LayerView layer = view;
  const Shift shift = shift_by(layer.shift);
  const Vec floor = broadcast(layer.relu ? 0 : -32768);
  for (int at = -1; at < n - 1; at += kLanes) {
    Sum s[kPlanes];
    COOLCHIC_UNROLL
    for (int o = 0; o < kPlanes; ++o) s[o] = sum_of(layer.bias[o]);
    COOLCHIC_UNROLL
    for (int p = 0; p < kPairs; ++p) {
      const int i = 2 * p, j = 2 * p + 1;
      const Pair x = pair(load(rows[i / 3] + at + i % 3),
                          j < kInputs ? load(rows[j / 3] + at + j % 3) : zero());
      COOLCHIC_UNROLL
      for (int o = 0; o < kPlanes; ++o)
        multiply_add(s[o], x, factor(layer.pairs + kPairStep * p + kOutputStep * o));
    }
    COOLCHIC_UNROLL
    for (int o = 0; o < kPlanes; ++o) store(out[o] + at + 1, finish(s[o], shift, floor));
  }
}

void convolve(const LayerView& layer, const int16_t* const* rows, int n, int16_t* const* out) {
  switch (layer.outputs) {
    case 1:
      return convolve_planes<1>(layer, rows, n, out);
    case 2:
      return convolve_planes<2>(layer, rows, n, out);
    case 3:
      return convolve_planes<3>(layer, rows, n, out);
    default:
      return convolve_planes<4>(layer, rows, n, out);
  }
}

void predictions(const int16_t* z0, const int16_t* z1, int n, int precision, uint16_t* rows,
                 int16_t* means) {
  const int fine = precision - 4, coarse = precision - 3;
  const Vec by_fine = broadcast(1 << (fine > 0 ? 15 - fine : 0));
  const Vec by_coarse = broadcast(1 << (15 - coarse)), by_16 = broadcast(1 << (15 - 4));
  for (int at = 0; at < n; at += kLanes) {
    const Vec z = load(z0 + at);
    const Vec m4 = fine > 0 ? scale(z, by_fine) : z;
    const Vec f = bit_and(add(m4, broadcast(8)), broadcast(15));
    Vec s = add(scale(load(z1 + at), by_coarse), broadcast(-6));
    s = min(max(s, zero()), broadcast(kScales - 1));
    store(rows + at, bit_or(shift_left_4(s), f));
    store(means + at, scale(m4, by_16));
  }
}

COOLCHIC_INLINE uint32_t load_u16(const void* p) {
  uint16_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

// Decodes a symbol. Returns offset_above() of its row, which is 2 (kEscapeSymbol - k) for symbol
// k. `word`: how many words have been used of those at `words`, which has one more.
COOLCHIC_INLINE size_t decode_symbol(uint32_t& state, const uint8_t* words, size_t& word,
                                     uint32_t row) {
  const uint16_t* c = kLaplace.cdf[row].c;
  const uint32_t x = state, slot = x & (kProbabilityOne - 1);
  const size_t above = offset_above(c, slot);
  const char* entry = reinterpret_cast<const char*>(c + kEscapeSymbol) - above;
  const uint32_t begin = load_u16(entry), end = load_u16(entry + sizeof *c);
  state = (end - begin) * (x >> kProbabilityBits) + slot - begin;
  refill(state, state << 16 | load_u16(words + 2 * word), word);
  return above;
}

// Leaves what decode_symbol() returns in values.
template <int N>
COOLCHIC_INLINE void decode_symbols(RangeLanes* lanes, const uint16_t* rows, int n,
                                    int16_t* values) {
  uint32_t state[N];
  const uint8_t* words = lanes->next;
  size_t word = 0;
  COOLCHIC_UNROLL
  for (int lane = 0; lane < N; ++lane) state[lane] = lanes->state[lane];
  int j = 0;
  if constexpr (N == kMaxLanes) j = decode_rounds(state, words, lanes->end, word, rows, n, values);
  for (; j + N <= n; j += N) {
    COOLCHIC_UNROLL
    for (int lane = 0; lane < N; ++lane)
      values[j + lane] =
          static_cast<int16_t>(decode_symbol(state[lane], words, word, rows[j + lane]));
  }
  COOLCHIC_UNROLL
  for (int lane = 0; lane < N - 1; ++lane)
    if (j + lane < n)
      values[j + lane] =
          static_cast<int16_t>(decode_symbol(state[lane], words, word, rows[j + lane]));
  COOLCHIC_UNROLL
  for (int lane = 0; lane < N; ++lane) lanes->state[lane] = state[lane];
  lanes->next += 2 * word;
}

int symbols(RangeLanes* lanes, const uint16_t* rows, const int16_t* means, int n, int16_t* values,
            uint16_t* escaped) {
  switch (lanes->count) {
    case 1:
      decode_symbols<1>(lanes, rows, n, values);
      break;
    case 2:
      decode_symbols<2>(lanes, rows, n, values);
      break;
    case 4:
      decode_symbols<4>(lanes, rows, n, values);
      break;
    default:
      decode_symbols<8>(lanes, rows, n, values);
  }
  int count = 0;
  for (int at = 0; at < n; at += kLanes) {
    const Vec above = load(values + at);
    if (any_equal(above, zero()))
      for (int j = at; j < at + kLanes && j < n; ++j)
        if (values[j] == 0) escaped[count++] = static_cast<uint16_t>(j);
    const Vec minus_k = scale(above, broadcast(-(1 << 14)));
    const Vec mean = add(load(means + at), broadcast(kEscapeSymbol - kZeroSymbol));
    store(values + at, add(minus_k, mean));
  }
  return count;
}

// P phases of kLanes samples each, in the order of the output.
template <int P>
COOLCHIC_INLINE void interleave(const Vec (&phase)[P], int16_t* out) {
  Vec a[P], b[P];
  COOLCHIC_UNROLL
  for (int i = 0; i < P; ++i) a[i] = phase[i];
  // `streams` runs of P / streams vectors, run s of phases s, s + streams, …
  for (int streams = P; streams > 1; streams /= 2) {
    const int half = streams / 2, length = P / streams;
    for (int s = 0; s < half; ++s)
      for (int v = 0; v < length; ++v)
        zip(a[s * length + v], a[(s + half) * length + v], &b[2 * (s * length + v)],
            &b[2 * (s * length + v) + 1]);
    for (int i = 0; i < P; ++i) a[i] = b[i];
  }
  COOLCHIC_UNROLL
  for (int i = 0; i < P; ++i) store(out + i * kLanes, a[i]);
}

// Few phases: a vector of samples for each phase.
template <int P>
COOLCHIC_INLINE void enlarge_by_phases(const int16_t* taps, const int16_t* in, int columns,
                                       int shift_bits, int16_t* out) {
  const Shift shift = shift_by(shift_bits);
  int16_t first[P][2], second[P][2];
  for (int p = 0; p < P; ++p) {
    first[p][0] = taps[p];
    first[p][1] = taps[P + p];
    second[p][0] = taps[2 * P + p];
    second[p][1] = taps[3 * P + p];
  }
  // Between samples i and i + 1 lie the outputs from P / 2 + i * P on.
  for (int i = -1; i < columns; i += kLanes) {
    const Pair a = pair(load(in + i - 1), load(in + i));
    const Pair b = pair(load(in + i + 1), load(in + i + 2));
    Vec phase[P];
    COOLCHIC_UNROLL
    for (int p = 0; p < P; ++p) {
      Sum s = sum_of(1 << (shift_bits - 1));
      multiply_add(s, a, factor(first[p]));
      multiply_add(s, b, factor(second[p]));
      phase[p] = narrow(s, shift);
    }
    interleave<P>(phase, out + P / 2 + i * P);
  }
}

// As many phases as a vector has lanes, or more: a vector of phases for each sample.
COOLCHIC_INLINE void enlarge_by_samples(const int16_t* taps, int phases, const int16_t* in,
                                        int columns, int shift_bits, int width, int16_t* out) {
  const Shift shift = shift_by(shift_bits);
  for (int i = -1; i < columns; ++i) {
    const int x0 = phases / 2 + i * phases;
    const int last = phases < width - x0 ? phases : width - x0;
    const Factor a = factor(in + i - 1), b = factor(in + i + 1);
    for (int p = x0 < 0 ? -x0 / kLanes * kLanes : 0; p < last; p += kLanes) {
      Sum s = sum_of(1 << (shift_bits - 1));
      multiply_add(s, pair(load(taps + p), load(taps + phases + p)), a);
      multiply_add(s, pair(load(taps + 2 * phases + p), load(taps + 3 * phases + p)), b);
      store(out + x0 + p, narrow(s, shift));
    }
  }
}

void enlarge(const int16_t* taps, int k, const int16_t* in, int columns, int shift, int width,
             int16_t* out) {
  switch (k) {
    case 1:
      return enlarge_by_phases<2>(taps, in, columns, shift, out);
    case 2:
      return enlarge_by_phases<4>(taps, in, columns, shift, out);
#if COOLCHIC_VECTOR_LANES > 8
    case 3:
      return enlarge_by_phases<8>(taps, in, columns, shift, out);
#endif
#if COOLCHIC_VECTOR_LANES > 16
    case 4:
      return enlarge_by_phases<16>(taps, in, columns, shift, out);
#endif
    default:
      return enlarge_by_samples(taps, 1 << k, in, columns, shift, width, out);
  }
}

COOLCHIC_INLINE void mix_pairs(const int16_t* const* rows, const int16_t* weights, int count,
                               int shift_bits, int n, int16_t* out) {
  const int32_t half = shift_bits > 0 ? 1 << (shift_bits - 1) : 0;
  const Shift shift = shift_by(shift_bits);
  for (int at = 0; at < n; at += kLanes) {
    Sum s = sum_of(half);
    for (int i = 0; i + 1 < count; i += 2)
      multiply_add(s, pair(load(rows[i] + at), load(rows[i + 1] + at)), factor(weights + i));
    if (count % 2) {
      const int16_t last[2] = {weights[count - 1], 0};
      multiply_add(s, pair(load(rows[count - 1] + at), zero()), factor(last));
    }
    store(out + at, narrow(s, shift));
  }
}

void mix(const int16_t* const* rows, const int16_t* weights, int count, int shift, int n,
         int16_t* out) {
  if (count == 1) return mix_pairs(rows, weights, 1, shift, n, out);
  if (count == kTaps) return mix_pairs(rows, weights, kTaps, shift, n, out);
  mix_pairs(rows, weights, count, shift, n, out);
}

void transpose(const int16_t* from, ptrdiff_t from_pitch, int16_t* to, ptrdiff_t to_pitch) {
  transpose_8(from, from_pitch, to, to_pitch);
}

void pixels(const int16_t* const* rows, int channels, int n, uint8_t* out) {
  int x = 0;
  for (; x + kPixels <= n; x += kPixels) {
    uint8_t* to = out + static_cast<size_t>(x) * channels;
    switch (channels) {
      case 1:
        store_pixels_1(rows, x, to);
        break;
      case 2:
        store_pixels_2(rows, x, to);
        break;
      case 3:
        store_pixels_3(rows, x, to);
        break;
      default:
        store_pixels_4(rows, x, to);
    }
  }
  for (; x < n; ++x) {
    for (int c = 0; c < channels; ++c) {
      const int v = rows[c][x];
      out[static_cast<size_t>(x) * channels + c] = static_cast<uint8_t>(v < 0     ? 0
                                                                        : v > 255 ? 255
                                                                                  : v);
    }
  }
}

}  // namespace
}  // namespace coolchic

#define COOLCHIC_KERNELS(name) \
  {name, network, convolve, predictions, symbols, enlarge, mix, transpose, pixels}
