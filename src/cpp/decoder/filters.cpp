#include "decoder/filters.h"

#include <algorithm>
#include <cstdlib>
#include <string>

namespace coolchic {

std::vector<Filter> make_filters(const int32_t* values, int first_grid, int count, int exponent,
                                 int precision, Status* status) {
  const int gain = std::max(0, precision - exponent);
  std::vector<Filter> filters(count);
  for (int n = 0; n < count; ++n, values += kFilterParameters) {
    Filter& filter = filters[n];
    filter.row_shift = exponent + gain - precision;
    filter.column_shift = exponent + gain;
    for (int j = -kFilterReach; j <= kFilterReach; ++j) {
      const int64_t q = values[std::abs(j)] + (j == 0 ? int64_t{1} << exponent : 0);
      const int64_t tap = q * (int64_t{1} << gain);
      if (tap < -32768 || tap > 32767)
        status->fail(Code::kInvalid, "tap out of range (filter of latent grid " +
                                         std::to_string(first_grid + n) + ")");
      filter.taps[kFilterReach + j] = static_cast<int16_t>(tap);
    }
  }
  return filters;
}

FilteredRows::FilteredRows(const Kernels& kernels, const Grid& grid, const Filter& filter)
    : kernels_(kernels), grid_(grid), filter_(filter) {
  padded_.resize(grid.columns() + 2 * kFilterReach + kRowSlack);
  for (std::vector<int16_t>& row : ring_) row.resize(grid.columns() + kRowSlack);
}

void FilteredRows::filter_along(int grid_row) {
  const int columns = grid_.columns();
  const int16_t* in = grid_.row(grid_row);
  std::copy(in, in + columns, padded_.begin() + kFilterReach);
  std::fill_n(padded_.begin(), kFilterReach, in[0]);
  std::fill_n(padded_.begin() + kFilterReach + columns, kFilterReach, in[columns - 1]);
  const int16_t* shifted[kFilterTaps];
  for (int j = 0; j < kFilterTaps; ++j) shifted[j] = padded_.data() + j;
  kernels_.mix(shifted, filter_.taps, kFilterTaps, filter_.row_shift, columns, along(grid_row));
}

void FilteredRows::row(int r, int16_t* out) {
  const int last_row = grid_.rows() - 1;
  // Rows before the first that is needed are never computed, so a reader may start anywhere.
  newest_ = std::max(newest_, std::max(r - kFilterReach, 0) - 1);
  while (newest_ < std::min(r + kFilterReach, last_row)) filter_along(++newest_);
  const int16_t* mixed[kFilterTaps];
  for (int j = 0; j < kFilterTaps; ++j)
    mixed[j] = along(std::clamp(r - kFilterReach + j, 0, last_row));
  kernels_.mix(mixed, filter_.taps, kFilterTaps, filter_.column_shift, grid_.columns(), out);
}

}  // namespace coolchic
