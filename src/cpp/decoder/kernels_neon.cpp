#define COOLCHIC_VECTOR_LANES 8

#include "decoder/vectors_neon.h"
// The vectors come first.
#include "decoder/kernels_inl.h"

namespace coolchic {

extern const Kernels kNeonKernels;
const Kernels kNeonKernels = COOLCHIC_KERNELS("neon");

}  // namespace coolchic
