// Which kernels this machine runs. __builtin_cpu_supports also asks whether the operating
// system saves the wide registers. COOLCHIC_BASELINE_ONLY leaves the wide kernels out, for
// builds without the flags that CMakeLists.txt gives their files.
#include "kernels.h"

#include <cstring>

namespace coolchic::train {

#if defined(__x86_64__) && !defined(COOLCHIC_BASELINE_ONLY)
#define COOLCHIC_WIDE_KERNELS
#endif

extern const Kernels kBaselineKernels;
#ifdef COOLCHIC_WIDE_KERNELS
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

namespace {

bool always() { return true; }

#ifdef COOLCHIC_WIDE_KERNELS
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

struct Entry {
  const Kernels* kernels;
  bool (*supported)();
};

// Fastest first.
const Entry kEntries[] = {
#ifdef COOLCHIC_WIDE_KERNELS
    {&kAvx512Kernels, has_avx512},
    {&kAvx2Kernels, has_avx2},
#endif
    {&kBaselineKernels, always},
};

}  // namespace

const Kernels* find_kernels(const char* name) {
  const bool any = name == nullptr || *name == '\0';
  for (const Entry& entry : kEntries) {
    if ((any || std::strcmp(name, entry.kernels->name) == 0) && entry.supported()) {
      return entry.kernels;
    }
  }
  return nullptr;
}

const Kernels* kernels_at(int index) {
  const int count = sizeof(kEntries) / sizeof(kEntries[0]);
  return index < count ? kEntries[index].kernels : nullptr;
}

}  // namespace coolchic::train
