#include "rangecoder/laplace_tables.h"

namespace coolchic {
namespace {

// RHO[s] = round(2^32 exp(-1 / (16 b))), b = exp((s - 26) / 8): section 8.2.
constexpr uint32_t kRho[kScales] = {
    856884361,  1035568444, 1223967808, 1418507033, 1615718013, 1812411093, 2005790141, 2193515739,
    2373725000, 2545018319, 2706423265, 2857344640, 2997507991, 3126902041, 3245723793, 3354328649,
    3453186770, 3542846103, 3623901930, 3696972476, 3762679889, 3821635868, 3874431187, 3921628407,
    3963757157, 4001311421, 4034748382, 4064488418, 4090915943, 4114380850, 4135200330, 4153660949,
    4170020832, 4184511893, 4197342034, 4208697266, 4218743737, 4227629636, 4235486959, 4242433152,
    4248572608, 4253998038, 4258791718, 4263026613, 4266767392, 4270071344, 4272989197, 4275565850,
    4277841028, 4279849872, 4281623453, 4283189244, 4284571525, 4285791755, 4286868892, 4287819687,
    4288658937, 4289399708, 4290053542, 4290630632, 4291139976, 4291589521, 4291986282, 4292336453};

constexpr int window(int s) {
  return s <= 6 ? 1 : s <= 11 ? 2 : s <= 14 ? 3 : s <= 17 ? 4 : s <= 18 ? 5 : s <= 20 ? 6 : 7;
}

constexpr int golomb(int s) {
  return s <= 31 ? 0 : s <= 37 ? 1 : s <= 42 ? 2 : s <= 48 ? 3 : s <= 54 ? 4 : s <= 59 ? 5 : 6;
}

constexpr EscapeRule rule(int s) {
  const int w = window(s);
  return {static_cast<int8_t>(w), static_cast<int8_t>(w < 6 ? w : 6),
          static_cast<int8_t>(golomb(s))};
}

constexpr LaplaceTables build() {
  LaplaceTables tables{};
  for (int s = 0; s < kScales; ++s) {
    // decay[n] = 2^32 exp(-n / (16 b)); twice the Laplace CDF, in units of 2^-33, follows.
    uint64_t decay[16 * 8 + 1]{};
    decay[0] = uint64_t{1} << 32;
    for (int n = 1; n <= 16 * 8; ++n) decay[n] = (decay[n - 1] * kRho[s] + (1u << 31)) >> 32;
    const EscapeRule w = tables.escape[s] = rule(s);
    const uint64_t spare = kProbabilityOne - static_cast<uint64_t>(w.above + w.below + 2);
    for (int f = 0; f < kFractions; ++f) {
      uint32_t frequency[kSymbols]{};
      uint64_t inside = 0;
      uint32_t sum = 0;
      for (int d = -w.below; d <= w.above; ++d) {
        const int n1 = 16 * (d + 1) - f, n0 = 16 * d - f;
        const uint64_t t1 = n1 <= 0 ? decay[-n1] : (uint64_t{1} << 33) - decay[n1];
        const uint64_t t0 = n0 <= 0 ? decay[-n0] : (uint64_t{1} << 33) - decay[n0];
        inside += t1 - t0;
        frequency[d + kZeroSymbol] = 1 + static_cast<uint32_t>(((t1 - t0) * spare) >> 33);
        sum += frequency[d + kZeroSymbol];
      }
      const uint64_t outside = (uint64_t{1} << 33) - inside;
      frequency[kEscapeSymbol] = 1 + static_cast<uint32_t>((outside * spare) >> 33);
      sum += frequency[kEscapeSymbol];
      frequency[kZeroSymbol] += kProbabilityOne - sum;
      CdfRow& row = tables.cdf[s * kFractions + f];
      for (int k = 0; k < kSymbols; ++k)
        row.c[k + 1] = static_cast<uint16_t>(row.c[k] + frequency[k]);
    }
  }
  return tables;
}

}  // namespace

constexpr LaplaceTables kLaplace = build();

}  // namespace coolchic
