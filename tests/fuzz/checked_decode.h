// Decoding of hostile bytes, with the promises of the interface checked.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "decoder/decode.h"

namespace coolchic {

// Whether the bytes decode. Aborts if the result contradicts itself.
inline bool checked_decode(const uint8_t* data, size_t size, const Options& options) {
  Image image;
  const Status status = decode(data, size, options, &image);
  const size_t samples = static_cast<size_t>(image.width) * image.height * image.channels;
  const bool whole = samples > 0 && image.samples.size() == samples &&
                     samples <= options.limits.max_pixels * image.channels;
  const bool consistent = status.ok() ? whole : image.samples.empty() && !status.message.empty();
  if (!consistent) {
    std::fprintf(stderr, "status '%s' with a picture of %dx%dx%d, %zu samples\n",
                 status.message.c_str(), image.width, image.height, image.channels,
                 image.samples.size());
    std::abort();
  }
  return status.ok();
}

}  // namespace coolchic
