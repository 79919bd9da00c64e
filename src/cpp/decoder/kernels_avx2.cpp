#define COOLCHIC_VECTOR_LANES 16

#include "decoder/vectors_avx2.h"
#include "decoder/vectors_x86.h"
// The vectors come first.
#include "decoder/kernels_inl.h"

namespace coolchic {

extern const Kernels kAvx2Kernels;
const Kernels kAvx2Kernels = COOLCHIC_KERNELS("avx2");

}  // namespace coolchic
