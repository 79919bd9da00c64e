#include "decoder/decode.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "decoder/sections.h"

namespace coolchic {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Status read_file(const uint8_t* data, size_t size, const Options& options, File* file,
                 StageTimes* times) {
  StageTimes unused;
  if (!times) times = &unused;
  Status status;
  const Kernels* kernels = find_kernels(options.cpu.c_str());
  if (!kernels) {
    status.fail(Code::kUnsupported, "no kernels '" + options.cpu + "' for this machine");
    return status;
  }
  Sections sections = read_sections(data, size, options.limits, options.check_crc, &status);
  file->header = std::move(sections.header);
  file->header_bytes = sections.header_bytes;
  file->weights_bytes = sections.weights.left();
  file->latents_bytes = sections.latents.left();
  file->total_bytes = sections.total_bytes;

  Clock::time_point start = Clock::now();
  if (status.ok()) file->weights = read_weights(sections.weights, file->header, &status);
  times->weights = since(start);
  start = Clock::now();
  if (status.ok())
    file->latents =
        read_latents(sections.latents, file->header, file->weights, *kernels, &file->latents_info);
  times->latents = since(start);
  return status;
}

Status decode(const uint8_t* data, size_t size, const Options& options, Image* image,
              StageTimes* times) {
  File file;
  Status status = read_file(data, size, options, &file, times);
  if (!status.ok()) return status;
  const Header& h = file.header;
  int threads = options.threads;
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  image->width = h.width;
  image->height = h.height;
  image->channels = h.channels;
  image->samples.resize(h.pixels() * h.channels);
  ThreadPool pool(threads);
  synthesise(h, file.weights, file.latents, *find_kernels(options.cpu.c_str()), pool,
             image->samples.data(), times ? &times->synthesis : nullptr);
  return status;
}

}  // namespace coolchic
