// What kernels_inl.h needs besides vectors, on any x86 with AVX2: entries of a cumulative
// table, pixels.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace coolchic {
namespace {

// Offset in bytes of the first entry of a row of 16 that exceeds slot. The last one, 2^15,
// always does, but not as a signed number.
COOLCHIC_INLINE unsigned upper_offset(const uint16_t* c, uint32_t slot) {
  const __m256i entries = _mm256_load_si256(reinterpret_cast<const __m256i*>(c));
  const __m256i above = _mm256_cmpgt_epi16(entries, _mm256_set1_epi16(static_cast<int16_t>(slot)));
  return static_cast<unsigned>(
      __builtin_ctz(static_cast<unsigned>(_mm256_movemask_epi8(above)) | 1u << 30));
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
