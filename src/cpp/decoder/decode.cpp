#include "decoder/decode.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "decoder/sections.h"

namespace coolchic {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

int thread_count(const Options& options) {
  if (options.threads > 0) return options.threads;
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

Status read_file(const uint8_t* data, size_t size, const Options& options, ThreadPool& pool,
                 File* file, StageTimes* times) {
  Status status;
  const Kernels* kernels = find_kernels(options.cpu.c_str());
  if (!kernels) {
    status.fail(Code::kUnsupported, "no kernels '" + options.cpu + "' for this machine");
    return status;
  }
  Sections sections = read_sections(data, size, options, &status);
  file->header = std::move(sections.header);
  file->header_bytes = sections.header_bytes;
  file->weights_bytes = sections.weights.left();
  file->latents_bytes = sections.latents.left();
  file->total_bytes = sections.total_bytes;
  const Clock::time_point start = Clock::now();
  if (status.ok()) file->weights = read_weights(sections.weights, file->header, &status);
  const Clock::time_point between = Clock::now();
  if (status.ok())
    file->latents =
        read_latents(sections.latents, file->header, file->weights, *kernels, pool,
                     {file->header.architecture.first_grid(options.scale), sections.cut_short},
                     &file->latents_info);
  if (times) {
    times->weights = seconds(between - start);
    times->latents = seconds(Clock::now() - between);
  }
  return status;
}

// The picture of a file whose latents have been read.
void paint(const File& file, const Options& options, ThreadPool& pool, uint8_t* samples,
           size_t stride, StageTimes* times) {
  synthesise(file.header, file.weights, file.latents, options.scale,
             *find_kernels(options.cpu.c_str()), pool, samples, stride,
             times ? &times->synthesis : nullptr);
}

}  // namespace

Status read_file(const uint8_t* data, size_t size, const Options& options, File* file) {
  ThreadPool pool(thread_count(options));
  return read_file(data, size, options, pool, file, nullptr);
}

Status decode_into(const uint8_t* data, size_t size, const Options& options, uint8_t* samples,
                   size_t stride) {
  ThreadPool pool(thread_count(options));
  File file;
  const Status status = read_file(data, size, options, pool, &file, nullptr);
  if (status.ok()) paint(file, options, pool, samples, stride, nullptr);
  return status;
}

Status decode(const uint8_t* data, size_t size, const Options& options, Image* image,
              StageTimes* times) {
  ThreadPool pool(thread_count(options));
  File file;
  const Status status = read_file(data, size, options, pool, &file, times);
  if (!status.ok()) return status;
  const Header& h = file.header;
  image->width = h.columns_at(options.scale);
  image->height = h.rows_at(options.scale);
  image->channels = h.channels;
  const size_t row_bytes = static_cast<size_t>(image->width) * image->channels;
  image->samples.resize(image->height * row_bytes);
  paint(file, options, pool, image->samples.data(), row_bytes, times);
  return status;
}

}  // namespace coolchic
