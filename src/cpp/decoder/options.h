// What a caller may ask of the decoder.
#pragma once

#include <string>

#include "decoder/header.h"

namespace coolchic {

struct Options {
  Limits limits;
  int threads = 0;           // 0: as many as the machine has
  std::string cpu = "auto";  // kernels by name, or the fastest; all give the same pixels
  bool check_crc = true;     // false: go on with a file whose checksum differs
  // k > 0: a preview of 1/2^k of the size, from grids of that size and coarser; the others are not
  // decoded.
  int scale = 0;
  // Take a file that ends within its latents: the grids that are not whole count as zero. At
  // least one has to be whole.
  bool allow_partial = false;
};

}  // namespace coolchic
