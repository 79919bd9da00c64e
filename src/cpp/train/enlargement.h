// Tables of the enlargement by 2^k, bicubic or with a subband's kernels, laid out for the kernels
// of an instruction set.
#pragma once

#include <vector>

#include "buffer.h"
#include "kernels.h"

namespace coolchic::train {

class EnlargementTables {
 public:
  // rows of the grid; height and width of the image; stride between enlarged rows.
  EnlargementTables(int shift, int rows, int height, int width, ptrdiff_t stride, int lanes);

  // Its pointers stay valid as long as this object, also when that is moved.
  Enlargement view() const { return view_; }

  // Instead of bicubic taps, for enlargement by two: those of the vertical and of the horizontal
  // kernel, by phase.
  using PhaseTaps = float[2][kTaps];
  void set_kernels(const PhaseTaps& vertical, const PhaseTaps& horizontal);

 private:
  void shape_columns();
  void shape_rows(int height);
  // Of output number `phase` of the 2^shift that replace one input.
  void set_column_taps(int phase, const double* weights);
  void set_row_taps(int phase, const double* weights);

  Enlargement view_{};
  int lanes_;
  Buffer enlarged_, forward_, adjoint_, taps_;
  std::vector<int> first_, first_row_;
};

}  // namespace coolchic::train
