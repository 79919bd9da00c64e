// Vectors of eight 16-bit integers for kernels_inl.h, by NEON on arm64.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "rangecoder/range_lanes.h"

#define COOLCHIC_INLINE static inline __attribute__((always_inline))

namespace coolchic {
namespace {

constexpr int kLanes = 8;

using Vec = int16x8_t;
using Factor = int16x4_t;  // a pair of weights in the first two elements
using Shift = int32x4_t;

// Two vectors to be multiplied by a pair of weights: here there is nothing to interleave.
struct Pair {
  int16x8_t a, b;
};

struct Sum {
  int32x4_t lo, hi;
};

COOLCHIC_INLINE Vec load(const int16_t* p) { return vld1q_s16(p); }
COOLCHIC_INLINE void store(int16_t* p, Vec v) { vst1q_s16(p, v); }
COOLCHIC_INLINE void store(uint16_t* p, Vec v) { vst1q_u16(p, vreinterpretq_u16_s16(v)); }
COOLCHIC_INLINE Vec zero() { return vdupq_n_s16(0); }
COOLCHIC_INLINE Vec broadcast(int v) { return vdupq_n_s16(static_cast<int16_t>(v)); }
COOLCHIC_INLINE Vec add(Vec a, Vec b) { return vaddq_s16(a, b); }
COOLCHIC_INLINE Vec bit_or(Vec a, Vec b) { return vorrq_s16(a, b); }
COOLCHIC_INLINE Vec bit_and(Vec a, Vec b) { return vandq_s16(a, b); }
COOLCHIC_INLINE Vec min(Vec a, Vec b) { return vminq_s16(a, b); }
COOLCHIC_INLINE Vec max(Vec a, Vec b) { return vmaxq_s16(a, b); }
COOLCHIC_INLINE Vec shift_left_4(Vec v) { return vshlq_n_s16(v, 4); }
COOLCHIC_INLINE bool all_zero(Vec v) { return vmaxvq_u16(vreinterpretq_u16_s16(v)) == 0; }
COOLCHIC_INLINE bool any_equal(Vec a, Vec b) { return vmaxvq_u16(vceqq_s16(a, b)) != 0; }
// (v * by + 2^14) >> 15, by > 0: with by = 2^(15-n) a shift by n >= 1 that rounds.
COOLCHIC_INLINE Vec scale(Vec v, Vec by) { return vqrdmulhq_s16(v, by); }

COOLCHIC_INLINE Pair pair(Vec a, Vec b) { return {a, b}; }
COOLCHIC_INLINE Pair in_registers(Pair x) { return x; }
COOLCHIC_INLINE Factor factor(const int16_t* two) {
  uint32_t both;
  memcpy(&both, two, sizeof both);
  return vreinterpret_s16_u32(vdup_n_u32(both));
}
COOLCHIC_INLINE Sum sum_of(int32_t v) { return {vdupq_n_s32(v), vdupq_n_s32(v)}; }
COOLCHIC_INLINE void multiply_add(Sum& s, const Pair& x, Factor w) {
  s.lo = vmlal_lane_s16(s.lo, vget_low_s16(x.a), w, 0);
  s.hi = vmlal_high_lane_s16(s.hi, x.a, w, 0);
  s.lo = vmlal_lane_s16(s.lo, vget_low_s16(x.b), w, 1);
  s.hi = vmlal_high_lane_s16(s.hi, x.b, w, 1);
}
COOLCHIC_INLINE Shift shift_by(int n) { return vdupq_n_s32(-n); }
// sat16(s >> n), in the order of the values.
COOLCHIC_INLINE Vec narrow(const Sum& s, Shift n) {
  return vqmovn_high_s32(vqmovn_s32(vshlq_s32(s.lo, n)), vshlq_s32(s.hi, n));
}
// a[0] b[0] a[1] b[1] …
COOLCHIC_INLINE void zip(Vec a, Vec b, Vec* first, Vec* second) {
  *first = vzip1q_s16(a, b);
  *second = vzip2q_s16(a, b);
}

// Twice the number of entries of a row of 16 that exceed slot, without the last one, which always
// does.
COOLCHIC_INLINE size_t offset_above(const uint16_t* c, uint32_t slot) {
  const uint16x8_t s = vdupq_n_u16(static_cast<uint16_t>(slot));
  const uint8x16_t above =
      vcombine_u8(vmovn_u16(vcgtq_u16(vld1q_u16(c), s)), vmovn_u16(vcgtq_u16(vld1q_u16(c + 8), s)));
  return 2 * (size_t{vaddvq_u8(vshrq_n_u8(above, 7))} - 1);
}

// A state below the lower bound becomes `refilled`, with a word of the stream. No branch: it
// would be taken at random.
COOLCHIC_INLINE void refill(uint32_t& state, uint32_t refilled, size_t& word) {
  const bool low = state < kLowerBound;
  state = low ? refilled : state;
  word += low;
}

// Nothing is gained from decoding several lanes together.
COOLCHIC_INLINE int decode_rounds(uint32_t*, const uint8_t*, const uint8_t*, size_t&,
                                  const uint16_t*, int, int16_t*) {
  return 0;
}

// Eight rows of eight values: rows i and i + 4 interleaved, three times.
COOLCHIC_INLINE void transpose_8(const int16_t* from, ptrdiff_t from_pitch, int16_t* to,
                                 ptrdiff_t to_pitch) {
  Vec a[8], b[8];
  for (int r = 0; r < 8; ++r) a[r] = load(from + r * from_pitch);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) zip(a[i], a[i + 4], &b[2 * i], &b[2 * i + 1]);
    for (int i = 0; i < 8; ++i) a[i] = b[i];
  }
  for (int t = 0; t < 8; ++t) store(to + t * to_pitch, a[t]);
}

constexpr int kPixels = 8;  // of a call

COOLCHIC_INLINE uint8x8_t bytes_of(const int16_t* row) { return vqmovun_s16(vld1q_s16(row)); }

COOLCHIC_INLINE void store_pixels_1(const int16_t* const* rows, int x, uint8_t* out) {
  vst1_u8(out, bytes_of(rows[0] + x));
}
COOLCHIC_INLINE void store_pixels_2(const int16_t* const* rows, int x, uint8_t* out) {
  vst2_u8(out, uint8x8x2_t{{bytes_of(rows[0] + x), bytes_of(rows[1] + x)}});
}
COOLCHIC_INLINE void store_pixels_3(const int16_t* const* rows, int x, uint8_t* out) {
  vst3_u8(out, uint8x8x3_t{{bytes_of(rows[0] + x), bytes_of(rows[1] + x), bytes_of(rows[2] + x)}});
}
COOLCHIC_INLINE void store_pixels_4(const int16_t* const* rows, int x, uint8_t* out) {
  vst4_u8(out, uint8x8x4_t{{bytes_of(rows[0] + x), bytes_of(rows[1] + x), bytes_of(rows[2] + x),
                            bytes_of(rows[3] + x)}});
}

}  // namespace
}  // namespace coolchic
