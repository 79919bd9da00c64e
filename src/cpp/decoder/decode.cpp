#include "decoder/decode.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "decoder/byte_reader.h"
#include "decoder/crc32.h"

namespace coolchic {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

uint32_t read_u32(ByteReader& in) {
  uint32_t v = 0;
  for (int shift = 0; shift < 32; shift += 8) v |= uint32_t{in.u8()} << shift;
  return v;
}

}  // namespace

Status read_file(const uint8_t* data, size_t size, const Options& options, File* file,
                 StageTimes* times) {
  StageTimes unused;
  if (!times) times = &unused;
  Status status;
  ByteReader in(data, size, &status, "file");

  file->header = read_header(in, options.limits);
  file->header_bytes = in.offset();
  file->weights_bytes = in.varint();
  ByteReader weights = in.sub(file->weights_bytes, "weights section");
  file->latents_bytes = in.varint();
  ByteReader latents = in.sub(file->latents_bytes, "latents section");
  const size_t covered = in.offset();
  const uint32_t crc = read_u32(in);
  if (in.left() > 0)
    in.fail(Code::kTrailing, std::to_string(in.left()) + " bytes after the end of the file");
  if (status.ok() && options.check_crc && crc != crc32(data, covered))
    in.fail(Code::kChecksum, "checksum differs");
  file->total_bytes = in.offset();

  Clock::time_point start = Clock::now();
  if (status.ok()) file->weights = read_weights(weights, file->header, &status);
  times->weights = since(start);
  start = Clock::now();
  if (status.ok())
    file->latents = read_latents(latents, file->header, file->weights, &file->latents_info);
  times->latents = since(start);
  return status;
}

Status decode(const uint8_t* data, size_t size, const Options& options, Image* image,
              StageTimes* times) {
  StageTimes unused;
  if (!times) times = &unused;
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
  synthesise(h, file.weights, file.latents, threads, image->samples.data(), &times->synthesis);
  return status;
}

}  // namespace coolchic
