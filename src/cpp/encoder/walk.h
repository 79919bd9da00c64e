// Grids as the coder goes through them, with the distributions that the decoder will find.
#pragma once

#include <cstdint>
#include <vector>

#include "decoder/grid.h"
#include "decoder/latents_layout.h"
#include "decoder/surroundings.h"
#include "decoder/wavefront.h"
#include "encoder/encode.h"

namespace coolchic {

// Whether a grid is all zero, and so takes no bits.
bool is_zero(const Grid& grid);

// Bits of the symbol, and of the escape if there is one, that codes residual d by row `row` of
// kLaplace.cdf.
double symbol_bits(int row, int32_t d);

// Calls visit(step, predictor, residuals) for every wavefront step of a band, in order.
template <class Visit>
void walk(const Model& model, const std::vector<Grid>& latents, const Band& band, Visit visit) {
  const Grid& grid = latents[band.grid];
  const Kernels& kernels = *find_kernels("auto");
  const Context context(model.header.architecture);
  const Network arm(model.weights.arm(band.grid));
  Wavefront wavefront(kernels, context, grid, band.first_row, band.rows);
  Surroundings surroundings(kernels, model.header.architecture, context, latents, band.grid,
                            band.first_row, band.rows);
  Predictor predictor(kernels, context, arm, model.weights.precision.arm, band.rows);
  std::vector<int32_t> residuals(band.rows);
  for (int t = 0; t < wavefront.steps(); ++t) {
    const WavefrontStep step = wavefront.step(t);
    predictor.predict(wavefront, surroundings, step);
    wavefront.load(step);
    for (int j = 0; j < step.rows; ++j)
      residuals[j] = wavefront.values(step)[j] - predictor.means()[j];
    visit(step, predictor, residuals.data());
  }
}

}  // namespace coolchic
