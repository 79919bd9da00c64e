// Compiled with AVX-512 F, BW, DQ and VL; see CMakeLists.txt.
#define COOLCHIC_LANES 16
#include "kernels_inl.h"

namespace coolchic::train {
extern const Kernels kAvx512Kernels = COOLCHIC_KERNEL_TABLE("avx512");
}  // namespace coolchic::train
