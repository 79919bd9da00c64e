// Which kernels this machine runs. __builtin_cpu_supports also asks whether the operating
// system saves the wide registers. A build that lacks the files of an instruction set defines
// none of their macros.
#include "decoder/kernels.h"

#include <cstring>

namespace coolchic {

extern const Kernels kScalarKernels;
#ifdef COOLCHIC_AVX2
extern const Kernels kAvx2Kernels;
#endif
#ifdef COOLCHIC_AVX512
extern const Kernels kAvx512Kernels;
#endif
#ifdef COOLCHIC_NEON
extern const Kernels kNeonKernels;
#endif

namespace {

bool always() { return true; }

#ifdef COOLCHIC_AVX2
bool has_avx2() { return __builtin_cpu_supports("avx2"); }
#endif
#ifdef COOLCHIC_AVX512
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

const KernelEntry kEntries[] = {
#ifdef COOLCHIC_AVX512
    {&kAvx512Kernels, has_avx512},
#endif
#ifdef COOLCHIC_AVX2
    {&kAvx2Kernels, has_avx2},
#endif
#ifdef COOLCHIC_NEON
    {&kNeonKernels, always},
#endif
    {&kScalarKernels, always},
};

}  // namespace

const KernelEntry* kernel_entry(int index) {
  constexpr int kCount = sizeof kEntries / sizeof kEntries[0];
  return index < kCount ? &kEntries[index] : nullptr;
}

const Kernels* find_kernels(const char* name) {
  const bool any = std::strcmp(name, "auto") == 0;
  for (const KernelEntry& entry : kEntries)
    if ((any || std::strcmp(name, entry.kernels->name) == 0) && entry.supported())
      return entry.kernels;
  return nullptr;
}

}  // namespace coolchic
