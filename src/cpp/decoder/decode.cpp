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

// The picture of a file whose latents have been read.
void paint(const File& file, const Options& options, uint8_t* samples, size_t stride,
           StageTimes* times) {
  int threads = options.threads;
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  ThreadPool pool(threads);
  synthesise(file.header, file.weights, file.latents, *find_kernels(options.cpu.c_str()), pool,
             samples, stride, times ? &times->synthesis : nullptr);
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

Status decode_into(const uint8_t* data, size_t size, const Options& options, uint8_t* samples,
                   size_t stride, StageTimes* times) {
  File file;
  Status status = read_file(data, size, options, &file, times);
  if (status.ok()) paint(file, options, samples, stride, times);
  return status;
}

Status decode(const uint8_t* data, size_t size, const Options& options, Image* image,
              StageTimes* times) {
  File file;
  Status status = read_file(data, size, options, &file, times);
  if (!status.ok()) return status;
  const Header& h = file.header;
  image->width = h.width;
  image->height = h.height;
  image->channels = h.channels;
  image->samples.resize(h.height * h.row_bytes());
  paint(file, options, image->samples.data(), h.row_bytes(), times);
  return status;
}

}  // namespace coolchic
