#include "encoder/latent_search.h"

#include <algorithm>
#include <array>

#include "decoder/kernels.h"
#include "decoder/latents.h"
#include "decoder/synthesis.h"
#include "decoder/thread_pool.h"
#include "encoder/walk.h"

namespace coolchic {
namespace {

constexpr int kBandRows = 64;  // of a task
// Cells of the grids that are enlarged: rows and columns, and those of them before the latent.
// Enlarging and filtering reach farther, but hardly weigh anything there.
constexpr int kCoarseCell = 6, kCoarseBefore = 2;
constexpr std::array<int, 2> kChanges = {1, -1};

// Latents so far apart that each has a neighbourhood of its own, a cell, for what a change of it
// changes. All latents of a phase are tried at once.
struct CellShape {
  int rows, columns;
  int above, left;  // of them before the latent
};

// A grid that is not enlarged has cells of just what its changes reach.
CellShape cell_shape(const Architecture& a, int grid) {
  if (a.level(grid) > 0) return {kCoarseCell, kCoarseCell, kCoarseBefore, kCoarseBefore};
  int side = 0, below = 0, left = 0, right = 0;
  for (const Layer& l : a.synthesis) side += l.convolution;
  below = left = right = side;
  for (const Position& p : a.context) {
    below = std::max(below, p.dr);
    left = std::max(left, p.dc);
    right = std::max(right, -p.dc);
  }
  return {side + 1 + below, left + 1 + right, side, left};
}

// The latents of a phase: rows first_row, first_row + cell.rows, …
struct Phase {
  CellShape cell;
  int first_row, first_column;
  int rows, columns;

  Phase(const CellShape& c, int row, int column, const Grid& grid)
      : cell(c),
        first_row(row),
        first_column(column),
        rows(std::max(0, (grid.rows() - row + c.rows - 1) / c.rows)),
        columns(std::max(0, (grid.columns() - column + c.columns - 1) / c.columns)) {}

  int size() const { return rows * columns; }
  int16_t& latent(Grid& grid, int i) const {
    return grid.row(first_row + i / columns * cell.rows)[first_column + i % columns * cell.columns];
  }
};

// For each of n rows, or columns, of a plane 2^shift times as fine as a grid, the cell that it is
// in, of `count` that begin every `size` rows of the grid from `first` on; -1 if it is in none.
std::vector<int> cells_of(int n, int shift, int first, int size, int count) {
  std::vector<int> cells(n, -1);
  for (int i = 0; i < n; ++i) {
    const int from_first = (i >> shift) - first;
    if (from_first >= 0 && from_first / size < count) cells[i] = from_first / size;
  }
  return cells;
}

// Costs of all pixels and latents.
struct Costs {
  std::vector<int32_t> errors;           // squared, of each pixel, summed over channels
  std::vector<std::vector<float>> bits;  // of each grid's latents; empty if it is all zero
};

class Search {
 public:
  Search(const Model& model, const uint8_t* image, const SearchSettings& settings,
         std::vector<Grid>* latents)
      : model_(model),
        image_(image),
        settings_(settings),
        latents_(*latents),
        pool_(settings.threads),
        samples_(model.header.pixels() * model.header.channels) {
    const int grids = static_cast<int>(latents_.size());
    for (Costs* c : {&now_, &changed_}) {
      c->errors.resize(model.header.pixels());
      c->bits.resize(grids);
      for (int k = 0; k < grids; ++k)
        if (!is_zero(latents_[k]))
          c->bits[k].resize(static_cast<size_t>(latents_[k].rows()) * latents_[k].columns());
    }
  }

  void run() {
    measure_errors(&now_);
    const int grids = static_cast<int>(latents_.size());
    for (int k = 0; k < grids; ++k) measure_bits(k, &now_);
    // Subbands count as one grid.
    const int searched = settings_.grids + model_.header.architecture.siblings();
    for (int round = 0; round < settings_.rounds; ++round)
      for (int k = 0; k < std::min(searched, grids); ++k) {
        if (now_.bits[k].empty()) continue;
        const CellShape cell = cell_shape(model_.header.architecture, k);
        for (int row = 0; row < cell.rows; ++row)
          for (int column = 0; column < cell.columns; ++column)
            improve(k, Phase(cell, row, column, latents_[k]));
      }
  }

 private:
  // Squared errors of the latents as they are.
  void measure_errors(Costs* costs) {
    const Header& h = model_.header;
    const size_t stride = static_cast<size_t>(h.width) * h.channels;
    synthesise(h, model_.weights, latents_, 0, *find_kernels("auto"), pool_, samples_.data(),
               stride, nullptr);
    pool_.run((h.height + kBandRows - 1) / kBandRows, [&](int task) {
      const size_t first = size_t{static_cast<unsigned>(task)} * kBandRows * h.width;
      const size_t last = std::min<size_t>(first + size_t{kBandRows} * h.width, h.pixels());
      for (size_t i = first; i < last; ++i) {
        int32_t sum = 0;
        for (int c = 0; c < h.channels; ++c) {
          const int d = samples_[i * h.channels + c] - image_[i * h.channels + c];
          sum += d * d;
        }
        costs->errors[i] = sum;
      }
    });
  }

  // Bits of a grid's latents as they are.
  void measure_bits(int k, Costs* costs) {
    std::vector<float>& bits = costs->bits[k];
    if (bits.empty()) return;
    const Grid& grid = latents_[k];
    const int stagger = model_.header.architecture.stagger();
    pool_.run((grid.rows() + kBandRows - 1) / kBandRows, [&](int task) {
      const int first = task * kBandRows;
      const Band band{k, first, std::min(kBandRows, grid.rows() - first)};
      walk(model_, latents_, band,
           [&](const WavefrontStep& step, const Predictor& p, const int32_t* d) {
             for (int j = 0; j < step.rows; ++j) {
               const int row = step.first_row + j;
               const size_t at = static_cast<size_t>(first + row) * grid.columns();
               bits[at + step.t - stagger * row] =
                   static_cast<float>(symbol_bits(p.rows()[j], d[j]));
             }
           });
    });
  }

  // The grid itself and those whose latents' distributions depend on its own.
  std::vector<int> dependents(int k) const {
    const Architecture& a = model_.header.architecture;
    std::vector<int> grids = {k};
    for (int j = 0; j < k; ++j)
      if (k < a.subbands() || (a.parent(j) == k && !a.parents.empty())) grids.push_back(j);
    return grids;
  }

  // All that a change of grid k changes.
  void measure(int k, Costs* costs) {
    measure_errors(costs);
    for (int grid : dependents(k)) measure_bits(grid, costs);
  }

  // Adds to the sums of cells what the costs of a plane differ by from those of now.
  template <class T>
  static void add_differences(const std::vector<T>& changed, const std::vector<T>& now,
                              double price, const std::vector<int>& rows,
                              const std::vector<int>& columns, const Phase& phase,
                              std::vector<double>* sums) {
    for (size_t y = 0; y < rows.size(); ++y) {
      if (rows[y] < 0) continue;
      double* row = sums->data() + static_cast<size_t>(rows[y]) * phase.columns;
      const T* a = changed.data() + y * columns.size();
      const T* b = now.data() + y * columns.size();
      for (size_t x = 0; x < columns.size(); ++x)
        if (columns[x] >= 0) row[columns[x]] += price * (a[x] - b[x]);
    }
  }

  std::vector<double> differences(int k, const Phase& phase, const Costs& changed) const {
    const Header& h = model_.header;
    const CellShape& cell = phase.cell;
    std::vector<double> sums(phase.size());
    const auto add = [&](int level, const auto& a, const auto& b, double price) {
      const int shift = h.architecture.level(k) - level;
      const auto rows =
          cells_of(h.rows_at(level), shift, phase.first_row - cell.above, cell.rows, phase.rows);
      const auto columns = cells_of(h.columns_at(level), shift, phase.first_column - cell.left,
                                    cell.columns, phase.columns);
      add_differences(a, b, price, rows, columns, phase, &sums);
    };
    add(0, changed.errors, now_.errors, 1);
    for (int grid : dependents(k))
      if (!now_.bits[grid].empty())
        add(h.architecture.level(grid), changed.bits[grid], now_.bits[grid], settings_.bit_price);
    return sums;
  }

  // Of the whole file, as far as a change of grid k changes it.
  double total(int k, const Costs& costs) const {
    double sum = 0;
    for (int32_t e : costs.errors) sum += e;
    for (int grid : dependents(k))
      for (float b : costs.bits[grid]) sum += settings_.bit_price * b;
    return sum;
  }

  // Tries every change of the phase's latents, and makes those that pay.
  void improve(int k, const Phase& phase) {
    if (phase.size() == 0) return;
    Grid& grid = latents_[k];
    std::vector<int16_t> before(phase.size()), best_value(phase.size());
    for (int i = 0; i < phase.size(); ++i) before[i] = phase.latent(grid, i);
    best_value = before;
    std::vector<double> best(phase.size(), 0.0);
    for (int change : kChanges) {
      for (int i = 0; i < phase.size(); ++i)
        phase.latent(grid, i) =
            static_cast<int16_t>(std::clamp(before[i] + change, kMinLatent, kMaxLatent));
      Costs& costs = changed_;
      measure(k, &costs);
      const std::vector<double> sums = differences(k, phase, costs);
      for (int i = 0; i < phase.size(); ++i)
        if (sums[i] < best[i]) {
          best[i] = sums[i];
          best_value[i] = phase.latent(grid, i);
        }
    }
    bool any = false;
    for (int i = 0; i < phase.size(); ++i) {
      phase.latent(grid, i) = best_value[i];
      any |= best_value[i] != before[i];
    }
    if (!any) return;
    Costs& costs = changed_;
    measure(k, &costs);
    if (total(k, costs) < total(k, now_)) {
      std::swap(now_.errors, costs.errors);
      for (int dependent : dependents(k)) std::swap(now_.bits[dependent], costs.bits[dependent]);
      return;
    }
    // Cells reached into each other.
    for (int i = 0; i < phase.size(); ++i) phase.latent(grid, i) = before[i];
  }

  const Model& model_;
  const uint8_t* image_;
  const SearchSettings& settings_;
  std::vector<Grid>& latents_;
  ThreadPool pool_;
  std::vector<uint8_t> samples_;
  Costs now_;
  Costs changed_;
};

}  // namespace

void search_latents(const Model& model, const uint8_t* image, const SearchSettings& settings,
                    std::vector<Grid>* latents) {
  Search(model, image, settings, latents).run();
}

}  // namespace coolchic
