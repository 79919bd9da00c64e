// Compiled with AVX2 and FMA; see CMakeLists.txt.
#define COOLCHIC_LANES 8
#include "kernels_inl.h"

namespace coolchic::train {
extern const Kernels kAvx2Kernels = COOLCHIC_KERNEL_TABLE("avx2");
}  // namespace coolchic::train
