// Four lanes with the instructions every machine of the architecture has: SSE2 on x86-64,
// NEON on arm64, and whatever the compiler makes of it elsewhere.
#define COOLCHIC_LANES 4
#include "kernels_inl.h"

namespace coolchic::train {
#if defined(__SSE2__)
extern const Kernels kBaselineKernels = COOLCHIC_KERNEL_TABLE("sse2");
#elif defined(__aarch64__)
extern const Kernels kBaselineKernels = COOLCHIC_KERNEL_TABLE("neon");
#else
extern const Kernels kBaselineKernels = COOLCHIC_KERNEL_TABLE("scalar");
#endif
}  // namespace coolchic::train
