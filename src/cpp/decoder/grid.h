// A latent grid.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "decoder/kernels.h"

namespace coolchic {

// Values row after row, not set at first, with as many zeros behind them as kernels may read.
class Grid {
 public:
  Grid() = default;
  Grid(int rows, int columns) : rows_(rows), columns_(columns) {
    const size_t size = static_cast<size_t>(rows) * columns;
    values_.reset(new int16_t[size + kRowSlack]);
    std::fill_n(values_.get() + size, kRowSlack, int16_t{0});
  }

  // A grid without values is all zero and takes no memory.
  bool has_values() const { return values_ != nullptr; }
  int rows() const { return rows_; }
  int columns() const { return columns_; }
  int16_t* row(int r) { return values_.get() + static_cast<size_t>(r) * columns_; }
  const int16_t* row(int r) const { return values_.get() + static_cast<size_t>(r) * columns_; }

 private:
  int rows_ = 0;
  int columns_ = 0;
  std::unique_ptr<int16_t[]> values_;
};

}  // namespace coolchic
