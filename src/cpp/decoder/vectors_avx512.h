// Vectors of thirty-two 16-bit integers for kernels_inl.h, by AVX-512 with VNNI.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define COOLCHIC_INLINE static inline __attribute__((always_inline))

namespace coolchic {
namespace {

constexpr int kLanes = 32;

using Vec = __m512i;
using Factor = __m512i;  // a pair of weights in every 32-bit element
using Shift = __m512i;

// Two vectors interleaved, as multiplying pairs wants them: the order of values is that of
// the instructions, within quarters of 128 bits, and narrow() undoes it.
struct Pair {
  __m512i lo, hi;
};

// A 32-bit value for each of the thirty-two, in the order of a Pair.
struct Sum {
  __m512i lo, hi;
};

COOLCHIC_INLINE Vec load(const void* p) { return _mm512_loadu_si512(p); }
COOLCHIC_INLINE void store(void* p, Vec v) { _mm512_storeu_si512(p, v); }
COOLCHIC_INLINE Vec zero() { return _mm512_setzero_si512(); }
COOLCHIC_INLINE Vec broadcast(int v) { return _mm512_set1_epi16(static_cast<int16_t>(v)); }
COOLCHIC_INLINE Vec add(Vec a, Vec b) { return _mm512_add_epi16(a, b); }
COOLCHIC_INLINE Vec bit_or(Vec a, Vec b) { return _mm512_or_si512(a, b); }
COOLCHIC_INLINE Vec bit_and(Vec a, Vec b) { return _mm512_and_si512(a, b); }
COOLCHIC_INLINE Vec min(Vec a, Vec b) { return _mm512_min_epi16(a, b); }
COOLCHIC_INLINE Vec max(Vec a, Vec b) { return _mm512_max_epi16(a, b); }
COOLCHIC_INLINE Vec shift_left_4(Vec v) { return _mm512_slli_epi16(v, 4); }
COOLCHIC_INLINE bool all_zero(Vec v) { return _mm512_test_epi16_mask(v, v) == 0; }
COOLCHIC_INLINE bool any_equal(Vec a, Vec b) { return _mm512_cmpeq_epi16_mask(a, b) != 0; }
// (v * by + 2^14) >> 15, by > 0: with by = 2^(15-n) a shift by n >= 1 that rounds.
COOLCHIC_INLINE Vec scale(Vec v, Vec by) { return _mm512_mulhrs_epi16(v, by); }

COOLCHIC_INLINE Pair pair(Vec a, Vec b) {
  return {_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)};
}
COOLCHIC_INLINE Pair in_registers(Pair x) { return x; }
COOLCHIC_INLINE Factor factor(const int16_t* two) {
  int32_t both;
  memcpy(&both, two, sizeof both);
  return _mm512_set1_epi32(both);
}
COOLCHIC_INLINE Sum sum_of(int32_t v) { return {_mm512_set1_epi32(v), _mm512_set1_epi32(v)}; }
COOLCHIC_INLINE void multiply_add(Sum& s, const Pair& x, Factor w) {
  s.lo = _mm512_dpwssd_epi32(s.lo, x.lo, w);
  s.hi = _mm512_dpwssd_epi32(s.hi, x.hi, w);
}
COOLCHIC_INLINE Shift shift_by(int n) { return _mm512_set1_epi32(n); }
// sat16(s >> n), in the order of the values.
COOLCHIC_INLINE Vec narrow(const Sum& s, Shift n) {
  return _mm512_packs_epi32(_mm512_srav_epi32(s.lo, n), _mm512_srav_epi32(s.hi, n));
}
// a[0] b[0] a[1] b[1] …: quarters 0 and 1 of both halves of the pair, then 2 and 3.
COOLCHIC_INLINE void zip(Vec a, Vec b, Vec* first, Vec* second) {
  const Pair p = pair(a, b);
  *first = _mm512_permutex2var_epi64(p.lo, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), p.hi);
  *second = _mm512_permutex2var_epi64(p.lo, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), p.hi);
}

// The first of eight values to the first 32-bit element that is set, and so on; the others get
// anything.
COOLCHIC_INLINE __m256i give_to(__m256i set, __m256i values) {
  return _mm256_maskz_expand_epi32(_mm256_movepi32_mask(set), values);
}

}  // namespace
}  // namespace coolchic
