// The decoder's inner loops as a table of functions, one table per instruction set.
//
// Every table computes the same integers; the scalar one is the truth. The operations are
// general: numbers of inputs, outputs, layers, taps and channels are parameters.
//
// No 32-bit sum needs more care than wrap-around: the format takes sums modulo 2^32
// (section 9), as do the instructions that multiply pairs of 16-bit integers and add.
//
// Rows that a kernel reads or writes must exist up to their count rounded up to kRowSlack;
// what is in the surplus does not matter, what is written to it means nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "decoder/architecture.h"
#include "rangecoder/laplace_tables.h"
#include "rangecoder/range_lanes.h"

namespace coolchic {

constexpr int kRowSlack = 32;  // the widest vector of any table, in 16-bit values
// Outputs that vector kernels sum at once; weights are stored to match.
constexpr int kOutputBlock = 4;
constexpr int kTaps = 4;        // of interpolation
constexpr int kTransposed = 8;  // rows and columns

constexpr int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// One layer of section 9: out = sat16((bias + weight · in) >> shift), then ReLU.
struct LayerView {
  int inputs;   // 1 … kMaxWidth
  int outputs;  // 1 … kMaxWidth
  int shift;    // 0 … 30
  bool relu;
  const int16_t* weight;  // [outputs][inputs]
  // The same in blocks of kOutputBlock outputs, of one output at the end if they do not
  // divide, and pairs of inputs, a zero after the last of an odd number:
  // [block][pair][output of the block][2].
  const int16_t* pairs;
  const int32_t* bias;  // [outputs], the rounding term included
};

struct NetworkView {
  const LayerView* layers;
  int count;
  const int16_t* of_zeros;  // outputs for inputs that are all zero
};

struct Kernels {
  const char* name;

  // All layers on n positions. in: a row for each input. out: for each output; may not
  // overlap the inputs.
  void (*network)(const NetworkView& net, const int16_t* const* in, int n, int16_t* const* out);

  // A 3x3 convolution of as many planes as outputs, 1 … 4, at positions 0 … n - 1 of a row.
  // layer: nine inputs for each plane. rows: for each plane the row above, the row itself and the
  // one below, with values from -1 to n and a surplus. out: a row for each output; may not overlap
  // the inputs.
  void (*convolve)(const LayerView& layer, const int16_t* const* rows, int n, int16_t* const* out);

  // Section 10: from the outputs of the ARM to rows of kLaplace.cdf and integer means.
  // precision: F_arm, 4 … 12.
  void (*predictions)(const int16_t* z0, const int16_t* z1, int n, int precision, uint16_t* rows,
                      int16_t* means);

  // One symbol for each of the n rows of kLaplace.cdf, the j-th from lane j mod lanes->count:
  // values[j] = means[j] + d of section 8.3, except for escapes, whose j are listed in
  // `escaped` (room for n rounded up) in ascending order. Returns their number. The lanes
  // must have n words left.
  int (*symbols)(RangeLanes* lanes, const uint16_t* rows, const int16_t* means, int n,
                 int16_t* values, uint16_t* escaped);

  // Section 11, along a row: a row of a grid enlarged by 2^k, k 1 … 15. taps: [kTaps][2^k],
  // by phase. in: `columns` samples, kEdge copies of the first before them, as many of the
  // last and kRowSlack values more behind. out[x] for x in 0 … width - 1, of
  // width <= columns * 2^k; writes from out - kEnlargeBefore up to
  // out + width + kEnlargeBehind - 1.
  void (*enlarge)(const int16_t* taps, int k, const int16_t* in, int columns, int shift, int width,
                  int16_t* out);

  // out = sat16((sum of weights[i] * rows[i] + half) >> shift), half = 2^(shift - 1), or 0 for
  // shift 0, on n positions.
  void (*mix)(const int16_t* const* rows, const int16_t* weights, int count, int shift, int n,
              int16_t* out);

  // to[t * to_pitch + r] = from[r * from_pitch + t] for r and t in 0 … kTransposed - 1.
  void (*transpose)(const int16_t* from, ptrdiff_t from_pitch, int16_t* to, ptrdiff_t to_pitch);

  // out[x][c] = rows[c][x] clamped to 0 … 255, for x < n and c < channels (1 … 4). Writes
  // n * channels bytes and no more.
  void (*pixels)(const int16_t* const* rows, int channels, int n, uint8_t* out);
};

constexpr int kEdge = 2;  // samples that taps reach beyond the grid
constexpr int kEnlargeBefore = 32;
constexpr int kEnlargeBehind = 32 * 17;

// The table of that name if this machine can run it, else null. "auto" is the fastest.
const Kernels* find_kernels(const char* name);

// All tables in this build, the fastest first: null at and after their number.
struct KernelEntry {
  const Kernels* kernels;
  bool (*supported)();
};
const KernelEntry* kernel_entry(int index);

}  // namespace coolchic
