// The filters that grids pass before they are enlarged: docs/bitstream.md section 11.1.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/grid.h"
#include "decoder/kernels.h"
#include "decoder/status.h"

namespace coolchic {

constexpr int kFilterReach = 3;  // samples on either side
constexpr int kFilterTaps = 2 * kFilterReach + 1;
constexpr int kFilterParameters = kFilterReach + 1;  // the centre, then outwards

struct Filter {
  int16_t taps[kFilterTaps];
  int row_shift;     // of the sums along a row, 0 … 15
  int column_shift;  // of those along a column, 0 … 15
};

// values: kFilterParameters for each filter. first_grid: that has one. precision: F_up, fractional
// bits of the output. Fails if a tap leaves its range.
std::vector<Filter> make_filters(const int32_t* values, int first_grid, int count, int exponent,
                                 int precision, Status* status);

// Rows of a grid behind its filter, asked for in ascending order.
class FilteredRows {
 public:
  FilteredRows(const Kernels& kernels, const Grid& grid, const Filter& filter);

  // out: room for the grid's columns and kRowSlack values more.
  void row(int r, int16_t* out);

 private:
  int16_t* along(int grid_row) { return ring_[grid_row % kFilterTaps].data(); }
  void filter_along(int grid_row);

  const Kernels& kernels_;
  const Grid& grid_;
  const Filter& filter_;
  std::vector<int16_t> padded_;             // one row of the grid, edges replicated
  std::vector<int16_t> ring_[kFilterTaps];  // the last rows filtered along themselves, by row mod 7
  int newest_ = -1;                         // last row in the ring
};

}  // namespace coolchic
