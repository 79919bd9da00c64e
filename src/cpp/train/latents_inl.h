// The passes over the latents before and after the networks: quantisation proxy with its
// noise and the columns' enlargements; the adjoints' ends, chain rule and Adam.
#pragma once

#include "enlarged_gradient_inl.h"
#include "filters_inl.h"
#include "math_inl.h"
#include "parents_inl.h"
#include "upsampling_inl.h"

namespace coolchic::train {
namespace {

// Mixes a counter into 32 random bits (after Wellons' lowbias32). The second key goes in
// between, so that the sequences of two keys are not shifts of each other.
COOLCHIC_INLINE UintVec random_bits(UintVec counter, NoiseKey key) {
  UintVec x = counter * 0x9e3779b9u + key.first;
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= (x >> 15) + key.second;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

// In -0.5 ... 0.5, without the upper bound.
COOLCHIC_INLINE Vec uniform_noise(UintVec counter, NoiseKey key) {
  return (Vec)((random_bits(counter, key) >> 9) | 0x3f800000u) - 1.5f;
}

struct ValueSlope {
  Vec value, slope;
};

// floor(y) + 0.5 + tanh((y - floor(y) - 0.5) / T) / (2 tanh(0.5 / T)) and its derivative.
COOLCHIC_INLINE ValueSlope soft_round(Vec y, float inverse_temperature, float inverse_scale) {
  const Vec low = floor(y);
  const Vec t = (y - low - 0.5f) * inverse_temperature;
  const Exp e = exp(-2.f * min(abs(t), broadcast(40.f)));  // tanh(|t|) = (1 - e) / (1 + e)
  const Vec inverse = 1.f / (1.f + e.value);
  const Vec tanh = flip_sign(-e.minus_one * inverse, sign_bit(t));
  return {low + 0.5f + tanh * inverse_scale,
          4.f * e.value * inverse * inverse * (inverse_scale * inverse_temperature)};
}

// Of a uniform distribution, over its standard deviation: the root of 12.
constexpr float kUniformWidth = 3.46410162f;

struct SoftRounding {
  float inverse_temperature, inverse_scale, noise_width;
};

// Only of use to Proxy::kSoftRound; the temperature may be zero for the others.
SoftRounding soft_rounding(float temperature, float sigma) {
  const float inverse = 1.f / temperature;
  const Vec t = broadcast(inverse < 80.f ? 0.5f * inverse : 40.f);
  const Exp e = exp(-2.f * t);
  const Vec inverse_scale = 0.5f * (1.f + e.value) / -e.minus_one;
  return {inverse, inverse_scale[0], kUniformWidth * sigma};
}

COOLCHIC_INLINE UintVec counters(const Grid& g, int row, int x) {
  return (UintVec)lane_numbers() +
         (static_cast<uint32_t>(row) * static_cast<uint32_t>(g.width) + static_cast<uint32_t>(x));
}

// One loop for each step: the steps' chains of operations are long, and the processor
// overlaps the iterations of short loops better. Values beyond the width are garbage here.
void soft_round_row(const ProxyRows& p, const SoftRounding& s, int row, float* value,
                    float* slope) {
  const int width = p.grid->width;
  for (int x = 0; x < width; x += kLanes) {
    const ValueSlope v = soft_round(load(value + x), s.inverse_temperature, s.inverse_scale);
    const Vec noise = uniform_noise(counters(*p.grid, row, x), p.key) * s.noise_width;
    store(value + x, v.value + noise);
    store(slope + x, v.slope);
  }
  for (int x = 0; x < width; x += kLanes) {
    const ValueSlope v = soft_round(load(value + x), s.inverse_temperature, s.inverse_scale);
    store(value + x, v.value);
    store(slope + x, load(slope + x) * v.slope);
  }
}

template <class Function>
COOLCHIC_INLINE void replace_row(float* value, int width, Function function) {
  for (int x = 0; x < width; x += kLanes) store(value + x, function(load(value + x), x));
}

void proxy_row(const ProxyRows& p, const SoftRounding& s, int row) {
  const Grid& g = *p.grid;
  float* value = g.value + row * g.stride;
  memcpy(value, g.latent + static_cast<ptrdiff_t>(row) * g.width,
         sizeof(float) * static_cast<size_t>(g.width));
  switch (p.proxy) {
    case Proxy::kGiven:
      break;
    case Proxy::kNoise:
      replace_row(value, g.width, [&](Vec y, int x) __attribute__((always_inline)) {
        return y + uniform_noise(counters(g, row, x), p.key);
      });
      break;
    case Proxy::kSoftRound:
      soft_round_row(p, s, row, value, g.slope + row * g.stride);
      break;
    case Proxy::kHard:
      replace_row(value, g.width,
                  [](Vec y, int) __attribute__((always_inline)) { return round(y); });
      break;
  }
  // The last vector may reach beyond the grid, where values are zero.
  memset(value + g.width, 0, sizeof(float) * kLanes);
}

void enlarge_proxy_row(const ProxyRows& p, const Enlargement* e, int row, const Workspace& work) {
  if (!e) return;
  enlarge_columns(*e, p.grid->value + row * p.grid->stride, p.grid->width, work.row[0],
                  e->rows + row * e->stride);
}

void proxy_rows(const ProxyRows& p, const Workspace& work) {
  const SoftRounding s = soft_rounding(p.temperature, p.sigma);
  for (int row = p.first; row < p.last; ++row) {
    proxy_row(p, s, row);
    enlarge_proxy_row(p, p.enlargement, row, work);
    enlarge_proxy_row(p, p.doubling, row, work);
  }
}

// The band below writes its gradient of this row elsewhere; null if it does not reach it.
const float* halo_row(const UpdateRows& u, int row) {
  const int below = row / u.arm.height + 1;
  if (below >= u.arm.count) return nullptr;
  const int line = kMaxRowsAbove + row - u.arm.bands[below].first;
  return line < 0 ? nullptr : u.arm.bands[below].halo + line * u.grid->stride;
}

// other_gradient: by the row as another grid's input; null if it is none.
UpdateSums update_row(const UpdateRows& u, int row, const float* decode_gradient,
                      const float* other_gradient) {
  const Grid& g = *u.grid;
  const ptrdiff_t offset = row * g.stride;
  const float* halo = halo_row(u, row);
  float* latent = g.latent + static_cast<ptrdiff_t>(row) * g.width;
  float* out = u.gradient ? u.gradient + static_cast<ptrdiff_t>(row) * g.width : nullptr;
  Vec product{}, square{};
  for (int x = 0; x < g.width; x += kLanes) {
    const int inside = g.width - x;
    Vec gradient = load_unaligned(decode_gradient + x) + load(g.arm_gradient + offset + x);
    if (halo) gradient += load(halo + x);
    if (other_gradient) gradient += load(other_gradient + x);
    if (u.use_slope) gradient *= load(g.slope + offset + x);
    const Vec before =
        inside >= kLanes ? load_unaligned(latent + x) : load_first(latent + x, inside);
    // What is beyond the row in `gradient` need not be a number.
    product += inside >= kLanes ? before * gradient : before * first_lanes(gradient, inside);
    if (out) {
      inside >= kLanes ? store_unaligned(out + x, gradient)
                       : store_first(out + x, gradient, inside);
      continue;
    }
    Vec mean = load(g.mean + offset + x), variance = load(g.variance + offset + x);
    mean += (gradient - mean) * (1.f - u.beta1);
    variance = variance * u.beta2 + gradient * gradient * (1.f - u.beta2);
    store(g.mean + offset + x, mean);
    store(g.variance + offset + x, variance);
    square += inside >= kLanes ? variance : first_lanes(variance, inside);
    const Vec change = u.step_size * mean / (sqrt(variance) * u.own_scale + u.shared_root);
    inside >= kLanes ? store_unaligned(latent + x, before - change)
                     : store_first(latent + x, before - change, inside);
  }
  return {sum(product), sum(square)};
}

void update_rows(const UpdateRows& u, const Workspace& work) {
  UpdateSums sums{};
  for (int row = u.first; row < u.last; ++row) {
    const float* by_decoder = u.grid->decode_gradient + row * u.grid->stride;
    if (u.taps) {
      filter_columns_adjoint(*u.grid, u.taps, row, work.row[0] + kRowMargin);
      by_decoder = work.row[0] + kRowMargin;
    } else if (u.enlarged.enlargement) {
      collect_row(u.enlarged, row, work.full_row);
      enlarge_columns_adjoint(*u.enlarged.enlargement, work.full_row, u.grid->width, work.row[0]);
      by_decoder = work.row[0] + kRowMargin;
    }
    const float* by_others = nullptr;
    if (u.doubling) {
      collect_parent_gradient(u, row, work.full_row);
      enlarge_columns_adjoint(*u.doubling, work.full_row, u.grid->width, work.row[1]);
      by_others = work.row[1] + kRowMargin;
    } else if (u.child_count + u.later_count > 0) {
      collect_subbands_gradient(u, row, work.row[1] + kRowMargin);
      by_others = work.row[1] + kRowMargin;
    }
    const UpdateSums row_sums = update_row(u, row, by_decoder, by_others);
    sums.product += row_sums.product;
    sums.square += row_sums.square;
  }
  u.sums->product = sums.product;
  if (!u.gradient) u.sums->square = sums.square;
}

}  // namespace
}  // namespace coolchic::train
