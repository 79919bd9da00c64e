// libFuzzer entry. With Clang, from the root of the repository:
//   clang++ -std=c++17 -g -O1 -fsanitize=fuzzer,address,undefined -Isrc/cpp -Itests/fuzz
//     tests/fuzz/fuzz_decode.cpp src/cpp/decoder/[!k]*.cpp src/cpp/decoder/kernels.cpp
//     src/cpp/decoder/kernels_scalar.cpp src/cpp/rangecoder/laplace_tables.cpp
//     -pthread -o fuzz_decode
//   ./fuzz_decode corpus tests/vectors
#include <cstddef>
#include <cstdint>

#include "checked_decode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  coolchic::Options options;
  options.check_crc = false;
  options.threads = 1;
  options.limits.max_pixels = 1 << 16;
  coolchic::checked_decode(data, size, options);
  return 0;
}
