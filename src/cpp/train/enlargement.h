// Tables of the bicubic enlargement by 2^k, laid out for the kernels.
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

 private:
  void fill_columns(int lanes);
  void fill_rows(int height);

  Enlargement view_{};
  Buffer enlarged_, forward_, adjoint_, taps_;
  std::vector<int> first_, first_row_;
};

}  // namespace coolchic::train
