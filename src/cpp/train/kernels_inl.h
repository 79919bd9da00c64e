// All kernels of one instruction set, gathered in one table.
#pragma once

#include "arm_inl.h"
#include "filters_inl.h"
#include "latents_inl.h"
#include "parents_inl.h"
#include "subbands_inl.h"
#include "synthesis_inl.h"

#define COOLCHIC_KERNEL_TABLE(name) \
  {name,                            \
   kLanes,                          \
   kBlock,                          \
   dense_kernels,                   \
   convolution_kernels,             \
   proxy_rows,                      \
   parent_rows,                     \
   filter_rows,                     \
   synthesis_band,                  \
   arm_band,                        \
   filter_gradient_rows,            \
   subband_gradient_rows,           \
   update_rows}
