// What kernels_inl.h needs besides vectors, on any x86 with AVX2: entries of a cumulative
// table, pixels.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "rangecoder/laplace_tables.h"
#include "rangecoder/range_lanes.h"

namespace coolchic {
namespace {

COOLCHIC_INLINE size_t offset_above(const uint16_t* c, __m256i slot) {
  const __m256i entries = _mm256_load_si256(reinterpret_cast<const __m256i*>(c));
  // As a signed number the last one, 2^15, exceeds nothing.
  const __m256i above = _mm256_cmpgt_epi16(entries, slot);
  return static_cast<size_t>(
      __builtin_popcount(static_cast<unsigned>(_mm256_movemask_epi8(above))));
}

// Twice the number of entries of a row of 16 that exceed slot, without the last one.
COOLCHIC_INLINE size_t offset_above(const uint16_t* c, uint32_t slot) {
  return offset_above(c, _mm256_set1_epi16(static_cast<int16_t>(slot)));
}

// A state below the lower bound becomes `refilled`, with a word of the stream. Compilers would
// branch: at random, and each wrong guess costs as much as several symbols.
COOLCHIC_INLINE void refill(uint32_t& state, uint32_t refilled, size_t& word) {
  asm("cmpl %3, %0\n\tcmovb %2, %0\n\tadcq $0, %1"
      : "+r"(state), "+r"(word)
      : "r"(refilled), "i"(kLowerBound)
      : "cc");
}

// What decode_symbol() does eight times, for one symbol from each of eight lanes, as often as
// there are symbols and the stream has eight words. Returns the number of symbols.
COOLCHIC_INLINE int decode_rounds(uint32_t* lanes, const uint8_t* words, const uint8_t* end,
                                  size_t& word, const uint16_t* rows, int n, int16_t* values) {
  const uint8_t* next = words;
  __m256i state = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes));
  int j = 0;
  for (; j + kMaxLanes <= n && end - next >= 2 * kMaxLanes; j += kMaxLanes) {
    const __m256i slot = _mm256_and_si256(state, _mm256_set1_epi32(kProbabilityOne - 1));
    const __m256i slots[2] = {_mm256_permute2x128_si256(slot, slot, 0x00),
                              _mm256_permute2x128_si256(slot, slot, 0x11)};
    const auto limits = [&](int lane) __attribute__((always_inline)) {  // begin and end
      const uint16_t* c = kLaplace.cdf[rows[j + lane]].c;
      const __m256i which = _mm256_set1_epi16(static_cast<int16_t>(0x0100 + 0x0404 * (lane % 4)));
      const size_t offset = offset_above(c, _mm256_shuffle_epi8(slots[lane / 4], which));
      values[j + lane] = static_cast<int16_t>(offset);
      int32_t both;
      memcpy(&both, reinterpret_cast<const char*>(c + kEscapeSymbol) - offset, sizeof both);
      return both;
    };
    const __m256i limit = _mm256_setr_epi32(limits(0), limits(1), limits(2), limits(3), limits(4),
                                            limits(5), limits(6), limits(7));
    const __m256i begin = _mm256_and_si256(limit, _mm256_set1_epi32(0xffff));
    const __m256i frequency = _mm256_sub_epi32(_mm256_srli_epi32(limit, 16), begin);
    const __m256i product =
        _mm256_mullo_epi32(frequency, _mm256_srli_epi32(state, kProbabilityBits));
    state = _mm256_add_epi32(product, _mm256_sub_epi32(slot, begin));
    const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), _mm256_setzero_si256());
    const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(next));
    const __m256i refilled =
        _mm256_or_si256(_mm256_slli_epi32(state, 16), give_to(low, _mm256_cvtepu16_epi32(eight)));
    state = _mm256_blendv_epi8(state, refilled, low);
    next +=
        2 * __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(low))));
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), state);
  word += static_cast<size_t>(next - words) / 2;
  return j;
}

// Eight rows of eight values: rows i and i + 4 interleaved, three times.
COOLCHIC_INLINE void transpose_8(const int16_t* from, ptrdiff_t from_pitch, int16_t* to,
                                 ptrdiff_t to_pitch) {
  __m128i a[8], b[8];
  for (int r = 0; r < 8; ++r)
    a[r] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + r * from_pitch));
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) {
      b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
      b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
    }
    for (int i = 0; i < 8; ++i) a[i] = b[i];
  }
  for (int t = 0; t < 8; ++t) _mm_storeu_si128(reinterpret_cast<__m128i*>(to + t * to_pitch), a[t]);
}

constexpr int kPixels = 16;  // of a call

COOLCHIC_INLINE __m256i row16(const int16_t* row) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
}

COOLCHIC_INLINE void store_pixels_1(const int16_t* const* rows, int x, uint8_t* out) {
  const __m256i grey = row16(rows[0] + x);
  const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(grey, grey), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(bytes));
}

COOLCHIC_INLINE void store_pixels_2(const int16_t* const* rows, int x, uint8_t* out) {
  const __m256i bytes = _mm256_packus_epi16(row16(rows[0] + x), row16(rows[1] + x));
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_shuffle_epi8(bytes, order));
}

COOLCHIC_INLINE void store_pixels_3(const int16_t* const* rows, int x, uint8_t* out) {
  const __m256i r = row16(rows[0] + x), g = row16(rows[1] + x), b = row16(rows[2] + x);
  const __m256i rg = _mm256_packus_epi16(r, g), bb = _mm256_packus_epi16(b, b);
  // Each half of 128 bits holds eight pixels: 16 bytes of them, then 8.
  const auto half = [](__m128i m) { return _mm256_broadcastsi128_si256(m); };
  const __m256i rg_first =
      half(_mm_setr_epi8(0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5));
  const __m256i b_first =
      half(_mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1));
  const __m256i rg_second =
      half(_mm_setr_epi8(13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1));
  const __m256i b_second =
      half(_mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1));
  const __m256i first =
      _mm256_or_si256(_mm256_shuffle_epi8(rg, rg_first), _mm256_shuffle_epi8(bb, b_first));
  const __m256i second =
      _mm256_or_si256(_mm256_shuffle_epi8(rg, rg_second), _mm256_shuffle_epi8(bb, b_second));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(first));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 16), _mm256_castsi256_si128(second));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 24), _mm256_extracti128_si256(first, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 40), _mm256_extracti128_si256(second, 1));
}

COOLCHIC_INLINE void store_pixels_4(const int16_t* const* rows, int x, uint8_t* out) {
  const __m256i rg = _mm256_packus_epi16(row16(rows[0] + x), row16(rows[1] + x));
  const __m256i ba = _mm256_packus_epi16(row16(rows[2] + x), row16(rows[3] + x));
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
  const __m256i rg2 = _mm256_shuffle_epi8(rg, order), ba2 = _mm256_shuffle_epi8(ba, order);
  const __m256i lo = _mm256_unpacklo_epi16(rg2, ba2), hi = _mm256_unpackhi_epi16(rg2, ba2);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute2x128_si256(lo, hi, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32),
                      _mm256_permute2x128_si256(lo, hi, 0x31));
}

}  // namespace
}  // namespace coolchic
