// Inputs of the ARM from other grids: docs/bitstream.md section 10.1.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "decoder/grid.h"
#include "decoder/kernels.h"
#include "decoder/wavefront.h"

namespace coolchic {

// Another grid, or one enlarged by two, around a band of a grid on its way through the wavefront.
//
// Steps are stored skewed, as in Wavefront: slot t of a ring holds, by row, the values at the
// positions of step t, so that a position is one run of a slot. Slots are filled in blocks, so
// that a row of the other grid gives a run of columns.
class SkewedPlane {
 public:
  // A band of rows of `grid`. positions: of the inputs. source: the other grid, as it was decoded
  // as far as Surroundings::last_row() says; null, or without values, if all is zero. enlarged:
  // whether it is, by two.
  SkewedPlane(const Kernels& kernels, int stagger, std::vector<Context::Position> positions,
              const Grid& grid, int first_row, int rows, const Grid* source, bool enlarged);

  int inputs() const { return static_cast<int>(positions_.size()); }
  // Rows of values, one for each position, for Kernels::network. Steps come in ascending
  // order.
  void inputs(const WavefrontStep& step, const int16_t** rows);

 private:
  static constexpr int kBlock = 16;  // slots filled at a time
  static_assert(kBlock % kTransposed == 0);
  static constexpr int kBefore = 16;  // of row 0 in a slot: rows above the band, zeros

  int16_t* slot(int t) { return slots_.data() + (t & mask_) * pitch_ + kBefore; }
  // Row r of the plane, -kMaxParentReach … rows + kMaxParentReach - 1 of the band.
  int16_t* plane(int r) {
    return plane_.data() + static_cast<size_t>(r + kMaxParentReach) * columns_;
  }
  void copy(const Grid& grid, int first_row, const Grid& source, bool enlarged);
  void fill_block();
  void surround(int t);

  const Kernels& kernels_;
  const int stagger_;
  const std::vector<Context::Position> positions_;
  int delay_ = 0, lead_ = 0;  // the most that a position is behind or ahead of the step
  int rows_;
  int columns_;
  int mask_ = 0;
  ptrdiff_t pitch_ = 0;
  int filled_ = 0;              // slots before this one are there
  std::vector<int16_t> slots_;  // none if all is zero
  std::vector<int16_t> plane_;  // rows of the grid's columns, those outside the grid zero
  std::vector<int16_t> zeros_;  // a run of a slot if all is zero
};

// All inputs of the ARM but the context: parents, then the subbands decoded before.
class Surroundings {
 public:
  // A band of rows of grid `k` of `grids`, of which those decoded before are there, as far as
  // last_row() says.
  Surroundings(const Kernels& kernels, const Architecture& architecture, const Context& context,
               const std::vector<Grid>& grids, int k, int first_row, int rows);

  // The last row of another grid that a band needs which ends with row `last` of grid k.
  static int last_row(const Architecture& architecture, int k, int last, int other, int other_rows);

  // Rows of values, one for each input. Steps come in ascending order.
  void inputs(const WavefrontStep& step, const int16_t** rows);

 private:
  std::deque<SkewedPlane> planes_;  // stay where they are made, as they are large
};

}  // namespace coolchic
