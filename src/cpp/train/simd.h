// Vectors of COOLCHIC_LANES floats, from the GCC/Clang vector extensions.
//
// Every kernels_<name>.cpp compiles this file and all *_inl.h files again, with its own
// flags and width. All of it has internal linkage, and nothing here instantiates a
// template of the standard library: otherwise the linker could keep a copy made of
// instructions the machine lacks for code that must run everywhere.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef COOLCHIC_LANES
#error "a kernels_<name>.cpp defines COOLCHIC_LANES before it includes kernels_inl.h"
#endif

#define COOLCHIC_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define COOLCHIC_UNROLL _Pragma("clang loop unroll(full)")
#define COOLCHIC_UNROLL_BY_4 _Pragma("clang loop unroll_count(4)")
#define COOLCHIC_UNROLL_BY_2 _Pragma("clang loop unroll_count(2)")
#else
#define COOLCHIC_UNROLL _Pragma("GCC unroll 64")
#define COOLCHIC_UNROLL_BY_4 _Pragma("GCC unroll 4")
#define COOLCHIC_UNROLL_BY_2 _Pragma("GCC unroll 2")
#endif

namespace coolchic::train {
namespace {

constexpr int kLanes = COOLCHIC_LANES;
constexpr int kBytes = 4 * kLanes;

typedef float Vec __attribute__((vector_size(kBytes), may_alias));
typedef float UnalignedVec __attribute__((vector_size(kBytes), may_alias, aligned(4)));
typedef int32_t IntVec __attribute__((vector_size(kBytes), may_alias));
typedef uint32_t UintVec __attribute__((vector_size(kBytes), may_alias));

COOLCHIC_INLINE Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
COOLCHIC_INLINE void store(float* p, Vec x) { *reinterpret_cast<Vec*>(p) = x; }
COOLCHIC_INLINE Vec load_unaligned(const float* p) {
  return *reinterpret_cast<const UnalignedVec*>(p);
}
COOLCHIC_INLINE void store_unaligned(float* p, Vec x) { *reinterpret_cast<UnalignedVec*>(p) = x; }

// The first n < kLanes values, the others zero; touches no memory beyond them.
COOLCHIC_INLINE Vec load_first(const float* p, int n) {
  Vec x{};
  memcpy(&x, p, sizeof(float) * static_cast<size_t>(n));
  return x;
}
COOLCHIC_INLINE void store_first(float* p, Vec x, int n) {
  memcpy(p, &x, sizeof(float) * static_cast<size_t>(n));
}

// Whole vectors, aligned; compilers turn memcpy and memset of such sizes into slow strings.
template <int kCount>
COOLCHIC_INLINE void copy(const float* from, float* to) {
  COOLCHIC_UNROLL
  for (int i = 0; i < kCount; i += kLanes) store(to + i, load(from + i));
}
template <int kCount>
COOLCHIC_INLINE void clear(float* p) {
  COOLCHIC_UNROLL
  for (int i = 0; i < kCount; i += kLanes) store(p + i, Vec{});
}

// s - 0 is s for every s, also -0, so this compiles to the broadcast alone; s + 0 would not.
COOLCHIC_INLINE Vec broadcast(float s) { return s - Vec{}; }

COOLCHIC_INLINE IntVec lane_numbers() {
  IntVec lanes{};
  COOLCHIC_UNROLL
  for (int l = 0; l < kLanes; ++l) lanes[l] = l;
  return lanes;
}

// Operations the vector extensions lack or compile badly. max and min of a NaN are b on x86
// and NaN on arm64.
#if defined(__AVX512F__) && COOLCHIC_LANES == 16
COOLCHIC_INLINE Vec max(Vec a, Vec b) { return (Vec)_mm512_max_ps((__m512)a, (__m512)b); }
COOLCHIC_INLINE Vec min(Vec a, Vec b) { return (Vec)_mm512_min_ps((__m512)a, (__m512)b); }
COOLCHIC_INLINE Vec sqrt(Vec a) { return (Vec)_mm512_sqrt_ps((__m512)a); }
#elif defined(__AVX__) && COOLCHIC_LANES == 8
COOLCHIC_INLINE Vec max(Vec a, Vec b) { return (Vec)_mm256_max_ps((__m256)a, (__m256)b); }
COOLCHIC_INLINE Vec min(Vec a, Vec b) { return (Vec)_mm256_min_ps((__m256)a, (__m256)b); }
COOLCHIC_INLINE Vec sqrt(Vec a) { return (Vec)_mm256_sqrt_ps((__m256)a); }
#elif defined(__SSE2__) && COOLCHIC_LANES == 4
COOLCHIC_INLINE Vec max(Vec a, Vec b) { return (Vec)_mm_max_ps((__m128)a, (__m128)b); }
COOLCHIC_INLINE Vec min(Vec a, Vec b) { return (Vec)_mm_min_ps((__m128)a, (__m128)b); }
COOLCHIC_INLINE Vec sqrt(Vec a) { return (Vec)_mm_sqrt_ps((__m128)a); }
#elif defined(__aarch64__) && COOLCHIC_LANES == 4
COOLCHIC_INLINE Vec max(Vec a, Vec b) { return (Vec)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
COOLCHIC_INLINE Vec min(Vec a, Vec b) { return (Vec)vminq_f32((float32x4_t)a, (float32x4_t)b); }
COOLCHIC_INLINE Vec sqrt(Vec a) { return (Vec)vsqrtq_f32((float32x4_t)a); }
#else
COOLCHIC_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
COOLCHIC_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
COOLCHIC_INLINE Vec sqrt(Vec a) {
  for (int l = 0; l < kLanes; ++l) a[l] = __builtin_sqrtf(a[l]);
  return a;
}
#endif

COOLCHIC_INLINE Vec clamp(Vec x, float low, float high) {
  return min(max(x, broadcast(low)), broadcast(high));
}
COOLCHIC_INLINE Vec abs(Vec a) { return reinterpret_cast<Vec>((IntVec)a & 0x7fffffff); }
COOLCHIC_INLINE IntVec sign_bit(Vec a) { return (IntVec)a & static_cast<int32_t>(0x80000000); }
COOLCHIC_INLINE Vec flip_sign(Vec a, IntVec sign) { return (Vec)((IntVec)a ^ sign); }

// Zero from lane n on.
COOLCHIC_INLINE Vec first_lanes(Vec v, int n) {
  return (Vec)((IntVec)v & (IntVec)(lane_numbers() < n));
}

COOLCHIC_INLINE float sum(Vec v) {
  float s = 0;
  for (int l = 0; l < kLanes; ++l) s += v[l];
  return s;
}

}  // namespace
}  // namespace coolchic::train
