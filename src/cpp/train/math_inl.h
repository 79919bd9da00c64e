// Elementary functions of vectors, to about one unit in the last place.
#pragma once

#include "simd.h"

namespace coolchic::train {
namespace {

struct Exp {
  Vec value;      // exp(x)
  Vec minus_one;  // exp(x) - 1, accurate near x = 0
};

// For -87 <= x <= 87. Cephes' polynomial; adding 1.5 * 2^23 rounds to an integer.
COOLCHIC_INLINE Exp exp(Vec x) {
  const Vec magic = broadcast(12582912.f);
  const Vec shifted = x * 1.44269504f + magic;
  const Vec n = shifted - magic;
  const Vec f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = f * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  const Vec minus_one = p * (f * f) + f;
  const Vec power = (Vec)(((IntVec)shifted - (IntVec)magic + 127) << 23);
  return {minus_one * power + power, minus_one * power + (power - 1.f)};
}

// For normal x > 0. Cephes' polynomial.
COOLCHIC_INLINE Vec log2(Vec x) {
  const IntVec bits = (IntVec)x;
  const IntVec exponent = (bits - 0x3f3504f3) >> 23;  // mantissa in sqrt(1/2) ... sqrt(2)
  const Vec m = (Vec)(bits - (exponent << 23)) - 1.f;
  Vec p = m * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const Vec z = m * m;
  const Vec natural = p * m * z - 0.5f * z + m;
  return natural * 1.44269504f + __builtin_convertvector(exponent, Vec);
}

// floor: the largest integer that is not above x. round: the nearest one, halves to the even
// one, as torch.round. Floats from 2^23 on are integers themselves.
#if defined(__AVX512F__) && COOLCHIC_LANES == 16
COOLCHIC_INLINE Vec floor(Vec x) { return (Vec)_mm512_roundscale_ps((__m512)x, 1); }
COOLCHIC_INLINE Vec round(Vec x) { return (Vec)_mm512_roundscale_ps((__m512)x, 0); }
#elif defined(__AVX__) && COOLCHIC_LANES == 8
COOLCHIC_INLINE Vec floor(Vec x) { return (Vec)_mm256_round_ps((__m256)x, 1); }
COOLCHIC_INLINE Vec round(Vec x) { return (Vec)_mm256_round_ps((__m256)x, 0); }
#elif defined(__aarch64__) && COOLCHIC_LANES == 4
COOLCHIC_INLINE Vec floor(Vec x) { return (Vec)vrndmq_f32((float32x4_t)x); }
COOLCHIC_INLINE Vec round(Vec x) { return (Vec)vrndnq_f32((float32x4_t)x); }
#else
COOLCHIC_INLINE Vec round(Vec x) {
  const Vec magnitude = abs(x);
  const Vec rounded = flip_sign((magnitude + 8388608.f) - 8388608.f, sign_bit(x));
  return magnitude < 8388608.f ? rounded : x;
}
COOLCHIC_INLINE Vec floor(Vec x) {
  const Vec nearest = round(x);
  return nearest > x ? nearest - 1.f : nearest;
}
#endif

}  // namespace
}  // namespace coolchic::train
