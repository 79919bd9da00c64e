// Inputs of the ARM from the next coarser grid: docs/bitstream.md section 10.1.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/grid.h"
#include "decoder/kernels.h"
#include "decoder/wavefront.h"

namespace coolchic {

// The next coarser grid enlarged by two, around a band of a grid on its way through the wavefront.
//
// Steps are stored skewed, as in Wavefront: slot t of a ring holds, by row, the values at the
// positions of step t, so that a parent position is one run of a slot. Slots are filled in blocks,
// so that a row of the enlarged grid gives a run of columns.
class Parents {
 public:
  // A band of rows of `grid`. coarser: the next grid, as it was decoded as far as last_row() says;
  // null, or without values, if all parents are zero.
  Parents(const Kernels& kernels, const Context& context, const Grid& grid, int first_row, int rows,
          const Grid* coarser);

  // The last row of the coarser grid that a band needs which ends with row `last` of its grid.
  static int last_row(int last, int coarser_rows);

  // Rows of values, one for each parent position, for Kernels::network. Steps come in ascending
  // order.
  void inputs(const WavefrontStep& step, const int16_t** rows);

 private:
  static constexpr int kBlock = 16;  // slots filled at a time
  static_assert(kBlock % kTransposed == 0);
  static constexpr int kBefore = 16;  // of row 0 in a slot: rows above the band, zeros

  int16_t* slot(int t) { return slots_.data() + (t & mask_) * pitch_ + kBefore; }
  // Row r of the enlarged grid, -kMaxParentReach … rows + kMaxParentReach - 1 of the band.
  int16_t* enlarged(int r) {
    return enlarged_.data() + static_cast<size_t>(r + kMaxParentReach) * columns_;
  }
  void enlarge(const Grid& grid, int first_row, const Grid& coarser);
  void fill_block();
  void surround(int t);

  const Kernels& kernels_;
  const Context& context_;
  int rows_;
  int columns_;
  int mask_ = 0;
  ptrdiff_t pitch_ = 0;
  int filled_ = 0;                 // slots before this one are there
  std::vector<int16_t> slots_;     // none if all is zero
  std::vector<int16_t> enlarged_;  // rows of the grid's columns, those outside the grid zero
  std::vector<int16_t> zeros_;     // a run of a slot if all is zero
};

}  // namespace coolchic
