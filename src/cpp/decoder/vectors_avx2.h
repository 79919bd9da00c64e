// Vectors of sixteen 16-bit integers for kernels_inl.h, by AVX2.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define COOLCHIC_INLINE static inline __attribute__((always_inline))

namespace coolchic {
namespace {

constexpr int kLanes = 16;

using Vec = __m256i;
using Factor = __m256i;  // a pair of weights in every 32-bit element
using Shift = __m256i;

// Two vectors interleaved, as multiplying pairs wants them: the order of values is that of
// the instructions, within halves of 128 bits, and narrow() undoes it.
struct Pair {
  __m256i lo, hi;
};

// A 32-bit value for each of the sixteen, in the order of a Pair.
struct Sum {
  __m256i lo, hi;
};

COOLCHIC_INLINE Vec load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
COOLCHIC_INLINE void store(void* p, Vec v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
COOLCHIC_INLINE Vec zero() { return _mm256_setzero_si256(); }
COOLCHIC_INLINE Vec broadcast(int v) { return _mm256_set1_epi16(static_cast<int16_t>(v)); }
COOLCHIC_INLINE Vec add(Vec a, Vec b) { return _mm256_add_epi16(a, b); }
COOLCHIC_INLINE Vec bit_or(Vec a, Vec b) { return _mm256_or_si256(a, b); }
COOLCHIC_INLINE Vec bit_and(Vec a, Vec b) { return _mm256_and_si256(a, b); }
COOLCHIC_INLINE Vec min(Vec a, Vec b) { return _mm256_min_epi16(a, b); }
COOLCHIC_INLINE Vec max(Vec a, Vec b) { return _mm256_max_epi16(a, b); }
COOLCHIC_INLINE Vec shift_left_4(Vec v) { return _mm256_slli_epi16(v, 4); }
COOLCHIC_INLINE bool all_zero(Vec v) { return _mm256_testz_si256(v, v); }
COOLCHIC_INLINE bool any_equal(Vec a, Vec b) {
  return _mm256_movemask_epi8(_mm256_cmpeq_epi16(a, b)) != 0;
}
// (v * by + 2^14) >> 15, by > 0: with by = 2^(15-n) a shift by n >= 1 that rounds.
COOLCHIC_INLINE Vec scale(Vec v, Vec by) { return _mm256_mulhrs_epi16(v, by); }

COOLCHIC_INLINE Pair pair(Vec a, Vec b) {
  return {_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)};
}
// GCC would take x from memory for each multiplication, which has loads enough with the weights.
COOLCHIC_INLINE Pair in_registers(Pair x) {
  asm("" : "+x"(x.lo), "+x"(x.hi));
  return x;
}
COOLCHIC_INLINE Factor factor(const int16_t* two) {
  int32_t both;
  memcpy(&both, two, sizeof both);
  return _mm256_set1_epi32(both);
}
COOLCHIC_INLINE Sum sum_of(int32_t v) { return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)}; }
COOLCHIC_INLINE void multiply_add(Sum& s, const Pair& x, Factor w) {
  s.lo = _mm256_add_epi32(s.lo, _mm256_madd_epi16(x.lo, w));
  s.hi = _mm256_add_epi32(s.hi, _mm256_madd_epi16(x.hi, w));
  // GCC would sum the products in another order, hold all weights at once and spill the rest.
  asm("" : "+x"(s.lo), "+x"(s.hi));
}
COOLCHIC_INLINE Shift shift_by(int n) { return _mm256_set1_epi32(n); }
// sat16(s >> n), in the order of the values.
COOLCHIC_INLINE Vec narrow(const Sum& s, Shift n) {
  return _mm256_packs_epi32(_mm256_srav_epi32(s.lo, n), _mm256_srav_epi32(s.hi, n));
}
// a[0] b[0] a[1] b[1] …
COOLCHIC_INLINE void zip(Vec a, Vec b, Vec* first, Vec* second) {
  const Pair p = pair(a, b);
  *first = _mm256_permute2x128_si256(p.lo, p.hi, 0x20);
  *second = _mm256_permute2x128_si256(p.lo, p.hi, 0x31);
}

// The first of eight values to the first 32-bit element that is set, and so on; the others get
// anything.
COOLCHIC_INLINE __m256i give_to(__m256i set, __m256i values) {
  // Minus how many are set, up to and with each element: in halves, then of the whole.
  __m256i sum = _mm256_add_epi32(set, _mm256_slli_si256(set, 4));
  sum = _mm256_add_epi32(sum, _mm256_slli_si256(sum, 8));
  const __m256i all = _mm256_shuffle_epi32(sum, 0xff);
  sum = _mm256_add_epi32(sum, _mm256_permute2x128_si256(all, all, 0x08));
  return _mm256_permutevar8x32_epi32(values, _mm256_sub_epi32(set, sum));
}

}  // namespace
}  // namespace coolchic
