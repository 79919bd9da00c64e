#include <algorithm>
#include <chrono>
#include <thread>

#include "decoder/byte_reader.h"
#include "decoder/coolchic.h"
#include "decoder/crc32.h"

namespace coolchic {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

uint32_t read_u32(ByteReader& in) {
  uint32_t v = 0;
  for (int shift = 0; shift < 32; shift += 8) v |= uint32_t{in.u8()} << shift;
  return v;
}

int thread_count(const Options& options) {
  if (options.threads > 0) return options.threads;
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// Where the sections of a file are.
struct Sections {
  ByteReader weights;
  ByteReader latents;
  bool cut_short;  // the file ends within the latents section or the checksum
};

// Everything before the entropy decoding.
Sections read_sections(ByteReader& in, const uint8_t* data, const Options& options, File* file) {
  file->header = read_header(in, options.limits);
  file->header_bytes = in.offset();
  file->weights_bytes = in.varint();
  const ByteReader weights = in.sub(file->weights_bytes, "weights section");
  file->latents_bytes = in.varint();
  constexpr size_t kChecksumBytes = 4;
  const bool cut_short = options.allow_partial && in.left() < file->latents_bytes + kChecksumBytes;
  if (cut_short) file->latents_bytes = std::min(file->latents_bytes, in.left());
  const ByteReader latents = in.sub(file->latents_bytes, "latents section");
  if (!cut_short) {
    const size_t covered = in.offset();
    const uint32_t crc = read_u32(in);
    if (in.left() > 0)
      in.fail(Code::kTrailing, std::to_string(in.left()) + " bytes after the end of the file");
    if (in.ok() && options.check_crc && crc != crc32(data, covered))
      in.fail(Code::kChecksum, "checksum differs");
  }
  file->total_bytes = in.offset();
  const int grids = file->header.architecture.grids;
  if (in.ok() && (options.scale < 0 || options.scale >= grids))
    in.fail(Code::kUnsupported, "no scale " + std::to_string(options.scale) + " of " +
                                    std::to_string(grids) + " grids");
  return {weights, latents, cut_short};
}

Status read_file(const uint8_t* data, size_t size, const Options& options, ThreadPool& pool,
                 File* file, StageTimes* times) {
  Status status;
  const Kernels* kernels = find_kernels(options.cpu.c_str());
  if (!kernels) {
    status.fail(Code::kUnsupported, "no kernels '" + options.cpu + "' for this machine");
    return status;
  }
  ByteReader in(data, size, &status, "file");
  Sections sections = read_sections(in, data, options, file);
  const Clock::time_point start = Clock::now();
  if (status.ok()) file->weights = read_weights(sections.weights, file->header, &status);
  const Clock::time_point between = Clock::now();
  if (status.ok())
    file->latents = read_latents(sections.latents, file->header, file->weights, *kernels, pool,
                                 {options.scale, sections.cut_short}, &file->latents_info);
  if (times) {
    times->weights = seconds(between - start);
    times->latents = seconds(Clock::now() - between);
  }
  return status;
}

}  // namespace

Status read_file(const uint8_t* data, size_t size, const Options& options, File* file) {
  ThreadPool pool(thread_count(options));
  return read_file(data, size, options, pool, file, nullptr);
}

Status decode(const uint8_t* data, size_t size, const Options& options, Image* image,
              StageTimes* times) {
  ThreadPool pool(thread_count(options));
  File file;
  const Status status = read_file(data, size, options, pool, &file, times);
  if (!status.ok()) return status;
  const Header& h = file.header;
  image->width = h.grid_columns(options.scale);
  image->height = h.grid_rows(options.scale);
  image->channels = h.channels;
  image->samples.resize(static_cast<size_t>(image->width) * image->height * image->channels);
  synthesise(h, file.weights, file.latents, options.scale, *find_kernels(options.cpu.c_str()), pool,
             image->samples.data(), times ? &times->synthesis : nullptr);
  return status;
}

}  // namespace coolchic
