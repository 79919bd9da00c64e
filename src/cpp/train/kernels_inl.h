// All kernels of one instruction set, gathered in one table.
#pragma once

#include "arm_inl.h"
#include "latents_inl.h"
#include "synthesis_inl.h"

#define COOLCHIC_KERNEL_TABLE(name) \
  {name, kLanes, dense_kernels, proxy_rows, synthesis_band, arm_band, update_rows}
