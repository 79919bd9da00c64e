#include "encoder/latent_search.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "decoder/kernels.h"
#include "decoder/latents.h"
#include "decoder/subbands.h"
#include "decoder/synthesis.h"
#include "decoder/thread_pool.h"
#include "encoder/walk.h"

namespace coolchic {
namespace {

constexpr int kBandRows = 64;  // of a task
// Cells of the grids that are enlarged by bicubic interpolation: rows and columns, and those of
// them before the latent. Enlarging and filtering reach farther, but hardly weigh anything there.
constexpr int kCoarseCell = 6, kCoarseBefore = 2;
constexpr int kNoTry = -1;

// Where the other latent of a pair is: rows below and columns to the right.
struct Offset {
  int rows, columns;
};
constexpr Offset kAlone{0, 0};
constexpr Offset kPairs[] = {{0, 1}, {1, 0}, {1, 1}, {1, -1}};

// Rows and columns of a plane before what belongs to a latent.
struct Margin {
  int above, left;
};

// Latents so far apart that each has a neighbourhood of its own, a cell, for what a change of it
// changes, and a change of the other one of its pair. All latents of a phase are tried at once.
struct CellShape {
  int rows, columns;
  Margin pixels, latents;  // with which cells begin, in pixels and in latents of the same size
  bool exact;              // nothing outside a cell changes
};

CellShape cell_of_one(const Architecture& a, int grid) {
  const int level = a.level(grid);
  if (level > 0 && grid >= a.subbands()) {
    const int before = kCoarseBefore << level;
    return {kCoarseCell, kCoarseCell, {before, before}, {kCoarseBefore, kCoarseBefore}, false};
  }
  int before = 0, below = 0, left = 0, right = 0;
  for (const Layer& l : a.synthesis) before += l.convolution;
  int pixels = 2 * before + 1;
  if (level > 0) {  // a kernel's taps, of which the left half is before the latent's second pixel
    before += kSubbandTaps - 1;
    pixels += 2 * kSubbandTaps - 1;
  }
  for (const Position& p : a.context) {
    below = std::max(below, p.dr);
    left = std::max(left, p.dc);
    right = std::max(right, -p.dc);
  }
  const int side = (pixels + (1 << level) - 1) >> level;
  return {std::max(side, below + 1),
          std::max(side, left + 1 + right),
          {before, before},
          {0, left},
          true};
}

CellShape cell_shape(const Architecture& a, int grid, Offset other) {
  CellShape cell = cell_of_one(a, grid);
  cell.rows += other.rows;
  cell.columns += std::abs(other.columns);
  const int left = std::max(0, -other.columns);
  cell.latents.left += left;
  cell.pixels.left += left << a.level(grid);
  return cell;
}

// Places of latents of a grid, row after row, that change together: one, two, or none.
struct Move {
  size_t places[2];
  int count;
};

// The moves of a phase, one in each cell: of latents of rows first_row, first_row + cell.rows, …
struct Phase {
  CellShape cell;
  int first_row, first_column;
  int rows, columns;
  bool pairs;
  std::vector<Move> moves;

  Phase(const CellShape& c, Offset other, int row, int column, const Grid& grid)
      : cell(c),
        first_row(row),
        first_column(column),
        rows(std::max(0, (grid.rows() - row + c.rows - 1) / c.rows)),
        columns(std::max(0, (grid.columns() - column + c.columns - 1) / c.columns)),
        pairs(other.rows != 0 || other.columns != 0) {
    const auto place = [&](int r, int c) { return static_cast<size_t>(r) * grid.columns() + c; };
    for (int r = row; r < grid.rows(); r += cell.rows)
      for (int c = column; c < grid.columns(); c += cell.columns) {
        const int r2 = r + other.rows, c2 = c + other.columns;
        const bool inside = r2 < grid.rows() && c2 >= 0 && c2 < grid.columns();
        moves.push_back({{place(r, c), inside ? place(r2, c2) : 0}, !pairs ? 1 : inside ? 2 : 0});
      }
  }

  int size() const { return static_cast<int>(moves.size()); }
};

// Of each move, the values of its latents.
using Values = std::vector<std::array<int16_t, 2>>;

// Rows, or columns, of a plane by the cells that they are in: n of them, of which cell 0 begins
// with number `start`, and each takes `size`.
struct Cells {
  int n, start, size;

  // In a plane 2^shift times as fine as a grid, of which cells take `cell` rows, and begin `before`
  // rows of the plane before row `first` of the grid.
  Cells(int count, int shift, int first, int before, int cell)
      : n(count), start((first << shift) - before), size(cell << shift) {}

  int begin(int cell) const { return std::clamp(start + cell * size, 0, n); }
  int end(int cell) const { return begin(cell + 1); }
};

// Costs of all pixels and latents.
struct Costs {
  std::vector<int32_t> errors;           // squared, of each pixel, summed over channels
  std::vector<std::vector<float>> bits;  // of each grid's latents; empty if it is all zero
};

class Search {
 public:
  Search(const Model& model, const uint8_t* image, const std::vector<std::vector<float>>& unrounded,
         const SearchSettings& settings, std::vector<Grid>* latents)
      : model_(model),
        image_(image),
        unrounded_(unrounded),
        settings_(settings),
        latents_(*latents),
        pool_(settings.threads),
        samples_(model.header.pixels() * model.header.channels),
        changed_(unrounded.empty() ? 2 : 1) {
    const int grids = static_cast<int>(latents_.size());
    now_.errors.resize(model.header.pixels());
    now_.bits.resize(grids);
    sides_.resize(grids);
    for (int k = 0; k < grids; ++k)
      if (!is_zero(latents_[k]))
        now_.bits[k].resize(static_cast<size_t>(latents_[k].rows()) * latents_[k].columns());
    std::fill(changed_.begin(), changed_.end(), now_);
  }

  void run() {
    measure_errors(&now_);
    const int grids = static_cast<int>(latents_.size());
    for (int k = 0; k < grids; ++k) measure_bits(k, &now_);
    // Subbands count as one grid.
    const int searched = settings_.grids + model_.header.architecture.siblings();
    bool improved = true;
    for (int round = 0; improved && round < settings_.rounds; ++round) {
      improved = false;
      for (int k = 0; k < std::min(searched, grids); ++k) {
        if (now_.bits[k].empty()) continue;
        sides_[k].resize(now_.bits[k].size());
        improved |= improve_all(k, kAlone);
        // By the search's own sums, pairs of subbands give less than half as much as the others.
        if (!settings_.pairs || k < model_.header.architecture.subbands()) continue;
        for (const Offset& other : kPairs) improved |= improve_all(k, other);
      }
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

  // Calls visit(cell, first, last, price, plane) for every row of a plane within every cell, as
  // far as a change of grid k changes it: places `first` to `last` of the plane that the function
  // `plane` finds among costs, where a unit costs `price`.
  template <class Visit>
  void for_each_row_of_cells(int k, const Phase& phase, Visit visit) {
    const Header& h = model_.header;
    const CellShape& cell = phase.cell;
    const auto go_through = [&](int level, const Margin& margin, double price, auto plane) {
      const int shift = h.architecture.level(k) - level;
      const Cells rows(h.rows_at(level), shift, phase.first_row, margin.above, cell.rows);
      const Cells columns(h.columns_at(level), shift, phase.first_column, margin.left,
                          cell.columns);
      pool_.run(phase.rows, [&](int r) {
        for (int y = rows.begin(r); y < rows.end(r); ++y) {
          const size_t row = static_cast<size_t>(y) * columns.n;
          for (int c = 0; c < phase.columns; ++c)
            visit(r * phase.columns + c, row + columns.begin(c), row + columns.end(c), price,
                  plane);
        }
      });
    };
    go_through(0, cell.pixels, 1, [](auto& costs) -> auto& { return costs.errors; });
    for (int grid : dependents(k)) {
      if (now_.bits[grid].empty()) continue;
      const int level = h.architecture.level(grid), shift = h.architecture.level(k) - level;
      go_through(level, {cell.latents.above << shift, cell.latents.left << shift},
                 settings_.bit_price, [grid](auto& costs) -> auto& { return costs.bits[grid]; });
    }
  }

  // Of each cell, what costs differ by from those of now.
  std::vector<double> differences(int k, const Phase& phase, const Costs& costs) {
    std::vector<double> sums(phase.size());
    for_each_row_of_cells(k, phase,
                          [&](int cell, size_t first, size_t last, double price, auto plane) {
                            const auto* changed = plane(costs).data();
                            const auto* now = plane(now_).data();
                            double sum = 0;
                            for (size_t i = first; i < last; ++i) sum += changed[i] - now[i];
                            sums[cell] += price * sum;
                          });
    return sums;
  }

  // Makes a try's costs those of now, in the cells for which it is the best.
  void adopt(int k, const Phase& phase, const Costs& costs, const std::vector<int>& best_try,
             int number) {
    for_each_row_of_cells(k, phase, [&](int cell, size_t first, size_t last, double, auto plane) {
      if (best_try[cell] != number) return;
      const auto* changed = plane(costs).data();
      std::copy(changed + first, changed + last, plane(now_).data() + first);
    });
  }

  // Of the whole file, as far as a change of grid k changes it.
  double total(int k, const Costs& costs) const {
    double sum = 0;
    for (int32_t e : costs.errors) sum += e;
    for (int grid : dependents(k))
      for (float b : costs.bits[grid]) sum += settings_.bit_price * b;
    return sum;
  }

  Values values(int k, const Phase& phase) {
    Values out(phase.moves.size());
    for (size_t i = 0; i < out.size(); ++i)
      for (int j = 0; j < phase.moves[i].count; ++j)
        out[i][j] = latents_[k].row(0)[phase.moves[i].places[j]];
    return out;
  }

  void set(int k, const Phase& phase, const Values& values) {
    for (size_t i = 0; i < values.size(); ++i)
      for (int j = 0; j < phase.moves[i].count; ++j)
        latents_[k].row(0)[phase.moves[i].places[j]] = values[i][j];
  }

  // Other values of the phase's latents: those on the sides where they were before they were
  // rounded, or all on one side, then all on the other; of pairs, those on their better sides.
  std::vector<Values> tries(int k, const Phase& phase) {
    std::vector<Values> all(phase.pairs ? 1 : changed_.size(), values(k, phase));
    for (size_t t = 0; t < all.size(); ++t)
      for (size_t i = 0; i < phase.moves.size(); ++i)
        for (int j = 0; j < phase.moves[i].count; ++j) {
          const size_t place = phase.moves[i].places[j];
          int16_t& value = all[t][i][j];
          int change = t == 0 ? 1 : -1;
          if (!unrounded_.empty())
            change = (unrounded_[k][place] > value) - (unrounded_[k][place] < value);
          else if (phase.pairs)
            change = sides_[k][place];
          value = static_cast<int16_t>(std::clamp(value + change, kMinLatent, kMaxLatent));
        }
    return all;
  }

  // Which of two sides is the better one for latents that stay as they are.
  void remember_sides(int k, const Phase& phase, const std::vector<double>& above,
                      const std::vector<double>& below, const std::vector<int>& best_try) {
    for (int i = 0; i < phase.size(); ++i)
      sides_[k][phase.moves[i].places[0]] = best_try[i] != kNoTry ? 0
                                            : above[i] < below[i] ? 1
                                                                  : -1;
  }

  // All phases of a grid, of single latents or of pairs. Whether a change pays.
  bool improve_all(int k, Offset other) {
    bool improved = false;
    const CellShape cell = cell_shape(model_.header.architecture, k, other);
    for (int row = 0; row < cell.rows; ++row)
      for (int column = 0; column < cell.columns; ++column)
        improved |= improve(k, Phase(cell, other, row, column, latents_[k]));
    return improved;
  }

  // Tries other values of the phase's latents, and keeps those that pay. Whether there are any.
  bool improve(int k, const Phase& phase) {
    const Values before = values(k, phase);
    Values best_values = before;
    std::vector<double> best(phase.size(), 0.0);
    std::vector<int> best_try(phase.size(), kNoTry);
    const std::vector<Values> others = tries(k, phase);
    const int count = static_cast<int>(others.size());
    std::vector<std::vector<double>> sums(count, std::vector<double>(phase.size()));
    for (int t = 0; t < count; ++t) {
      if (others[t] == before) continue;
      set(k, phase, others[t]);
      measure(k, &changed_[t]);
      sums[t] = differences(k, phase, changed_[t]);
      for (int i = 0; i < phase.size(); ++i)
        if (sums[t][i] < best[i]) {
          best[i] = sums[t][i];
          best_try[i] = t;
          best_values[i] = others[t][i];
        }
    }
    if (count == 2) remember_sides(k, phase, sums[0], sums[1], best_try);
    set(k, phase, best_values);
    if (best_values == before) return false;
    if (phase.cell.exact) {
      for (int t = 0; t < count; ++t) adopt(k, phase, changed_[t], best_try, t);
      return true;
    }
    Costs& costs = changed_[0];
    measure(k, &costs);
    if (total(k, costs) < total(k, now_)) {
      std::swap(now_.errors, costs.errors);
      for (int dependent : dependents(k)) std::swap(now_.bits[dependent], costs.bits[dependent]);
      return true;
    }
    set(k, phase, before);  // cells reached into each other
    return false;
  }

  const Model& model_;
  const uint8_t* image_;
  const std::vector<std::vector<float>>& unrounded_;
  const SearchSettings& settings_;
  std::vector<Grid>& latents_;
  ThreadPool pool_;
  std::vector<uint8_t> samples_;
  Costs now_;
  std::vector<Costs> changed_;              // by each try
  std::vector<std::vector<int8_t>> sides_;  // of each grid's latents: 1, -1, or 0, not known
};

}  // namespace

void search_latents(const Model& model, const uint8_t* image,
                    const std::vector<std::vector<float>>& unrounded,
                    const SearchSettings& settings, std::vector<Grid>* latents) {
  Search(model, image, unrounded, settings, latents).run();
}

}  // namespace coolchic
