// Writes a grey PNM picture of four samples of 16 bits to stdout.
#include <cstdint>
#include <cstdio>
#include <string>

#include "program/pnm.h"

int main() {
  uint16_t samples[] = {0, 255, 256, 65535};
  const std::string header = coolchic::pnm_header(coolchic::Pnm::kAny, 2, 2, 1, 16);
  coolchic::to_pnm_order(samples, 4);
  std::fwrite(header.data(), 1, header.size(), stdout);
  std::fwrite(samples, sizeof samples[0], 4, stdout);
}
