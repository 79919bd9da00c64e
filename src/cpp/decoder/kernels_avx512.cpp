#define COOLCHIC_VECTOR_LANES 32

#include "decoder/vectors_avx512.h"
#include "decoder/vectors_x86.h"
// The vectors come first.
#include "decoder/kernels_inl.h"

namespace coolchic {

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = COOLCHIC_KERNELS("avx512");

}  // namespace coolchic
